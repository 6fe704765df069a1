//! The threads of a member: cores, each with a runtime of its own for connections and tasklets, and one
//! control thread for timers, acceptance and HTTP, so that these are never late behind data.

use grid_core::error::{Error, Kind, Result};
use std::future::Future;
use std::pin::Pin;
use std::thread::JoinHandle;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

/// Work for a core: a connection, or a part of a job.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks handed to a core that it has not taken yet.
const TASKS_MAX: usize = 1024;

/// A running thread with a runtime.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) tasks: mpsc::Sender<Task>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a core.
///
/// # Errors
/// If the system grants no thread or runtime.
pub(crate) fn start(number: usize, stop: watch::Receiver<bool>) -> Result<Core> {
    let (tasks, mut work) = mpsc::channel::<Task>(TASKS_MAX);
    let main = async move {
        loop {
            tokio::select! {
                biased;
                () = stopped(stop.clone()) => return,
                Some(task) = work.recv() => drop(tokio::spawn(task)),
            }
        }
    };
    let thread = spawn(&format!("grid-core-{number}"), main)?;
    Ok(Core { tasks, thread: Some(thread) })
}

/// Runs a future on a thread with a runtime of its own.
///
/// # Errors
/// If the system grants no thread or runtime.
pub(crate) fn spawn(
    name: &str,
    main: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let io = |error: std::io::Error| Error::with(Kind::Io, format!("thread {name}: {error}"));
    let runtime =
        Builder::new_current_thread().enable_all().event_interval(61).build().map_err(io)?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(main)).map_err(io)
}

/// Waits for the order to stop.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the member is gone altogether.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Core {
    /// Waits for the thread to end.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a core thread has panicked");
        }
    }
}
