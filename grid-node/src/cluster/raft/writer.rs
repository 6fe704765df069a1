//! Writes the log file behind its store: all that has come meanwhile goes into one frame and one sync, in
//! order, on a thread that may block.

use super::Types;
use super::file::{self, LogFile};
use openraft::storage::IOFlushed;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Steps that wait for the disk before the store makes its caller wait.
pub(super) const STEPS_MAX: usize = 1024;
/// Steps that share a frame.
const BATCH_STEPS: usize = 256;
/// How long what nobody waits for may stay unwritten.
const LAZY: Duration = Duration::from_millis(500);

/// Whom to tell that a step is on the disk.
pub(super) enum Done {
    /// Nobody; it need not get there soon.
    Lazy,
    /// Nobody.
    Quiet,
    /// The consensus.
    Flushed(IOFlushed<Types>),
    /// A caller that waits.
    Ack(oneshot::Sender<io::Result<()>>),
}

/// Records for the file.
pub(super) struct Step {
    pub(super) records: Vec<u8>,
    /// They are everything that the file is to hold.
    pub(super) replace: bool,
    pub(super) done: Done,
}

/// The first failure of the disk, as a sentence. The node cannot go on after one.
pub(in crate::cluster) type Failure = watch::Sender<Option<Arc<str>>>;

/// Runs until all stores are gone, or the disk fails.
pub(super) async fn run(
    mut log: LogFile,
    mut steps: mpsc::Receiver<Step>,
    failure: Failure,
    keep: impl Send + 'static,
) {
    while let Some(step) = steps.recv().await {
        let batch = fill(step, &mut steps).await;
        let write = move || {
            let result = write(&mut log, &batch);
            (log, batch, result)
        };
        let Ok((back, batch, result)) = tokio::task::spawn_blocking(write).await else { return };
        log = back;
        let error = result.err();
        for step in batch {
            // An error has no copies.
            let result = match &error {
                None => Ok(()),
                Some(e) => Err(io::Error::new(e.kind(), e.to_string())),
            };
            match step.done {
                Done::Lazy | Done::Quiet => {}
                Done::Flushed(callback) => callback.io_completed(result),
                Done::Ack(waiting) => drop(waiting.send(result)),
            }
        }
        if let Some(error) = error {
            tracing::error!(%error, "the control log cannot be written: this member must stop");
            let text = format!("the control log cannot be written: {error}");
            failure.send_replace(Some(text.into()));
            break;
        }
    }
    drop((log, keep));
}

/// Adds what has come meanwhile.
async fn fill(first: Step, steps: &mut mpsc::Receiver<Step>) -> Vec<Step> {
    let mut batch = vec![first];
    while batch.len() < BATCH_STEPS {
        match steps.try_recv() {
            Ok(step) => batch.push(step),
            Err(_) if batch.iter().all(|step| matches!(step.done, Done::Lazy)) => {
                match tokio::time::timeout(LAZY, steps.recv()).await {
                    Ok(Some(step)) => batch.push(step),
                    _ => break,
                }
            }
            Err(_) => break,
        }
    }
    batch
}

fn write(log: &mut LogFile, batch: &[Step]) -> io::Result<()> {
    let whole = batch.iter().rposition(|step| step.replace);
    let mut frames = Vec::new();
    if let Some(at) = whole {
        file::frame(&batch[at].records, &mut frames)?;
        log.replace(&frames)?;
        frames.clear();
    }
    let rest = batch.get(whole.map_or(0, |at| at + 1)..).unwrap_or_default();
    let mut content = Vec::with_capacity(rest.iter().map(|step| step.records.len()).sum());
    rest.iter().for_each(|step| content.extend_from_slice(&step.records));
    if content.is_empty() {
        return Ok(());
    }
    file::frame(&content, &mut frames)?;
    log.append(&frames)
}
