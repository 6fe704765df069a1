//! One array of buckets, in which an entry lies at or after the bucket of its hash.
//!
//! The bucket of a hash is `hash * buckets >> 64`: buckets follow each other in hash order however
//! many there are. An entry that finds its bucket full goes to the next one with room, around the
//! end; every bucket counts how many entries passed it that way, so a search knows where to stop.

use super::StoreFull;
use super::bucket::{Bucket, LANES, tag_of};
use super::mem::{Mem, Ref};
use super::pool::{Loan, Pool};
use std::sync::Arc;

/// Buckets of the smallest and the largest page, 1 KiB and 64 KiB.
const PAGE_BITS_MIN: u32 = 4;
const PAGE_BITS_MAX: u32 = 10;
/// Pages of a table, unless they would be smaller or larger than that.
const PAGES: usize = 32;

/// Where an entry's reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) lane: usize,
}

/// What a search is for.
pub(super) trait Probe: Copy {
    /// Whether it is this entry.
    fn is(&self, entry: Ref) -> bool;
}

impl<F: Fn(Ref) -> bool + Copy> Probe for F {
    #[inline(always)]
    fn is(&self, entry: Ref) -> bool {
        self(entry)
    }
}

/// In the order of use: what a lookup needs lies together.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Table {
    mem: Mem,
    /// Blocks from the pool. The buckets of one that is `NIL` are empty: it is not there yet, or
    /// not any more. So a table that is filled and emptied in order holds what it needs.
    pages: Box<[Ref]>,
    count: u32,
    page_bits: u32,
    entries: usize,
    bytes: u64,
    pool: Arc<Pool>,
}

impl Table {
    /// A table with `count` buckets; it takes no memory yet.
    pub(super) fn new(count: usize, pool: &Arc<Pool>) -> Self {
        let page = (count / PAGES).next_power_of_two().ilog2();
        let page_bits = page.clamp(PAGE_BITS_MIN, PAGE_BITS_MAX);
        Self {
            mem: pool.mem(),
            pages: vec![Ref::NIL; count.div_ceil(1 << page_bits)].into_boxed_slice(),
            count: count as u32,
            page_bits,
            entries: 0,
            bytes: 0,
            pool: Arc::clone(pool),
        }
    }

