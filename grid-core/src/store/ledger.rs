//! The memory account of a member: what its stores hold against what they may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes in use and the budget for them. Charging never fails: whoever admits an operation asks
/// [`admits`](Ledger::admits) first, a backup applies what its primary admitted.
#[derive(Debug)]
pub struct Ledger {
    used: AtomicU64,
    budget: AtomicU64,
}

impl Ledger {
    /// An empty account with a budget in bytes.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self { used: AtomicU64::new(0), budget: AtomicU64::new(budget) }
    }

    /// Adds `bytes` to what is in use.
    pub fn charge(&self, bytes: u64) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Takes `bytes` back that were charged before.
    pub fn release(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "released {bytes} of {before} charged bytes");
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Bytes that may be in use.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget.load(Relaxed)
    }

    /// Changes the budget; what is in use stays.
    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Relaxed);
    }

    /// Bytes of the budget that are not in use; `u64::MAX` without a budget.
    #[must_use]
    pub fn free(&self) -> u64 {
        match self.budget() {
            u64::MAX => u64::MAX,
            budget => budget.saturating_sub(self.used()),
        }
    }

    /// Whether `bytes` more would stay within the budget.
    #[must_use]
    pub fn admits(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.budget()
    }
}

/// Bytes charged to a ledger for as long as this lives.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Charge {
    pub(super) fn new(ledger: Arc<Ledger>, bytes: u64) -> Self {
        ledger.charge(bytes);
        Self { ledger, bytes }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.ledger.charge(bytes);
        self.bytes += bytes;
    }

    pub(super) fn sub(&mut self, bytes: u64) {
        self.ledger.release(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_lives_as_long_as_its_owner() {
        let ledger = Arc::new(Ledger::new(100));
        let mut charge = Charge::new(Arc::clone(&ledger), 60);
        charge.add(30);
        assert_eq!((ledger.used(), charge.bytes()), (90, 90));
        assert!(ledger.admits(10) && !ledger.admits(11) && !ledger.admits(u64::MAX));
        assert_eq!(ledger.free(), 10);
        charge.sub(50);
        assert_eq!((ledger.used(), ledger.free()), (40, 60));
        ledger.set_budget(30);
        assert_eq!(ledger.free(), 0);
        ledger.set_budget(u64::MAX);
        assert_eq!(ledger.free(), u64::MAX);
        drop(charge);
        assert_eq!(ledger.used(), 0);
    }
}
