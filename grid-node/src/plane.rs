//! What the control thread does for the data: follows the control log, answers and sends beacons, ticks the
//! cells, and proposes what they want.

use crate::cell::partition_at;
use crate::cluster::{ControlEvent, ControlLog, CopyBrief, Host, Share};
use crate::shared::Shared;
use grid_core::control::{Change, Command, ControlState, Record};
use grid_core::handle::ClusterView;
use grid_core::ids::{Index, MemberId, PartitionId, SessionId, Version};
use grid_core::lease::{Beacon, BeaconReply};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

/// For one proposal. It is made again as long as it stands.
const PROPOSING: Duration = Duration::from_secs(2);
/// For one barrier: then the reads that wait for it are refused.
const PROVING: Duration = Duration::from_millis(500);

/// The data plane, once there is one: until the member has started, it holds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plane(Arc<OnceLock<Arc<Shared>>>);

impl Plane {
    /// The member's data, once it has started.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.0.get().map(Arc::clone)
    }

    /// The member has started. To be called on the control thread, where the log is followed.
    pub(crate) fn begin(&self, shared: &Arc<Shared>) {
        shared.links.follow(shared);
        let (table, index) = shared.agreed.read(|state| (state.table().to_vec(), state.index()));
        let all: Vec<_> = (0..).map(PartitionId).zip(table).collect();
        follow(shared, &all, index);
        tell(shared);
        // Only this sets it.
        let _ = self.0.set(Arc::clone(shared));
    }

    /// What the log has decided.
    pub(crate) fn on_event(&self, event: ControlEvent<'_>) {
        let Some(shared) = self.0.get() else { return };
        match event {
            ControlEvent::Entry { index, command, changed, .. } => {
                if matches!(command, Command::Start { .. } | Command::Leave(_)) {
                    shared.links.follow(shared);
                }
                follow(shared, changed, index);
                if matches!(command, Command::Leave(_)) {
                    end_if_removed(shared);
                }
                if let Command::Start { .. } | Command::Leave(_) | Command::ResetLost { .. } =
                    command
                {
                    tell_loss(changed, index);
                    tell(shared);
                }
                if let Command::Change { by, changes } = command {
                    count(shared, *by, changes, changed);
                }
                if let Command::ExpireSessions(sessions) = command {
                    shared.sessions_ended(sessions, index);
                }
            }
            ControlEvent::Snapshot => {
                shared.links.follow(shared);
                let (table, index) =
                    shared.agreed.read(|state| (state.table().to_vec(), state.index()));
                let all: Vec<_> = (0..).map(PartitionId).zip(table).collect();
                follow(shared, &all, index);
                end_if_removed(shared);
                tell(shared);
                shared.sessions.keep(&shared.agreed.read(|state| state.sessions().clone()));
            }
        }
    }
}

/// Counts what a proposal has changed about the partitions of this member. `changed` has the records that it
/// did change.
fn count(
    shared: &Shared,
    by: MemberId,
    changes: &[(PartitionId, Version, Change)],
    changed: &[(PartitionId, Record)],
) {
    let (me, counters) = (shared.member, &shared.counters);
    let mut taken_over = 0;
    for (partition, record) in changed {
        let Some((.., change)) = changes.iter().find(|(of, ..)| of == partition) else { continue };
        match change {
            Change::Promote if by == me => taken_over += 1,
            // Who leads a partition is out of it once another one has taken it over.
            Change::Promote if record.removed == Some(me) => counters.deposed.add(1),
            Change::Transfer(to) if *to == me => counters.handed_in.add(1),
            Change::Transfer(_) if by == me => counters.handed_out.add(1),
            Change::Shrink(_) if by == me => counters.dropped.add(1),
            Change::Add(_) if by == me => counters.added.add(1),
            _ => {}
        }
    }
    if taken_over > 0 {
        counters.takeovers.add(taken_over);
        tracing::warn!(
            partitions = taken_over,
            "this member takes over from one that is silent or gone"
        );
    }
}

/// Tells who listens.
fn tell(shared: &Shared) {
    let view = shared.agreed.read(ClusterView::of_state);
    shared.feed.see(view).into_iter().for_each(Waker::wake);
}

/// Says what a member that is gone has left without any replica.
fn tell_loss(changed: &[(PartitionId, Record)], index: Index) {
    let lost = changed.iter().filter(|(_, record)| record.lost && record.lost_at == index);
    let lost: Vec<u16> = lost.map(|(partition, _)| partition.0).collect();
    if !lost.is_empty() {
        let partitions = crate::status::ranges(&lost);
        tracing::error!(
            count = lost.len(),
            partitions,
            "the data of partitions is lost: no replica is left (grid admin reset-lost)"
        );
    }
}

/// A process that was silent for so long that the others have forgotten its member serves nothing any more.
fn end_if_removed(shared: &Shared) {
    let known = shared.agreed.read(|state| state.members().contains_key(&shared.member));
    if !known && !shared.leaves.load(Ordering::Acquire) {
        let text = "this member was removed from the cluster; started again, it joins as a new one";
        shared.agreed.node.fail(text);
    }
}

