//! The member-wide source of the blocks that hold records.

use super::StoreFull;
use super::buddy::{BLOCK_BYTES_MIN, Buddy, CLASS_MAX};
use super::ledger::Ledger;
use super::mem::{GRANULE, Mem, Ref, Region};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Class of the unit in which memory goes back to the operating system, 64 KiB.
const UNIT_CLASS: u8 = 6;
const UNIT_BYTES: usize = BLOCK_BYTES_MIN << UNIT_CLASS;
/// A `Ref` has 32 bits: what lies beyond cannot be named. One largest block less, so that the end
/// of a block can be named too.
const REGION_BYTES_MAX: u64 = (GRANULE as u64) << 32;
const REGION_BYTES_MIN: u64 = 1 << 20;

/// How a [`Pool`] is set up.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Address space to reserve in bytes, at most 32 GiB; less is taken if the system refuses. No
    /// memory is used until entries are written.
    pub reserve_bytes: u64,
    /// Ask for transparent huge pages: lookups in large stores take a tenth to a third less time,
    /// memory goes by 2 MiB at a time.
    pub huge_pages: bool,
    /// Free memory in bytes that is kept for reuse rather than given back to the system.
    pub keep_free_bytes: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { reserve_bytes: REGION_BYTES_MAX, huge_pages: true, keep_free_bytes: 8 << 20 }
    }
}

/// The system granted not even the smallest pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot reserve {bytes} bytes of address space for entries")]
pub struct ReserveError {
    /// What was asked for last, in bytes.
    pub bytes: u64,
}

/// Blocks for records, shared by all stores of a member.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
    region: Region,
    keep_free_units: usize,
}

#[derive(Debug)]
struct State {
    buddy: Buddy,
    /// Per unit of 64 KiB below the highest ever handed out: `RESIDENT`, `QUEUED`.
    units: Vec<u8>,
    /// Units that were free and resident when queued, oldest first; each at most once.
    idle: VecDeque<u32>,
}

const RESIDENT: u8 = 1;
const QUEUED: u8 = 2;

/// A block on loan to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loan {
    pub(super) start: Ref,
    pub(super) class: u8,
}

impl Loan {
    pub(super) fn bytes(self) -> usize {
        BLOCK_BYTES_MIN << self.class
    }

    pub(super) fn granules(self) -> u32 {
        (self.bytes() / GRANULE) as u32
    }
}

impl Pool {
    /// Reserves the address space of a pool whose memory is charged to `ledger`.
    ///
    /// # Errors
    /// If the system does not grant even 1 MiB.
    pub fn new(config: &PoolConfig, ledger: Arc<Ledger>) -> Result<Arc<Self>, ReserveError> {
        let mut bytes = config.reserve_bytes.clamp(REGION_BYTES_MIN, REGION_BYTES_MAX);
        let region = loop {
            let wanted = usize::try_from(bytes).ok();
            match wanted.and_then(|wanted| Region::reserve(wanted, config.huge_pages)) {
                Some(region) => break region,
                None if bytes / 2 >= REGION_BYTES_MIN => bytes /= 2,
                None => return Err(ReserveError { bytes }),
            }
        };
        let largest = BLOCK_BYTES_MIN << CLASS_MAX;
        let usable = region.bytes().min(REGION_BYTES_MAX as usize - largest);
        let state = State { buddy: Buddy::new(usable), units: Vec::new(), idle: VecDeque::new() };
        let keep_free_units = (config.keep_free_bytes / UNIT_BYTES as u64) as usize;
        Ok(Arc::new(Self { state: Mutex::new(state), ledger, region, keep_free_units }))
    }

