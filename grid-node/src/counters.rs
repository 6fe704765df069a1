//! Counts that metrics and status show. Each core counts on its own line where it is hot.

use grid_core::error::Kind;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that goes up.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    #[inline]
    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        u64::try_from(self.0.load(Relaxed)).unwrap_or(0)
    }
}

/// Number of kinds of errors, with room for more.
const KINDS: usize = 32;

/// All counts of a member.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Operations that read, of connections.
    pub(crate) reads: Counter,
    /// Operations that write, of connections.
    pub(crate) writes: Counter,
    /// Bytes read from connections.
    pub(crate) received: Counter,
    /// Bytes written to connections.
    pub(crate) sent: Counter,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections refused or ended for a fault of the other side.
    pub(crate) offenders: Counter,
    /// Leases that this member did not grant, because who asked had not followed the table.
    pub(crate) leases_withheld: Counter,
    /// Leases that this member was not granted for that reason.
    pub(crate) leases_refused: Counter,
    /// Partitions that this member took over from one that was silent or gone.
    pub(crate) takeovers: Counter,
    /// Partitions that this member was handed by one that had stopped serving them.
    pub(crate) handed_in: Counter,
    /// Partitions that this member handed to another one.
    pub(crate) handed_out: Counter,
    /// Partitions that this member lost to another one that took them over.
    pub(crate) deposed: Counter,
    /// In-sync replicas that this member, as primary, has dropped.
    pub(crate) dropped: Counter,
    /// In-sync replicas that this member, as primary, has added.
    pub(crate) added: Counter,
    refused: [AtomicU64; KINDS],
}

impl Counters {
    /// Counts an operation that was refused.
    pub(crate) fn refuse(&self, kind: Kind) {
        if let Some(count) = self.refused.get(kind as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Operations refused, by kind, where there were any.
    pub(crate) fn refused(&self) -> Vec<(Kind, u64)> {
        let counts = self.refused.iter().enumerate();
        counts
            .filter_map(|(code, count)| {
                let count = count.load(Relaxed);
                (count > 0).then(|| (Kind::from_code(u8::try_from(code).unwrap_or(0)), count))
            })
            .collect()
    }
}
