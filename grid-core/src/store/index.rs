//! The index of a store: a table, and while it grows or shrinks a second one.
//!
//! Resizing sweeps the old table in hash order, a few buckets with every write. What belongs to
//! the buckets before the frontier is in the new table, the rest in the old one.

use super::StoreFull;
use super::bucket::LANES;
use super::mem::Ref;
use super::pool::Pool;
use super::table::{Place, Probe, Table};
use std::sync::Arc;

/// Buckets swept with every write while resizing: around 100 entries.
const SWEEP_BUCKETS: usize = 8;
/// A table grows beyond 85 % and shrinks below 30 % of its lanes in use.
const FULL_PERCENT: usize = 85;
const SPARSE_PERCENT: usize = 30;
const SHRUNK_PERCENT: usize = 60;

/// Buckets of a table that is made for so many entries.
fn count_for(entries: usize) -> usize {
    (entries * 100).div_ceil(LANES * SHRUNK_PERCENT)
}

/// Takes the pages that these entries need, all or as many as there is memory for.
fn reserve_all(table: &mut Table, entries: &[(u64, Ref, Place)]) -> Result<(), StoreFull> {
    let hashes = || entries.iter().map(|(hash, ..)| *hash);
    let (Some(first), Some(last)) = (hashes().min(), hashes().max()) else { return Ok(()) };
    if table.page(first) == table.page(last) {
        return table.reserve(last, entries.len());
    }
    // Each where it belongs: the pages in between may be missing.
    hashes().try_for_each(|hash| table.reserve(hash, entries.len()))
}

/// Where the index keeps an entry; valid until the next change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    new: bool,
    place: Place,
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Index {
    /// The frontier: buckets of `table` that have moved.
    moved: usize,
    table: Table,
    /// The table being filled, without buckets while not resizing.
    new: Table,
    /// Entries that there will be, at least.
    expected: usize,
}

impl Index {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { table: Table::new(0, pool), new: Table::new(0, pool), moved: 0, expected: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.table.bytes() + self.new.bytes()
    }

    pub(super) fn entries(&self) -> usize {
        self.table.entries() + self.new.entries()
    }

    #[inline(always)]
    fn is_moved(&self, hash: u64) -> bool {
        self.moved > 0 && self.table.home(hash) < self.moved
    }

    #[inline(always)]
    fn table_of(&self, hash: u64) -> &Table {
        if self.is_moved(hash) { &self.new } else { &self.table }
    }

    fn table_at(&mut self, new: bool) -> &mut Table {
        if new { &mut self.new } else { &mut self.table }
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        self.table_of(hash).prefetch(hash);
    }

    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Option<Ref> {
        self.table_of(hash).guess(hash)
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, probe: impl Probe) -> Option<(Slot, Ref)> {
        let new = self.is_moved(hash);
        let (place, entry) = match new {
            false => self.table.find(hash, probe)?,
            true => self.find_moved(hash, &{ probe })?,
        };
        Some((Slot { new, place }, entry))
    }

    #[inline(never)]
    fn find_moved(&self, hash: u64, probe: &impl Probe) -> Option<(Place, Ref)> {
        self.new.find(hash, *probe)
    }

    /// Makes room for one more entry: starts to grow if there is little, and takes the pages that
    /// the entry needs. Without memory the old table serves until its last lane.
    pub(super) fn make_room(&mut self, hash: u64) -> Result<(), StoreFull> {
        if let Some(count) = self.grown_count() {
            let new = Table::new(count, self.table.pool());
            *self.table_at(self.table.count() > 0) = new;
        }
        let new = self.is_moved(hash);
        self.table_at(new).reserve(hash, 1)
    }

    /// Buckets of the table that one more entry makes necessary.
    fn grown_count(&self) -> Option<usize> {
        let count = self.table.count();
        let entries = self.expected.max(self.entries() + 1);
        let full = entries * 100 > count * LANES * FULL_PERCENT;
        (full && !self.is_resizing())
            .then(|| (count + (count / 8).max(1)).max(count_for(self.expected)))
    }

    pub(super) fn expect(&mut self, entries: usize) {
        self.expected = entries.min(u32::MAX as usize);
    }

    /// Bytes by which one more entry makes the index larger in the end.
    pub(super) fn growth_for_one(&self) -> usize {
        let count = self.table.count();
        self.grown_count().map_or(0, |grown| Table::bytes_of(grown) - Table::bytes_of(count))
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
        let (count, entries) = (self.table.count(), self.expected.max(self.entries()));
        if count > 2 && !self.is_resizing() && entries * 100 < count * LANES * SPARSE_PERCENT {
            self.new = Table::new(count_for(entries).max(1), self.table.pool());
        }
    }

    #[inline(always)]
    pub(super) fn is_resizing(&self) -> bool {
        self.new.count() > 0
    }

    /// Moves the next buckets, while resizing; without memory for them, not now. `touch` announces entries whose hash will be asked
    /// for in the next step.
    pub(super) fn sweep(
        &mut self,
        scratch: &mut Vec<(u64, Ref, Place)>,
        hash_of: impl Fn(Ref) -> u64,
        touch: impl Fn(Ref),
    ) {
        for _ in 0..SWEEP_BUCKETS.min(self.table.count() - self.moved) {
            self.table.each_in(self.moved + 2, &touch);
            scratch.clear();
            self.table.gather(self.moved, &hash_of, scratch);
            if reserve_all(&mut self.new, scratch).is_err() {
                return;
            }
            for (hash, entry, place) in scratch.drain(..) {
                self.table.remove(self.moved, place);
                self.new.insert(hash, entry);
            }
            self.moved += 1;
            self.table.release_before(self.moved);
        }
        if self.moved == self.table.count() {
            debug_assert_eq!(self.table.entries(), 0);
            let none = Table::new(0, self.table.pool());
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
        *self = Self::new(&Arc::clone(self.table.pool()));
    }
}

#[cfg(test)]
impl Index {
    pub(super) fn check(&self, hash_of: impl Fn(Ref) -> u64) {
        self.table.check(&hash_of, |hash| !self.is_moved(hash));
        self.new.check(&hash_of, |hash| self.is_moved(hash));
        assert!(self.moved <= self.table.count());
    }

    /// Most entries that lie beyond a bucket although they belong to it or before.
    pub(super) fn crowd(&self) -> u32 {
        self.table.crowd().max(self.new.crowd())
    }

    pub(super) fn buckets(&self) -> (usize, usize) {
        (self.table.count(), self.new.count())
    }
}
