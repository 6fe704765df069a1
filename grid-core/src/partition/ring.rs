//! The ring of a partition: records of operations that some replica has not acknowledged yet, in
//! `seq` order, encoded once. Readers are cursors: they name the `seq` they have and copy what follows.
//! Before the records that are *needed* it may hold others for a reader that nobody waits for.

use crate::ids::Seq;
use crate::limits::{LEARNER_RING_BYTES_MAX, RING_BYTES_MAX};
use std::collections::VecDeque;

/// Records `first .. first + ends.len()`, one after the other in `bytes`.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    /// Stream offset of `bytes[0]`.
    base: u64,
    /// Stream offsets at which the records end.
    ends: VecDeque<u64>,
    /// Number of the record that ends at `ends[0]`.
    first: Seq,
    /// Stream offset at which the first record starts.
    start: u64,
    /// Stream offset at which the first needed record starts.
    needed: u64,
}

impl Ring {
    /// An empty ring whose next record is `next`.
    pub(crate) fn starting_at(next: Seq) -> Self {
        Ring { first: next, ..Ring::default() }
    }

    /// Whether a record of this many bytes has to wait. If none is needed, any is taken.
    pub(crate) fn is_full_for(&self, record_bytes: usize) -> bool {
        let held = self.ends.back().map_or(0, |end| offset(*end, self.needed));
        held > 0 && held + record_bytes > RING_BYTES_MAX
    }

    /// Number of the last record, or the one before the first that will come.
    pub(crate) fn last(&self) -> Seq {
        Seq(self.first.0 + self.ends.len() as u64 - 1)
    }

    /// The buffer to append one record to; [`Ring::end`] or [`Ring::abort`] must follow.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where in the buffer the record that is being appended starts.
    pub(crate) fn last_end(&self) -> usize {
        offset(self.ends.back().copied().unwrap_or(self.start), self.base)
    }

    /// Ends the record that was appended.
    pub(crate) fn end(&mut self) {
        self.ends.push_back(self.base + self.bytes.len() as u64);
    }

    /// Takes back what was appended since the last [`Ring::end`].
    pub(crate) fn abort(&mut self) {
        self.bytes.truncate(self.last_end());
    }

    /// Whole records after `have`, at most about `bytes_max` but at least one if there is any; and
    /// the number of the last of them. `None` if the record after `have` is gone.
    pub(crate) fn after(&self, have: Seq, bytes_max: usize) -> Option<(&[u8], Seq)> {
        let skip = usize::try_from(have.0.checked_add(1)?.checked_sub(self.first.0)?).ok()?;
        if skip > self.ends.len() {
            return None;
        }
        let from = skip.checked_sub(1).map_or(self.start, |i| self.ends[i]);
        let mut to = from;
        let mut last = have;
        for end in self.ends.range(skip..) {
            if to > from && offset(*end, from) > bytes_max {
                break;
            }
            (to, last) = (*end, last.next());
        }
        Some((&self.bytes[offset(from, self.base)..offset(to, self.base)], last))
    }

    /// The record with this number, if it is here.
    pub(crate) fn get(&self, seq: Seq) -> Option<&[u8]> {
        let (record, last) = self.after(Seq(seq.0.checked_sub(1)?), 0)?;
        (last == seq).then_some(record)
    }

    /// Nobody needs records up to `needed` any more, but of those after `retained` as many of the
    /// last are kept as [`LEARNER_RING_BYTES_MAX`] takes, and one of any length. All others are forgotten.
    pub(crate) fn trim(&mut self, needed: Seq, retained: Seq) {
        while self.first <= needed.min(retained) && self.forget_first() {}
        if self.first > needed {
            self.needed = self.start;
            return self.give_back();
        }
        self.needed = self.end_of(needed);
        while self.first < needed
            && offset(self.needed, self.start) > LEARNER_RING_BYTES_MAX
            && self.forget_first()
        {}
        self.give_back();
    }

    /// Where a record ends that is here, or the last one.
    fn end_of(&self, seq: Seq) -> u64 {
        let at = usize::try_from(seq.0 - self.first.0).unwrap_or(usize::MAX);
        self.ends.get(at).or(self.ends.back()).copied().unwrap_or(self.start)
    }

    fn forget_first(&mut self) -> bool {
        let Some(end) = self.ends.pop_front() else { return false };
        self.start = end;
        self.first = self.first.next();
        true
    }