    /// The account that blocks, index arrays and large values are charged to.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Bytes of everything charged: blocks handed out, index arrays, large values.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.ledger.used()
    }

    /// Address space of the pool in bytes: the most that records can take.
    #[must_use]
    pub fn bytes_reserved(&self) -> u64 {
        self.region.bytes() as u64
    }

    pub(super) fn mem(&self) -> Mem {
        self.region.mem()
    }

    /// A block of `class`, or of the largest class between `least` and it that there is.
    pub(super) fn take(&self, class: u8, least: u8) -> Result<Loan, StoreFull> {
        let mut state = self.state.lock();
        for class in (least..=class.min(CLASS_MAX)).rev() {
            if let Some(offset) = state.buddy.take(class) {
                state.mark_resident(offset, class);
                drop(state);
                let start = Ref::new(offset * (BLOCK_BYTES_MIN / GRANULE) as u32);
                let loan = Loan { start, class };
                self.ledger.charge(loan.bytes() as u64);
                return Ok(loan);
            }
        }
        Err(StoreFull)
    }

    /// Takes blocks back, and gives the system at most one unit of memory for each.
    pub(super) fn give(&self, loans: impl IntoIterator<Item = Loan>) {
        let mut bytes = 0;
        let mut state = self.state.lock();
        for loan in loans {
            bytes += loan.bytes() as u64;
            let offset = loan.start.granule() / (BLOCK_BYTES_MIN / GRANULE) as u32;
            let (offset, class) = state.buddy.give(offset, loan.class);
            state.queue_idle(offset, class);
            if state.idle.len() > self.keep_free_units
                && let Some(unit) = state.oldest_idle()
            {
                self.region.forget(unit as usize * UNIT_BYTES, UNIT_BYTES);
            }
        }
        drop(state);
        self.ledger.release(bytes);
    }
}

impl State {
    fn units_of(offset: u32, class: u8) -> std::ops::RangeInclusive<usize> {
        let first = (offset >> UNIT_CLASS) as usize;
        first..=((offset + (1 << class) - 1) >> UNIT_CLASS) as usize
    }

    fn mark_resident(&mut self, offset: u32, class: u8) {
        let units = Self::units_of(offset, class);
        if self.units.len() <= *units.end() {
            self.units.resize(units.end() + 1, 0);
        }
        for unit in units {
            self.units[unit] |= RESIDENT;
        }
    }

    fn queue_idle(&mut self, offset: u32, class: u8) {
        if class < UNIT_CLASS {
            return;
        }
        for unit in Self::units_of(offset, class) {
            if self.units.get(unit) == Some(&RESIDENT) {
                self.units[unit] |= QUEUED;
                self.idle.push_back(unit as u32);
            }
        }
    }

    /// Takes the unit that has been queued longest, and is still free, off the books.
    fn oldest_idle(&mut self) -> Option<u32> {
        for _ in 0..16 {
            let unit = self.idle.pop_front()?;
            let flags = &mut self.units[unit as usize];
            *flags &= !QUEUED;
            if self.buddy.is_free(unit << UNIT_CLASS, UNIT_CLASS) {
                self.units[unit as usize] = 0;
                return Some(unit);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(reserve_bytes: u64, keep_free_bytes: u64) -> Arc<Pool> {
        let config = PoolConfig { reserve_bytes, huge_pages: false, keep_free_bytes };
        Pool::new(&config, Arc::new(Ledger::new(u64::MAX))).unwrap()
    }

    #[test]
    fn blocks_are_charged_and_exhaustion_is_an_error() {
        let pool = pool(1 << 20, 0);
        let half = pool.take(9, 9).unwrap();
        let less = pool.take(10, 0).unwrap();
        assert_eq!((half.bytes(), less.bytes()), (512 << 10, 512 << 10));
        assert_eq!(pool.take(0, 0), Err(StoreFull));
        assert_eq!(pool.bytes_used(), 1 << 20);
        pool.give([half, less]);
        assert_eq!(pool.bytes_used(), 0);
        assert_eq!(pool.take(10, 10).unwrap().bytes(), 1 << 20);
    }

    #[test]
    fn idle_memory_goes_back_zeroed_and_is_reused() {
        let pool = pool(2 << 20, 128 << 10);
        let loans: Vec<Loan> =
            (0..16).map(|_| pool.take(UNIT_CLASS, UNIT_CLASS).unwrap()).collect();
        let mut mem = pool.mem();
        for loan in &loans {
            mem.set_word(loan.start, 7);
        }
        pool.give(loans.iter().copied());
        assert_eq!(pool.state.lock().idle.len(), 2);
        let again: Vec<Loan> =
            (0..16).map(|_| pool.take(UNIT_CLASS, UNIT_CLASS).unwrap()).collect();
        assert_eq!(again, loans);
        let kept = again.iter().filter(|loan| mem.word(loan.start) == 7).count();
        assert_eq!(kept, if cfg!(all(unix, not(miri))) { 2 } else { 16 });
        // What was handed out again is no longer idle, however long the queue gets.
        pool.give([again[3]]);
        assert!(pool.state.lock().idle.len() <= 3);
    }

    #[test]
    fn a_pool_is_at_most_what_references_can_name() {
        let pool = pool(u64::MAX, 0);
        assert!(pool.bytes_reserved() <= 32 << 30);
        assert!(pool.bytes_reserved() >= 1 << 20);
    }
}
