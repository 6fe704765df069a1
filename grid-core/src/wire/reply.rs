//! Replies. Header, after the length field, little-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | [`FrameKind::Reply`] |
//! | 1 | 1 | 0 answer, 1 error |
//! | 2 | 2 | which attempt is answered, as the request said |
//! | 4 | 8 | request id |
//! | 12 | 8 | control log index that the member has seen |
//! | 20 | | answer of the operation, or error |

use super::bytes::Reader;
use super::{FrameKind, begin_frame, end_frame};
use crate::error::{Applied, Error, Kind, Result};
use crate::ids::{Index, RequestId};
use std::time::Duration;

/// Bytes of the header after the length field.
pub const HEADER_BYTES: usize = 20;

/// Begins a reply frame: header written, answer to be appended by the caller, then [`end_frame`] with
/// the returned position.
#[inline]
pub fn begin(request: RequestId, attempt: u16, applied: Index, out: &mut Vec<u8>) -> usize {
    let at = begin_frame(out);
    let mut head = [0u8; HEADER_BYTES];
    head[0] = FrameKind::Reply as u8;
    head[2..4].copy_from_slice(&attempt.to_le_bytes());
    head[4..12].copy_from_slice(&request.0.to_le_bytes());
    head[12..20].copy_from_slice(&applied.0.to_le_bytes());
    out.extend_from_slice(&head);
    at
}

/// Turns the reply begun at `at` into an error reply, whatever was appended so far, and ends it.
pub fn fail(error: &Error, at: usize, out: &mut Vec<u8>) {
    out.truncate(at + super::LEN_BYTES + HEADER_BYTES);
    if let Some(status) = out.get_mut(at + super::LEN_BYTES + 1) {
        *status = 1;
    }
    put_error(error, out);
    end_frame(out, at);
}

/// Appends an error in the form that [`error`] reads.
pub fn put_error(error: &Error, out: &mut Vec<u8>) {
    out.push(error.kind() as u8);
    out.push(u8::from(error.applied() == Applied::Maybe));
    let retry = error.retry_after().unwrap_or_default().as_millis();
    out.extend_from_slice(&u32::try_from(retry).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(error.detail().unwrap_or_default().as_bytes());
}

/// Reads the error that [`put_error`] wrote.
#[must_use]
pub fn error(body: &[u8]) -> Error {
    fn read(body: &[u8]) -> Result<Error> {
        let mut r = Reader::new(body);
        let kind = Kind::from_code(r.u8()?);
        let maybe = r.u8()? != 0;
        let retry = Duration::from_millis(r.u32()?.into());
        let detail = String::from_utf8_lossy(r.rest());
        let error = if detail.is_empty() { Error::new(kind) } else { Error::with(kind, detail) };
        let error = error.retry_in(retry);
        Ok(if maybe { error.maybe_applied() } else { error })
    }
    // An unreadable error says nothing about what was applied.
    read(body).unwrap_or_else(Error::maybe_applied)
}

/// The header of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request that is answered.
    pub request: RequestId,
    /// The attempt that is answered.
    pub attempt: u16,
    /// Whether the body is an error.
    pub failed: bool,
    /// Control log index that the member has seen.
    pub applied: Index,
}

/// Reads the header of a reply frame; the rest is the answer or the error.
///
/// # Errors
/// `Malformed` if the frame is shorter than a header.
#[inline]
pub fn decode(frame: &[u8]) -> Result<(ReplyHeader, &[u8])> {
    let mut r = Reader::new(frame);
    let _kind = r.u8()?;
    let failed = r.u8()? != 0;
    let attempt = r.u16()?;
    let request = RequestId(r.u64()?);
    let applied = Index(r.u64()?);
    Ok((ReplyHeader { request, attempt, failed, applied }, r.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_kind_applied_retry_and_detail_on_its_way() {
        let sent = Error::with(Kind::OutOfMemory, "budget of 10 bytes")
            .retry_in(Duration::from_millis(7))
            .maybe_applied();
        let mut out = Vec::new();
        let at = begin(RequestId(3), 5, Index(9), &mut out);
        out.extend_from_slice(b"half an answer");
        fail(&sent, at, &mut out);
        let (frame, used) = super::super::split_frame(&out, 1000).unwrap().unwrap();
        assert_eq!(used, out.len());
        let (header, body) = decode(frame).unwrap();
        let expected =
            ReplyHeader { request: RequestId(3), attempt: 5, failed: true, applied: Index(9) };
        assert_eq!(header, expected);
        assert_eq!(error(body), sent);
        assert_eq!(error(&[]).applied(), Applied::Maybe);
    }
}
