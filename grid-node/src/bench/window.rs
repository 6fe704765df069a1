//! Requests that wait for their replies, numbered in ascending order.

use grid_core::error::{Error, Kind, Result};

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// When it was due, in nanoseconds of the run.
    pub(super) due_ns: u64,
    /// Number of its key.
    pub(super) key: u64,
    pub(super) read: bool,
    open: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Window {
    /// Request `n` is at `n & mask`.
    slots: Box<[Waiting]>,
    mask: u64,
    /// The lowest request without a reply.
    floor: u64,
    next: u64,
    open: usize,
}

impl Window {
    /// Room for this many requests at a time; the first is number 1.
    pub(super) fn new(requests_max: usize) -> Self {
        let slots = vec![Waiting::default(); requests_max.next_power_of_two()].into_boxed_slice();
        Window { mask: slots.len() as u64 - 1, slots, floor: 1, next: 1, open: 0 }
    }

    /// Requests without a reply.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn is_full(&self) -> bool {
        self.next - self.floor > self.mask
    }

    /// All requests below this number are answered.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    #[allow(clippy::cast_possible_truncation)] // masked
    fn slot(&mut self, request: u64) -> Option<&mut Waiting> {
        self.slots.get_mut((request & self.mask) as usize)
    }

    /// Numbers a request. The caller has asked [`Window::is_full`].
    #[inline]
    pub(super) fn push(&mut self, due_ns: u64, key: u64, read: bool) -> u64 {
        let request = self.next;
        if let Some(slot) = self.slot(request) {
            *slot = Waiting { due_ns, key, read, open: true };
        }
        self.next += 1;
        self.open += 1;
        request
    }

    /// Takes the request that a reply is for.
    #[inline]
    pub(super) fn take(&mut self, request: u64) -> Result<Waiting> {
        if request < self.floor || request >= self.next {
            return Err(unasked(request));
        }
        let Some(slot) = self.slot(request).filter(|slot| slot.open) else {
            return Err(unasked(request));
        };
        slot.open = false;
        let waiting = *slot;
        self.open -= 1;
        while self.floor < self.next && !self.slot(self.floor).is_some_and(|slot| slot.open) {
            self.floor += 1;
        }
        Ok(waiting)
    }
}

#[cold]
fn unasked(request: u64) -> Error {
    Error::with(
        Kind::Malformed,
        format!("the server replied to request {request}, which does not wait for a reply"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_any_order_are_matched_once_and_the_floor_follows_the_oldest() {
        let mut window = Window::new(3);
        let requests: Vec<u64> = (0..4).map(|n| window.push(n * 10, n, n % 2 == 0)).collect();
        assert_eq!(requests, [1, 2, 3, 4]);
        assert!(window.is_full());
        let second = window.take(2).unwrap();
        assert_eq!((second.due_ns, second.key, second.read), (10, 1, false));
        assert!(window.is_full(), "request 1 holds its place");
        assert_eq!(window.floor(), 1);
        assert!(window.take(2).is_err(), "a second reply");
        assert!(window.take(5).is_err(), "never asked");
        window.take(1).unwrap();
        assert_eq!((window.floor(), window.open()), (3, 2));
        assert!(!window.is_full());
        assert!(window.take(1).is_err(), "long answered");
    }
}
