//! What stages count. Cells are written by one worker each and read by anybody; a stage's figures
//! are the sum over its cells.

use crate::time::{EventTime, IDLE, NONE};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Malformed inputs of which the place and reason are kept, per stage and worker.
pub(crate) const MALFORMED_KEPT_MAX: usize = 8;

/// What a stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageKind {
    /// Reads from outside.
    Source,
    /// Has keyed state.
    Stateful,
    /// Joins or forks streams.
    Edge,
    /// Writes to the outside.
    Sink,
}

/// An input that could not be read as an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// File or other place.
    pub place: String,
    /// Line in it, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// Counters of one stage on one worker.
#[derive(Debug)]
pub struct StageCell {
    items_in: AtomicU64,
    items_out: AtomicU64,
    late: AtomicU64,
    malformed: AtomicU64,
    queued: AtomicU64,
    busy_ns: AtomicU64,
    watermark: AtomicI64,
    position: AtomicU64,
    total: AtomicU64,
    first_malformed: Mutex<Vec<Malformed>>,
}

impl Default for StageCell {
    fn default() -> Self {
        StageCell {
            items_in: AtomicU64::new(0),
            items_out: AtomicU64::new(0),
            late: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            watermark: AtomicI64::new(NONE),
            position: AtomicU64::new(0),
            total: AtomicU64::new(0),
            first_malformed: Mutex::default(),
        }
    }
}

/// Adds to a counter that only this worker writes: no locked instruction.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl StageCell {
    /// Items came in.
    #[inline]
    pub fn add_in(&self, n: usize) {
        add(&self.items_in, n as u64);
    }
    /// Items went out.
    #[inline]
    pub fn add_out(&self, n: usize) {
        add(&self.items_out, n as u64);
    }
    /// An item came too late for its window.
    pub fn add_late(&self) {
        add(&self.late, 1);
    }
    /// An input was malformed and skipped.
    pub fn add_malformed(&self, what: impl FnOnce() -> Malformed) {
        add(&self.malformed, 1);
        let mut first = self.first_malformed.lock();
        if first.len() < MALFORMED_KEPT_MAX {
            first.push(what());
        }
    }
    /// How far the source is, of how much, in a unit of its own (bytes, items). 0 of 0: unknown.
    pub fn set_position(&self, position: u64, total: u64) {
        self.position.store(position, Relaxed);
        self.total.store(total, Relaxed);
    }
    pub(crate) fn set_queued(&self, batches: usize) {
        self.queued.store(batches as u64, Relaxed);
    }
    pub(crate) fn set_watermark(&self, watermark: EventTime) {
        self.watermark.store(watermark, Relaxed);
    }
    pub(crate) fn add_busy(&self, busy: Duration) {
        add(&self.busy_ns, u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Figures of one stage over all its workers.
#[derive(Clone, Debug)]
pub struct StageMetrics {
    /// Name of the stage.
    pub name: String,
    /// What it does.
    pub kind: StageKind,
    /// Items taken in; for a source, items read.
    pub items_in: u64,
    /// Items given out; for a sink, items accepted.
    pub items_out: u64,
    /// Items that came too late for every window they belong to.
    pub late: u64,
    /// Inputs that were skipped because they are malformed.
    pub malformed: u64,
    /// The first of them.
    pub first_malformed: Vec<Malformed>,
    /// Batches that wait in front of it.
    pub queued_batches: u64,
    /// Event time that it has completed: the least watermark of its workers, if they have any.
    pub watermark: Option<EventTime>,
    /// Time spent in it (for a source or stateful stage including the stateless stages and sinks
    /// behind it), summed over workers.
    pub busy: Duration,
    /// How much of a bounded source is read, 0 to 1, if it is known.
    pub fraction: Option<f64>,
}

/// A stage of a plan and its cells.
#[derive(Debug)]
pub(crate) struct StageEntry {
    pub(crate) name: String,
    pub(crate) kind: StageKind,
    pub(crate) cells: Vec<Arc<StageCell>>,
}

impl StageEntry {
    pub(crate) fn metrics(&self) -> StageMetrics {
        let sum = |of: fn(&StageCell) -> &AtomicU64| {
            self.cells.iter().map(|cell| of(cell).load(Relaxed)).fold(0, u64::wrapping_add)
        };
        let watermark = self.cells.iter().map(|cell| cell.watermark.load(Relaxed)).min();
        let (position, total) = (sum(|c| &c.position), sum(|c| &c.total));
        #[allow(clippy::cast_precision_loss)]
        let fraction = (total > 0).then(|| (position as f64 / total as f64).min(1.0));
        StageMetrics {
            name: self.name.clone(),
            kind: self.kind,
            items_in: sum(|c| &c.items_in),
            items_out: sum(|c| &c.items_out),
            late: sum(|c| &c.late),
            malformed: sum(|c| &c.malformed),
            first_malformed: self
                .cells
                .iter()
                .flat_map(|cell| cell.first_malformed.lock().clone())
                .collect(),
            queued_batches: sum(|c| &c.queued),
            watermark: watermark.filter(|w| *w != NONE && *w != IDLE),
            busy: Duration::from_nanos(sum(|c| &c.busy_ns)),
            fraction,
        }
    }
}