/// Leases first, then the cells, and only then beacons may tell.
fn follow(shared: &Arc<Shared>, changed: &[(PartitionId, Record)], index: Index) {
    let now = shared.now();
    {
        let mut leases = shared.leases.lock();
        for (partition, record) in changed {
            leases.learn(*partition, record, now);
        }
    }
    for (partition, record) in changed {
        if let Ok(cell) = shared.cell(*partition) {
            cell.learn(shared, record, now);
        }
    }
    shared.agreed.stepped(index);
}

impl Host for Plane {
    fn on_beacon(&self, from: MemberId, beacon: Beacon) -> BeaconReply {
        match self.0.get() {
            Some(shared) => {
                let now = shared.now();
                let reply = shared.leases.lock().answer(from, beacon, now);
                shared.counters.leases_withheld.add(u64::from(reply.behind.is_some()));
                reply
            }
            // It holds nothing, so nobody counts on it.
            None => BeaconReply { sent: beacon.sent, behind: Some(Index(u64::MAX)), lease_ms: 0 },
        }
    }

    fn memory_free(&self) -> u64 {
        self.0.get().map_or(0, |shared| {
            let ledger = &shared.env.ledger;
            ledger.budget().saturating_sub(ledger.used())
        })
    }

    fn copies(&self) -> Vec<CopyBrief> {
        self.0.get().map_or_else(Vec::new, |shared| shared.copies())
    }

    fn shares(&self) -> Vec<Share> {
        self.0.get().map_or_else(Vec::new, |shared| shared.shares())
    }

    fn sessions_heard(&self) -> Vec<SessionId> {
        self.0.get().map_or_else(Vec::new, |shared| shared.sessions.heard(Instant::now()))
    }
}

/// The regular work of the control thread.
pub(crate) struct Duty {
    shared: Arc<Shared>,
    proposing: Arc<AtomicBool>,
    /// A barrier is under way.
    proving: Arc<AtomicBool>,
    beacon_due: Instant,
}

impl Duty {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Duty {
            shared,
            proposing: Arc::default(),
            proving: Arc::default(),
            beacon_due: Instant::now(),
        }
    }

    /// How often [`Duty::tick`] is due.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis((u64::from(self.shared.cluster.lease_ms) / 40).clamp(5, 50))
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.beacon_due {
            self.beacon_due =
                now + Duration::from_millis((u64::from(self.shared.cluster.lease_ms) / 8).max(5));
            self.send_beacons();
        }
        if self.shared.links.any() {
            self.bound_copies();
        }
        let local = self.shared.now();
        let mut changes = Vec::new();
        for (n, cell) in self.shared.cells().iter().enumerate() {
            if let Some((version, change)) = cell.tick(&self.shared, local) {
                changes.push((partition_at(n), version, change));
            }
        }
        self.prove();
        if !changes.is_empty() && !self.proposing.swap(true, Ordering::AcqRel) {
            let (shared, proposing) = (Arc::clone(&self.shared), Arc::clone(&self.proposing));
            let command = Command::Change { by: shared.member, changes };
            tokio::spawn(async move {
                if let Err(error) = shared.agreed.node.propose(command, PROPOSING).await {
                    tracing::debug!(%error, "a change of the table waits");
                }
                proposing.store(false, Ordering::Release);
            });
        }
    }

    /// Asks the control log who leads, for reads whose lessor is silent: one barrier for all of them.
    fn prove(&self) {
        if self.proving.load(Ordering::Acquire) {
            return;
        }
        let cells = self.shared.cells().iter().enumerate();
        let begun = cells.filter_map(|(n, cell)| Some((partition_at(n), cell.begin_barrier()?)));
        let begun: Vec<(PartitionId, u64)> = begun.collect();
        if begun.is_empty() {
            return;
        }
        self.proving.store(true, Ordering::Release);
        let (shared, proving) = (Arc::clone(&self.shared), Arc::clone(&self.proving));
        tokio::spawn(async move {
            let known = shared.agreed.node.barrier(PROVING).await.is_ok();
            for (partition, number) in begun {
                let table = |state: &ControlState| state.record(partition).cloned();
                let record = if known { shared.agreed.read(table) } else { None };
                if let Ok(cell) = shared.cell(partition) {
                    cell.barrier_done(&shared, number, record.as_ref());
                }
            }
            proving.store(false, Ordering::Release);
        });
    }

    fn bound_copies(&self) {
        let mut copying: BTreeMap<MemberId, usize> = BTreeMap::new();
        for cell in self.shared.cells() {
            cell.copying(|member| *copying.entry(member).or_default() += 1);
        }
        for link in self.shared.links.all() {
            link.copying(copying.get(&link.member).copied().unwrap_or(0));
        }
    }

    fn send_beacons(&self) {
        let shared = &self.shared;
        let lease = Duration::from_millis(shared.cluster.lease_ms.into());
        for link in shared.links.all() {
            let (shared, to) = (Arc::clone(shared), link.member);
            let beacon = Beacon { sent: shared.now().0, index: shared.agreed.index() };
            tokio::spawn(async move {
                if let Ok(reply) = shared.agreed.node.beacon(to, beacon, lease).await {
                    let now = shared.now();
                    shared.counters.leases_refused.add(u64::from(reply.behind.is_some()));
                    shared.leases.lock().take(to, reply, now);
                }
            });
        }
    }
}
