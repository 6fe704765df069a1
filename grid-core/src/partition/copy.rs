//! The form of a full copy: the pieces of a walk over everything that a partition holds, structure by
//! structure in the order of their ids, then the sessions in that of theirs. [`super::copy_out`] writes
//! them, [`super::copy_in`] reads them.
//!
//! A piece, little-endian: `number:u64 seq:u64`, in the first one also `time:u64 expired:u64 term:u64`,
//! then parts, each a byte and what it says follows:
//!
//! | byte | |
//! |---|---|
//! | 1 | `structure:u32 entries:u64`: the next entries or items are of this one; all below are whole |
//! | 2 | an entry of a map: `seq:u64 flags:u8 [expires_at:u64] [max_idle:u32 accessed:u64]`, key, value |
//! | 3 | an item of a queue: a value |
//! | 4 | all structures are whole |
//! | 5 | `session:u64 floor:u64 highest:u64 count:u32`, answers: `request:u64 seq:u64 len:u32`, bytes |
//! | 6 | the copy is whole; nothing follows |
//!
//! Entries come in the order of hash, payload and type of their keys, items in that of the queue.

use super::dedupe::Remembered;
use crate::data::{Blob, TypeTag};
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, Millis, RequestId, Seq, SessionId, StructureId, Term};
use crate::store::{Idle, Meta};
use crate::wire::bytes::{KeyRef, Reader, put_key, put_value};

/// The largest number that an entry can carry.
const SEQ_MAX: u64 = (1 << 56) - 1;
/// Upper bound of the bytes of a part beside payloads and answers.
const PART_BYTES: usize = 64;
/// Bytes of an answer beside itself.
const ANSWER_BYTES: usize = 20;

/// A key's place in the walk over a map.
#[derive(Clone, Debug)]
pub(super) struct KeyPlace {
    pub(super) hash: u64,
    payload: Box<[u8]>,
    tag: TypeTag,
}

impl KeyPlace {
    pub(super) fn of(hash: u64, key: Blob<'_>) -> Self {
        KeyPlace { hash, payload: key.payload.into(), tag: key.tag }
    }

    /// Whether a walk that has come here has passed the key, or met it.
    pub(super) fn reaches(&self, hash: u64, key: Blob<'_>) -> bool {
        (hash, key.payload, key.tag) <= (self.hash, &*self.payload, self.tag)
    }
}

/// What stands before the parts of a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Of the piece, from 0.
    pub(super) number: u64,
    /// Of the last operation when it was read.
    pub(super) seq: Seq,
    /// In the first one.
    pub(super) first: Option<First>,
}

/// What only the first piece tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) time: Millis,
    pub(super) expired: Index,
    pub(super) term: Term,
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        let first = self.first.map(|first| [first.time.0, first.expired.0, first.term.0]);
        for n in [self.number, self.seq.0].into_iter().chain(first.into_iter().flatten()) {
            out.extend_from_slice(&n.to_le_bytes());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self> {
        let (number, seq) = (r.u64()?, r.u64()?);
        if seq > SEQ_MAX {
            return Err(Error::with(Kind::Malformed, format!("a piece read at operation {seq}")));
        }
        let first = match number {
            0 => {
                let (time, expired, term) = (Millis(r.u64()?), Index(r.u64()?), Term(r.u64()?));
                Some(First { time, expired, term })
            }
            _ => None,
        };
        Ok(Head { number, seq: Seq(seq), first })
    }
}

/// A part of a piece.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// What follows is of this structure, which has as many entries as a whole.
    Structure(StructureId, u64),
    Entry(KeyRef<'a>, Blob<'a>, Meta),
    Item(Blob<'a>),
    StructuresEnd,
    Session(SessionPart<'a>),
    End,
}

/// What is remembered of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionPart<'a> {
    pub(super) id: SessionId,
    pub(super) floor: RequestId,
    pub(super) highest: RequestId,
    answers: Reader<'a>,
    count: usize,
}

impl<'a> SessionPart<'a> {
    /// The answers in the order of their effects.
    pub(super) fn answers(&self) -> impl Iterator<Item = (RequestId, Seq, &'a [u8])> + use<'a> {
        let mut r = self.answers;
        (0..self.count).map_while(move |_| answer(&mut r).ok())
    }
}

fn answer<'a>(r: &mut Reader<'a>) -> Result<(RequestId, Seq, &'a [u8])> {
    let (request, seq, len) = (RequestId(r.u64()?), Seq(r.u64()?), r.u32()?);
    Ok((request, seq, r.slice(len as usize)?))
}

