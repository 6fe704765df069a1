//! A bounded mailbox between the shell that delivers events and the subscriber that reads them. Full,
//! it counts what it drops, and the subscriber is told at that place.

use crate::data::BlobBuf;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// What a mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEvent {
    /// An item at this position.
    Item {
        /// Position in its partition.
        seq: u64,
        /// The item.
        item: BlobBuf,
    },
    /// Items were missed: how many, if known.
    Gap {
        /// How many.
        missed: Option<u64>,
    },
}

/// See the module documentation.
pub struct Mailbox {
    items_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<RawEvent>,
    waker: Option<Waker>,
    /// The subscriber is gone.
    left: bool,
    /// No event will come any more.
    closed: bool,
    on_leave: Option<Box<dyn FnOnce() + Send>>,
}

impl Mailbox {
    /// A mailbox for at most this many events.
    #[must_use]
    pub fn new(items_max: usize) -> Self {
        Mailbox { items_max: items_max.max(1), state: Mutex::default() }
    }

    /// What to do when the subscriber leaves; at once if it has left.
    pub fn on_leave(&self, then: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        if state.left {
            drop(state);
            then();
        } else {
            state.on_leave = Some(Box::new(then));
        }
    }

    /// Delivers an event, unless the subscriber has left. Returns whom to wake once no lock is held: what
    /// a waker does is up to the subscriber's executor, and may end the subscription.
    #[must_use = "the subscriber is to be woken"]
    pub fn deliver(&self, event: RawEvent) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.left {
            return None;
        }
        if state.events.len() < self.items_max {
            state.events.push_back(event);
        } else {
            let lost = match event {
                RawEvent::Item { .. } => Some(1),
                RawEvent::Gap { missed } => missed,
            };
            match state.events.back_mut() {
                Some(RawEvent::Gap { missed }) => {
                    *missed = missed.zip(lost).map(|(a, b): (u64, u64)| a.saturating_add(b));
                }
                _ => state.events.push_back(RawEvent::Gap { missed: lost }),
            }
        }
        state.waker.take()
    }

    /// No event will come any more; what is there can still be taken. Returns whom to wake once no lock
    /// is held.
    #[must_use = "the subscriber is to be woken"]
    pub fn close(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waker.take()
    }

    pub(super) fn try_take(&self) -> Option<RawEvent> {
        self.state.lock().events.pop_front()
    }

    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        let mut state = self.state.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.left = true;
        state.events = VecDeque::new();
        let then = state.on_leave.take();
        drop(state);
        if let Some(then) = then {
            then();
        }
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Mailbox")
            .field("events", &state.events.len())
            .field("items_max", &self.items_max)
            .field("left", &state.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(seq: u64) -> RawEvent {
        RawEvent::Item { seq, item: BlobBuf::of(&seq).unwrap() }
    }

    #[test]
    fn a_full_mailbox_counts_what_it_drops_and_says_so_at_that_place() {
        let mailbox = Mailbox::new(2);
        for seq in 1..=5 {
            assert!(mailbox.deliver(item(seq)).is_none());
        }
        assert_eq!(mailbox.try_take(), Some(item(1)));
        assert_eq!(mailbox.try_take(), Some(item(2)));
        assert_eq!(mailbox.try_take(), Some(RawEvent::Gap { missed: Some(3) }));
        assert!(mailbox.deliver(item(6)).is_none());
        assert_eq!(mailbox.try_take(), Some(item(6)));
        assert!(mailbox.poll_take(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(mailbox.deliver(item(7)).is_some(), "somebody waits");
        mailbox.leave();
        assert!(mailbox.deliver(item(8)).is_none());
        assert_eq!(mailbox.try_take(), None);
    }
}
