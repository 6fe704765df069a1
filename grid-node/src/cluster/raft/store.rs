//! The log store: everything in memory, and in a file behind it if the node is to outlive its process.

use super::file::{self, FRAME_HEAD_BYTES, LogFile};
use super::image::{Image, Record};
use super::writer::{self, Done, Failure, STEPS_MAX, Step};
use super::{Entry, LogId, Types, Vote};
use grid_core::error::Result as GridResult;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A file that is larger than this is rewritten when entries are purged.
const FILE_BYTES_MIN: usize = 256 << 10;

struct Inner {
    image: Image,
    /// Bytes of the file, once all is written.
    file_bytes: usize,
}

/// See the module documentation. Clones are the same store.
#[derive(Clone)]
pub(in crate::cluster) struct LogStore {
    inner: Arc<Mutex<Inner>>,
    steps: Option<mpsc::Sender<Step>>,
}

impl LogStore {
    /// A store that ends with the process.
    pub(in crate::cluster) fn in_memory() -> Self {
        LogStore::of(Image::default(), 0, None)
    }

    /// The store of a directory. `keep` is held until nothing is written there any more.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::cluster) fn open(
        dir: &Path,
        failure: Failure,
        keep: impl Send + 'static,
    ) -> GridResult<Self> {
        let (log, image) = LogFile::open(dir)?;
        Ok(LogStore::onto(log, image, failure, keep))
    }

    pub(super) fn onto(
        log: LogFile,
        image: Image,
        failure: Failure,
        keep: impl Send + 'static,
    ) -> Self {
        let (steps, queue) = mpsc::channel(STEPS_MAX);
        let file_bytes = log.bytes();
        tokio::spawn(writer::run(log, queue, failure, keep));
        LogStore::of(image, file_bytes, Some(steps))
    }

    fn of(image: Image, file_bytes: usize, steps: Option<mpsc::Sender<Step>>) -> Self {
        LogStore { inner: Arc::new(Mutex::new(Inner { image, file_bytes })), steps }
    }

    /// Whether anything was ever stored.
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.inner.lock().image == Image::default()
    }

    /// Takes the steps in memory and queues them for the file, in one order.
    async fn take(&self, records: Vec<Record<Entry>>, done: Done) -> io::Result<()> {
        let Some(steps) = &self.steps else {
            let mut inner = self.inner.lock();
            records
                .into_iter()
                .try_for_each(|record| inner.image.apply(record))
                .map_err(io::Error::other)?;
            drop(inner);
            match done {
                Done::Flushed(callback) => callback.io_completed(Ok(())),
                Done::Ack(waiting) => drop(waiting.send(Ok(()))),
                Done::Lazy | Done::Quiet => {}
            }
            return Ok(());
        };
        let mut bytes = Vec::new();
        records.iter().try_for_each(|record| file::encode(record, &mut bytes))?;
        let permit = steps.reserve().await.map_err(|_| stopped())?;
        let mut inner = self.inner.lock();
        let purges = matches!(records.last(), Some(Record::Purge(_)));
        records
            .into_iter()
            .try_for_each(|record| inner.image.apply(record))
            .map_err(io::Error::other)?;
        inner.file_bytes += bytes.len() + FRAME_HEAD_BYTES;
        let replace = purges && inner.file_bytes > FILE_BYTES_MIN;
        if replace {
            bytes.clear();
            inner.image.records().try_for_each(|record| file::encode(&record, &mut bytes))?;
            inner.file_bytes = bytes.len();
        }
        permit.send(Step { records: bytes, replace, done });
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the control log could not be written and takes nothing more")
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.inner.lock().image.range(range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.inner.lock().image.vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let image = &self.inner.lock().image;
        Ok(LogState { last_purged_log_id: image.purged, last_log_id: image.last() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, ack) = oneshot::channel();
        self.take(vec![Record::Vote(*vote)], Done::Ack(done)).await?;
        ack.await.map_err(|_| stopped())?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.take(vec![Record::Committed(committed)], Done::Lazy).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.inner.lock().image.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(Record::Entry).collect();
        self.take(records, Done::Flushed(callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.take(vec![Record::Truncate(last)], Done::Quiet).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.take(vec![Record::Purge(upto)], Done::Quiet).await
    }
}
