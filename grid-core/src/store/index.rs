//! The index of a store: a table, and while it grows or shrinks a second one.
//!
//! Resizing sweeps the old table in hash order, a few buckets with every write. What belongs to
//! the buckets before the frontier is in the new table, the rest in the old one.

use super::StoreFull;
use super::bucket::{Bucket, LANES};
use super::ledger::Ledger;
use super::mem::Ref;
use super::table::{Place, Table};
use std::sync::Arc;

/// Buckets swept with every write while resizing: around 100 entries.
const SWEEP_BUCKETS: usize = 8;
/// A table grows beyond 85 % and shrinks below 30 % of its lanes in use.
const FULL_PERCENT: usize = 85;
const SPARSE_PERCENT: usize = 30;
const SHRUNK_PERCENT: usize = 60;

/// Where the index keeps an entry; valid until the next change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    new: bool,
    place: Place,
}

#[derive(Debug)]
pub(super) struct Index {
    table: Table,
    /// The table being filled, without buckets while not resizing.
    new: Table,
    /// The frontier: buckets of `table` that have moved.
    moved: usize,
}

impl Index {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        let none = || Table::none(Arc::clone(ledger));
        Self { table: none(), new: none(), moved: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.table.bytes() + self.new.bytes()
    }

    pub(super) fn entries(&self) -> usize {
        self.table.entries() + self.new.entries()
    }

    #[inline(always)]
    fn is_moved(&self, hash: u64) -> bool {
        self.table.home(hash) < self.moved
    }

    #[inline(always)]
    fn table_of(&self, hash: u64) -> &Table {
        if self.is_moved(hash) { &self.new } else { &self.table }
    }

    fn table_at(&mut self, new: bool) -> &mut Table {
        if new { &mut self.new } else { &mut self.table }
    }

    #[inline(always)]
    pub(super) fn line(&self, hash: u64) -> *const Bucket {
        self.table_of(hash).line(hash)
    }

    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Option<Ref> {
        self.table_of(hash).guess(hash)
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, is: impl FnMut(Ref) -> bool) -> Option<(Slot, Ref)> {
        let new = self.is_moved(hash);
        let table = if new { &self.new } else { &self.table };
        table.find(hash, is).map(|(place, entry)| (Slot { new, place }, entry))
    }

    /// Makes room for one more entry: the first table, or the start of a growth.
    pub(super) fn make_room(&mut self, hash: u64) -> Result<(), StoreFull> {
        if self.table.count() == 0 {
            self.table = Table::new(1, &Arc::clone(self.table.ledger()))?;
        }
        let started = match self.grown_count() {
            Some(count) => Table::new(count, self.table.ledger()).map(|new| self.new = new),
            None => Ok(()),
        };
        // Without memory for a larger table the old one serves until its last lane.
        if self.table_of(hash).is_full() { started.and(Err(StoreFull)) } else { Ok(()) }
    }

    /// Buckets of the table that one more entry makes necessary.
    fn grown_count(&self) -> Option<usize> {
        let count = self.table.count();
        let full = (self.entries() + 1) * 100 > count * LANES * FULL_PERCENT;
        (full && !self.is_resizing()).then(|| count + (count / 8).max(1))
    }

    /// Bytes that [`make_room`](Self::make_room) would take.
    pub(super) fn growth_for_one(&self) -> usize {
        match self.table.count() {
            0 => Table::bytes_of(1) as usize,
            _ => self.grown_count().map_or(0, |count| Table::bytes_of(count) as usize),
        }
    }

    /// Adds an entry after [`make_room`](Self::make_room).
    pub(super) fn insert(&mut self, hash: u64, entry: Ref) {
        let new = self.is_moved(hash);
        self.table_at(new).insert(hash, entry);
    }

    pub(super) fn replace(&mut self, slot: Slot, entry: Ref) {
        self.table_at(slot.new).set_ref(slot.place, entry);
    }

    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        let table = self.table_at(slot.new);
        table.remove(table.home(hash), slot.place);
        let (count, entries) = (self.table.count(), self.entries());
        if count > 2 && !self.is_resizing() && entries * 100 < count * LANES * SPARSE_PERCENT {
            let smaller = (entries * 100).div_ceil(LANES * SHRUNK_PERCENT).max(1);
            // Without memory for a smaller table the large one stays.
            if let Ok(table) = Table::new(smaller, self.table.ledger()) {
                self.new = table;
            }
        }
    }

    #[inline(always)]
    pub(super) fn is_resizing(&self) -> bool {
        self.new.count() > 0
    }

    /// Moves the next buckets, while resizing. `touch` announces entries whose hash will be asked
    /// for in the next step.
    pub(super) fn sweep(
        &mut self,
        scratch: &mut Vec<(u64, Ref, Place)>,
        hash_of: impl Fn(Ref) -> u64,
        touch: impl Fn(Ref),
    ) {
        for _ in 0..SWEEP_BUCKETS {
            if self.moved == self.table.count() || self.new.is_full() {
                break;
            }
            self.table.each_in(self.moved + 2, &touch);
            scratch.clear();
            self.table.gather(self.moved, &hash_of, scratch);
            for (hash, entry, place) in scratch.drain(..) {
                self.table.remove(self.moved, place);
                self.new.insert(hash, entry);
            }
            self.moved += 1;
        }
        if self.moved == self.table.count() {
            debug_assert_eq!(self.table.entries(), 0);
            let none = Table::none(Arc::clone(self.table.ledger()));
            self.table = std::mem::replace(&mut self.new, none);
            self.moved = 0;
        }
    }

    /// The tables in hash order from `from`: for each the buckets that hold entries there.
    pub(super) fn ranges(&self, from: u64) -> [(&Table, std::ops::Range<usize>); 2] {
        let home = self.table.home(from);
        let new = if home < self.moved {
            // The last hash before the frontier: ceil(moved * 2^64 / count) - 1.
            let frontier = ((self.moved as u128) << 64).div_ceil(self.table.count() as u128);
            let last = u64::try_from(frontier - 1).unwrap_or(u64::MAX);
            self.new.home(from)..self.new.home(last) + 1
        } else {
            0..0
        };
        [(&self.new, new), (&self.table, home.max(self.moved)..self.table.count())]
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(&Arc::clone(self.table.ledger()));
    }
}

#[cfg(test)]
impl Index {
    pub(super) fn check(&self, hash_of: impl Fn(Ref) -> u64) {
        self.table.check(&hash_of, |hash| !self.is_moved(hash));
        self.new.check(&hash_of, |hash| self.is_moved(hash));
        assert!(self.moved <= self.table.count());
    }

    pub(super) fn buckets(&self) -> (usize, usize) {
        (self.table.count(), self.new.count())
    }
}
