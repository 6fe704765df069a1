//! What a member tells of itself and its cluster, from the moment on at which it listens.

mod cluster;

use crate::cluster::{COPIES_MAX, ControlNode, CopyBrief, Heard, SHARES_MAX, Share};
use crate::plane::Plane;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::status::{
    Check, ClientStatus, Health, LinkStatus, MemberStatus, MemoryStatus, Observe, RoleTotals,
    Status, StructureStatus, Totals, label,
};
use cluster::Scene;
use grid_core::control::Structure;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, StructureId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that has not answered for as long is shown as silent; longer than it takes on a busy machine.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// A member that may not have come to its cluster yet.
pub(crate) struct Lookout {
    pub(crate) settings: Settings,
    pub(crate) node: Arc<ControlNode>,
    pub(crate) plane: Plane,
    /// Where clients connect, and where HTTP is answered.
    pub(crate) addresses: (SocketAddr, Option<SocketAddr>),
    pub(crate) started: Instant,
}

impl Lookout {
    /// The member's data.
    ///
    /// # Errors
    /// `NotServing` as long as it has none.
    pub(crate) fn shared(&self) -> Result<Arc<Shared>> {
        self.plane.shared().ok_or_else(|| {
            let text = self.starting();
            Error::with(Kind::NotServing, text).retry_in(Duration::from_millis(100))
        })
    }

    fn starting(&self) -> String {
        let text = "this member has not come to its cluster yet";
        match self.node.waiting() {
            Some(waiting) => format!("{text}: it waits for {waiting}"),
            None => text.to_owned(),
        }
    }
}

impl Observe for Lookout {
    fn status(&self) -> Status {
        if let Some(shared) = self.plane.shared() {
            return Observe::status(&*shared);
        }
        let view = View { node: &self.node, shared: None, settings: &self.settings };
        let mut status = view.status(self.addresses, self.started);
        status.waiting = Some(self.node.waiting().unwrap_or_else(|| "its start".to_owned()));
        status
    }

    fn health(&self) -> Health {
        match self.plane.shared() {
            Some(shared) => Observe::health(&*shared),
            None => Health {
                live: Check::well(),
                ready: Check::unless(vec![self.starting()]),
                safe: Check::unless(vec![self.starting()]),
            },
        }
    }
}

impl Observe for Shared {
    fn status(&self) -> Status {
        let mut status = self.view().status(self.addresses, self.started);
        let counters = &self.counters;
        status.structures = structures(self);
        status.memory.used_bytes = self.env.ledger.used();
        status.clients = ClientStatus {
            connections: counters.connections.get(),
            sessions: self.agreed.read(|state| state.sessions().len()) as u64,
            subscriptions: self.cells().iter().map(|cell| cell.subscribers() as u64).sum(),
            parked_replies: self.parked() as u64,
        };
        status.links = links(self);
        status.totals = Totals {
            connections: counters.accepted.get(),
            offenders: counters.offenders.get(),
            received_bytes: counters.received.get(),
            sent_bytes: counters.sent.get(),
            operations: [
                ("read".to_owned(), counters.reads.get()),
                ("write".to_owned(), counters.writes.get()),
            ]
            .into(),
            roles: RoleTotals {
                takeovers: counters.takeovers.get(),
                handed_in: counters.handed_in.get(),
                handed_out: counters.handed_out.get(),
                deposed: counters.deposed.get(),
                dropped: counters.dropped.get(),
                added: counters.added.get(),
                leases_withheld: counters.leases_withheld.get(),
                leases_refused: counters.leases_refused.get(),
            },
            refused: counters.refused().into_iter().map(|(kind, n)| (label(kind), n)).collect(),
        };
        status
    }

    fn health(&self) -> Health {
        let closed = self.check_open().err().map(|error| error.to_string());
        let ready = match (&closed, self.is_draining()) {
            (Some(reason), _) => Check::unless(vec![reason.clone()]),
            (None, true) => Check::unless(vec!["the member is shutting down".into()]),
            (None, false) => Check::well(),
        };
        #[allow(clippy::redundant_closure_for_method_calls)] // its lifetimes are not general enough
        let safe = Check::unless(self.view().scene(|scene| scene.dangers()));
        Health { live: Check::well(), ready, safe }
    }
}