    /// Gives the memory of forgotten records back, if it is worth it.
    fn give_back(&mut self) {
        let dead = offset(self.start, self.base);
        if dead > 4096 && dead * 2 > self.bytes.len() {
            self.bytes.drain(..dead);
            self.base = self.start;
            if self.bytes.capacity() > 1 << 20 && self.bytes.len() < 1 << 16 {
                self.bytes.shrink_to(1 << 16);
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // both lie within one buffer
fn offset(at: u64, base: u64) -> usize {
    (at - base) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, record: &[u8]) {
        ring.begin().extend_from_slice(record);
        ring.end();
    }

    #[test]
    fn a_cursor_reads_what_follows_it_until_that_is_forgotten() {
        let mut ring = Ring::starting_at(Seq(5));
        assert_eq!(ring.after(Seq(4), 100), Some((&b""[..], Seq(4))));
        for record in [&b"aaa"[..], b"bb", b"c"] {
            push(&mut ring, record);
        }
        assert_eq!(ring.last(), Seq(7));
        assert_eq!(ring.after(Seq(4), 100), Some((&b"aaabbc"[..], Seq(7))));
        assert_eq!(ring.after(Seq(4), 1), Some((&b"aaa"[..], Seq(5))), "at least one record");
        assert_eq!(ring.after(Seq(4), 5), Some((&b"aaabb"[..], Seq(6))));
        ring.trim(Seq(5), Seq(5));
        assert_eq!(ring.after(Seq(4), 100), None, "gone");
        assert_eq!(ring.after(Seq(5), 100), Some((&b"bbc"[..], Seq(7))));
        assert_eq!(ring.after(Seq(8), 100), None, "not written yet");
        ring.begin().extend_from_slice(b"half");
        ring.abort();
        push(&mut ring, b"dd");
        assert_eq!(ring.after(Seq(7), 100), Some((&b"dd"[..], Seq(8))));
        assert_eq!((ring.get(Seq(8)), ring.get(Seq(7))), (Some(&b"dd"[..]), Some(&b"c"[..])));
        assert_eq!((ring.get(Seq(5)), ring.get(Seq(9)), ring.get(Seq(0))), (None, None, None));
        ring.trim(Seq(8), Seq(8));
        assert_eq!((ring.after(Seq(7), 100), ring.last()), (None, Seq(8)));
    }

    #[test]
    fn many_records_through_a_short_window_do_not_pile_up() {
        let mut ring = Ring::starting_at(Seq(1));
        for n in 1..=10_000u64 {
            push(&mut ring, &[7; 100]);
            if n > 3 {
                ring.trim(Seq(n - 3), Seq(n - 3));
            }
        }
        assert_eq!(ring.after(Seq(9_997), usize::MAX).unwrap().0.len(), 300);
        assert_eq!(ring.after(Seq(9_996), 1), None);
        assert!(ring.bytes.capacity() < 64 << 10, "{}", ring.bytes.capacity());
        assert!(!ring.is_full_for(1000));
        assert!(ring.is_full_for(RING_BYTES_MAX));
        ring.trim(Seq(10_000), Seq(10_000));
        assert!(!ring.is_full_for(2 * RING_BYTES_MAX), "an empty ring takes any record");
    }

    #[test]
    fn what_a_learner_reads_takes_nobody_the_room_and_ends_at_a_bound() {
        const RECORD: usize = 100 << 10;
        let mut ring = Ring::starting_at(Seq(1));
        let most = (LEARNER_RING_BYTES_MAX / RECORD) as u64;
        for n in 1..=100 {
            push(&mut ring, &[7; RECORD]);
            ring.trim(Seq(n), Seq(5));
            let kept = (n.saturating_sub(5)).min(most);
            assert!(
                ring.get(Seq(n - kept)).is_none() && ring.get(Seq(n - kept + 1)).is_some()
                    || kept == 0
            );
            assert!(!ring.is_full_for(RING_BYTES_MAX + 1), "nobody needs any");
        }
        push(&mut ring, &[7; RECORD]);
        assert!(ring.is_full_for(RING_BYTES_MAX - RECORD + 1), "one is needed");
        assert!(!ring.is_full_for(RING_BYTES_MAX - RECORD));
        ring.trim(Seq(100), Seq(99));
        assert!(
            ring.get(Seq(99)).is_none() && ring.get(Seq(100)).is_some(),
            "the learner has more"
        );
        // One that is larger than the bound is kept until the next.
        push(&mut ring, &[7; 2 * LEARNER_RING_BYTES_MAX]);
        ring.trim(Seq(102), Seq(100));
        assert!(ring.get(Seq(101)).is_none() && ring.get(Seq(102)).is_some());
        push(&mut ring, &[7; 1]);
        ring.trim(Seq(103), Seq(100));
        assert!(ring.get(Seq(102)).is_none() && ring.get(Seq(103)).is_some());
        // Needed again: it counts again.
        push(&mut ring, &[7; RECORD]);
        ring.trim(Seq(104), Seq(103));
        assert!(!ring.is_full_for(RING_BYTES_MAX));
        ring.trim(Seq(103), Seq(103));
        assert!(ring.is_full_for(RING_BYTES_MAX));
    }
}
