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
//! | 24 | 8 | term that the sender believes in |
//! | 32 | 8 | control log index that the sender has seen |
//! | 40 | | operation ([`crate::op::Op`]) |

use super::bytes::Reader;
use super::{FrameKind, begin_frame, end_frame};
use crate::error::Result;
use crate::ids::{Index, PartitionId, RequestId, StructureId, Term};

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
    /// Term that the sender believes in.
    pub term: Term,
    /// Control log index that the sender has seen.
    pub applied: Index,
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
    head[24..32].copy_from_slice(&header.term.0.to_le_bytes());
    head[32..40].copy_from_slice(&header.applied.0.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    end_frame(out, at);
}

/// Reads the header of a request frame (what [`super::split_frame`] returned); the rest is the operation.
///
/// # Errors
/// `Malformed` if the frame is shorter than a header.
#[inline]
pub fn decode(frame: &[u8]) -> Result<(RequestHeader, &[u8])> {
    let mut r = Reader::new(frame);
    let _kind = r.u8()?;
    let header = RequestHeader {
        code: r.u8()?,
        partition: PartitionId(r.u16()?),
        structure: StructureId(r.u32()?),
        request: RequestId(r.u64()?),
        floor: RequestId(r.u64()?),
        term: Term(r.u64()?),
        applied: Index(r.u64()?),
    };
    Ok((header, r.rest()))
}
