//! The entries of one container in one partition.
//!
//! A [`Store`] keeps each entry in one piece of memory (`record`) in blocks (`arena`) that come
//! from the member's [`Pool`], and finds it through an index of cache-line buckets in hash order
//! (`table`, `index`): a position in hash space means the same on every replica and at any time, so
//! a walk in hash order can stop and go on across writes, growth and failover. Nothing takes long:
//! the index is resized and memory compacted (`clean`) a little with every write. The caller holds
//! the partition's lock, gives hash and sequence number, and asks for admission before it writes.
//!
//! Memory per entry: 12 bytes, key, value and the optional fields in use, rounded up to 8, and 6.3
//! to 7.2 bytes of index. Values over 4 KiB are allocations of their own.

mod arena;
mod bucket;
mod buddy;
mod clean;
mod entry;
mod index;
mod large;
mod ledger;
#[allow(unsafe_code)]
mod mem;
mod pool;
mod record;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use entry::{Entry, Idle, Meta, PutOutcome};
pub use ledger::Ledger;
pub(crate) use mem::prefetch;
pub use pool::{Pool, PoolConfig, ReserveError};

use crate::data::{Blob, TypeTag};
use arena::Arena;
use index::{Index, Slot};
use large::Large;
use mem::Ref;
use record::{LARGE, OfKey, Shape, TOMBSTONE};
use std::sync::Arc;
use table::Place;

/// No memory could be had for an entry: the pool's address space is used up, or the system's
/// memory. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pool of entry memory is exhausted")]
pub struct StoreFull;

impl From<StoreFull> for crate::Error {
    fn from(full: StoreFull) -> Self {
        Self::with(crate::Kind::OutOfMemory, full.to_string())
    }
}

/// The hash of a key's payload, by which stores order their entries. The seed is the cluster's.
#[inline]
#[must_use]
pub fn hash64(payload: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(payload, seed)
}

/// The entries of one container in one partition. See the module documentation.
///
/// Every `hash` argument is [`hash64`] of the key's payload with the store's seed.
#[derive(Debug)]
#[repr(C, align(64))] // What a lookup needs lies in the first cache line.
pub struct Store {
    /// Tags of the first key and the first value: those of every record that has none of its own.
    key_tag: Option<TypeTag>,
    value_tag: Option<TypeTag>,
    index: Index,
    arena: Arena,
    tombstones: usize,
    large: Large,
    seed: u64,
    hasher: fn(&[u8], u64) -> u64,
    scratch: Vec<(u64, Ref, Place)>,
}

impl Store {
    /// An empty store with memory from `pool`; it takes none until the first put.
    #[must_use]
    pub fn new(pool: &Arc<Pool>, seed: u64) -> Self {
        Self::with_hasher(pool, seed, hash64)
    }

    fn with_hasher(pool: &Arc<Pool>, seed: u64, hasher: fn(&[u8], u64) -> u64) -> Self {
        Self {
            index: Index::new(pool),
            arena: Arena::new(pool),
            key_tag: None,
            value_tag: None,
            tombstones: 0,
            large: Large::new(Arc::clone(pool.ledger())),
            seed,
            hasher,
            scratch: Vec::new(),
        }
    }

