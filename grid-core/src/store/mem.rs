//! The raw memory under the store: one reserved range of addresses per member, and typed access to
//! the chunks in it.
//!
//! This is where the store's pointers are. The contract that everything here rests on: the range is
//! readable and writable as long as its [`Region`] lives; the pool hands each block to one store at
//! a time; a store derives a [`Ref`] only from its own blocks and touches nothing beyond the chunk
//! that starts there. So two stores never share a byte, and within a store `&Mem` reads and
//! `&mut Mem` writes.

use super::bucket::Bucket;
use std::ptr::NonNull;

/// Bytes of a granule, the unit of references and chunk sizes.
pub(super) const GRANULE: usize = 8;

/// Where a chunk starts: granules from the start of the region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub(super) struct Ref(u32);

impl Ref {
    /// No chunk and no block starts here: it would end beyond the region.
    pub(super) const NIL: Self = Self(u32::MAX);

    pub(super) const fn new(granule: u32) -> Self {
        Self(granule)
    }

    /// The reference `bytes` further on, a multiple of a granule.
    #[inline(always)]
    pub(super) const fn plus(self, bytes: u32) -> Self {
        Self(self.0 + bytes / GRANULE as u32)
    }

    pub(super) const fn granule(self) -> u32 {
        self.0
    }
}

/// A reserved range of addresses, zero until written.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    bytes: usize,
    mapping: Mapping,
}

// SAFETY: the region is plain memory; who may touch which part of it is the pool's business.
unsafe impl Send for Region {}
// SAFETY: as above; through `&Region` only free parts of it are touched, under the pool's lock.
unsafe impl Sync for Region {}

#[cfg(all(unix, not(miri)))]
#[derive(Debug)]
struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
}

/// Alignment of the region: that of a huge page.
const ALIGN: usize = 2 << 20;

#[cfg(all(unix, not(miri)))]
impl Region {
    /// Reserves `bytes` of address space, without memory behind it yet.
    pub(super) fn reserve(bytes: usize, huge: bool) -> Option<Self> {
        let total = bytes.checked_add(ALIGN)?;
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), total, prot, flags | libc::MAP_NORESERVE, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        let mapping = Mapping { start, bytes: total };
        let skip = start.cast::<u8>().align_offset(ALIGN);
        // SAFETY: `skip < ALIGN`, so base and base + bytes are within the mapping.
        let base = NonNull::new(unsafe { start.cast::<u8>().add(skip) })?;
        #[cfg(target_os = "linux")]
        if huge {
            // SAFETY: the range is part of the mapping; the call is advice only.
            unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = huge;
        Some(Self { base, bytes, mapping })
    }

    /// Gives the memory behind `len` bytes at `offset` back; they read as zero afterwards. Nobody
    /// may own a block in that range.
    pub(super) fn forget(&self, offset: usize, len: usize) {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.bytes));
        // SAFETY: within the mapping, and free, so nobody reads or writes it now.
        unsafe { libc::madvise(self.base.as_ptr().add(offset).cast(), len, libc::MADV_DONTNEED) };
    }
}

#[cfg(all(unix, not(miri)))]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this very mapping; every store holds the pool and thereby the region alive.
        unsafe { libc::munmap(self.mapping.start, self.mapping.bytes) };
    }
}

#[cfg(any(not(unix), miri))]
#[derive(Debug)]
struct Mapping(std::alloc::Layout);

#[cfg(any(not(unix), miri))]
impl Region {
    /// Without reservable address space: a plain allocation, at most this large.
    const BYTES_MAX: usize = if cfg!(miri) { 4 << 20 } else { 1 << 30 };

    /// Allocates `bytes`, or less where the platform cannot reserve without using.
    pub(super) fn reserve(bytes: usize, _huge: bool) -> Option<Self> {
        let bytes = bytes.min(Self::BYTES_MAX);
        let align = if cfg!(miri) { 4096 } else { ALIGN };
        let layout = std::alloc::Layout::from_size_align(bytes.max(1), align).ok()?;
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        Some(Self { base, bytes, mapping: Mapping(layout) })
    }

    /// Keeps the memory: there is no way to give back a part.
    #[allow(clippy::unused_self)]
    pub(super) fn forget(&self, _offset: usize, _len: usize) {}
}

#[cfg(any(not(unix), miri))]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; every store holds the region alive.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.mapping.0) };
    }
}

impl Region {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Access to the region for one owner of blocks, which keeps the region alive beside it.
    pub(super) fn mem(&self) -> Mem {
        Mem {
            base: self.base,
            #[cfg(debug_assertions)]
            bytes: self.bytes,
        }
    }
}

/// Access to the blocks of one owner: a store's arena, or a table of its index.
#[derive(Debug)]
pub(super) struct Mem {
    base: NonNull<u8>,
    #[cfg(debug_assertions)]
    bytes: usize,
}

// SAFETY: a `Mem` belongs to one owner and reaches only that owner's blocks.
unsafe impl Send for Mem {}
// SAFETY: `&Mem` only reads.
unsafe impl Sync for Mem {}

