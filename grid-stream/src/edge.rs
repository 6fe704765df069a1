//! Edges between tasklets: bounded queues of batches that go round (an emptied batch returns to
//! its sender), refusal instead of growth, and the watermark in order behind the rows.

pub(crate) mod exchange;
pub(crate) mod inbox;
pub(crate) mod lane;
pub(crate) mod local;
pub(crate) mod outbox;
pub(crate) mod route;

use crate::time::EventTime;

/// Rows that travel together.
pub(crate) trait Batch: Default + Send + 'static {
    /// Number of rows.
    fn len(&self) -> usize;
    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forgets the rows and keeps the memory.
    fn clear(&mut self);
}

impl<T: Send + 'static> Batch for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn clear(&mut self) {
        Vec::clear(self);
    }
}

/// What an edge carries: rows, then the watermark that holds behind them.
#[derive(Debug)]
pub(crate) struct Envelope<B> {
    pub(crate) batch: B,
    pub(crate) watermark: EventTime,
}
