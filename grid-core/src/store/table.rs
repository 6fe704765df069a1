//! One array of buckets, in which an entry lies at or after the bucket of its hash.
//!
//! The bucket of a hash is `hash * buckets >> 64`: buckets follow each other in hash order however
//! many there are. An entry that finds its bucket full goes to the next one with room, around the
//! end; every bucket counts how many entries passed it that way, so a search knows where to stop.

use super::StoreFull;
use super::bucket::{Bucket, LANES, tag_of};
use super::ledger::{Charge, Ledger};
use super::mem::Ref;
use std::sync::Arc;

/// Where an entry's reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) lane: usize,
}

#[derive(Debug)]
pub(super) struct Table {
    /// The first buckets; those up to `count` that are not there yet are empty. So a new table
    /// costs nothing until it is filled, in order.
    buckets: Vec<Bucket>,
    count: usize,
    entries: usize,
    charge: Charge,
}

impl Table {
    /// A table without any bucket.
    pub(super) fn none(ledger: Arc<Ledger>) -> Self {
        Self { buckets: Vec::new(), count: 0, entries: 0, charge: Charge::new(ledger, 0) }
    }

    pub(super) fn new(count: usize, ledger: &Arc<Ledger>) -> Result<Self, StoreFull> {
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).map_err(|_| StoreFull)?;
        let charge = Charge::new(Arc::clone(ledger), Self::bytes_of(count));
        Ok(Self { buckets, count, entries: 0, charge })
    }

    /// Bytes of a table with `count` buckets.
    pub(super) fn bytes_of(count: usize) -> u64 {
        (count * size_of::<Bucket>()) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.charge.bytes()
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        self.charge.ledger()
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries >= self.count * LANES
    }

    /// The bucket where a hash belongs; 0 if there is none.
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.count as u128) >> 64) as usize
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.count { 0 } else { bucket + 1 }
    }

    /// The address of a hash's bucket, to prefetch.
    #[inline(always)]
    pub(super) fn line(&self, hash: u64) -> *const Bucket {
        self.buckets.as_ptr().wrapping_add(self.home(hash))
    }

    /// The first reference in a hash's bucket that may be its entry, to prefetch.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Option<Ref> {
        let bucket = self.buckets.get(self.home(hash))?;
        Some(bucket.at(bucket.with_tag(tag_of(hash)).next()?))
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(Ref) -> bool) -> Option<(Place, Ref)> {
        let tag = tag_of(hash);
        let home = self.home(hash);
        let mut at = home;
        loop {
            let bucket = self.buckets.get(at)?;
            for lane in bucket.with_tag(tag) {
                if is(bucket.at(lane)) {
                    return Some((Place { bucket: at, lane }, bucket.at(lane)));
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
            if at == home {
                return None;
            }
        }
    }

    /// Adds an entry. There must be room.
    pub(super) fn insert(&mut self, hash: u64, entry: Ref) {
        debug_assert!(!self.is_full());
        let mut at = self.home(hash);
        loop {
            while self.buckets.len() <= at {
                self.buckets.push(Bucket::EMPTY);
            }
            let bucket = &mut self.buckets[at];
            if let Some(lane) = bucket.vacant() {
                bucket.set(lane, tag_of(hash), entry);
                self.entries += 1;
                return;
            }
            bucket.passed += 1;
            at = self.after(at);
        }
    }

    /// Removes the entry at `place`, whose bucket by hash is `home`.
    pub(super) fn remove(&mut self, home: usize, place: Place) {
        self.buckets[place.bucket].unset(place.lane);
        self.entries -= 1;
        let mut at = home;
        while at != place.bucket {
            self.buckets[at].passed -= 1;
            at = self.after(at);
        }
    }

    pub(super) fn set_ref(&mut self, place: Place, entry: Ref) {
        self.buckets[place.bucket].set_ref(place.lane, entry);
    }

    /// Calls `f` with every entry in the bucket `at`, wherever it belongs.
    pub(super) fn each_in(&self, at: usize, mut f: impl FnMut(Ref)) {
        if let Some(bucket) = self.buckets.get(at) {
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
        while let Some(bucket) = self.buckets.get(at) {
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

#[cfg(test)]
impl Table {
    /// Asserts that every entry can be found and every count is right.
    pub(super) fn check(&self, hash_of: impl Fn(Ref) -> u64, belongs: impl Fn(u64) -> bool) {
        let mut passed = vec![0u32; self.count];
        let mut entries = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
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
        passed.truncate(self.buckets.len());
        assert_eq!(self.buckets.iter().map(|b| b.passed).collect::<Vec<_>>(), passed);
        assert!(self.buckets.len() <= self.count);
        assert_eq!(self.bytes(), Self::bytes_of(self.count));
    }
}
