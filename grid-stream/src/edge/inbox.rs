//! The receiving end of an edge on one worker: the lanes of all its senders, read in turn, and
//! their watermarks combined.

use super::lane::Lane;
use super::{Batch, Envelope};
use crate::time::clock::Combined;
use crate::time::{END, EventTime};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An edge of the plan: one inbox per receiving worker.
#[derive(Debug)]
pub(crate) struct Edge<B> {
    inboxes: Arc<Mutex<Vec<Lanes<B>>>>,
    /// Whether anything receives from it.
    received: Arc<AtomicBool>,
}

type Lanes<B> = Arc<Mutex<Vec<Arc<Lane<B>>>>>;

impl<B> Clone for Edge<B> {
    fn clone(&self) -> Self {
        Edge { inboxes: self.inboxes.clone(), received: self.received.clone() }
    }
}

impl<B: Batch> Edge<B> {
    pub(crate) fn new() -> Self {
        Edge { inboxes: Arc::default(), received: Arc::default() }
    }

    fn lanes(&self, worker: usize) -> Lanes<B> {
        let mut inboxes = self.inboxes.lock();
        if inboxes.len() <= worker {
            inboxes.resize_with(worker + 1, Arc::default);
        }
        inboxes[worker].clone()
    }

    pub(crate) fn received(&self) -> Arc<AtomicBool> {
        self.received.clone()
    }

    /// One more sender to `worker`.
    pub(crate) fn connect(&self, worker: usize, lane: Arc<Lane<B>>) {
        self.lanes(worker).lock().push(lane);
    }

    /// The receiving end on `worker`. Senders may still connect until the first step.
    pub(crate) fn receiver(&self, worker: usize) -> Receiver<B> {
        self.received.store(true, Relaxed);
        Receiver {
            connected: self.lanes(worker),
            lanes: Vec::new(),
            next: 0,
            open: usize::MAX,
            clock: Combined::default(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Receiver<B> {
    connected: Lanes<B>,
    lanes: Vec<Arc<Lane<B>>>,
    next: usize,
    open: usize,
    clock: Combined,
}

/// A batch on loan, to be given back to [`Receiver::done`].
#[derive(Debug)]
pub(crate) struct Received<B> {
    pub(crate) batch: B,
    lane: usize,
    watermark: EventTime,
}

impl<B: Batch> Receiver<B> {
    fn start(&mut self) {
        self.lanes = std::mem::take(&mut *self.connected.lock());
        self.open = self.lanes.len();
        self.clock = Combined::new(self.open);
    }

    /// The next batch of any sender.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Received<B>> {
        if self.open == usize::MAX {
            self.start();
        }
        for _ in 0..self.lanes.len() {
            let lane = self.next;
            self.next = if lane + 1 == self.lanes.len() { 0 } else { lane + 1 };
            if let Some(Envelope { batch, watermark }) = self.lanes[lane].pop() {
                return Some(Received { batch, lane, watermark });
            }
        }
        None
    }

    /// Gives the batch back; returns the combined watermark if it advanced.
    #[inline]
    pub(crate) fn done(&mut self, received: Received<B>) -> Option<EventTime> {
        self.lanes[received.lane].recycle(received.batch);
        if received.watermark == END {
            self.open -= 1;
        }
        self.clock.update(received.lane, received.watermark)
    }

    /// Whether all senders have ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.open == 0
    }

    /// Batches that wait.
    pub(crate) fn queued(&self) -> usize {
        self.lanes.iter().map(|lane| lane.len()).sum()
    }
}
