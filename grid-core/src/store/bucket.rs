//! One cache line of the index: twelve entries, found by comparing twelve tags at once.

use super::mem::Ref;

/// Entries of a bucket.
pub(super) const LANES: usize = 12;
const LANE_MASK: u32 = (1 << LANES) - 1;

/// Tag 0 is an empty lane; a bucket of zero bytes is empty. Any bytes are a valid bucket.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    tags: [u8; LANES],
    /// Entries of this bucket or those before it that lie beyond it.
    pub(super) passed: u32,
    refs: [Ref; LANES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// A set of lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lanes(u32);

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    }
}

/// The tag of an entry: bits of its hash that do not choose its bucket, never 0.
#[inline(always)]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

impl Bucket {
    /// The lanes with this tag.
    #[inline(always)]
    pub(super) fn with_tag(&self, tag: u8) -> Lanes {
        Lanes(compare(self, tag) & LANE_MASK)
    }

    /// The first empty lane.
    pub(super) fn vacant(&self) -> Option<usize> {
        self.with_tag(0).next()
    }

    /// The lanes with an entry.
    pub(super) fn occupied(&self) -> Lanes {
        Lanes(!compare(self, 0) & LANE_MASK)
    }

    /// Whether there is no entry here, and none passed by.
    pub(super) fn is_blank(&self) -> bool {
        self.passed == 0 && self.occupied().next().is_none()
    }

    #[inline(always)]
    pub(super) fn at(&self, lane: usize) -> Ref {
        self.refs[lane]
    }

    pub(super) fn set(&mut self, lane: usize, tag: u8, at: Ref) {
        self.tags[lane] = tag;
        self.refs[lane] = at;
    }

    pub(super) fn set_ref(&mut self, lane: usize, at: Ref) {
        self.refs[lane] = at;
    }

    pub(super) fn unset(&mut self, lane: usize) {
        self.tags[lane] = 0;
    }
}

/// A bit for each tag that equals `tag`; bits from `LANES` on mean nothing.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
#[allow(unsafe_code)]
fn compare(bucket: &Bucket, tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: every x86-64 has SSE2; a bucket is 64 bytes, aligned to 64, the first 16 are read.
    unsafe {
        let tags = _mm_load_si128(std::ptr::from_ref(bucket).cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed()))).cast_unsigned()
    }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn compare(bucket: &Bucket, tag: u8) -> u32 {
    bucket.tags.iter().rev().fold(0, |mask, t| mask << 1 | u32::from(*t == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_found_by_tag() {
        let mut bucket =
            Bucket { tags: [0; LANES], passed: u32::MAX, refs: [Ref::default(); LANES] };
        assert_eq!((bucket.vacant(), bucket.occupied().count()), (Some(0), 0));
        for lane in 0..LANES {
            bucket.set(lane, tag_of(lane as u64 % 3), Ref::new(lane as u32));
        }
        assert_eq!(bucket.vacant(), None);
        assert_eq!(bucket.with_tag(1).collect::<Vec<_>>(), [0, 1, 3, 4, 6, 7, 9, 10]);
        assert_eq!(bucket.with_tag(0xff).count(), 0, "the overflow count is no tag");
        bucket.unset(11);
        assert_eq!((bucket.vacant(), bucket.occupied().count()), (Some(11), 11));
    }
}
