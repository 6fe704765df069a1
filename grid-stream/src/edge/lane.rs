//! One lane of an edge: a bounded queue from one tasklet to another, with the way back for
//! emptied batches. One short lock per batch, not per item.

use super::{Batch, Envelope};
use crate::tasklet::notify::Notify;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::Release};

#[derive(Debug)]
pub(crate) struct Lane<B> {
    state: Mutex<State<B>>,
    /// Length of the queue, so that an empty lane is passed by without its lock.
    len: AtomicUsize,
    capacity: usize,
    producer: Arc<Notify>,
    consumer: Arc<Notify>,
}

#[derive(Debug)]
struct State<B> {
    queue: VecDeque<Envelope<B>>,
    spare: Vec<B>,
    producer_waits: bool,
}

impl<B: Batch> Lane<B> {
    pub(crate) fn new(capacity: usize, producer: Arc<Notify>, consumer: Arc<Notify>) -> Self {
        let capacity = capacity.max(1);
        let state = State {
            queue: VecDeque::with_capacity(capacity),
            spare: Vec::with_capacity(capacity + 2),
            producer_waits: false,
        };
        Lane { state: Mutex::new(state), len: AtomicUsize::new(0), capacity, producer, consumer }
    }

    /// Hands a batch over and gets an empty one; or gets it back if the lane is full, and is woken
    /// once there is room.
    pub(crate) fn push(&self, envelope: Envelope<B>) -> Result<B, Envelope<B>> {
        let mut state = self.state.lock();
        if state.queue.len() >= self.capacity {
            state.producer_waits = true;
            return Err(envelope);
        }
        state.queue.push_back(envelope);
        self.len.store(state.queue.len(), Release);
        let spare = state.spare.pop();
        drop(state);
        self.consumer.notify();
        Ok(spare.unwrap_or_default())
    }

    pub(crate) fn pop(&self) -> Option<Envelope<B>> {
        if self.len.load(Relaxed) == 0 {
            return None;
        }
        let mut state = self.state.lock();
        let envelope = state.queue.pop_front();
        self.len.store(state.queue.len(), Release);
        let wake = std::mem::take(&mut state.producer_waits);
        drop(state);
        if wake {
            self.producer.notify();
        }
        envelope
    }

    /// Returns an emptied batch for reuse.
    pub(crate) fn recycle(&self, mut batch: B) {
        batch.clear();
        let mut state = self.state.lock();
        if state.spare.len() < self.capacity + 2 {
            state.spare.push(batch);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_batch_comes_back_and_an_emptied_one_is_reused() {
        let lane = Lane::<Vec<u32>>::new(1, Arc::default(), Arc::default());
        let of = |n| Envelope { batch: vec![n], watermark: 0 };
        assert!(lane.push(of(1)).is_ok());
        let back = lane.push(of(2)).unwrap_err();
        assert_eq!(back.batch, [2]);
        let mut first = lane.pop().unwrap();
        assert_eq!(first.batch, [1]);
        first.batch.reserve(100);
        let memory = first.batch.capacity();
        lane.recycle(first.batch);
        let empty = lane.push(back).unwrap();
        assert_eq!((empty.len(), empty.capacity()), (0, memory));
        assert_eq!(lane.pop().unwrap().batch, [2]);
        assert!(lane.pop().is_none());
    }
}
