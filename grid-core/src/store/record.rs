//! How an entry lies in its chunk.
//!
//! ```text
//! 0   flags u8, seq u56
//! 8   key length u8, value length u24        (inline bytes)
//! 12  EXPIRY   expires at, ms u64            each only if flagged, in this order
//!     IDLE     idle for at most ms u32, last access ms u64
//!     AFFINITY partition hash u32
//!     TYPES    key tag i32, value tag i32    if not those of the container
//!     EXT      key length u32                if it is 255 or more
//!     key, value                             LARGE: instead of the value its slot, u32
//! ```
//! A tombstone keeps the layout of the record that it was, so that it needs no other chunk; what
//! follows its key means nothing any more.

use super::entry::{Blob, Idle, Meta};
use super::mem::{GRANULE, Mem, Ref};
use super::table::Probe;

pub(super) const TOMBSTONE: u8 = 1;
pub(super) const EXPIRY: u8 = 2;
pub(super) const IDLE: u8 = 4;
pub(super) const AFFINITY: u8 = 8;
pub(super) const TYPES: u8 = 16;
pub(super) const EXT: u8 = 32;
pub(super) const LARGE: u8 = 64;
/// Not a record but a free chunk, see `arena`.
pub(super) const FREE: u8 = 128;

const HEADER: usize = 12;
/// Longest value in bytes that lies in the record itself.
pub(super) const VALUE_INLINE_MAX: usize = 4096;
/// Bytes that stand for a value in the record of a large one.
const SLOT: usize = 4;
const KEY_EXT: usize = 255;
const SEQ_MAX: u64 = (1 << 56) - 1;

/// The flags that stand for a field.
const FIELDS: u8 = EXPIRY | IDLE | AFFINITY | TYPES | EXT;

/// Bytes of the optional fields among `flags`.
#[inline(always)]
const fn options(flags: u8) -> usize {
    if flags & FIELDS == 0 {
        return 0;
    }
    let f = flags as usize;
    (f >> 1 & 1) * 8 + (f >> 2 & 1) * 12 + (f >> 3 & 1) * 4 + (f >> 4 & 1) * 8 + (f >> 5 & 1) * 4
}

/// Where in a record with these flags the field of one of them starts.
#[inline(always)]
const fn at_option(flags: u8, option: u8) -> usize {
    HEADER + options(flags & (option - 1))
}

/// Flags and lengths of a record; everything else follows from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    flags: u8,
    key_len: u32,
    /// Inline bytes.
    value_len: u32,
}

impl Shape {
    /// The shape of a record to be written.
    pub(super) fn new(key_len: usize, value_len: usize, own_tags: bool, meta: &Meta) -> Self {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let large = value_len > VALUE_INLINE_MAX;
        let flags = flag(meta.expires_at.is_some(), EXPIRY)
            | flag(meta.idle.is_some(), IDLE)
            | flag(meta.affinity.is_some(), AFFINITY)
            | flag(own_tags, TYPES)
            | flag(key_len >= KEY_EXT, EXT)
            | flag(large, LARGE);
        let value_len = if large { SLOT } else { value_len };
        Self { flags, key_len: key_len as u32, value_len: value_len as u32 }
    }

    /// The same with nothing but a key.
    pub(super) fn tombstone(mut self) -> Self {
        self.flags |= TOMBSTONE;
        self
    }

    /// The shape of the record in the chunk at `at`.
    #[inline(always)]
    pub(super) fn read(mem: &Mem, at: Ref) -> Self {
        let flags = mem.word(at) as u8;
        let lengths = mem.u32(at, 8);
        let key_len =
            if flags & EXT == 0 { lengths & 0xff } else { mem.u32(at, at_option(flags, EXT)) };
        Self { flags, key_len, value_len: lengths >> 8 }
    }

