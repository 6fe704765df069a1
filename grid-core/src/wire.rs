//! What travels between a client and a member: one port, one versioned protocol.
//!
//! ```text
//! client → member   MAGIC version:u16 reserved:u16 | len:u32 Hello (postcard)
//! member → client   MAGIC version:u16 reserved:u16 | len:u32 Welcome or Refused (postcard)
//! then, both ways   frames: len:u32 | kind:u8 | …          (little-endian, len counts what follows it)
//! ```
//!
//! The first eight bytes keep their meaning for ever, so that two sides of different versions can
//! tell each other so. Data frames have a fixed header ([`request`], [`reply`], [`event`]) and borrowed
//! bytes; everything rare is a postcard message ([`control`]).

pub mod bytes;
pub mod control;
pub mod event;
pub mod hello;
pub mod link;
pub mod reply;
pub mod request;
pub mod table;

/// First four bytes of either side.
pub const MAGIC: [u8; 4] = *b"GRID";
/// Version of everything after the first eight bytes.
pub const PROTOCOL_VERSION: u16 = 2;
/// Bytes of the length field in front of every frame.
pub const LEN_BYTES: usize = 4;

/// First byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// An operation on a partition ([`request`]).
    Request = 1,
    /// Its answer ([`reply`]).
    Reply = 2,
    /// A control message from client to member ([`control`]).
    Control = 3,
    /// Its answer.
    ControlReply = 4,
    /// An event of a subscription ([`event`]).
    Event = 5,
}

impl FrameKind {
    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => FrameKind::Request,
            2 => FrameKind::Reply,
            3 => FrameKind::Control,
            4 => FrameKind::ControlReply,
            5 => FrameKind::Event,
            _ => return None,
        })
    }
}

/// Splits the first complete frame off `bytes`: what follows its length field, and the number of
/// bytes consumed. `Ok(None)` while the frame is incomplete.
///
/// # Errors
/// [`Kind::TooLarge`](crate::Kind::TooLarge) as soon as the length field alone exceeds `frame_bytes_max`.
#[inline]
pub fn split_frame(bytes: &[u8], frame_bytes_max: usize) -> crate::Result<Option<(&[u8], usize)>> {
    let Some((len, rest)) = bytes.split_first_chunk::<LEN_BYTES>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if len > frame_bytes_max {
        return Err(too_large(len, frame_bytes_max));
    }
    Ok(rest.get(..len).map(|frame| (frame, LEN_BYTES + len)))
}

#[cold]
fn too_large(len: usize, max: usize) -> crate::Error {
    crate::Error::with(
        crate::Kind::TooLarge,
        format!("a frame of {len} bytes, at most {max} are allowed (limits.frame-bytes-max)"),
    )
}

/// Reserves a length field at the end of `out` and returns its position for [`end_frame`].
#[inline]
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; LEN_BYTES]);
    at
}

/// Fills in the length field that [`begin_frame`] reserved at `at`.
#[inline]
pub fn end_frame(out: &mut [u8], at: usize) {
    #[allow(clippy::cast_possible_truncation)]
    let len = (out.len() - at - LEN_BYTES) as u32;
    if let Some(field) = out.get_mut(at..at + LEN_BYTES) {
        field.copy_from_slice(&len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_only_when_it_is_whole_and_within_the_ceiling() {
        let mut out = b"left".to_vec();
        let at = begin_frame(&mut out);
        out.extend_from_slice(b"hello");
        end_frame(&mut out, at);
        let frame = &out[4..];
        for cut in 0..frame.len() {
            assert_eq!(split_frame(&frame[..cut], 5).unwrap(), None);
        }
        assert_eq!(split_frame(frame, 5).unwrap(), Some((&b"hello"[..], 9)));
        assert_eq!(split_frame(frame, 4).unwrap_err().kind(), crate::Kind::TooLarge);
        assert_eq!(split_frame(&frame[..4], 4).unwrap_err().kind(), crate::Kind::TooLarge);
    }
}
