//! Requests on a partition. Header, after the length field, little-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | [`FrameKind::Request`] |
//! | 1 | 1 | operation code |
//! | 2 | 2 | partition |
//! | 4 | 4 | structure |
//! | 8 | 8 | request id in the session of the connection |
//! | 16 | 8 | first request id that the session has no answer to |
//! | 24 | 2 | 0 linearizable, 1 confirmed, 2 stale read |
//! | 26 | 2 | which attempt this is: 0 the first, else it was sent before; the reply repeats it |
//! | 28 | 4 | of a stale read: how stale, in milliseconds; else 0 |
//! | 32 | 8 | control log index that the sender has seen |
//! | 40 | | operation ([`crate::op::Op`]) |

use super::bytes::Reader;
use super::{FrameKind, begin_frame, end_frame};
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, PartitionId, RequestId, StructureId};
use crate::read::Read;
use std::time::Duration;

/// Bytes of the header after the length field.
pub const HEADER_BYTES: usize = 40;

/// The header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Operation code, see [`crate::op::OpCode`].
    pub code: u8,
    /// Partition that the operation is for.
    pub partition: PartitionId,
    /// Structure that the operation is for.
    pub structure: StructureId,
    /// Number of the request in its session.
    pub request: RequestId,
    /// Lowest request of the session that has no answer yet.
    pub floor: RequestId,
    /// Above 0, the request was sent before, here or to another member, and that may yet arrive. Its sender
    /// takes only the answer to its last attempt: an earlier one may have changed nothing while this one did.
    pub attempt: u16,
    /// What a read may return. On the wire a bound has whole milliseconds, `u32::MAX` at most.
    pub read: Read,
    /// Control log index that the sender has seen.
    pub applied: Index,
}

const CONFIRMED: u64 = 1;
const STALE: u64 = 2;
const ATTEMPT_AT: u32 = 16;

impl RequestHeader {
    /// The eight bytes at offset 24.
    #[inline]
    fn manner(&self) -> u64 {
        let read = match self.read {
            Read::Linearizable => 0,
            Read::Confirmed => CONFIRMED,
            Read::Stale(bound) => STALE | millis(bound) << 32,
        };
        read | u64::from(self.attempt) << ATTEMPT_AT
    }
}

#[cold]
fn millis(bound: Duration) -> u64 {
    u32::try_from(bound.as_millis()).unwrap_or(u32::MAX).into()
}

/// Reads [`RequestHeader::manner`].
#[inline]
fn manner_of(manner: u64) -> Result<(u16, Read)> {
    #[expect(clippy::cast_possible_truncation, reason = "these two bytes")]
    let attempt = (manner >> ATTEMPT_AT) as u16;
    let read = match (manner & 0xffff, manner >> 32) {
        (0, 0) => Read::Linearizable,
        (STALE, bound) => Read::Stale(Duration::from_millis(bound)),
        (CONFIRMED, 0) => Read::Confirmed,
        _ => return Err(unknown()),
    };
    Ok((attempt, read))
}

#[cold]
fn unknown() -> Error {
    Error::with(Kind::Malformed, "a request of a manner that does not exist")
}

/// Appends a whole request frame.
#[inline]
pub fn encode(header: &RequestHeader, body: &[u8], out: &mut Vec<u8>) {
    let at = begin_frame(out);
    let mut head = [0u8; HEADER_BYTES];
    head[0] = FrameKind::Request as u8;
    head[1] = header.code;
    head[2..4].copy_from_slice(&header.partition.0.to_le_bytes());
    head[4..8].copy_from_slice(&header.structure.0.to_le_bytes());
    head[8..16].copy_from_slice(&header.request.0.to_le_bytes());
    head[16..24].copy_from_slice(&header.floor.0.to_le_bytes());
    head[24..32].copy_from_slice(&header.manner().to_le_bytes());
    head[32..40].copy_from_slice(&header.applied.0.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    end_frame(out, at);
}

/// Reads the header of a request frame (what [`super::split_frame`] returned); the rest is the operation.
///
/// # Errors
/// `Malformed` if the frame is shorter than a header, or has bits that mean nothing.
#[inline]
pub fn decode(frame: &[u8]) -> Result<(RequestHeader, &[u8])> {
    let mut r = Reader::new(frame);
    let _kind = r.u8()?;
    let (code, partition) = (r.u8()?, PartitionId(r.u16()?));
    let structure = StructureId(r.u32()?);
    let (request, floor) = (RequestId(r.u64()?), RequestId(r.u64()?));
    let manner = r.u64()?;
    let applied = Index(r.u64()?);
    let (attempt, read) = manner_of(manner)?;
    let header =
        RequestHeader { code, partition, structure, request, floor, attempt, read, applied };
    Ok((header, r.rest()))
}
