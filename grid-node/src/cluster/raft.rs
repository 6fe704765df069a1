//! Consensus: the types and settings that openraft works with. Nothing outside of [`super`] sees them.

pub(super) mod file;
pub(super) mod image;
pub(super) mod machine;
pub(super) mod network;
pub(super) mod snapshot;
pub(super) mod store;
#[cfg(test)]
mod tests;
mod writer;

use super::Timing;
use grid_core::control::{Command, Outcome};
use openraft::type_config::alias::{
    LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A command on its way through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Proposal(pub(super) Command);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Where a node is reached; it may move, its id tells who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Place {
    pub(super) address: String,
}

openraft::declare_raft_types!(
    /// What the control log is made of.
    pub(in crate::cluster) Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = Place,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(super) type LogId = LogIdOf<Types>;
pub(super) type Vote = VoteOf<Types>;
pub(super) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(super) type Membership = StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = SnapshotMetaOf<Types>;
pub(super) type SnapshotBytes = Arc<Vec<u8>>;
pub(super) type Snapshot = SnapshotOf<Types, SnapshotBytes>;
pub(super) type Raft = openraft::Raft<Types, machine::Machine>;

/// Most entries that one message carries; with [`COMMAND_BYTES_MAX`] it fits into a frame.
const ENTRIES_PER_MESSAGE: u64 = 64;
/// Longest command, in encoded bytes.
pub(super) const COMMAND_BYTES_MAX: usize = 512 << 10;
const _: () = assert!(
    (ENTRIES_PER_MESSAGE as usize) * (COMMAND_BYTES_MAX + 1024) < super::peers::FRAME_BYTES_MAX
);
/// The files of a log.
pub(super) const LOG_FILES: [&str; 2] = [file::FILE, snapshot::FILE];
/// Entries that a snapshot leaves in the log for those who are a little behind.
const ENTRIES_KEPT: u64 = 1000;

/// The settings of openraft.
pub(super) fn settings(
    cluster: &str,
    timing: &Timing,
) -> Result<Arc<openraft::Config>, openraft::ConfigError> {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        install_snapshot_timeout: ms(timing.snapshot),
        max_payload_entries: ENTRIES_PER_MESSAGE,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(timing.snapshot_entries),
        replication_lag_threshold: timing.snapshot_entries.saturating_mul(2),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(timing.snapshot_entries),
        api_channel_size: Some(4096),
        notification_channel_size: Some(4096),
        // A leader without a quorum falls silent, so that those who still reach one another can elect.
        quorum_loss_probe_interval: Some(2 * ms(timing.election_max)),
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    };
    config.validate().map(Arc::new)
}
