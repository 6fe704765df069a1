//! The numbers that a member runs with: what is left of the configuration once it is checked.

use crate::config::Config;
use std::time::Duration;

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) partitions: u16,
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
    /// Bytes of events that wait for a slow subscriber before it misses some.
    pub(crate) subscriber_bytes_max: usize,
    pub(crate) hash_seed: u64,
    /// Tells one life of the data from another.
    pub(crate) life: u64,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let (hash_seed, life) = crate::entropy::random();
        let limits = config.limits();
        Settings {
            cluster: config.cluster().name.clone(),
            name: config.name(),
            partitions: config.cluster().partitions,
            cores: config.cores(),
            memory_budget: config.memory().budget.bytes(),
            huge_pages: config.memory().huge_pages,
            frame_bytes_max: limits.frame_bytes_max,
            connections_max: limits.connections_max,
            handshake_timeout: limits.handshake_timeout,
            session_timeout: limits.session_timeout,
            operation_timeout: limits.operation_timeout,
            subscriber_bytes_max: limits.subscriber_bytes_max,
            hash_seed,
            life,
        }
    }
}