impl Mem {
    #[inline(always)]
    fn ptr(&self, at: Ref, byte: usize, len: usize) -> *mut u8 {
        let offset = at.0 as usize * GRANULE + byte;
        #[cfg(debug_assertions)]
        assert!(offset + len <= self.bytes, "beyond the region");
        let _ = len;
        // SAFETY: references and lengths come from chunks of this store's blocks, within the region.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// The eight bytes at the start of a chunk.
    #[inline(always)]
    pub(super) fn word(&self, at: Ref) -> u64 {
        // SAFETY: chunks are aligned to and at least as long as a granule, and initialised (zero
        // pages, or written).
        u64::from_le(unsafe { self.ptr(at, 0, 8).cast::<u64>().read() })
    }

    #[inline(always)]
    pub(super) fn set_word(&mut self, at: Ref, word: u64) {
        // SAFETY: as in `word`; `&mut self` makes this the only access.
        unsafe { self.ptr(at, 0, 8).cast::<u64>().write(word.to_le()) };
    }

    #[inline(always)]
    pub(super) fn u32(&self, at: Ref, byte: usize) -> u32 {
        // SAFETY: four initialised bytes within the chunk.
        u32::from_le(unsafe { self.ptr(at, byte, 4).cast::<u32>().read_unaligned() })
    }

    #[inline(always)]
    pub(super) fn set_u32(&mut self, at: Ref, byte: usize, value: u32) {
        // SAFETY: four bytes within the chunk, `&mut self` makes this the only access.
        unsafe { self.ptr(at, byte, 4).cast::<u32>().write_unaligned(value.to_le()) };
    }

    #[inline(always)]
    pub(super) fn u64(&self, at: Ref, byte: usize) -> u64 {
        // SAFETY: eight initialised bytes within the chunk.
        u64::from_le(unsafe { self.ptr(at, byte, 8).cast::<u64>().read_unaligned() })
    }

    #[inline(always)]
    pub(super) fn set_u64(&mut self, at: Ref, byte: usize, value: u64) {
        // SAFETY: eight bytes within the chunk, `&mut self` makes this the only access.
        unsafe { self.ptr(at, byte, 8).cast::<u64>().write_unaligned(value.to_le()) };
    }

    /// `len` bytes of the chunk, borrowed from the store: a write needs `&mut` and waits for them.
    #[inline(always)]
    pub(super) fn bytes(&self, at: Ref, byte: usize, len: usize) -> &[u8] {
        // SAFETY: initialised bytes within the chunk, not written while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.ptr(at, byte, len), len) }
    }

    #[inline(always)]
    pub(super) fn set_bytes(&mut self, at: Ref, byte: usize, bytes: &[u8]) {
        // SAFETY: within the chunk; a slice borrowed from this store cannot coexist with
        // `&mut self`, any other memory does not overlap.
        unsafe {
            let to = self.ptr(at, byte, bytes.len());
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// The bucket at `at` in a block of buckets.
    #[inline(always)]
    pub(super) fn bucket(&self, at: Ref) -> &Bucket {
        // SAFETY: blocks are aligned to their size, at least 1 KiB, and `at` is a multiple of a
        // bucket from the start of one; any bytes are a bucket; not written while borrowed.
        unsafe { &*self.ptr(at, 0, size_of::<Bucket>()).cast() }
    }

    #[inline(always)]
    pub(super) fn bucket_mut(&mut self, at: Ref) -> &mut Bucket {
        // SAFETY: as in `bucket`; `&mut self` makes this the only access.
        unsafe { &mut *self.ptr(at, 0, size_of::<Bucket>()).cast() }
    }

    /// Fills `len` bytes of a block with zeros.
    pub(super) fn zero(&mut self, at: Ref, len: usize) {
        // SAFETY: within the block, `&mut self` makes this the only access.
        unsafe { self.ptr(at, 0, len).write_bytes(0, len) };
    }

    /// Copies the first `len` bytes of a chunk over another chunk.
    pub(super) fn copy(&mut self, from: Ref, to: Ref, len: usize) {
        debug_assert!(from.0.abs_diff(to.0) as usize * GRANULE >= len, "chunks overlap");
        // SAFETY: distinct chunks of this store, each at least `len` long.
        unsafe { self.ptr(to, 0, len).copy_from_nonoverlapping(self.ptr(from, 0, len), len) };
    }

    /// Asks the processor to load what a lookup of the record at `at` will read.
    #[inline(always)]
    pub(super) fn prefetch(&self, at: Ref, bytes: usize) {
        let first = self.base.as_ptr().wrapping_add(at.0 as usize * GRANULE);
        for line in (0..bytes).step_by(64) {
            prefetch(first.wrapping_add(line));
        }
    }

    /// Asks the processor to load the two cache lines after the one where a chunk starts.
    #[inline(always)]
    pub(super) fn prefetch_next(&self, at: Ref) {
        let first = self.base.as_ptr().wrapping_add(at.0 as usize * GRANULE);
        prefetch(first.wrapping_add(64));
        prefetch(first.wrapping_add(127));
    }
}

/// Asks the processor to load the cache line at `at`, which may be any address.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}
