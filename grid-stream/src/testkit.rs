//! Tests operators under hostile conditions: items one at a time, queues that hold one batch of
//! one item, a sink that has no room every other time, several workers in random turns.

use crate::connector::memory::Items;
use crate::connector::sink::{Sink, SinkWriter};
use crate::connector::source::SourceFlow;
use crate::flow::Flow;
use crate::job::{Config, Job};
use crate::pipeline::Pipeline;
use crate::pipeline::stage::Stage;
use crate::sources;
use crate::tasklet::worker::Worker;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;

/// The stage that a test begins with.
pub type Input<T> = Stage<T, SourceFlow<Items<T>>>;

/// Circumstances of one run.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Workers.
    pub workers: usize,
    /// Items per batch and step.
    pub batch: usize,
    /// Batches per queue.
    pub queue: usize,
    /// Whether the sink has no room every other time.
    pub reluctant: bool,
    /// Decides which worker takes its turn.
    pub seed: u64,
}

/// All the circumstances that [`check`] tries.
pub fn circumstances() -> impl Iterator<Item = Circumstances> {
    let all = usize::MAX;
    [(1, 1, 1, true), (1, 1, 1, false), (1, 3, 1, true), (1, all, 8, false), (1, 64, 2, true)]
        .into_iter()
        .chain([(2, 1, 1, true), (2, 64, 2, false), (3, 3, 1, true)])
        .zip(1..)
        .map(|((workers, batch, queue, reluctant), seed)| Circumstances {
            workers,
            batch,
            queue,
            reluctant,
            seed,
        })
}

/// Checks that the operators that `make` puts on a stage turn `input` into `expect`, whatever the
/// circumstances. The order counts with one worker.
///
/// # Panics
/// If they do not.
pub fn check<T, U, F>(make: impl Fn(Input<T>) -> Stage<U, F>, input: &[T], expect: &[U])
where
    T: Clone + Send + 'static,
    U: Debug + PartialEq + Send + 'static,
    F: Flow<Out = U>,
{
    for how in circumstances() {
        let got = run(&make, input, how);
        if how.workers == 1 {
            assert!(got == expect, "{how:?}:\n got {got:?}\nnot {expect:?}");
        } else {
            assert_same(got, expect, how);
        }
    }
}

/// The same for results of which the order is not defined.
///
/// # Panics
/// If what comes out is not `expect`.
pub fn check_unordered<T, U, F>(make: impl Fn(Input<T>) -> Stage<U, F>, input: &[T], expect: &[U])
where
    T: Clone + Send + 'static,
    U: Debug + PartialEq + Send + 'static,
    F: Flow<Out = U>,
{
    for how in circumstances() {
        assert_same(run(&make, input, how), expect, how);
    }
}

fn assert_same<U: Debug + PartialEq>(got: Vec<U>, expect: &[U], how: Circumstances) {
    let mut missing: Vec<&U> = expect.iter().collect();
    let mut surplus = Vec::new();
    for item in got {
        match missing.iter().position(|wanted| **wanted == item) {
            Some(at) => {
                missing.swap_remove(at);
            }
            None => surplus.push(item),
        }
    }
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{how:?}:\nmissing {missing:?}\nsurplus {surplus:?}"
    );
}

/// What comes out under the given circumstances.
///
/// # Panics
/// If the job fails or makes no progress.
pub fn run<T, U, F>(
    make: impl Fn(Input<T>) -> Stage<U, F>,
    input: &[T],
    how: Circumstances,
) -> Vec<U>
where
    T: Clone + Send + 'static,
    U: Send + 'static,
    F: Flow<Out = U>,
{
    let pipeline = Pipeline::new();
    let out = Arc::new(Mutex::new(Vec::new()));
    let sink = Reluctant { out: out.clone(), refuses: how.reluctant };
    make(pipeline.read(sources::items(input.to_vec()))).write(sink);
    let report = drive(pipeline, how);
    assert!(report.is_ok(), "{how:?}: {report:?}");
    std::mem::take(&mut *out.lock())
}

/// Runs a pipeline to its end on the calling thread, its workers in random turns. A worker that has
/// nothing to do is stepped again only if it is woken.
///
/// # Panics
/// If all workers are asleep before the end: a wake-up was lost.
pub fn drive(
    pipeline: Pipeline,
    how: Circumstances,
) -> std::result::Result<crate::Report, crate::JobError> {
    let config = Config {
        workers: how.workers,
        batch: how.batch,
        queue_batches: how.queue,
        budget: u32::try_from(how.batch).unwrap_or(u32::MAX),
        ..Config::default()
    };
    let mut job = Job::plan(pipeline, &config)?;
    let mut random = how.seed;
    let mut asleep = vec![false; job.workers.len()];
    while !job.handle.is_done() {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(random >> 33).unwrap_or(0) % job.workers.len();
        let worker = &mut job.workers[at];
        if !asleep[at] || worker.is_notified() {
            let progress = worker.step();
            asleep[at] = progress != Progress::Made && worker.deadline().is_none();
        }
        let stuck = asleep.iter().all(|asleep| *asleep)
            && !job.workers.iter().any(Worker::is_notified)
            && !job.handle.is_done();
        assert!(!stuck, "{how:?}: all asleep before the end: {:?}", job.handle.metrics());
    }
    job.handle.join().wait()
}

/// A sink that has no room every other time, but says so in time.
struct Reluctant<U> {
    out: Arc<Mutex<Vec<U>>>,
    refuses: bool,
}

struct ReluctantWriter<U> {
    out: Arc<Mutex<Vec<U>>>,
    refuses: bool,
    room: bool,
}

impl<U: Send + 'static> Sink<U> for Reluctant<U> {
    type Writer = ReluctantWriter<U>;
    fn name(&self) -> String {
        "reluctant".into()
    }
    fn open(&mut self, _: usize) -> Result<ReluctantWriter<U>> {
        Ok(ReluctantWriter { out: self.out.clone(), refuses: self.refuses, room: true })
    }
}

impl<U: Send + 'static> SinkWriter<U> for ReluctantWriter<U> {
    fn has_room(&self) -> bool {
        self.room
    }
    fn write(&mut self, item: U, _: EventTime) -> Result<()> {
        assert!(self.room, "written without room");
        self.out.lock().push(item);
        self.room = !self.refuses;
        Ok(())
    }
    fn poll(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        if self.room {
            return Ok(true);
        }
        self.room = true;
        cx.waker().wake_by_ref();
        Ok(true)
    }
}
