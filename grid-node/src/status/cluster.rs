//! The part of a status that is about the cluster as a whole: the same from every member, as far as they
//! know the same.

use serde::{Deserialize, Serialize};

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Which life of the cluster's data this is.
    pub life: u64,
    /// Replicas that each partition should have in sync, its primary counted.
    pub replicas: u64,
    /// Replicas in sync without which nothing is written.
    pub min_in_sync: u64,
    /// How long a silent primary keeps its partitions, in milliseconds.
    pub lease_ms: u64,
    /// Its members, oldest first.
    pub members: Vec<PeerStatus>,
    /// What it agrees with.
    pub log: LogStatus,
}

/// What part a node plays in the control log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRole {
    /// It is not sent the log.
    #[default]
    Absent,
    /// It follows.
    Learner,
    /// It votes.
    Voter,
    /// It votes and leads.
    Leader,
}

/// One of the members, as the one that is asked sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Its id, that of one process life.
    pub id: u64,
    /// Its node, in decimal: a number that some readers of JSON cannot hold.
    pub node: String,
    /// Where it is reached, as `HOST:PORT`.
    pub address: String,
    /// Where it answers HTTP, if it does.
    pub http: Option<String>,
    /// Its part in the control log.
    pub log: LogRole,
    /// How long it has not answered, in milliseconds; none while it does.
    pub silent_ms: Option<u64>,
    /// Partitions that it is the primary of.
    pub primary: u64,
    /// Partitions that it is an in-sync backup of.
    pub backup: u64,
    /// Version of its program, once it has said so.
    pub version: Option<String>,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// How far its wall clock is ahead of that of the member that tells, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// What is wrong with its clock.
    pub clock_complaint: Option<String>,
}

/// The control log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogStatus {
    /// Whether a majority of the voters answers: without it, who owns what cannot change.
    pub quorum: bool,
    /// The node that leads, if one is known.
    pub leader: Option<String>,
    /// Where that is reached.
    pub leader_address: Option<String>,
    /// Whether the member that tells leads.
    pub leads: bool,
    /// Term of the control log.
    pub term: u64,
    /// Position up to which the member that tells has applied it.
    pub applied: u64,
    /// Position up to which it has it.
    pub last: u64,
    /// Where the voters are reached.
    pub voters: Vec<String>,
}

/// How a partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// No replica is left; an operator decides (`grid admin reset-lost`).
    Lost,
    /// Its primary is silent or gone, and nobody has taken over yet.
    WithoutPrimary,
    /// It has fewer replicas in sync than it should.
    Degraded,
    /// It has enough replicas in sync, but not where they should be.
    Moving,
    /// All is as it should be.
    #[default]
    Full,
}

/// Partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionStatus {
    /// Of the cluster.
    pub count: u64,
    /// That the member that tells is the primary of.
    pub primary: u64,
    /// That it is an in-sync backup of.
    pub backup: u64,
    /// Of the cluster, as they should be.
    pub full: u64,
    /// With enough replicas in sync, but not where they should be.
    pub moving: u64,
    /// With fewer replicas in sync than there should be.
    pub degraded: u64,
    /// Whose primary is silent or gone.
    pub without_primary: u64,
    /// Of which no replica is left.
    pub lost: u64,
    /// That are being copied to another member.
    pub copying: u64,
    /// All that are not full.
    pub not_full: Vec<PartitionRow>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionRow {
    /// Its number.
    pub partition: u16,
    /// How it is.
    pub state: PartitionState,
    /// Member id of its primary; of the last one if it is lost.
    pub primary: u64,
    /// Changes with the primary.
    pub term: u64,
    /// Members that have everything.
    pub in_sync: Vec<u64>,
    /// Members that should have everything, the wanted primary first.
    pub wanted: Vec<u64>,
    /// Copies that are under way.
    pub copies: Vec<CopyStatus>,
}

/// A copy of a partition that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyStatus {
    /// Member id of who gets it.
    pub to: u64,
    /// Pieces that were sent.
    pub pieces: u64,
    /// Pieces that have arrived.
    pub arrived: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Bytes that the partition takes in the memory of its primary: about what is to be sent.
    pub of_bytes: u64,
}

/// What happened to the partitions of this member since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleTotals {
    /// It took them over from a member that was silent or gone.
    pub takeovers: u64,
    /// It was handed them by a member that had stopped serving them.
    pub handed_in: u64,
    /// It handed them to another member.
    pub handed_out: u64,
    /// Another member took them over from it.
    pub deposed: u64,
    /// It dropped an in-sync replica, as primary.
    pub dropped: u64,
    /// It added an in-sync replica, as primary.
    pub added: u64,
    /// It did not grant a lease, because who asked had not followed the table.
    pub leases_withheld: u64,
    /// It was not granted a lease for that reason.
    pub leases_refused: u64,
}

/// The data connection to another member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// The other member.
    pub member: u64,
    /// Whether it is connected now.
    pub connected: bool,
    /// Bytes sent since this member knows the other one.
    pub sent_bytes: u64,
    /// Bytes received on it.
    pub received_bytes: u64,
    /// Partitions that have something to send.
    pub queued_partitions: u64,
    /// Bytes of messages that wait beside them.
    pub queued_bytes: u64,
    /// Operations that the other one, in sync with partitions of this primary, has not acknowledged.
    pub behind: u64,
    /// Copies under way.
    pub copies: u64,
    /// Bytes sent of those copies so far.
    pub copied_bytes: u64,
    /// Copies that wait for others to end.
    pub copies_waiting: u64,
}
