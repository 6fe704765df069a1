//! The numbers that a member runs with: what is left of the configuration once it is checked.

use crate::config::Config;
use std::path::PathBuf;
use std::time::Duration;

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) partitions: u16,
    /// In-sync replicas of a partition beside its primary.
    pub(crate) sync_backups: u8,
    /// Replicas that nobody waits for.
    pub(crate) async_backups: u8,
    /// Replicas in sync, the primary included, below which writes are refused.
    pub(crate) min_in_sync: u8,
    /// How long a primary may be silent before a backup takes over.
    pub(crate) lease_ms: u32,
    /// Members to join or to form a cluster with, as `HOST:PORT`; this one may be among them.
    pub(crate) join: Vec<String>,
    /// Where others reach this member, as `HOST:PORT`, if not where it listens.
    pub(crate) advertise: Option<String>,
    /// Where the node's identity and the control log are kept.
    pub(crate) data_dir: Option<PathBuf>,
    /// Threads that serve connections and run jobs.
    pub(crate) cores: usize,
    /// Bytes that all structures may hold.
    pub(crate) memory_budget: u64,
    pub(crate) huge_pages: bool,
    pub(crate) frame_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) leave_timeout: Duration,
    /// Bytes of events that wait for a slow subscriber before it misses some.
    pub(crate) subscriber_bytes_max: usize,
    pub(crate) hash_seed: u64,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let (hash_seed, _) = crate::entropy::random();
        let (cluster, limits) = (config.cluster(), config.limits());
        Settings {
            cluster: cluster.name.clone(),
            name: config.name(),
            partitions: cluster.partitions,
            sync_backups: cluster.sync_backups,
            async_backups: cluster.async_backups,
            min_in_sync: cluster.min_in_sync,
            lease_ms: u32::try_from(cluster.lease.as_millis()).unwrap_or(u32::MAX),
            join: config.join().iter().map(ToString::to_string).collect(),
            advertise: config.advertise().map(ToString::to_string),
            data_dir: config.data_dir().map(PathBuf::from),
            cores: config.cores(),
            memory_budget: config.memory().budget.bytes(),
            huge_pages: config.memory().huge_pages,
            frame_bytes_max: limits.frame_bytes_max,
            connections_max: limits.connections_max,
            handshake_timeout: limits.handshake_timeout,
            session_timeout: limits.session_timeout,
            operation_timeout: limits.operation_timeout,
            leave_timeout: limits.leave_timeout,
            subscriber_bytes_max: limits.subscriber_bytes_max,
            hash_seed,
        }
    }
}