impl<'a> Part<'a> {
    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self> {
        Ok(match r.u8()? {
            1 => Part::Structure(StructureId(r.u32()?), r.u64()?),
            2 => {
                let (seq, flags) = (r.u64()?, r.u8()?);
                let expires_at = if flags & 1 == 0 { None } else { Some(r.u64()?) };
                let idle = match flags & 2 {
                    0 => None,
                    _ => Some(Idle { max_ms: r.u32()?, last_ms: r.u64()? }),
                };
                let (key, value) = (r.key()?, r.value()?);
                Part::Entry(key, value, Meta { seq, expires_at, idle, affinity: key.affinity })
            }
            3 => Part::Item(r.value()?),
            4 => Part::StructuresEnd,
            5 => {
                let (id, floor) = (SessionId(r.u64()?), RequestId(r.u64()?));
                let (highest, count) = (RequestId(r.u64()?), r.count(ANSWER_BYTES)?);
                let answers = *r;
                for _ in 0..count {
                    answer(r)?;
                }
                Part::Session(SessionPart { id, floor, highest, answers, count })
            }
            6 => Part::End,
            code => return Err(Error::with(Kind::Malformed, format!("part {code} of a copy"))),
        })
    }
}

/// A piece that is being written: at least one entry, item or session, and no more of them than
/// about so many bytes take.
pub(super) struct Piece<'o> {
    out: &'o mut Vec<u8>,
    bytes_max: usize,
    start: usize,
    /// Nothing was written of what is walked over.
    empty: bool,
    /// The structure that was named last.
    named: Option<StructureId>,
}

impl<'o> Piece<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>, bytes_max: usize, head: &Head) -> Self {
        let start = out.len();
        head.write(out);
        Piece { out, bytes_max, start, empty: true, named: None }
    }

    /// Whether something with so many bytes of payload still belongs into this piece; it is to be
    /// written then. One of any length does into an empty one.
    pub(super) fn takes(&mut self, payload: usize) -> bool {
        let bytes = self.out.len() - self.start + payload + PART_BYTES;
        let takes = self.empty || bytes <= self.bytes_max;
        self.empty &= !takes;
        takes
    }

    /// Says which structure the walk has come to: all below are whole.
    pub(super) fn structure(&mut self, id: StructureId, entries: usize) {
        if self.named == Some(id) {
            return;
        }
        self.named = Some(id);
        self.out.push(1);
        self.out.extend_from_slice(&id.0.to_le_bytes());
        self.out.extend_from_slice(&(entries as u64).to_le_bytes());
    }

    pub(super) fn entry(&mut self, key: Blob<'_>, value: Blob<'_>, meta: &Meta) {
        let flags = u8::from(meta.expires_at.is_some()) | u8::from(meta.idle.is_some()) << 1;
        self.out.push(2);
        self.out.extend_from_slice(&meta.seq.to_le_bytes());
        self.out.push(flags);
        if let Some(expires_at) = meta.expires_at {
            self.out.extend_from_slice(&expires_at.to_le_bytes());
        }
        if let Some(idle) = meta.idle {
            self.out.extend_from_slice(&idle.max_ms.to_le_bytes());
            self.out.extend_from_slice(&idle.last_ms.to_le_bytes());
        }
        put_key(self.out, KeyRef { blob: key, affinity: meta.affinity });
        put_value(self.out, value);
    }

    pub(super) fn item(&mut self, item: Blob<'_>) {
        self.out.push(3);
        put_value(self.out, item);
    }

    pub(super) fn structures_end(&mut self) {
        self.out.push(4);
    }

    pub(super) fn session(&mut self, session: &Remembered<'_>) {
        self.out.push(5);
        for n in [session.id.0, session.floor.0, session.highest.0] {
            self.out.extend_from_slice(&n.to_le_bytes());
        }
        #[allow(clippy::cast_possible_truncation)] // bounded by DEDUPE_BYTES_MAX
        self.out.extend_from_slice(&(session.answers().count() as u32).to_le_bytes());
        for (request, seq, answer) in session.answers() {
            self.out.extend_from_slice(&request.0.to_le_bytes());
            self.out.extend_from_slice(&seq.0.to_le_bytes());
            #[allow(clippy::cast_possible_truncation)] // a frame is far below 4 GiB
            self.out.extend_from_slice(&(answer.len() as u32).to_le_bytes());
            self.out.extend_from_slice(answer);
        }
    }

    /// Bytes of payload of a session.
    pub(super) fn session_bytes(session: &Remembered<'_>) -> usize {
        session.answers().map(|(_, _, answer)| ANSWER_BYTES + answer.len()).sum()
    }

    pub(super) fn end(&mut self) {
        self.out.push(6);
    }
}
