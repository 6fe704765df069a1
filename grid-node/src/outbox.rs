//! What other threads have for a connection: replies that were parked, and events. The connection's
//! own task writes; everybody else appends here and wakes it once.

use grid_core::wire::event::{self, Event};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Outbox {
    closed: AtomicBool,
    event_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    /// Items that found no room, by subscription.
    missed: BTreeMap<u64, u64>,
}

impl Outbox {
    /// An outbox that drops events, and counts them, beyond this many waiting bytes.
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Outbox { closed: AtomicBool::new(false), event_bytes_max, state: Mutex::default() }
    }

    /// Appends a reply frame. Their number is bounded by the requests that a connection may have waiting.
    pub(crate) fn reply(&self, frame: &[u8]) {
        self.add(|state| state.bytes.extend_from_slice(frame));
    }

    /// Appends an item of a subscription, or counts it as missed.
    pub(crate) fn event(&self, subscription: u64, event: Event<'_>) {
        let max = self.event_bytes_max;
        self.add(|state| {
            if state.bytes.len() >= max {
                *state.missed.entry(subscription).or_default() += 1;
                return;
            }
            if let Some(missed) = state.missed.remove(&subscription) {
                event::encode(subscription, Event::Gap { missed }, &mut state.bytes);
            }
            event::encode(subscription, event, &mut state.bytes);
        });
    }

    fn add(&self, add: impl FnOnce(&mut State)) {
        if self.is_closed() {
            return;
        }
        let mut state = self.state.lock();
        add(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves what is there to the end of `out`, and has the waker called when there is more.
    pub(crate) fn take(&self, waker: &Waker, out: &mut Vec<u8>) {
        let mut state = self.state.lock();
        if out.is_empty() {
            std::mem::swap(out, &mut state.bytes);
        } else {
            out.append(&mut state.bytes);
        }
        for (subscription, missed) in std::mem::take(&mut state.missed) {
            event::encode(subscription, Event::Gap { missed }, out);
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// Has the connection look around.
    pub(crate) fn nudge(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody will take anything any more; the connection, if it lives, is woken to end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut state = self.state.lock();
        state.bytes = Vec::new();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the outbox was closed.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::data::{Blob, TypeTag};
    use grid_core::wire::split_frame;

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed_before_the_next_item() {
        let outbox = Outbox::new(100);
        let blob = Blob { tag: TypeTag(1), payload: &[7; 60] };
        for seq in 1..=5 {
            outbox.event(9, Event::Item { seq, item: blob });
        }
        let mut out = Vec::new();
        outbox.take(Waker::noop(), &mut out);
        outbox.event(9, Event::Item { seq: 6, item: blob });
        outbox.take(Waker::noop(), &mut out);
        let mut seen = Vec::new();
        let mut rest = &out[..];
        while let Some((frame, used)) = split_frame(rest, 1000).unwrap() {
            seen.push(match event::decode(frame).unwrap() {
                (9, Event::Item { seq, .. }) => format!("item {seq}"),
                (9, Event::Gap { missed }) => format!("gap {missed}"),
                other => panic!("{other:?}"),
            });
            rest = &rest[used..];
        }
        assert_eq!(seen, ["item 1", "item 2", "gap 3", "item 6"]);
    }
}
