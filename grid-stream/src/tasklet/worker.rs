//! A worker: the tasklets that take turns on one thread, or in one task of a runtime.

use super::notify::{Notified, Notify};
use super::{Progress, StepCx, Tasklet};
use crate::error::JobError;
use crate::job::{Config, JobShared};
use grid_core::{Error, Kind};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

/// One of the workers of a planned [`Job`](crate::Job). Whoever has it drives it:
///
/// ```no_run
/// # async fn yield_now() {}
/// # async fn sleep_until(_: Option<std::time::Instant>, _: impl Future) {}
/// # use grid_stream::{Progress, Worker};
/// async fn drive(mut worker: Worker) {
///     loop {
///         match worker.step() {
///             Progress::Made => yield_now().await,
///             Progress::None => sleep_until(worker.deadline(), worker.notified()).await,
///             Progress::Done => break,
///         }
///     }
/// }
/// ```
pub struct Worker {
    tasklets: Vec<Box<dyn Tasklet>>,
    notify: Arc<Notify>,
    waker: Waker,
    deadline: Option<Instant>,
    budget: u32,
    job: Arc<JobShared>,
    done: bool,
}

impl Worker {
    pub(crate) fn new(
        tasklets: Vec<Box<dyn Tasklet>>,
        notify: Arc<Notify>,
        config: &Config,
        job: Arc<JobShared>,
    ) -> Self {
        let waker = Waker::from(notify.clone());
        let budget = config.budget.max(1);
        Worker { tasklets, notify, waker, deadline: None, budget, job, done: false }
    }

    /// Steps each tasklet once. `None`: nothing to do before [`Worker::notified`] or
    /// [`Worker::deadline`]. Never blocks, never panics: a panic in a user function fails the job.
    pub fn step(&mut self) -> Progress {
        if self.done {
            return Progress::Done;
        }
        self.notify.take();
        self.deadline = None;
        if self.job.is_stopping() {
            return self.finish();
        }
        let mut made = false;
        let mut at = 0;
        while at < self.tasklets.len() {
            match self.step_tasklet(at) {
                Ok(Progress::None) => at += 1,
                Ok(Progress::Made) => {
                    made = true;
                    at += 1;
                }
                Ok(Progress::Done) => {
                    made = true;
                    self.tasklets.remove(at);
                }
                Err(error) => {
                    self.job.fail(error);
                    return self.finish();
                }
            }
        }
        if self.tasklets.is_empty() { self.finish() } else { Progress::of(made) }
    }

    fn step_tasklet(&mut self, at: usize) -> Result<Progress, JobError> {
        let tasklet = &mut self.tasklets[at];
        let mut cx = StepCx::new(self.budget, &self.waker, &mut self.deadline);
        match catch_unwind(AssertUnwindSafe(|| tasklet.step(&mut cx))) {
            Ok(Ok(progress)) => Ok(progress),
            Ok(Err(error)) => Err(JobError::new(tasklet.label(), error)),
            Err(panic) => {
                let text = format!("panicked: {}", panic_text(&*panic));
                Err(JobError::new(tasklet.label(), Error::with(Kind::UserCode, text)))
            }
        }
    }

    fn finish(&mut self) -> Progress {
        // User code may panic in a destructor, too.
        let tasklets = std::mem::take(&mut self.tasklets);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(tasklets))) {
            let text = format!("panicked: {}", panic_text(&*panic));
            self.job.fail(JobError::new("drop", Error::with(Kind::UserCode, text)));
        }
        self.done = true;
        self.job.worker_done();
        Progress::Done
    }

    /// When to step again even without a notification.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether there was a notification since the last step.
    #[must_use]
    pub fn is_notified(&self) -> bool {
        self.notify.is_notified()
    }

    /// Ends when there may be something to do again. A notification since the last step counts.
    pub fn notified(&self) -> Notified {
        self.notify.notified()
    }

    /// Drives the worker on the calling thread until the job ends.
    pub fn run(mut self) {
        let waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.step() {
                Progress::Made => {}
                Progress::Done => return,
                Progress::None => {
                    let mut notified = self.notified();
                    let notified = std::pin::Pin::new(&mut notified);
                    if notified.poll(&mut cx).is_pending() {
                        park_until(self.deadline);
                    }
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.done {
            self.job.fail(JobError::new("worker", Error::with(Kind::Closed, "was dropped")));
            self.finish();
        }
    }
}

struct ThreadWaker(std::thread::Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn park_until(deadline: Option<Instant>) {
    match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => {}
        Some(wait) => std::thread::park_timeout(wait),
        None => std::thread::park(),
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