impl Shared {
    fn view(&self) -> View<'_> {
        View { node: &self.agreed.node, shared: Some(self), settings: &self.settings }
    }

    /// What this member has of the first structures, where it has anything.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let count = self.agreed.read(|state| state.structures().len());
        let mut shares = usage(self, (0..SHARES_MAX).map(StructureId).take(count));
        shares.retain(|share| share.bytes > 0);
        shares
    }

    /// How long ago a member has answered a beacon, if it ever has.
    fn silence(&self, member: MemberId) -> Option<Duration> {
        let at = self.leases.lock().answered(member);
        (at.0 > 0).then(|| Duration::from_nanos(self.now().since(at).0))
    }

    /// Whether a member has answered within the time that backups are given.
    pub(crate) fn answers(&self, member: MemberId) -> bool {
        let patience = Duration::from_nanos(self.rules.patience.0).max(SILENCE_MIN);
        // One that was never heard of may just have begun, or this one has.
        self.silence(member).unwrap_or_else(|| self.started.elapsed()) < patience
    }

    /// Copies that this member sends now.
    pub(crate) fn copies(&self) -> Vec<CopyBrief> {
        let mut copies = Vec::new();
        if !self.links.any() {
            return copies;
        }
        for cell in self.cells() {
            cell.look(|replica| {
                let under_way =
                    replica.followers().iter().filter_map(|f| Some((f.member, f.copy_progress()?)));
                copies.extend(under_way.map(|(to, (pieces, arrived, bytes))| CopyBrief {
                    partition: replica.partition().id(),
                    to,
                    pieces,
                    arrived,
                    bytes,
                    of_bytes: replica.partition().bytes() as u64,
                }));
            });
            if copies.len() >= COPIES_MAX {
                copies.truncate(COPIES_MAX);
                break;
            }
        }
        copies
    }
}

/// A member, with its data if there is any yet.
struct View<'a> {
    node: &'a ControlNode,
    shared: Option<&'a Shared>,
    settings: &'a Settings,
}

impl View<'_> {
    fn scene<T>(&self, f: impl FnOnce(&Scene<'_>) -> T) -> T {
        let me = self.shared.map(|shared| shared.member);
        let mut heard = self.node.heard();
        if let Some(me) = me {
            let (mut brief, at) = (self.node.brief(), Instant::now());
            brief.copies = self.shared.map(Shared::copies).unwrap_or_default();
            heard.insert(me, Heard { brief, at, clock: crate::cluster::ClockView::default() });
        }
        let mut log = self.node.view();
        if !log.quorum && !log.leads {
            log.leader = None; // it is who led last
        }
        let state = self.node.state();
        let silent = self.silent(&heard);
        let state = state.read();
        let configured = self.node.config();
        let config = state.config().unwrap_or(configured);
        f(&Scene { state: &state, config, me, log: &log, heard: &heard, silent: &silent })
    }

    /// Who does not answer, and for how long.
    fn silent(&self, heard: &BTreeMap<MemberId, Heard>) -> BTreeMap<MemberId, Duration> {
        let members: Vec<MemberId> = self.node.state().read().members().keys().copied().collect();
        let since = |member: &MemberId| {
            let told = heard.get(member).map(|heard| heard.at.elapsed());
            let answered = self.shared.and_then(|shared| shared.silence(*member));
            let started = self.node.since().elapsed();
            told.into_iter().chain(answered).min().unwrap_or(started)
        };
        let lease = Duration::from_millis(self.node.config().lease_ms.into());
        // Before it has started, others are asked more seldom.
        let patience = match self.shared {
            Some(_) => (lease * 5 / 4).max(SILENCE_MIN),
            None => SILENCE_MIN * 3,
        };
        let silent = members.into_iter().map(|member| (member, since(&member)));
        let unknown = |member: &MemberId| self.shared.is_none() && !heard.contains_key(member);
        silent.filter(|(member, silence)| *silence > patience || unknown(member)).collect()
    }

    fn status(&self, addresses: (SocketAddr, Option<SocketAddr>), started: Instant) -> Status {
        let name = &self.settings.cluster;
        let (cluster, partitions, dangers) = self.scene(|scene| {
            let dangers = if self.shared.is_some() { scene.dangers() } else { Vec::new() };
            (scene.cluster(name), scene.partitions(), dangers)
        });
        Status {
            dangers,
            cluster,
            partitions,
            member: MemberStatus {
                id: self.shared.map_or(0, |shared| shared.member.0),
                name: self.settings.name.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                address: addresses.0.to_string(),
                http: addresses.1.map(|http| http.to_string()),
                uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                cores: self.settings.cores as u64,
            },
            memory: MemoryStatus { used_bytes: 0, budget_bytes: self.settings.memory_budget },
            ..Status::default()
        }
    }
}

