//! How a member leaves in order: it says so, so that nobody counts on it any more; waits until others have
//! what only it has; and only then ends its life in the control log, upon which its backups take over at once.

use crate::shared::Shared;
use crate::status::ranges;
use grid_core::control::{Command, ControlState, Record};
use grid_core::error::Result;
use grid_core::ids::{MemberId, PartitionId};
use grid_core::lease::Beacon;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// For one command. Without a quorum it fails sooner.
const PROPOSING: Duration = Duration::from_secs(5);
/// For others to vote in its place.
const VOTING: Duration = Duration::from_secs(5);
/// Others may fall silent without a word in the control log.
const LOOK: Duration = Duration::from_millis(100);

/// Leaves. Returns the partitions that nobody else has.
pub(crate) async fn leave(shared: &Arc<Shared>) -> Vec<PartitionId> {
    let within = shared.settings.leave_timeout;
    let work = {
        let shared = Arc::clone(shared);
        async move { Ok(Leaving { shared }.run(within).await) }
    };
    // An error means that the member has ended meanwhile.
    shared.agreed.on_control(work).await.unwrap_or_default()
}

struct Leaving {
    shared: Arc<Shared>,
}

impl Leaving {
    async fn run(&self, within: Duration) -> Vec<PartitionId> {
        let deadline = Instant::now() + within;
        if self.shared.agreed.read(|state| self.others(state).is_empty()) {
            return Vec::new(); // nobody to hand anything to, and nobody who waits
        }
        let (lost, somebody) = match self.hand_over(deadline).await {
            Ok(handed_over) => handed_over,
            Err(error) => {
                tracing::warn!(%error, "this member leaves without a word: others take over after a lease");
                return Vec::new();
            }
        };
        if !somebody {
            tracing::info!("nobody stays: the data ends with the cluster");
            return Vec::new();
        }
        tracing::info!("this member has left the cluster: others serve its partitions");
        if !lost.is_empty() {
            let numbers: Vec<u16> = lost.iter().map(|partition| partition.0).collect();
            tracing::error!(
                count = lost.len(),
                partitions = ranges(&numbers),
                "nobody else has the data of these partitions: it ends with this member"
            );
        }
        if let Err(error) = self.shared.agreed.node.leave(VOTING).await {
            tracing::info!(%error, "the others find out by themselves who votes");
        }
        lost
    }

    /// Returns the partitions that nobody else has, and whether anybody stays.
    async fn hand_over(&self, deadline: Instant) -> Result<(Vec<PartitionId>, bool)> {
        let (shared, me) = (&self.shared, self.shared.member);
        shared.leaves.store(true, Ordering::Release);
        shared.agreed.propose(Command::Leaving(me), PROPOSING).await?;
        let mut applied = crate::cluster::ControlLog::applied(&*shared.agreed.node);
        let mut said = false;
        let (lost, somebody) = loop {
            let (alone, helpers) =
                shared.agreed.read(|state| (self.alone(state), !self.helpers(state).is_empty()));
            if alone.is_empty() || !helpers || Instant::now() >= deadline {
                break (alone, helpers);
            }
            if !said {
                said = true;
                let count = alone.len();
                tracing::info!(
                    count,
                    "waiting until others have the partitions that only this member has"
                );
            }
            // An error of the time-out: look again. One of the log means that it has ended.
            let pause = deadline.min(Instant::now() + LOOK);
            if let Ok(Err(_)) = tokio::time::timeout_at(pause, applied.changed()).await {
                break (alone, helpers);
            }
        };
        shared.agreed.propose(Command::Leave(me), PROPOSING).await?;
        if somebody {
            self.release().await;
        }
        Ok((lost, somebody))
    }

    /// Waits until others have taken over, and tells them that this member knows: else they would have to
    /// outwait the leases that they granted to it.
    async fn release(&self) {
        let (shared, me) = (&self.shared, self.shared.member);
        let mut applied = crate::cluster::ControlLog::applied(&*shared.agreed.node);
        let led = |state: &ControlState| state.table().iter().any(|r| r.primary == me && !r.lost);
        let taken_over = async {
            // An error means that the log has ended.
            while shared.agreed.read(led) && applied.changed().await.is_ok() {}
        };
        let lease = Duration::from_millis(shared.cluster.lease_ms.into());
        let _ = tokio::time::timeout(lease, taken_over).await;
        let mut told = tokio::task::JoinSet::new();
        for member in shared.agreed.read(|state| self.others(state)) {
            let shared = Arc::clone(shared);
            let beacon = Beacon { sent: shared.now().0, index: shared.agreed.index() };
            told.spawn(async move { shared.agreed.node.beacon(member, beacon, lease).await });
        }
        told.join_all().await;
    }

    /// Partitions of which nobody who stays has everything.
    fn alone(&self, state: &ControlState) -> Vec<PartitionId> {
        let helpers = self.helpers(state);
        let alone = |record: &Record| {
            let mine = record.in_sync(self.shared.member) && !record.lost;
            mine && !record.isr.iter().any(|member| helpers.contains(member))
        };
        let table = state.table().iter().zip((0..).map(PartitionId));
        table.filter(|(record, _)| alone(record)).map(|(_, partition)| partition).collect()
    }

    /// The others that answer.
    fn others(&self, state: &ControlState) -> Vec<MemberId> {
        let others = state.members().keys().copied().filter(|id| *id != self.shared.member);
        others.filter(|member| self.shared.answers(*member)).collect()
    }

    /// Those of them that stay.
    fn helpers(&self, state: &ControlState) -> Vec<MemberId> {
        let mut others = self.others(state);
        others.retain(|member| !state.leaving().contains(member));
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Member;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_that_was_removed_ends_and_says_so() {
        let build = || Member::builder().cores(1).memory_budget(64 << 20);
        let first = build().start().await.unwrap();
        let second = build().join([first.address()]).start().await.unwrap();
        let removed = Command::Leave(second.id());
        first.shared.agreed.propose(removed, PROPOSING).await.unwrap();
        let why = tokio::time::timeout(PROPOSING, second.failed()).await.unwrap();
        assert!(why.contains("was removed from the cluster"), "{why}");
        assert_eq!(first.shutdown().await, []);
    }
}
