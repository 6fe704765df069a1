//! A job: a planned pipeline, its workers, and the handle to it.

use crate::error::JobError;
use crate::metrics::{StageEntry, StageMetrics};
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::tasklet::notify::Notify;
use crate::tasklet::worker::Worker;
use grid_core::limits::PARTITION_COUNT_DEFAULT;
use grid_core::{Error, Kind};
use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Settings of a job.
#[derive(Clone, Debug)]
pub struct Config {
    /// Workers that the job is spread over; one per core is right.
    pub workers: usize,
    /// Partitions of the grid; decide with `workers` which worker has which keys.
    pub partitions: u16,
    /// Rows in a batch between tasklets.
    pub batch: usize,
    /// Batches that may wait on one lane from one tasklet to another.
    pub queue_batches: usize,
    /// Items that one step of a tasklet handles, about.
    pub budget: u32,
    /// A source waits while it is further ahead of the slowest one in event time.
    pub ahead_max: Option<Duration>,
    /// A source partition that had nothing for so long no longer holds back the watermark.
    pub idle_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            workers: 1,
            partitions: PARTITION_COUNT_DEFAULT,
            batch: 1024,
            queue_batches: 8,
            budget: 1024,
            ahead_max: Some(Duration::from_millis(500)),
            idle_after: Duration::from_secs(10),
        }
    }
}

/// A planned job: its workers, which somebody has to drive, and its handle.
pub struct Job {
    /// To be driven, each by one thread or task.
    pub workers: Vec<Worker>,
    /// To watch, cancel and join the job.
    pub handle: JobHandle,
}

impl Job {
    /// Plans a pipeline. Opens its sources and sinks, so that a missing file is known before
    /// anything starts.
    pub fn plan(pipeline: Pipeline, config: &Config) -> Result<Job, JobError> {
        let plan = Plan::of(pipeline.into_graph(), config)?;
        let shared = Arc::new(JobShared {
            stopping: AtomicBool::new(false),
            running: AtomicUsize::new(config.workers),
            end: Mutex::default(),
            ended: Condvar::new(),
            stages: plan.stages,
            notifies: plan.notifies.clone(),
        });
        let workers = plan
            .tasklets
            .into_iter()
            .zip(plan.notifies)
            .map(|(tasklets, notify)| Worker::new(tasklets, notify, config, shared.clone()))
            .collect();
        Ok(Job { workers, handle: JobHandle { shared } })
    }

    /// Drives each worker on a thread of its own.
    pub fn spawn(self) -> Result<JobHandle, JobError> {
        for (at, worker) in self.workers.into_iter().enumerate() {
            let thread = std::thread::Builder::new().name(format!("stream-{at}"));
            if let Err(error) = thread.spawn(move || worker.run()) {
                let error = Error::with(Kind::Io, format!("cannot start a thread: {error}"));
                return Err(JobError::new("worker", error));
            }
        }
        Ok(self.handle)
    }
}

/// Runs a pipeline on `workers` threads of its own.
pub fn run_local(pipeline: Pipeline, workers: usize) -> Result<JobHandle, JobError> {
    Job::plan(pipeline, &Config { workers, ..Config::default() })?.spawn()
}

/// What became of a job.
#[derive(Clone, Debug)]
pub struct Report {
    /// Figures of its stages at the end.
    pub stages: Vec<StageMetrics>,
    /// Whether it was cancelled rather than ended by itself.
    pub cancelled: bool,
}

impl Report {
    /// Figures of the stage with this name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageMetrics> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

#[derive(Debug, Default)]
struct End {
    failure: Option<JobError>,
    cancelled: bool,
    done: bool,
    wakers: Vec<Waker>,
}

/// What the workers and handles of a job share.
#[derive(Debug)]
pub(crate) struct JobShared {
    stopping: AtomicBool,
    running: AtomicUsize,
    end: Mutex<End>,
    ended: Condvar,
    stages: Vec<StageEntry>,
    notifies: Vec<Arc<Notify>>,
}

impl JobShared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.notifies.iter().for_each(|notify| notify.notify());
    }

    /// Fails the job; the first failure counts.
    pub(crate) fn fail(&self, error: JobError) {
        tracing::error!(%error, "a stream job failed");
        self.end.lock().failure.get_or_insert(error);
        self.stop();
    }

    fn cancel(&self) {
        let mut end = self.end.lock();
        if !end.done {
            end.cancelled = true;
            drop(end);
            self.stop();
        }
    }

    pub(crate) fn worker_done(&self) {
        if self.running.fetch_sub(1, SeqCst) > 1 {
            return;
        }
        let mut end = self.end.lock();
        end.done = true;
        let wakers = std::mem::take(&mut end.wakers);
        drop(end);
        self.ended.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn result(&self, end: &End) -> Option<Result<Report, JobError>> {
        end.done.then(|| match &end.failure {
            Some(error) => Err(error.clone()),
            None => Ok(Report { stages: self.metrics(), cancelled: end.cancelled }),
        })
    }

    fn metrics(&self) -> Vec<StageMetrics> {
        self.stages.iter().map(StageEntry::metrics).collect()
    }
}

/// Watches, cancels and joins a job. Dropping it lets the job run on.
#[derive(Clone, Debug)]
pub struct JobHandle {
    shared: Arc<JobShared>,
}

impl JobHandle {
    /// Waits for the end: `handle.join().await`, or [`Join::wait`] to block.
    pub fn join(&self) -> Join {
        Join { shared: self.shared.clone() }
    }

    /// Stops the job where it is: open windows do not fire.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.shared.end.lock().done
    }

    /// Figures of all stages, now.
    #[must_use]
    pub fn metrics(&self) -> Vec<StageMetrics> {
        self.shared.metrics()
    }

    /// How much of the bounded sources is read, 0 to 1: that of the one that is furthest behind.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        self.metrics().iter().filter_map(|stage| stage.fraction).reduce(f64::min)
    }
}

/// The end of a job; see [`JobHandle::join`].
#[derive(Debug)]
#[must_use = "await it or call `wait`"]
pub struct Join {
    shared: Arc<JobShared>,
}

impl Join {
    /// Blocks the calling thread until the job ends.
    pub fn wait(self) -> Result<Report, JobError> {
        let mut end = self.shared.end.lock();
        loop {
            if let Some(result) = self.shared.result(&end) {
                return result;
            }
            self.shared.ended.wait(&mut end);
        }
    }
}

impl Future for Join {
    type Output = Result<Report, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut end = self.shared.end.lock();
        if let Some(result) = self.shared.result(&end) {
            return Poll::Ready(result);
        }
        if !end.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            end.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
