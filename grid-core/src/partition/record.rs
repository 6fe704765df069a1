//! Records of operations, as the ring holds them and as they travel to other replicas.
//!
//! Little-endian after its length: `term:u64 seq:u64 time:u64 session:u64 request:u64 floor:u64
//! effects:u32 answer_len:u32 | effects | answer`. Session 0 stands for none.

use super::dedupe::Stamp;
use crate::error::Result;
use crate::ids::{Millis, RequestId, Seq, SessionId, Term};
use crate::wire::bytes::Reader;
use crate::wire::{LEN_BYTES, begin_frame, end_frame};

const HEADER_BYTES: usize = 56;
/// Bytes of a record without effects and answer.
pub(super) const BYTES_MIN: usize = LEN_BYTES + HEADER_BYTES;

/// What stands before the effects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) term: Term,
    pub(super) seq: Seq,
    pub(super) time: Millis,
    pub(super) stamp: Option<Stamp>,
    pub(super) effects: u32,
}

/// Begins a record at the end of `out`; its effects follow, then [`end`].
#[inline]
pub(super) fn begin(out: &mut Vec<u8>) {
    begin_frame(out);
    out.extend_from_slice(&[0; HEADER_BYTES]);
}

/// Ends the record that begins at `start`.
#[inline]
pub(super) fn end(out: &mut Vec<u8>, start: usize, head: &Head, answer: &[u8]) {
    let (session, request, floor) =
        head.stamp.map_or((0, 0, 0), |stamp| (stamp.session.0, stamp.request.0, stamp.floor.0));
    let counts = u64::from(head.effects) | (answer.len() as u64) << 32; // a frame is far below 4 GiB
    let header = [head.term.0, head.seq.0, head.time.0, session, request, floor, counts];
    let fields = out.get_mut(start + LEN_BYTES..).unwrap_or_default();
    for (field, n) in fields.chunks_exact_mut(8).zip(header) {
        field.copy_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(answer);
    end_frame(out, start);
}

/// A record as a replica reads it.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    /// Effects and answer.
    pub(super) rest: Reader<'a>,
    pub(super) answer_len: usize,
}

impl<'a> Record<'a> {
    /// Reads what follows the length of a record. Inlined, so that the fields stay in registers: returned through
    /// memory, they would be waited for until all that was stored before has reached the cache.
    #[inline(always)]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let (term, seq, time) = (Term(r.u64()?), Seq(r.u64()?), Millis(r.u64()?));
        let (session, request, floor) =
            (SessionId(r.u64()?), RequestId(r.u64()?), RequestId(r.u64()?));
        let stamp = (session.0 != 0).then_some(Stamp { session, request, floor });
        let (effects, answer_len) = (r.u32()?, r.u32()? as usize);
        Ok(Record { head: Head { term, seq, time, stamp, effects }, rest: r, answer_len })
    }
}