fn links(shared: &Shared) -> Vec<LinkStatus> {
    let mut all: BTreeMap<MemberId, LinkStatus> = BTreeMap::new();
    for link in shared.links.all() {
        let (partitions, bytes) = link.queued();
        let status = LinkStatus {
            member: link.member.0,
            connected: link.connected.load(std::sync::atomic::Ordering::Relaxed),
            sent_bytes: link.sent.get(),
            received_bytes: link.received.get(),
            queued_partitions: partitions as u64,
            queued_bytes: bytes as u64,
            ..LinkStatus::default()
        };
        all.insert(link.member, status);
    }
    if all.is_empty() {
        return Vec::new();
    }
    for cell in shared.cells() {
        cell.look(|replica| {
            for follower in replica.followers() {
                let Some(link) = all.get_mut(&follower.member) else { continue };
                if let Some((_, _, bytes)) = follower.copy_progress() {
                    (link.copies, link.copied_bytes) = (link.copies + 1, link.copied_bytes + bytes);
                } else if follower.waits_for_copy() {
                    link.copies_waiting += 1;
                } else {
                    link.behind += replica.last().0.saturating_sub(follower.acked.0);
                }
            }
        });
    }
    all.into_values().collect()
}

/// What this member has of structures: entries that it serves, bytes that it holds.
fn usage(shared: &Shared, ids: impl Iterator<Item = StructureId>) -> Vec<Share> {
    let share = |structure| Share { structure, entries: 0, bytes: 0 };
    let mut all: Vec<Share> = ids.map(share).collect();
    for cell in shared.cells() {
        // A lock is held for a bounded number of structures at a time.
        for some in all.chunks_mut(SHARES_MAX as usize) {
            cell.look(|replica| {
                let (partition, serves) = (replica.partition(), replica.serves());
                for share in some {
                    if let Some((entries, bytes)) = partition.usage(share.structure) {
                        // What it holds as a backup is counted where it is served.
                        share.entries += if serves { entries as u64 } else { 0 };
                        share.bytes += bytes as u64;
                    }
                }
            });
        }
    }
    all
}

fn structures(shared: &Shared) -> Vec<StructureStatus> {
    let named = shared.agreed.structures();
    let heard = shared.agreed.node.heard();
    let others: Vec<&Share> = heard
        .iter()
        .filter(|(member, _)| **member != shared.member && shared.answers(**member))
        .flat_map(|(_, heard)| &heard.brief.shares)
        .collect();
    let own = usage(shared, (0..).map(StructureId).take(named.len()));
    let status = |(structure, own): (Structure, Share)| {
        let of = others.iter().filter(|share| share.structure == own.structure);
        let everywhere =
            of.fold((own.entries, own.bytes), |(n, b), share| (n + share.entries, b + share.bytes));
        let told = own.structure.0 < SHARES_MAX || !shared.links.any();
        StructureStatus {
            kind: structure.config.kind(),
            name: structure.name,
            entries: own.entries,
            bytes: own.bytes,
            cluster_entries: told.then_some(everywhere.0),
            cluster_bytes: told.then_some(everywhere.1),
        }
    };
    named.into_iter().zip(own).map(status).collect()
}
