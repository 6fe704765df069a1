//! What goes into a store and what comes out of it.

use super::Store;
use super::mem::Ref;
use super::record::{self, EXPIRY, IDLE, LARGE, Shape, TOMBSTONE, TYPES};
use crate::data::{Blob, TypeTag};

/// An entry's idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// How long the entry may go without an access, in ms.
    pub max_ms: u32,
    /// The last access, in ms of partition time.
    pub last_ms: u64,
}

/// What an entry has beside key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// The operation that wrote the entry; 56 bits.
    pub seq: u64,
    /// When the entry expires, in ms of partition time.
    pub expires_at: Option<u64>,
    /// After which idle time it expires.
    pub idle: Option<Idle>,
    /// Hash that chose the partition, if it was not the key's own.
    pub affinity: Option<u32>,
}

impl Meta {
    /// Only a sequence number.
    #[must_use]
    pub fn new(seq: u64) -> Self {
        Self { seq, ..Self::default() }
    }
}

/// What a put met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// Nothing.
    Inserted,
    /// An entry, now replaced.
    Replaced,
    /// A tombstone, now replaced.
    Revived,
}

/// A view of an entry in a store. Fields are decoded when asked for. A tombstone has a key and a
/// sequence number, nothing else.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(super) store: &'a Store,
    pub(super) at: Ref,
    pub(super) shape: Shape,
}

impl<'a> Entry<'a> {
    /// The operation that wrote the entry.
    #[inline]
    #[must_use]
    pub fn seq(&self) -> u64 {
        record::seq(&self.store.arena.mem, self.at)
    }

    /// Whether the entry was removed, and stays until its removal is committed.
    #[inline]
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.shape.has(TOMBSTONE)
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Blob<'a> {
        let mem = &self.store.arena.mem;
        let tag = self.shape.tags(mem, self.at).map_or(self.store.key_tag(), |tags| tags.0);
        Blob { tag, payload: self.shape.key(mem, self.at) }
    }

    /// The value; that of a tombstone is empty and has tag 0.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Blob<'a> {
        let mem = &self.store.arena.mem;
        if !self.shape.has(TOMBSTONE | LARGE | TYPES) {
            return Blob { tag: self.store.value_tag(), payload: self.shape.value(mem, self.at) };
        }
        self.unusual_value()
    }

    fn unusual_value(&self) -> Blob<'a> {
        let mem = &self.store.arena.mem;
        if self.is_tombstone() {
            return Blob { tag: TypeTag::NULL, payload: &[] };
        }
        let tag = self.shape.tags(mem, self.at).map_or(self.store.value_tag(), |tags| tags.1);
        let payload = match self.shape.slot(mem, self.at) {
            Some(slot) => self.store.large.get(slot),
            None => self.shape.value(mem, self.at),
        };
        Blob { tag, payload }
    }

    /// Whether the entry has an expiry or an idle time: one test for both.
    #[inline]
    #[must_use]
    pub fn can_expire(&self) -> bool {
        self.shape.has(EXPIRY | IDLE)
    }

    /// When the entry expires, in ms of partition time.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        if self.is_tombstone() {
            None
        } else {
            self.shape.expires_at(&self.store.arena.mem, self.at)
        }
    }

    /// The entry's idle time.
    #[must_use]
    pub fn idle(&self) -> Option<Idle> {
        if self.is_tombstone() { None } else { self.shape.idle(&self.store.arena.mem, self.at) }
    }

    /// The hash that chose the partition, if it was not the key's own.
    #[must_use]
    pub fn affinity(&self) -> Option<u32> {
        if self.is_tombstone() { None } else { self.shape.affinity(&self.store.arena.mem, self.at) }
    }

    /// Everything beside key and value.
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta {
            seq: self.seq(),
            expires_at: self.expires_at(),
            idle: self.idle(),
            affinity: self.affinity(),
        }
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("value", &self.value())
            .field("tombstone", &self.is_tombstone())
            .field("meta", &self.meta())
            .finish()
    }
}
