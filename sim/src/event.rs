//! What happens, and what travels.

use grid_core::control::{Command, Record};
use grid_core::ids::{Index, MemberId, PartitionId, RequestId, SessionId, Term};
use grid_core::lease::{Beacon, BeaconReply};
use std::sync::Arc;

/// A place on the network: a member's machine, a client, the control log.
pub type Place = usize;

/// What a client asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Value of a key.
    Get(u8),
    /// Value of a key, by a round to all replicas.
    Confirm(u8),
    /// All keys.
    Scan,
    /// Number of entries.
    Size,
    /// Write; the old value comes back.
    Put(u8, u64),
    /// Replace if the first; whether it did comes back.
    Cas(u8, u64, u64),
    /// Write if absent; the present value comes back.
    PutIfAbsent(u8, u64),
    /// Remove; the old value comes back.
    Remove(u8),
    /// Add to the queue.
    Offer(u64),
    /// Take from the queue.
    Poll,
}

impl Ask {
    /// Whether it can change nothing.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Ask::Get(_) | Ask::Confirm(_) | Ask::Scan | Ask::Size)
    }

    /// The same with another value to write, if it writes one.
    #[must_use]
    pub fn with_value(self, value: u64) -> Self {
        match self {
            Ask::Put(key, _) => Ask::Put(key, value),
            Ask::Cas(key, expected, _) => Ask::Cas(key, expected, value),
            Ask::PutIfAbsent(key, _) => Ask::PutIfAbsent(key, value),
            Ask::Offer(_) => Ask::Offer(value),
            other => other,
        }
    }

    /// Whether it is about the queue.
    #[must_use]
    pub fn queues(self) -> bool {
        matches!(self, Ask::Offer(_) | Ask::Poll)
    }
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of which client.
    pub client: usize,
    /// Its session.
    pub session: SessionId,
    /// Its number.
    pub request: RequestId,
    /// The client has the answers of all requests below.
    pub floor: RequestId,
    /// How often it was sent before.
    pub attempt: u32,
    /// For which partition.
    pub partition: PartitionId,
    /// What.
    pub ask: Ask,
}

/// What came of it: up to three values, 0 for none.
pub type Values = [u64; 3];

/// Why a request was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Try another member, or later.
    Elsewhere,
    /// The session has ended.
    Expired,
    /// The data is lost.
    Lost,
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// Between members, about a partition.
    Link(Box<[u8]>),
    /// Between members.
    Beacon(Beacon),
    /// Between members.
    BeaconReply(BeaconReply),
    /// To the control log.
    Propose(Command),
    /// To the control log.
    Alive,
    /// To the control log: how far is it? And back. It is about a read in a partition.
    Barrier(PartitionId, u64),
    /// To a member.
    BarrierAt(PartitionId, u64, Index),
    /// To a member.
    Request(Request),
    /// To a client.
    Answer(Request, Result<(Term, Values), No>),
    /// To the control log, and back.
    Open,
    /// To a client.
    Opened(SessionId),
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message of one process arrives at another. Members are named by their process, so that nothing
    /// reaches a later one.
    Arrive {
        /// Its sender.
        from: Who,
        /// Who gets it.
        to: Who,
        /// What it says.
        message: Message,
    },
    /// A member's clock ticks.
    Tick(MemberId),
    /// A cell of a member follows the table.
    Learn(MemberId, PartitionId, Arc<Record>),
    /// A client goes on.
    Client(usize, u64),
    /// The controller looks around.
    Control,
    /// Something goes wrong.
    Nemesis,
    /// A machine starts its process again.
    Restart(usize),
    /// A session ends.
    Expire(SessionId),
    /// The control log has not answered in time.
    BarrierFailed(MemberId, PartitionId, u64),
    /// The operator gives a lost partition an owner.
    ResetLost(PartitionId),
    /// The operator lets structures answer again where data was lost.
    AcceptLoss,
    /// An old command reaches the control log again.
    Repeat(Box<Command>),
}

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A process.
    Member(MemberId),
    /// A client.
    Client(usize),
    /// The control log.
    Log,
}
