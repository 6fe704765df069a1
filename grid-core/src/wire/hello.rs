//! The handshake.

use super::{LEN_BYTES, MAGIC, PROTOCOL_VERSION};
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes before the length of the hello message: magic, version, reserved.
pub const PREFIX_BYTES: usize = 8;
/// Longest hello or welcome message, in bytes. The table of 16 384 partitions fits.
pub const HELLO_BYTES_MAX: usize = 1 << 20;

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerKind {
    /// A thin client.
    Client,
    /// Another member.
    Member,
}

/// First message of the opening side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Name of the cluster that the sender wants to reach.
    pub cluster: String,
    /// What the sender is.
    pub kind: PeerKind,
    /// Name of the sender for logs and lists.
    pub name: String,
    /// Session to go on with, if the sender has one, and the cluster's life that it belongs to.
    pub session: Option<(SessionId, u64)>,
}

/// Answer to a hello that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Identifies one life of the cluster's data; another value means that it started empty.
    pub cluster_life: u64,
    /// The answering member.
    pub member: MemberId,
    /// The session of the connection, as asked for or new.
    pub session: SessionId,
    /// How long a session outlives its last connection, in milliseconds.
    pub session_timeout_ms: u64,
    /// Number of partitions; fixed for the life of the cluster.
    pub partitions: u16,
    /// Largest frame that the member accepts, in bytes.
    pub frame_bytes_max: u32,
    /// Control log index that the member has applied.
    pub applied: Index,
}

/// What the accepting side answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Come in.
    Welcome(Welcome),
    /// No, because of this.
    Refused {
        /// Why.
        kind: Kind,
        /// A sentence for people.
        detail: String,
    },
}

/// Appends prefix, length and message.
///
/// # Errors
/// `Invalid` if the message cannot be encoded.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<()> {
    let body =
        postcard::to_stdvec(message).map_err(|e| Error::with(Kind::Invalid, e.to_string()))?;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    let len = u32::try_from(body.len()).map_err(|_| Error::new(Kind::TooLarge))?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Reads a hello or an answer once it is whole: the message and the bytes consumed.
///
/// # Errors
/// `Malformed` for anything that is not this protocol, as early as its bytes show it; `WrongVersion`;
/// `TooLarge`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>> {
    let seen = bytes.len().min(MAGIC.len());
    if bytes.iter().zip(MAGIC).any(|(a, b)| *a != b) {
        return Err(Error::with(
            Kind::Malformed,
            format!("not the grid protocol: the first bytes are {:02x?}", &bytes[..seen]),
        ));
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let version = u16::from_le_bytes([prefix[4], prefix[5]]);
    if version != PROTOCOL_VERSION {
        return Err(Error::with(
            Kind::WrongVersion,
            format!(
                "the other side speaks version {version}, this side version {PROTOCOL_VERSION}"
            ),
        ));
    }
    let Some((body, used)) = super::split_frame(rest, HELLO_BYTES_MAX)? else { return Ok(None) };
    debug_assert_eq!(used, LEN_BYTES + body.len());
    let message = postcard::from_bytes(body)
        .map_err(|e| Error::with(Kind::Malformed, format!("unreadable handshake: {e}")))?;
    Ok(Some((message, PREFIX_BYTES + used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_read_when_whole_and_garbage_is_refused_at_its_first_byte() {
        let hello = Hello {
            cluster: "dev".into(),
            kind: PeerKind::Client,
            name: "test".into(),
            session: Some((SessionId(7), 1)),
        };
        let mut bytes = Vec::new();
        encode(&hello, &mut bytes).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(decode::<Hello>(&bytes[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert_eq!(decode::<Hello>(&bytes).unwrap(), Some((hello, bytes.len())));
        assert_eq!(decode::<Hello>(b"P").unwrap_err().kind(), Kind::Malformed);
        bytes[4] = 99;
        assert_eq!(decode::<Hello>(&bytes).unwrap_err().kind(), Kind::WrongVersion);
    }
}
