//! Bytes that a part of a partition holds, booked in the member's ledger for as long as the part lives.

use crate::store::Ledger;
use std::sync::Arc;

/// Bytes are booked in steps of this size, so that most operations do not touch the shared ledger.
pub(super) const STEP_BYTES: usize = 1 << 10;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Arc<Ledger>,
    booked: usize,
}

impl Account {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Account { ledger: Arc::clone(ledger), booked: 0 }
    }

    /// The part holds this many bytes now. What is booked is at least as many, and less than two
    /// steps more.
    #[inline]
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes > self.booked || self.booked - bytes >= 2 * STEP_BYTES || bytes == 0 {
            self.book(bytes.next_multiple_of(STEP_BYTES));
        }
    }

    fn book(&mut self, bytes: usize) {
        if bytes >= self.booked {
            self.ledger.charge((bytes - self.booked) as u64);
        } else {
            self.ledger.release((self.booked - bytes) as u64);
        }
        self.booked = bytes;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.book(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booked_follows_what_is_held_in_steps_and_ends_with_it() {
        let ledger = Arc::new(Ledger::new(0));
        let mut account = Account::new(&ledger);
        for (held, booked) in
            [(1, 1), (1024, 1), (1025, 2), (1, 2), (0, 0), (5000, 5), (3073, 5), (3072, 3)]
        {
            account.set(held);
            assert_eq!(ledger.used(), booked * 1024, "holding {held}");
        }
        drop(account);
        assert_eq!(ledger.used(), 0);
    }
}