    #[inline(always)]
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline(always)]
    fn key_at(self) -> usize {
        HEADER + options(self.flags)
    }

    #[inline(always)]
    fn value_at(self) -> usize {
        self.key_at() + self.key_len as usize
    }

    /// Bytes that the record needs, before rounding to granules.
    #[inline(always)]
    pub(super) fn bytes(self) -> usize {
        self.value_at() + self.value_len as usize
    }

    /// Granules of the record's chunk.
    #[inline(always)]
    pub(super) fn granules(self) -> u32 {
        self.bytes().div_ceil(GRANULE) as u32
    }

    #[inline(always)]
    pub(super) fn key(self, mem: &Mem, at: Ref) -> &[u8] {
        mem.bytes(at, self.key_at(), self.key_len as usize)
    }

    /// The inline bytes of the value.
    #[inline(always)]
    pub(super) fn value(self, mem: &Mem, at: Ref) -> &[u8] {
        mem.bytes(at, self.value_at(), self.value_len as usize)
    }

    /// Where the value is, if it is a large one.
    pub(super) fn slot(self, mem: &Mem, at: Ref) -> Option<u32> {
        self.has(LARGE).then(|| mem.u32(at, self.value_at()))
    }

    /// Key tag and value tag, if the record has its own.
    #[inline(always)]
    pub(super) fn tags(self, mem: &Mem, at: Ref) -> Option<(i32, i32)> {
        self.has(TYPES).then(|| {
            let byte = at_option(self.flags, TYPES);
            (mem.u32(at, byte).cast_signed(), mem.u32(at, byte + 4).cast_signed())
        })
    }

    pub(super) fn expires_at(self, mem: &Mem, at: Ref) -> Option<u64> {
        self.has(EXPIRY).then(|| mem.u64(at, at_option(self.flags, EXPIRY)))
    }

    pub(super) fn idle(self, mem: &Mem, at: Ref) -> Option<Idle> {
        self.has(IDLE).then(|| {
            let byte = at_option(self.flags, IDLE);
            Idle { max_ms: mem.u32(at, byte), last_ms: mem.u64(at, byte + 4) }
        })
    }

    pub(super) fn affinity(self, mem: &Mem, at: Ref) -> Option<u32> {
        self.has(AFFINITY).then(|| mem.u32(at, at_option(self.flags, AFFINITY)))
    }

    /// Sets the last access of a record that has one.
    pub(super) fn set_last_access(self, mem: &mut Mem, at: Ref, last_ms: u64) -> bool {
        if self.has(IDLE) {
            mem.set_u64(at, at_option(self.flags, IDLE) + 4, last_ms);
        }
        self.has(IDLE)
    }

    /// Writes header and optional fields of a record with this shape, not its key and value.
    #[inline(always)]
    pub(super) fn write_head(self, mem: &mut Mem, at: Ref, tags: (i32, i32), meta: &Meta) {
        mem.set_word(at, u64::from(self.flags) | (meta.seq & SEQ_MAX) << 8);
        let short = if self.has(EXT) { 0 } else { self.key_len };
        mem.set_u32(at, 8, short | self.value_len << 8);
        if self.flags & FIELDS != 0 {
            self.write_options(mem, at, tags, meta);
        }
    }

    fn write_options(self, mem: &mut Mem, at: Ref, tags: (i32, i32), meta: &Meta) {
        if let Some(expires_at) = meta.expires_at {
            mem.set_u64(at, at_option(self.flags, EXPIRY), expires_at);
        }
        if let Some(idle) = meta.idle {
            let byte = at_option(self.flags, IDLE);
            mem.set_u32(at, byte, idle.max_ms);
            mem.set_u64(at, byte + 4, idle.last_ms);
        }
        if let Some(affinity) = meta.affinity {
            mem.set_u32(at, at_option(self.flags, AFFINITY), affinity);
        }
        if self.has(TYPES) {
            let byte = at_option(self.flags, TYPES);
            mem.set_u32(at, byte, tags.0.cast_unsigned());
            mem.set_u32(at, byte + 4, tags.1.cast_unsigned());
        }
        if self.has(EXT) {
            mem.set_u32(at, at_option(self.flags, EXT), self.key_len);
        }
    }

    #[inline(always)]
    pub(super) fn write_key(self, mem: &mut Mem, at: Ref, key: Blob<'_>) {
        mem.set_bytes(at, self.key_at(), key.payload);
    }

    /// Writes the inline bytes of the value: all of it, or its slot.
    #[inline(always)]
    pub(super) fn write_value(self, mem: &mut Mem, at: Ref, inline: &[u8]) {
        debug_assert_eq!(inline.len(), self.value_len as usize);
        mem.set_bytes(at, self.value_at(), inline);
    }
}

/// A search for the record of a key.
#[derive(Clone, Copy)]
pub(super) struct OfKey<'a> {
    pub(super) mem: &'a Mem,
    pub(super) key: Blob<'a>,
    /// The key tag of records that have none of their own.
    pub(super) container_tag: Option<i32>,
}

impl Probe for OfKey<'_> {
    #[inline(always)]
    fn is(&self, at: Ref) -> bool {
        // Where key and value are is known only from the record's first line; the next ones are
        // needed in nearly all cases, so their loads need not wait for it.
        self.mem.prefetch_next(at);
        let (flags, short) = (self.mem.word(at) as u8, self.mem.u32(at, 8) as u8);
        let Blob { tag, payload } = self.key;
        if flags & FIELDS != 0 {
            return has_key(self.mem, at, payload, tag, self.container_tag);
        }
        usize::from(short) == payload.len()
            && same(self.mem.bytes(at, HEADER, short.into()), payload)
            && self.container_tag == Some(tag)
    }
}

#[inline(never)]
fn has_key(mem: &Mem, at: Ref, payload: &[u8], tag: i32, container_tag: Option<i32>) -> bool {
    let shape = Shape::read(mem, at);
    let own_tag = shape.tags(mem, at).map(|tags| tags.0);
    shape.key(mem, at) == payload && own_tag.or(container_tag) == Some(tag)
}

/// Equality of slices of the same length; without a call for the usual short keys.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if !(8..=16).contains(&a.len()) {
        return a == b;
    }
    a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk()
}

/// The sequence number of the record at `at`.
#[inline(always)]
pub(super) fn seq(mem: &Mem, at: Ref) -> u64 {
    mem.word(at) >> 8
}

/// Turns the record at `at` into a tombstone, in place. A large value is the caller's to drop.
pub(super) fn bury(mem: &mut Mem, at: Ref, seq: u64) {
    let flags = (mem.word(at) as u8 | TOMBSTONE) & !LARGE;
    mem.set_word(at, u64::from(flags) | (seq & SEQ_MAX) << 8);
}
