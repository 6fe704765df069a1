//! What members send each other about the partitions they both hold. A message is a frame:
//! `kind:u8 partition:u16 term:u64` and the fields of its kind, little-endian; records and pieces of
//! copies follow to its end. `term` is always that of the sender, or the one that it answers to.

use super::bytes::Reader;
use crate::error::{Error, Kind, Result};
use crate::ids::{PartitionId, Seq, Term};

/// One message about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The term of the primary, on either way.
    pub term: Term,
    /// What it is about.
    pub body: Body<'a>,
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// From a primary to a replica: records after `after`, in order.
    Append {
        /// The copy that the receiver's data began with, in this term; 0 if it was in sync from the
        /// beginning. Whoever has something else must not take the records.
        stream: u64,
        /// The last operation that the receiver should have.
        after: Seq,
        /// Up to here everything is committed.
        committed: Seq,
        /// The receiver's clock, as its last acknowledgement gave it, if the primary was still sure then
        /// that it is the primary; else 0.
        fresh: u64,
        /// The records; none tells only the rest.
        records: &'a [u8],
    },
    /// From a primary to a member that is to become a replica: the next part of a full copy.
    Copy {
        /// Tells this copy from others of the term.
        stream: u64,
        /// Counts the messages of the copy, from 0.
        number: u32,
        /// The last operation that the receiver should have; 0 at the beginning.
        after: Seq,
        /// Bytes of `rest` that are records after `after`; what follows them is a piece of the walk, as of the
        /// last record.
        records_bytes: u32,
        /// Records, then a piece, if any.
        rest: &'a [u8],
    },
    /// From a replica: it has everything up to `last`.
    Ack {
        /// The copy that it takes part in, and the next message of it that it waits for; or 0.
        stream: u64,
        /// See `stream`.
        number: u32,
        /// Its last operation.
        last: Seq,
        /// Its clock, to be sent back.
        now: u64,
        /// Bytes that its memory budget leaves.
        room: u64,
        /// It wants to answer reads: tell it how fresh it is.
        wants_fresh: bool,
    },
    /// From a member that cannot use what it was sent: it needs a full copy.
    Restart,
    /// From the heir of the term to an in-sync replica: it follows this term from now on, and says what it has
    /// after `have`.
    Collect {
        /// The last operation of the heir.
        have: Seq,
    },
    /// The answer.
    Collected {
        /// The last operation of the replica.
        last: Seq,
        /// Records after `have`, as many as fit.
        records: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Appends the message, without a length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kind: u8 = match self.body {
            Body::Append { .. } => 1,
            Body::Copy { .. } => 2,
            Body::Ack { .. } => 3,
            Body::Restart => 4,
            Body::Collect { .. } => 5,
            Body::Collected { .. } => 6,
        };
        out.push(kind);
        out.extend_from_slice(&self.partition.0.to_le_bytes());
        put(out, &[self.term.0]);
        match self.body {
            Body::Append { stream, after, committed, fresh, records } => {
                put(out, &[stream, after.0, committed.0, fresh]);
                out.extend_from_slice(records);
            }
            Body::Copy { stream, number, after, records_bytes, rest } => {
                put(out, &[stream, number.into(), after.0, records_bytes.into()]);
                out.extend_from_slice(rest);
            }
            Body::Ack { stream, number, last, now, room, wants_fresh } => {
                put(out, &[stream, number.into(), last.0, now, room]);
                out.push(u8::from(wants_fresh));
            }
            Body::Restart => {}
            Body::Collect { have } => put(out, &[have.0]),
            Body::Collected { last, records } => {
                put(out, &[last.0]);
                out.extend_from_slice(records);
            }
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let kind = r.u8()?;
        let (partition, term) = (PartitionId(r.u16()?), Term(r.u64()?));
        let body = match kind {
            1 => {
                let (stream, after) = (r.u64()?, Seq(r.u64()?));
                let (committed, fresh) = (Seq(r.u64()?), r.u64()?);
                Body::Append { stream, after, committed, fresh, records: r.rest() }
            }
            2 => {
                let (stream, number) = (r.u64()?, u32_of(r.u64()?)?);
                let (after, records_bytes) = (Seq(r.u64()?), u32_of(r.u64()?)?);
                let rest = r.rest();
                if records_bytes as usize > rest.len() {
                    return Err(Error::with(Kind::Malformed, "records longer than their message"));
                }
                Body::Copy { stream, number, after, records_bytes, rest }
            }
            3 => {
                let (stream, number) = (r.u64()?, u32_of(r.u64()?)?);
                let (last, now, room) = (Seq(r.u64()?), r.u64()?, r.u64()?);
                let wants_fresh = r.u8()? != 0;
                r.finish()?;
                Body::Ack { stream, number, last, now, room, wants_fresh }
            }
            4 => {
                r.finish()?;
                Body::Restart
            }
            5 => {
                let have = Seq(r.u64()?);
                r.finish()?;
                Body::Collect { have }
            }
            6 => Body::Collected { last: Seq(r.u64()?), records: r.rest() },
            other => return Err(Error::with(Kind::Malformed, format!("unknown message {other}"))),
        };
        Ok(Message { partition, term, body })
    }
}

fn put(out: &mut Vec<u8>, fields: &[u64]) {
    for field in fields {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn u32_of(n: u64) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::with(Kind::Malformed, "a number is out of its range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_and_no_cut_of_it_panics() {
        let bodies = [
            Body::Append { stream: 4, after: Seq(1), committed: Seq(2), fresh: 3, records: b"abc" },
            Body::Copy { stream: 1, number: 2, after: Seq(3), records_bytes: 2, rest: b"abcd" },
            Body::Ack { stream: 1, number: 2, last: Seq(3), now: 4, room: 5, wants_fresh: true },
            Body::Restart,
            Body::Collect { have: Seq(9) },
            Body::Collected { last: Seq(9), records: b"" },
        ];
        for body in bodies {
            let message = Message { partition: PartitionId(7), term: Term(5), body };
            let mut bytes = Vec::new();
            message.write(&mut bytes);
            assert_eq!(Message::read(&bytes).unwrap(), message);
            for cut in 0..11 {
                assert_eq!(Message::read(&bytes[..cut]).unwrap_err().kind(), Kind::Malformed);
            }
        }
        let mut bytes = Vec::new();
        let body = Body::Copy { stream: 0, number: 0, after: Seq(0), records_bytes: 9, rest: b"" };
        Message { partition: PartitionId(0), term: Term(0), body }.write(&mut bytes);
        assert_eq!(Message::read(&bytes).unwrap_err().kind(), Kind::Malformed);
    }
}