    /// Bytes of the pages held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that a table with `count` buckets takes when it is full.
    pub(super) fn bytes_of(count: usize) -> usize {
        count.next_multiple_of(1 << PAGE_BITS_MIN) * size_of::<Bucket>()
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn loan(&self, start: Ref) -> Loan {
        Loan { start, class: (self.page_bits - PAGE_BITS_MIN) as u8 }
    }

    /// Where a bucket is in memory, if its page is there.
    #[inline(always)]
    fn spot(&self, at: usize) -> Option<Ref> {
        let page = *self.pages.get(at >> self.page_bits)?;
        let within = at & ((1 << self.page_bits) - 1);
        (page != Ref::NIL).then(|| page.plus((within * size_of::<Bucket>()) as u32))
    }

    #[inline(always)]
    fn bucket(&self, at: usize) -> Option<&Bucket> {
        Some(self.mem.bucket(self.spot(at)?))
    }

    /// A bucket whose page is there.
    fn bucket_mut(&mut self, at: usize) -> Option<&mut Bucket> {
        let spot = self.spot(at)?;
        Some(self.mem.bucket_mut(spot))
    }

    /// Takes the page of a bucket, if it is not there.
    fn ensure(&mut self, at: usize) -> Result<(), StoreFull> {
        let page = at >> self.page_bits;
        if self.pages[page] == Ref::NIL {
            let class = (self.page_bits - PAGE_BITS_MIN) as u8;
            let loan = self.pool.take(class, class)?;
            self.mem.zero(loan.start, loan.bytes());
            self.bytes += loan.bytes() as u64;
            self.pages[page] = loan.start;
        }
        Ok(())
    }

    /// Gives the page before the bucket `end` back if that is where a page ends and it is empty.
    pub(super) fn release_before(&mut self, end: usize) {
        let buckets = 1 << self.page_bits;
        if end == 0 || !end.is_multiple_of(buckets) {
            return;
        }
        let blank = |at| self.bucket(at).is_none_or(Bucket::is_blank);
        let page = (end >> self.page_bits) - 1;
        if self.pages.get(page).is_some_and(|start| *start != Ref::NIL)
            && (end - buckets..end).all(blank)
        {
            let start = std::mem::replace(&mut self.pages[page], Ref::NIL);
            let loan = self.loan(start);
            self.bytes -= loan.bytes() as u64;
            self.pool.give([loan]);
        }
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The bucket where a hash belongs; 0 if there is none.
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * u128::from(self.count)) >> 64) as usize
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.count() { 0 } else { bucket + 1 }
    }

    /// Starts loading the bucket of a hash.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(spot) = self.spot(self.home(hash)) {
            self.mem.prefetch(spot, 1);
        }
    }

    /// The first reference in a hash's bucket that may be its entry, to prefetch.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Option<Ref> {
        let bucket = self.bucket(self.home(hash))?;
        Some(bucket.at(bucket.with_tag(tag_of(hash)).next()?))
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, probe: impl Probe) -> Option<(Place, Ref)> {
        let (tag, home) = (tag_of(hash), self.home(hash));
        let bucket = self.bucket(home)?;
        for lane in bucket.with_tag(tag) {
            if probe.is(bucket.at(lane)) {
                return Some((Place { bucket: home, lane }, bucket.at(lane)));
            }
        }
        if bucket.passed == 0 { None } else { self.find_beyond(home, tag, &{ probe }) }
    }

    /// The probe comes by reference to a copy: so in `find` itself it need not be in memory.
    #[inline(never)]
    fn find_beyond(&self, home: usize, tag: u8, probe: &impl Probe) -> Option<(Place, Ref)> {
        let mut at = self.after(home);
        while at != home {
            let bucket = self.bucket(at)?;
            for lane in bucket.with_tag(tag) {
                if probe.is(bucket.at(lane)) {
                    return Some((Place { bucket: at, lane }, bucket.at(lane)));
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The page where a hash belongs.
    pub(super) fn page(&self, hash: u64) -> usize {
        self.home(hash) >> self.page_bits
    }

    /// Makes sure that `entries` entries can be inserted which belong to the bucket of `hash` or to one
    /// before it in the same page: takes the pages that they may need.
    pub(super) fn reserve(&mut self, hash: u64, entries: usize) -> Result<(), StoreFull> {
        if self.entries + entries > self.count() * LANES {
            return Err(StoreFull);
        }
        let (mut at, mut vacant) = (self.home(hash), 0);
        while vacant < entries {
            self.ensure(at)?;
            vacant += self.bucket(at).map_or(0, |bucket| LANES - bucket.occupied().count());
            at = self.after(at);
        }
        Ok(())
    }

    /// Adds an entry after [`reserve`](Self::reserve).
    pub(super) fn insert(&mut self, hash: u64, entry: Ref) {
        let mut at = self.home(hash);
        while let Some(bucket) = self.bucket_mut(at) {
            if let Some(lane) = bucket.vacant() {
                bucket.set(lane, tag_of(hash), entry);
                self.entries += 1;
                return;
            }
            bucket.passed += 1;
            at = self.after(at);
        }
        debug_assert!(false, "no room was reserved");
    }

    /// Removes the entry at `place`, whose bucket by hash is `home`.
    pub(super) fn remove(&mut self, home: usize, place: Place) {
        if let Some(bucket) = self.bucket_mut(place.bucket) {
            bucket.unset(place.lane);
        }
        self.entries -= 1;
        let mut at = home;
        while at != place.bucket {
            if let Some(bucket) = self.bucket_mut(at) {
                bucket.passed -= 1;
            }
            at = self.after(at);
        }
    }

    pub(super) fn set_ref(&mut self, place: Place, entry: Ref) {
        if let Some(bucket) = self.bucket_mut(place.bucket) {
            bucket.set_ref(place.lane, entry);
        }
    }

    /// Calls `f` with every entry in the bucket `at`, wherever it belongs.
    pub(super) fn each_in(&self, at: usize, mut f: impl FnMut(Ref)) {
        if let Some(bucket) = self.bucket(at) {
            bucket.occupied().for_each(|lane| f(bucket.at(lane)));
        }
    }

    /// Appends the entries that belong to the bucket `home`, with their hashes and places.
    pub(super) fn gather(
        &self,
        home: usize,
        hash_of: impl Fn(Ref) -> u64,
        out: &mut Vec<(u64, Ref, Place)>,
    ) {
        let mut at = home;
        while let Some(bucket) = self.bucket(at) {
            for lane in bucket.occupied() {
                let hash = hash_of(bucket.at(lane));
                if self.home(hash) == home {
                    out.push((hash, bucket.at(lane), Place { bucket: at, lane }));
                }
            }
            at = self.after(at);
            if bucket.passed == 0 || at == home {
                return;
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        let pages = pages.iter().copied().filter(|start| *start != Ref::NIL);
        self.pool.give(pages.map(|start| self.loan(start)));
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn crowd(&self) -> u32 {
        (0..self.count()).filter_map(|at| Some(self.bucket(at)?.passed)).max().unwrap_or(0)
    }

    /// Asserts that every entry can be found and every count is right.
    pub(super) fn check(&self, hash_of: impl Fn(Ref) -> u64, belongs: impl Fn(u64) -> bool) {
        let mut passed = vec![0u32; self.count()];
        let mut entries = 0;
        for at in 0..self.count() {
            let Some(bucket) = self.bucket(at) else { continue };
            for lane in bucket.occupied() {
                let hash = hash_of(bucket.at(lane));
                assert!(belongs(hash), "an entry is in the wrong table");
                assert!(bucket.with_tag(tag_of(hash)).any(|l| l == lane));
                entries += 1;
                let mut home = self.home(hash);
                while home != at {
                    passed[home] += 1;
                    home = self.after(home);
                }
            }
        }
        assert_eq!(entries, self.entries);
        for (at, passed) in passed.iter().enumerate() {
            assert_eq!(self.bucket(at).map_or(0, |bucket| bucket.passed), *passed);
        }
        let pages = self.pages.iter().filter(|start| **start != Ref::NIL).count() as u64;
        assert_eq!(self.bytes, pages << (self.page_bits + 6));
    }
}
