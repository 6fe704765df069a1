//! The ring of a partition: records of operations that some replica has not acknowledged yet, in
//! `seq` order, encoded once. Readers are cursors: they name the `seq` they have and copy what follows.

use crate::ids::Seq;
use crate::limits::RING_BYTES_MAX;
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
}

impl Ring {
    /// An empty ring whose next record is `next`.
    pub(crate) fn starting_at(next: Seq) -> Self {
        Ring { first: next, ..Ring::default() }
    }

    /// Whether a record of this many bytes has to wait. An empty ring takes any record.
    pub(crate) fn is_full_for(&self, record_bytes: usize) -> bool {
        !self.ends.is_empty() && self.held() + record_bytes > RING_BYTES_MAX
    }

    /// Bytes of all records held.
    pub(crate) fn held(&self) -> usize {
        self.ends.back().map_or(0, |end| offset(*end, self.start))
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

    /// Forgets all records up to `seq`.
    pub(crate) fn forget(&mut self, seq: Seq) {
        while self.first <= seq
            && let Some(end) = self.ends.pop_front()
        {
            self.start = end;
            self.first = self.first.next();
        }
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
        ring.forget(Seq(5));
        assert_eq!(ring.after(Seq(4), 100), None, "gone");
        assert_eq!(ring.after(Seq(5), 100), Some((&b"bbc"[..], Seq(7))));
        assert_eq!(ring.after(Seq(8), 100), None, "not written yet");
        ring.begin().extend_from_slice(b"half");
        ring.abort();
        push(&mut ring, b"dd");
        assert_eq!(ring.after(Seq(7), 100), Some((&b"dd"[..], Seq(8))));
        ring.forget(Seq(8));
        assert_eq!(ring.held(), 0);
    }

    #[test]
    fn many_records_through_a_short_window_do_not_pile_up() {
        let mut ring = Ring::starting_at(Seq(1));
        for n in 1..=10_000u64 {
            push(&mut ring, &[7; 100]);
            if n > 3 {
                ring.forget(Seq(n - 3));
            }
        }
        assert_eq!(ring.held(), 300);
        assert!(ring.bytes.capacity() < 64 << 10, "{}", ring.bytes.capacity());
        assert!(!ring.is_full_for(1000));
        assert!(ring.is_full_for(RING_BYTES_MAX));
        ring.forget(Seq(10_000));
        assert!(!ring.is_full_for(2 * RING_BYTES_MAX), "an empty ring takes any record");
    }
}
