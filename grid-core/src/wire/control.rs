//! Control messages: everything on a connection that is not an operation on a partition. They are
//! rare and encoded with postcard behind `kind:u8 call:u64`.

use super::table::TableView;
use super::{FrameKind, begin_frame, end_frame};
use crate::control::{StructureConfig, StructureKind};
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, PartitionId, StructureId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// From client to member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The id and configuration of a name, agreed now if this is its first use.
    Declare {
        /// Name of the structure.
        name: String,
        /// Kind that the caller expects.
        kind: StructureKind,
    },
    /// Keeps the session alive.
    Heartbeat,
    /// Deliver the items that are published to a topic from now on, under this number.
    Subscribe {
        /// The topic.
        structure: StructureId,
        /// Its partition.
        partition: PartitionId,
        /// Chosen by the client, unique on its connection.
        subscription: u64,
    },
    /// End a subscription.
    Unsubscribe {
        /// The number that was chosen.
        subscription: u64,
    },
    /// Who owns what, if that has changed.
    Table {
        /// Index of the table that the client has; 0: none.
        known: Index,
    },
    /// What `grid status` shows.
    Status,
    /// Ends the session now, together with all it holds.
    CloseSession,
    /// An order of an operator. Only the member that gets it acts on it, and says
    /// [`ControlReply::Obeyed`] when that has happened.
    Admin(AdminCommand),
}

/// What operators order. Each gives something up that nobody else can decide about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminCommand {
    /// Gives a lost partition an owner again.
    ResetLost {
        /// The partition.
        partition: PartitionId,
        /// Whether the owner is the member that left the in-sync replicas last, with what it has; else it
        /// is any member, and the partition is empty.
        from_last_removed: bool,
    },
    /// A structure answers again where partitions were lost.
    AcceptLoss {
        /// Its name.
        name: String,
    },
    /// The control log goes on without its lost majority, led by the member that gets this.
    ForceNewCluster,
    /// A process has ended for good: nobody waits for it, and what only it had is lost.
    RemoveMember {
        /// It.
        member: MemberId,
    },
}

/// From member to client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlReply {
    /// To [`Control::Declare`].
    Declared {
        /// Its id.
        structure: StructureId,
        /// Its configuration.
        config: StructureConfig,
        /// A member that has applied the control log up to here knows it too.
        since: Index,
    },
    /// To everything that has no other answer.
    Done,
    /// To [`Control::Table`]: the member has a table with a higher index.
    Table(TableView),
    /// To [`Control::Table`]: the member has none.
    Unchanged,
    /// To [`Control::Status`]: one JSON object.
    Status(String),
    /// The message was refused; nothing happened.
    Refused {
        /// Why.
        kind: Kind,
        /// A sentence for people.
        detail: String,
    },
    /// To [`Control::Admin`]: it has happened; a sentence for people says what.
    Obeyed(String),
}

impl ControlReply {
    /// The answer that says this error.
    #[must_use]
    pub fn refused(error: &Error) -> Self {
        ControlReply::Refused {
            kind: error.kind(),
            detail: error.detail().unwrap_or_default().to_owned(),
        }
    }

    /// Turns a refusal into an error.
    ///
    /// # Errors
    /// The refusal.
    pub fn accepted(self) -> Result<Self> {
        match self {
            ControlReply::Refused { kind, detail } => Err(Error::with(kind, detail)),
            reply => Ok(reply),
        }
    }
}

/// Appends a control frame of either direction.
///
/// # Errors
/// `Invalid` if the message cannot be encoded.
pub fn encode<T: Serialize>(
    kind: FrameKind,
    call: u64,
    message: &T,
    out: &mut Vec<u8>,
) -> Result<()> {
    let body =
        postcard::to_stdvec(message).map_err(|e| Error::with(Kind::Invalid, e.to_string()))?;
    let at = begin_frame(out);
    out.push(kind as u8);
    out.extend_from_slice(&call.to_le_bytes());
    out.extend_from_slice(&body);
    end_frame(out, at);
    Ok(())
}

/// Reads a control frame of either direction: call number and message.
///
/// # Errors
/// `Malformed`.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<(u64, T)> {
    let mut r = super::bytes::Reader::new(frame);
    let _kind = r.u8()?;
    let call = r.u64()?;
    let message = postcard::from_bytes(r.rest())
        .map_err(|e| Error::with(Kind::Malformed, format!("unreadable control message: {e}")))?;
    Ok((call, message))
}
