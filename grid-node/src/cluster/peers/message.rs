//! What members say to one another on a control connection.

use crate::cluster::raft::{LogId, SnapshotMeta, Types, Vote};
use crate::cluster::roster::Brief;
use grid_core::control::{Command, ControlState, Outcome};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, MemberId, NodeId, SessionId};
use grid_core::lease::{Beacon, BeaconReply};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

/// What a member tells the leader regularly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Report {
    pub(in crate::cluster) member: MemberId,
    pub(in crate::cluster) sessions: Vec<SessionId>,
    pub(in crate::cluster) memory_free: u64,
    pub(in crate::cluster) applied: Index,
}

/// A step of the consensus.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cluster) enum RaftCall {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    /// A part of a snapshot; the last one has it installed.
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        offset: u64,
        bytes: Vec<u8>,
        last: bool,
    },
}

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cluster) enum Request {
    /// Consensus, for one node of one cluster only.
    Raft { group: u64, target: NodeId, call: Box<RaftCall> },
    /// Put a command into the log; only the leader does.
    Propose { group: u64, command: Command },
    /// How far the log is committed; only the leader knows.
    ReadIndex { group: u64 },
    /// Take me in: from now on send me the log. Only the leader does.
    Join { group: u64, node: NodeId, address: String },
    /// I am about to leave: have others vote, and stop sending me the log. Only the leader does.
    Leave { group: u64, node: NodeId },
    /// To the leader.
    Report { group: u64, report: Report },
    /// Between the processes of two members.
    Beacon { from: MemberId, to: MemberId, beacon: Beacon },
    /// What do you belong to? And if to nothing: do you promise to let me form a cluster?
    Probe { promise: bool },
    /// What do you say of yourself, if you are this member?
    Look { member: MemberId },
    /// All that you know, for a new beginning after a majority was lost.
    State,
    /// The log that you belong to has lost its majority for good; this other one goes on from it.
    Adopt { old: u64, new: u64, leader: String },
}

/// What a member belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Standing {
    pub(in crate::cluster) node: NodeId,
    pub(in crate::cluster) address: String,
    /// The cluster that it is part of, if it is part of one.
    pub(in crate::cluster) group: Option<u64>,
    /// The leader that it knows, and where that is.
    pub(in crate::cluster) leader: Option<(NodeId, String)>,
    /// Whether it has made the promise that was asked for.
    pub(in crate::cluster) promised: bool,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cluster) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    /// Send the next part.
    More,
    /// What the command did, and its position.
    Proposed(Outcome, Index),
    ReadIndex(Index),
    /// To what needs no other answer.
    Done,
    /// To a report: whether the leader has a quorum.
    Reported {
        quorum: bool,
    },
    Beacon(BeaconReply),
    Standing(Standing),
    Look(Box<Brief>),
    State {
        group: u64,
        last: Option<LogId>,
        state: Box<ControlState>,
    },
    /// Ask that one.
    NotLeader(Option<(NodeId, String)>),
    Refused {
        kind: Kind,
        detail: String,
        maybe_applied: bool,
    },
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        Reply::Refused {
            kind: error.kind(),
            detail: error.detail().unwrap_or_default().to_owned(),
            maybe_applied: error.applied() == grid_core::error::Applied::Maybe,
        }
    }
}

impl Reply {
    /// Turns a refusal into an error.
    pub(in crate::cluster) fn accepted(self) -> Result<Self> {
        match self {
            Reply::Refused { kind, detail, maybe_applied } => {
                let error = Error::with(kind, detail);
                Err(if maybe_applied { error.maybe_applied() } else { error })
            }
            reply => Ok(reply),
        }
    }

    /// The error for an answer to another question.
    pub(in crate::cluster) fn unexpected(&self) -> Error {
        let text = format!("an answer that does not fit its question: {self:?}");
        Error::with(Kind::Malformed, text.chars().take(200).collect::<String>())
    }
}
