//! What other threads have for a connection: replies that were parked, and events. The connection's
//! own task writes; everybody else appends here and wakes it once.

use grid_core::wire::event::{self, Event};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Outbox {
    closed: AtomicBool,
    event_bytes_max: usize,
    /// Replies of this connection that had to wait for their gates; only its own task writes this.
    parked: AtomicU64,
    /// How many of them have been brought; written under the lock.
    brought: AtomicU64,
    /// How often in a row the control thread has found that nothing came from the other side.
    silence: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    /// The connection waits for its socket and takes nothing: more bytes are no reason to wake it.
    stalled: bool,
    /// Items that found no room, by subscription.
    missed: BTreeMap<u64, u64>,
}

impl Outbox {
    /// An outbox that drops events, and counts them, beyond this many waiting bytes.
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Outbox {
            closed: AtomicBool::new(false),
            event_bytes_max,
            parked: AtomicU64::new(0),
            brought: AtomicU64::new(0),
            silence: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    /// A reply of this connection waits for its gate now; [`Outbox::reply`] will bring it. Only for the
    /// connection's own task.
    pub(crate) fn park(&self) {
        self.parked.store(self.parked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Whether a reply of this connection waits for its gate.
    pub(crate) fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) != self.brought.load(Ordering::Acquire)
    }

    /// Appends the frame of a reply that was parked: what a cell parks is bounded there. Returns whom to
    /// wake once no lock is held.
    #[must_use]
    pub(crate) fn reply(&self, frame: &[u8]) -> Option<Waker> {
        let mut state = self.state.lock();
        self.brought.store(self.brought.load(Ordering::Relaxed) + 1, Ordering::Release);
        if self.is_closed() {
            return None;
        }
        state.bytes.extend_from_slice(frame);
        if state.stalled { None } else { state.waker.take() }
    }

    /// Appends an item of a subscription, or counts it as missed. Returns whom to wake once no lock is
    /// held.
    #[must_use]
    pub(crate) fn event(&self, subscription: u64, event: Event<'_>) -> Option<Waker> {
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
        })
    }

    fn add(&self, add: impl FnOnce(&mut State)) -> Option<Waker> {
        if self.is_closed() {
            return None;
        }
        let mut state = self.state.lock();
        add(&mut state);
        if state.stalled { None } else { state.waker.take() }
    }

    /// Moves what is there to the end of `out`, and has the waker called when there is more. Without
    /// `out` everything stays, and the waker is called only by [`Outbox::nudge`] and [`Outbox::close`].
    pub(crate) fn take(&self, waker: &Waker, out: Option<&mut Vec<u8>>) {
        let mut state = self.state.lock();
        state.stalled = out.is_none();
        if let Some(out) = out {
            if out.is_empty() {
                std::mem::swap(out, &mut state.bytes);
            } else {
                out.append(&mut state.bytes);
                state.bytes = Vec::new();
            }
            for (subscription, missed) in std::mem::take(&mut state.missed) {
                event::encode(subscription, Event::Gap { missed }, out);
            }
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// Something came from the other side.
    pub(crate) fn heard(&self) {
        self.silence.store(0, Ordering::Relaxed);
    }

    /// How often in a row this was asked and nothing had come.
    pub(crate) fn silence(&self) -> u32 {
        self.silence.fetch_add(1, Ordering::Relaxed)
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
        self.state.lock().bytes = Vec::new();
        self.nudge();
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
            let _ = outbox.event(9, Event::Item { seq, item: blob });
        }
        let mut out = Vec::new();
        outbox.take(Waker::noop(), Some(&mut out));
        let _ = outbox.event(9, Event::Item { seq: 6, item: blob });
        outbox.take(Waker::noop(), Some(&mut out));
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

    #[test]
    fn while_the_socket_is_full_events_neither_wake_the_connection_nor_pile_up() {
        let outbox = Outbox::new(100);
        let event = |seq| Event::Item { seq, item: Blob { tag: TypeTag(1), payload: &[7; 60] } };
        outbox.take(Waker::noop(), None);
        for seq in 0..1000 {
            assert!(outbox.event(9, event(seq)).is_none(), "nobody takes anything");
        }
        assert!(outbox.state.lock().bytes.len() < 300);
        outbox.take(Waker::noop(), Some(&mut Vec::new()));
        assert!(outbox.event(9, event(1000)).is_some());
    }
}
