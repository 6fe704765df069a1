//! Source alignment: a source waits while it is too far ahead of the slowest one in event time.
//! Without it, what the fast ones read piles up in open windows although every queue is bounded.

use super::{EventTime, IDLE, NONE, is_time};
use crate::tasklet::notify::Notify;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

/// The sources of a job that are aligned with each other.
#[derive(Debug, Default)]
pub struct Alignment {
    ahead_max: i64,
    members: Mutex<Vec<Arc<AtomicI64>>>,
    waiting: AtomicBool,
    workers: Mutex<Vec<Arc<Notify>>>,
}

impl Alignment {
    /// Sources may be `ahead_max` milliseconds ahead of the slowest.
    pub(crate) fn new(ahead_max: i64) -> Self {
        Alignment { ahead_max, ..Alignment::default() }
    }

    /// One more source on the worker that `notify` wakes.
    pub(crate) fn join(self: &Arc<Self>, notify: &Arc<Notify>) -> Aligned {
        let own = Arc::new(AtomicI64::new(NONE));
        self.members.lock().push(own.clone());
        self.workers.lock().push(notify.clone());
        Aligned { own, members: Vec::new(), published: NONE, group: self.clone() }
    }
}

/// The place of one source in its group.
#[derive(Debug)]
pub struct Aligned {
    own: Arc<AtomicI64>,
    members: Vec<Arc<AtomicI64>>,
    published: EventTime,
    group: Arc<Alignment>,
}

impl Aligned {
    /// Publishes the watermark of this source.
    pub(crate) fn publish(&mut self, watermark: EventTime) {
        if watermark == self.published {
            return;
        }
        self.published = watermark;
        self.own.store(watermark, SeqCst);
        if self.group.waiting.load(SeqCst) && self.group.waiting.swap(false, SeqCst) {
            for worker in self.group.workers.lock().iter() {
                worker.notify();
            }
        }
    }

    /// Whether this source has to wait. If so, its worker is woken when another one advances.
    pub(crate) fn must_wait(&mut self) -> bool {
        if !is_time(self.published) || !self.is_ahead() {
            return false;
        }
        self.group.waiting.store(true, SeqCst);
        self.is_ahead()
    }

    fn is_ahead(&mut self) -> bool {
        if self.members.is_empty() {
            self.members.clone_from(&self.group.members.lock());
        }
        // A source without a watermark has not begun or has no timestamps; nobody waits for it
        // beyond its first item, since it publishes with its first batch.
        let slowest = self.members.iter().map(|m| m.load(SeqCst)).filter(|w| *w > NONE).min();
        let slowest = slowest.unwrap_or(IDLE);
        self.published > slowest.saturating_add(self.group.ahead_max)
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        self.publish(super::END);
    }
}
