//! Whether enough members are reachable to agree on anything, as this node sees it.

use super::raft::Types;
use super::timing::Timing;
use openraft::metrics::RaftMetrics;
use openraft::{Instant as _, ServerState};
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// See the module documentation.
pub(super) struct Quorum {
    good: watch::Sender<bool>,
    seen: Mutex<Seen>,
    lost_after: Duration,
    fresh: Duration,
}

struct Seen {
    /// When the leader was last heard, and whether it had a quorum then.
    leader: Option<Instant>,
    leader_has: bool,
    good: Instant,
}

impl Quorum {
    pub(super) fn new(timing: &Timing) -> Self {
        let seen = Seen { leader: None, leader_has: true, good: Instant::now() };
        Quorum {
            good: watch::Sender::new(true),
            seen: Mutex::new(seen),
            lost_after: timing.quorum_lost,
            fresh: timing.election_max,
        }
    }

    /// Follows the answer as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.good.subscribe()
    }

    /// The answer.
    pub(super) fn is_good(&self) -> bool {
        *self.good.borrow()
    }

    /// The leader has sent something that this node accepted.
    pub(super) fn heard_leader(&self) {
        self.seen.lock().leader = Some(Instant::now());
    }

    /// The leader said whether it has a quorum.
    pub(super) fn leader_says(&self, has: bool) {
        self.seen.lock().leader_has = has;
    }

    /// Looks again; to be called often.
    pub(super) fn look(&self, metrics: &RaftMetrics<Types>) {
        let mut seen = self.seen.lock();
        let good = match metrics.state {
            // Nobody votes yet: there is no cluster that could lack a quorum.
            _ if metrics.membership_config.voter_ids().next().is_none() => true,
            ServerState::Leader => leader_has(metrics, self.fresh),
            _ => seen.leader_has && seen.leader.is_some_and(|at| at.elapsed() < self.fresh),
        };
        if good {
            seen.good = Instant::now();
        }
        let good = seen.good.elapsed() < self.lost_after;
        drop(seen);
        let changed = self.good.send_if_modified(|old| std::mem::replace(old, good) != good);
        if changed && good {
            tracing::info!("the cluster has a quorum again");
        } else if changed {
            let voters: Vec<_> = metrics.membership_config.voter_ids().collect();
            tracing::warn!(
                ?voters,
                "the cluster has no quorum: who owns what cannot change until a majority of the voters is back"
            );
        }
    }
}

fn leader_has(metrics: &RaftMetrics<Types>, fresh: Duration) -> bool {
    let mut voters = metrics.membership_config.voter_ids();
    let alone = voters.next() == Some(metrics.id) && voters.next().is_none();
    alone || metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < fresh)
}