    /// Entries that are not tombstones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.entries() - self.tombstones
    }

    /// Whether there are only tombstones, or nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removed entries that are still kept.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// Bytes charged for this store: blocks, index, large values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.arena.bytes() + self.index.bytes() + self.large.bytes()
    }

    fn key_tag(&self) -> TypeTag {
        self.key_tag.unwrap_or_default()
    }

    fn value_tag(&self) -> TypeTag {
        self.value_tag.unwrap_or_default()
    }

    /// Starts loading the index line of a hash into the cache: the first of two passes over a batch.
    #[inline]
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Starts loading the record of a hash into the cache: the second pass, before the operations.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Some(at) = self.index.guess(hash) {
            self.arena.mem.prefetch(at, 129);
        }
    }

    /// The entry of a key, which may be a tombstone.
    #[inline(always)] // Key and entry stay in registers: a tenth of the time of a lookup or more.
    #[must_use]
    pub fn get(&self, hash: u64, key: Blob<'_>) -> Option<Entry<'_>> {
        let (_, at) = self.find(hash, key)?;
        Some(self.entry(at))
    }

    #[inline(always)]
    fn entry(&self, at: Ref) -> Entry<'_> {
        Entry { store: self, at, shape: Shape::read(&self.arena.mem, at) }
    }

    #[inline(always)]
    fn find(&self, hash: u64, key: Blob<'_>) -> Option<(Slot, Ref)> {
        debug_assert_eq!(hash, (self.hasher)(key.payload, self.seed), "not the hash of the key");
        let probe = OfKey { mem: &self.arena.mem, key, container_tag: self.key_tag };
        self.index.find(hash, probe)
    }

    fn hash_at(&self, at: Ref) -> u64 {
        (self.hasher)(Shape::read(&self.arena.mem, at).key(&self.arena.mem, at), self.seed)
    }

    fn shape_for(&self, key: Blob<'_>, value: Blob<'_>, meta: &Meta) -> Shape {
        let own = self.key_tag.is_some_and(|tag| tag != key.tag)
            || self.value_tag.is_some_and(|tag| tag != value.tag);
        Shape::new(key.payload.len(), value.payload.len(), own, meta)
    }

    /// Bytes that a [`put`](Self::put) of this entry would make the store take now: 0 if there is
    /// room in place or in what the store holds already. For admission, when memory is short. (The
    /// cleaner may take one block more for a while.)
    #[must_use]
    pub fn growth_for(&self, hash: u64, key: Blob<'_>, value: Blob<'_>, meta: &Meta) -> usize {
        let new = self.shape_for(key, value, meta);
        let large = if new.has(LARGE) { value.payload.len() } else { 0 };
        let Some((_, at)) = self.find(hash, key) else {
            return large + self.arena.growth_for(new.granules()) + self.index.growth_for_one();
        };
        let old = Shape::read(&self.arena.mem, at);
        let old_large = old.slot(&self.arena.mem, at).map_or(0, |slot| self.large.get(slot).len());
        let arena = match old.granules() == new.granules() {
            true => 0,
            false => self.arena.growth_for(new.granules()),
        };
        large.saturating_sub(old_large) + arena
    }

    /// Writes an entry: a new one, or instead of what the key had before.
    ///
    /// # Errors
    /// [`StoreFull`] if the pool has no memory left. The budget is not asked here: what a primary
    /// admitted, its backups must be able to apply.
    #[inline]
    pub fn put(
        &mut self,
        hash: u64,
        key: Blob<'_>,
        value: Blob<'_>,
        meta: &Meta,
    ) -> Result<PutOutcome, StoreFull> {
        self.key_tag.get_or_insert(key.tag);
        self.value_tag.get_or_insert(value.tag);
        let shape = self.shape_for(key, value, meta);
        let outcome = match self.find(hash, key) {
            Some((slot, at)) => self.overwrite(slot, at, shape, key, value, meta),
            None => self.insert(hash, shape, key, value, meta),
        };
        self.work();
        outcome
    }

    /// Writes a tombstone: a new one, or instead of what the key had before.
    ///
    /// # Errors
    /// [`StoreFull`] if the pool has no memory left.
    pub fn put_tombstone(&mut self, hash: u64, key: Blob<'_>, seq: u64) -> Result<(), StoreFull> {
        if self.bury(hash, key, seq) {
            return Ok(());
        }
        self.key_tag.get_or_insert(key.tag);
        let value = Blob { tag: self.value_tag(), payload: &[] };
        let meta = Meta::new(seq);
        let shape = self.shape_for(key, value, &meta).tombstone();
        self.insert(hash, shape, key, value, &meta)?;
        self.tombstones += 1;
        self.work();
        Ok(())
    }

    fn insert(
        &mut self,
        hash: u64,
        shape: Shape,
        key: Blob<'_>,
        value: Blob<'_>,
        meta: &Meta,
    ) -> Result<PutOutcome, StoreFull> {
        self.index.make_room(hash)?;
        let at = self.arena.alloc(shape.granules())?;
        if let Err(full) = self.write(at, shape, None, key, value, meta) {
            self.arena.free(at, shape.granules());
            return Err(full);
        }
        self.index.insert(hash, at);
        Ok(PutOutcome::Inserted)
    }

    #[inline]
    fn overwrite(
        &mut self,
        slot: Slot,
        at: Ref,
        new: Shape,
        key: Blob<'_>,
        value: Blob<'_>,
        meta: &Meta,
    ) -> Result<PutOutcome, StoreFull> {
        let old = Shape::read(&self.arena.mem, at);
        if old == new && !new.has(LARGE) {
            new.write_head(&mut self.arena.mem, at, (key.tag, value.tag), meta);
            new.write_value(&mut self.arena.mem, at, value.payload);
            return Ok(PutOutcome::Replaced);
        }
        let in_place = old.granules() == new.granules();
        let to = if in_place { at } else { self.arena.alloc(new.granules())? };
        let large = old.slot(&self.arena.mem, at);
        if let Err(full) = self.write(to, new, large, key, value, meta) {
            if !in_place {
                self.arena.free(to, new.granules());
            }
            return Err(full);
        }
        if !in_place {
            self.index.replace(slot, to);
            self.arena.free(at, old.granules());
        }
        if old.has(TOMBSTONE) {
            self.tombstones -= 1;
            return Ok(PutOutcome::Revived);
        }
        Ok(PutOutcome::Replaced)
    }

    /// Writes a whole record. `large` is the slot of the large value that it replaces.
    fn write(
        &mut self,
        at: Ref,
        shape: Shape,
        large: Option<u32>,
        key: Blob<'_>,
        value: Blob<'_>,
        meta: &Meta,
    ) -> Result<(), StoreFull> {
        let slot;
        let inline = if shape.has(LARGE) {
            slot = self.large.put(large, value.payload)?.to_le_bytes();
            &slot[..]
        } else {
            if let Some(old) = large {
                self.large.remove(old);
            }
            value.payload
        };
        let mem = &mut self.arena.mem;
        shape.write_head(mem, at, (key.tag, value.tag), meta);
        shape.write_key(mem, at, key);
        shape.write_value(mem, at, inline);
        Ok(())
    }

    /// Turns an entry into a tombstone, or renumbers one. Returns whether there was any.
    pub fn bury(&mut self, hash: u64, key: Blob<'_>, seq: u64) -> bool {
        let Some((_, at)) = self.find(hash, key) else { return false };
        let shape = Shape::read(&self.arena.mem, at);
        if let Some(slot) = shape.slot(&self.arena.mem, at) {
            self.large.remove(slot);
        }
        self.tombstones += usize::from(!shape.has(TOMBSTONE));
        record::bury(&mut self.arena.mem, at, seq);
        self.work();
        true
    }

    /// Removes an entry or tombstone for good. Returns whether there was any.
    pub fn remove(&mut self, hash: u64, key: Blob<'_>) -> bool {
        let found = self.find(hash, key);
        if let Some((slot, at)) = found {
            self.remove_at(hash, slot, at);
        }
        found.is_some()
    }

    /// Removes the tombstone that operation `seq` left on this hash, unless it was replaced since.
    /// Returns whether there was one.
    pub fn purge_tombstone(&mut self, hash: u64, seq: u64) -> bool {
        let mem = &self.arena.mem;
        let found = self
            .index
            .find(hash, |at| record::seq(mem, at) == seq && Shape::read(mem, at).has(TOMBSTONE));
        if let Some((slot, at)) = found {
            self.remove_at(hash, slot, at);
        }
        found.is_some()
    }

    fn remove_at(&mut self, hash: u64, slot: Slot, at: Ref) {
        let shape = Shape::read(&self.arena.mem, at);
        if let Some(slot) = shape.slot(&self.arena.mem, at) {
            self.large.remove(slot);
        }
        self.tombstones -= usize::from(shape.has(TOMBSTONE));
        self.index.remove(hash, slot);
        self.arena.free(at, shape.granules());
        if self.index.entries() == 0 {
            self.clear();
        }
        self.work();
    }

    /// Notes an access to an entry with an idle time. Returns whether there is such an entry.
    pub fn touch(&mut self, hash: u64, key: Blob<'_>, last_ms: u64) -> bool {
        let Some((_, at)) = self.find(hash, key) else { return false };
        let shape = Shape::read(&self.arena.mem, at);
        !shape.has(TOMBSTONE) && shape.set_last_access(&mut self.arena.mem, at, last_ms)
    }

    /// Gives an entry another sequence number, expiry and idle time. Returns whether there is such
    /// an entry; a tombstone is none.
    ///
    /// # Errors
    /// [`StoreFull`] if the entry gets longer and the pool has no memory left.
    pub fn set_expiry(
        &mut self,
        hash: u64,
        key: Blob<'_>,
        seq: u64,
        expires_at: Option<u64>,
        idle: Option<Idle>,
    ) -> Result<bool, StoreFull> {
        let Some((slot, at)) = self.find(hash, key) else { return Ok(false) };
        let entry = self.entry(at);
        if entry.is_tombstone() {
            return Ok(false);
        }
        let (old, value) = (entry.shape, entry.value());
        let meta = Meta { seq, expires_at, idle, affinity: entry.affinity() };
        let new = self.shape_for(key, value, &meta);
        if new == old {
            let tags = (key.tag, value.tag);
            new.write_head(&mut self.arena.mem, at, tags, &meta);
        } else {
            self.reshape(slot, at, old, new, key, value.tag, &meta)?;
        }
        self.work();
        Ok(true)
    }

    /// Writes the record at `at` in another shape, with the value that it has.
    #[allow(clippy::too_many_arguments)]
    fn reshape(
        &mut self,
        slot: Slot,
        at: Ref,
        old: Shape,
        new: Shape,
        key: Blob<'_>,
        value_tag: TypeTag,
        meta: &Meta,
    ) -> Result<(), StoreFull> {
        let in_place = old.granules() == new.granules();
        let to = if in_place { at } else { self.arena.alloc(new.granules())? };
        let mem = &mut self.arena.mem;
        let inline = old.value(mem, at).to_vec();
        new.write_head(mem, to, (key.tag, value_tag), meta);
        new.write_key(mem, to, key);
        new.write_value(mem, to, &inline);
        if !in_place {
            self.index.replace(slot, to);
            self.arena.free(at, old.granules());
        }
        Ok(())
    }

    /// Makes the index at least as large as so many entries need, with the next entries written, and
    /// keeps it so: for entries that come in the order of their hashes, which would otherwise crowd at
    /// the front of an index that is always made for those that are there. 0: as usual from now on.
    pub fn expect(&mut self, entries: usize) {
        self.index.expect(entries);
    }

    /// Removes everything and returns all memory, in time proportional to the blocks held.
    pub fn clear(&mut self) {
        self.index.clear();
        self.arena.clear();
        self.large.clear();
        (self.key_tag, self.value_tag, self.tombstones) = (None, None, 0);
    }

    /// The share of a write in what takes long as a whole.
    #[inline]
    fn work(&mut self) {
        if self.index.is_resizing() {
            self.resize();
        }
        if self.arena.wants_cleaning() {
            self.clean();
        }
    }

    #[cold]
    fn resize(&mut self) {
        let (mem, hasher, seed) = (&self.arena.mem, self.hasher, self.seed);
        let hash_of = |at| hasher(Shape::read(mem, at).key(mem, at), seed);
        self.index.sweep(&mut self.scratch, hash_of, |at| mem.prefetch(at, 64));
        if !self.index.is_resizing() {
            self.scratch = Vec::new();
        }
    }
}
