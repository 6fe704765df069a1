//! The commands of the control log, and what applying one can answer.

use super::{Change, StructureConfig};
use crate::error::Kind;
use crate::ids::{MemberId, NodeId, PartitionId, SessionId, StructureId, Version};
use serde::{Deserialize, Serialize};

/// What a cluster is formed with; the same for all members, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// Number of partitions.
    pub partitions: u16,
    /// In-sync replicas of a partition beside its primary, if there are as many members.
    pub sync_backups: u8,
    /// Further replicas that nobody waits for.
    pub async_backups: u8,
    /// Nothing is committed while a partition has fewer in-sync replicas, the primary counted.
    pub min_in_sync: u8,
    /// How long a backup that answered a primary does not take over from it, in milliseconds. The
    /// primary counts on four fifths of it.
    pub lease_ms: u32,
    /// Seed of the hash that orders entries.
    pub hash_seed: u64,
}

/// One member, as the others need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Its node.
    pub node: NodeId,
    /// Where clients and other members reach it.
    pub address: String,
    /// Where it answers HTTP, if it does.
    pub http: Option<String>,
}

/// New wishes for a partition: in-sync replicas (the wanted primary first) and followers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// The partition.
    pub partition: PartitionId,
    /// Version of the record that this was decided on.
    pub version: Version,
    /// Wanted in-sync replicas, the wanted primary first; never empty.
    pub replicas: Vec<MemberId>,
    /// Wanted asynchronous backups.
    pub followers: Vec<MemberId>,
}

/// A change to what the cluster agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first command of a log, and only that: what the cluster is, and a number that no other has.
    Form(ClusterConfig, u64),
    /// A process of a node begins its life; `boot` counts the lives of the node.
    Start {
        /// Number of this life; a repeated or older one changes nothing.
        boot: u64,
        /// The process.
        member: MemberInfo,
    },
    /// A process has ended for good: it serves nothing any more.
    Leave(MemberId),
    /// A process is about to end: it is given nothing more, and nobody counts on what it has.
    Leaving(MemberId),
    /// Proposals of one member, each for the version of the record that it was decided on. Those whose
    /// version has passed, or that are against the rules, are left out.
    Change {
        /// Whose.
        by: MemberId,
        /// What.
        changes: Vec<(PartitionId, Version, Change)>,
    },
    /// Wishes of the controller; left out one by one as for [`Command::Change`].
    Assign(Vec<Goal>),
    /// A client wants an identity.
    OpenSession,
    /// Sessions have ended or were silent for too long.
    ExpireSessions(Vec<SessionId>),
    /// A name is used for the first time (or again: then nothing changes).
    Declare {
        /// The name.
        name: String,
        /// Its configuration, if this is its first use.
        config: StructureConfig,
    },
    /// A lost partition gets an owner again: empty, or the member that left its in-sync set last, with
    /// what that has.
    ResetLost {
        /// The partition.
        partition: PartitionId,
        /// Its new owner; only the member that left last may keep its data.
        owner: MemberId,
        /// Whether it keeps its data.
        keep: bool,
    },
    /// One structure answers again in the partitions whose data was lost.
    AcceptLoss(String),
}

/// What applying a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command did what it says, or nothing was left to do.
    Done,
    /// The id of the member that started.
    Started(MemberId),
    /// The new session.
    SessionOpened(SessionId),
    /// How many of the changes or wishes were taken.
    Taken(usize),
    /// The id and the agreed configuration of the name.
    Declared(StructureId, StructureConfig),
    /// The command changed nothing.
    Refused(Kind, String),
}

/// What a command changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer to who proposed it.
    pub outcome: Outcome,
    /// Partitions whose records it changed.
    pub changed: Vec<PartitionId>,
}
