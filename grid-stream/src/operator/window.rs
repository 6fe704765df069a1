//! Event-time windows per key: panes of accumulators, fired by the watermark.

pub(crate) mod combine;
pub(crate) mod fire;
pub(crate) mod run;
pub(crate) mod spec;

use crate::edge::Batch;
use crate::edge::route::Place;
use crate::time::EventTime;

/// The result of one window of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct WindowResult<K, R> {
    /// The key.
    pub key: K,
    /// First millisecond of the window.
    pub start: EventTime,
    /// First millisecond after it. The result's own event time is the one before.
    pub end: EventTime,
    /// What the aggregate came to.
    pub value: R,
}

/// A keyed item on its way to the worker of its partition.
#[derive(Debug)]
pub(crate) struct Row<K, T> {
    pub(crate) key: K,
    pub(crate) item: T,
    pub(crate) time: EventTime,
    pub(crate) place: Place,
}

/// What a sender has combined for one key in one pane.
#[derive(Debug)]
pub(crate) struct Partial<K, A> {
    pub(crate) key: K,
    pub(crate) pane: i64,
    pub(crate) acc: A,
    pub(crate) place: Place,
}

/// Rows and partial results for windows.
#[derive(Debug)]
pub(crate) struct WindowBatch<K, T, A> {
    pub(crate) rows: Vec<Row<K, T>>,
    pub(crate) partials: Vec<Partial<K, A>>,
}

impl<K, T, A> Default for WindowBatch<K, T, A> {
    fn default() -> Self {
        WindowBatch { rows: Vec::new(), partials: Vec::new() }
    }
}

impl<K, T, A> Batch for WindowBatch<K, T, A>
where
    K: Send + 'static,
    T: Send + 'static,
    A: Send + 'static,
{
    #[inline]
    fn len(&self) -> usize {
        self.rows.len() + self.partials.len()
    }
    fn clear(&mut self) {
        self.rows.clear();
        self.partials.clear();
    }
}
