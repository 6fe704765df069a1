//! Stream jobs on the cores of a member: each core drives one worker of a job between its connections.

use crate::cores::Core;
use grid_core::{Error, Kind};
use grid_stream::{Config, Job, JobError, JobHandle, Pipeline, Progress, Worker};
use tokio::time::{Instant, sleep_until};

/// Plans a pipeline for these cores and hands each its worker.
pub(crate) fn run(
    pipeline: Pipeline,
    partitions: u16,
    cores: &[Core],
) -> Result<JobHandle, JobError> {
    let config = Config { workers: cores.len(), partitions, ..Config::default() };
    let Job { workers, handle } = Job::plan(pipeline, &config)?;
    for (core, worker) in cores.iter().zip(workers) {
        // A worker that is dropped here fails the job, so the others end too.
        core.tasks.try_send(Box::pin(drive(worker))).map_err(|_| {
            let error = Error::with(Kind::Overloaded, "the member's cores take no more jobs now");
            JobError::new("worker", error)
        })?;
    }
    Ok(handle)
}

/// Steps a worker until the job ends. Between two steps the core serves its connections.
async fn drive(mut worker: Worker) {
    loop {
        match worker.step() {
            Progress::Made => tokio::task::yield_now().await,
            Progress::Done => return,
            Progress::None => match worker.deadline() {
                None => worker.notified().await,
                Some(deadline) => tokio::select! {
                    biased;
                    () = worker.notified() => {}
                    () = sleep_until(Instant::from_std(deadline)) => {}
                },
            },
        }
    }
}
