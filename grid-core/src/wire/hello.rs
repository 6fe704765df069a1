//! The handshake.

use super::table::TableView;
use super::{LEN_BYTES, MAGIC, PROTOCOL_VERSION};
use crate::control::ClusterConfig;
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, NodeId, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes before the length of the hello message: magic, version, reserved.
pub const PREFIX_BYTES: usize = 8;
/// Longest hello or welcome message, in bytes. The table of 16 384 partitions fits.
pub const HELLO_BYTES_MAX: usize = 1 << 20;

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerKind {
    /// A thin client.
    Client,
    /// Another member.
    Member(MemberHello),
    /// Somebody who looks after the cluster. It has no session ([`Welcome::session`] is 0), so that it is
    /// welcome where the cluster cannot agree on one, and asks control messages only: `Status`, `Table` and
    /// `Admin`.
    Operator,
}

/// What a connection between members carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plane {
    /// Consensus, leases and everything else that must not wait behind data.
    Control,
    /// Replication.
    Data,
}

/// What a member says of itself to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHello {
    /// Its node.
    pub node: NodeId,
    /// The member that its process is, once that has been agreed.
    pub member: Option<MemberId>,
    /// Where others reach it.
    pub address: String,
    /// What the connection is for.
    pub plane: Plane,
    /// The cluster as it is configured there; all but the seed must be the same on both sides.
    pub config: ClusterConfig,
}

/// What a member answers to the hello of another one that it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberWelcome {
    /// Its node.
    pub node: NodeId,
    /// The member that its process is, once that has been agreed.
    pub member: Option<MemberId>,
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
    /// Session to go on with, if the sender has one, and the cluster's life that it belongs to. A member that
    /// has not heard of the session yet refuses as `NotServing`: try again, or elsewhere.
    pub session: Option<(SessionId, u64)>,
    /// Index of the table that the sender has of that life; 0: none.
    pub table: Index,
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
    /// How long a primary may serve without hearing from its backups, in milliseconds: who is silent for
    /// longer may be replaced.
    pub lease_ms: u32,
    /// Who owns what, if the sender's table is older or of another life.
    pub table: Option<TableView>,
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

/// What the accepting side answers to another member. A refusal is encoded as in [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberAnswer {
    /// Come in.
    Welcome(MemberWelcome),
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
            table: Index(3),
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
