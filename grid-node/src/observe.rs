//! What a member tells of itself.

use crate::shared::Shared;
use crate::status::{
    Check, ClientStatus, ClusterStatus, Health, MemberStatus, MemoryStatus, Observe,
    PartitionStatus, Status, StructureStatus, Totals, label,
};
use grid_core::ids::StructureId;

impl Observe for Shared {
    fn status(&self) -> Status {
        let (address, http) = self.addresses;
        let counters = &self.counters;
        let (count, mut primary, mut backup) = (self.cells().len() as u64, 0, 0);
        self.agreed.read(|state| {
            for record in state.table() {
                primary += u64::from(record.primary == self.member);
                backup += u64::from(record.primary != self.member && record.in_sync(self.member));
            }
        });
        Status {
            cluster: ClusterStatus { name: self.settings.cluster.clone(), life: self.life() },
            member: MemberStatus {
                id: self.member.0,
                name: self.settings.name.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                address: address.to_string(),
                http: http.map(|http| http.to_string()),
                uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                cores: self.settings.cores as u64,
            },
            partitions: PartitionStatus { count, primary, backup },
            memory: MemoryStatus {
                used_bytes: self.env.ledger.used(),
                budget_bytes: self.env.ledger.budget(),
            },
            structures: structures(self),
            clients: ClientStatus {
                connections: counters.connections.get(),
                sessions: self.agreed.read(|state| state.sessions().len()) as u64,
                subscriptions: self.cells().iter().map(|cell| cell.subscribers() as u64).sum(),
                parked_replies: counters.parked.get(),
            },
            totals: Totals {
                connections: counters.accepted.get(),
                offenders: counters.offenders.get(),
                received_bytes: counters.received.get(),
                sent_bytes: counters.sent.get(),
                operations: [
                    ("read".to_owned(), counters.reads.get()),
                    ("write".to_owned(), counters.writes.get()),
                ]
                .into(),
                refused: counters.refused().into_iter().map(|(kind, n)| (label(kind), n)).collect(),
            },
        }
    }

    fn health(&self) -> Health {
        let closed = self.check_open().err().map(|error| error.to_string());
        let ready = match (&closed, self.is_draining()) {
            (Some(reason), _) => Check::unless(vec![reason.clone()]),
            (None, true) => Check::unless(vec!["the member is shutting down".into()]),
            (None, false) => Check::well(),
        };
        let safe = Check::unless(self.dangers());
        Health { live: Check::well(), ready, safe }
    }
}

impl Shared {
    /// What would be lost, or could not go on, if one more member ended now.
    fn dangers(&self) -> Vec<String> {
        let quorum = self.agreed.node.quorum();
        let mut dangers = Vec::new();
        if !*quorum.borrow() {
            dangers.push("the cluster has no quorum: who owns what cannot change".to_owned());
        }
        let wanted = usize::from(self.cluster.sync_backups) + 1;
        self.agreed.read(|state| {
            if state.members().len() < 2 {
                let text = "the cluster has one member: stopping it loses the data";
                return dangers.push(text.to_owned());
            }
            if wanted < 2 {
                let text = "there are no backups (cluster.sync-backups): each member's end loses data";
                dangers.push(text.to_owned());
            }
            let table = state.table();
            let lost = table.iter().filter(|record| record.lost).count();
            let complete = |record: &&grid_core::control::Record| {
                let living = record.isr.iter().filter(|id| state.members().contains_key(id));
                let arrived = record.goal.iter().all(|id| record.in_sync(*id));
                living.count() >= wanted.min(state.members().len()) && arrived
            };
            let short = table.iter().filter(|record| !record.lost && !complete(record)).count();
            if lost > 0 {
                dangers.push(format!("{lost} partitions are lost (grid admin reset-lost)"));
            }
            if short > 0 {
                dangers.push(format!(
                    "{short} of {} partitions have fewer in-sync replicas than wanted, or are moving",
                    table.len()
                ));
            }
        });
        dangers
    }
}

fn structures(shared: &Shared) -> Vec<StructureStatus> {
    let named = (0..).map(StructureId).zip(shared.agreed.structures());
    let mut all: Vec<_> = named
        .map(|(id, structure)| {
            let kind = structure.config.kind();
            (id, StructureStatus { name: structure.name, kind, entries: 0, bytes: 0 })
        })
        .collect();
    for cell in shared.cells() {
        // A lock is held for a bounded number of structures at a time.
        for some in all.chunks_mut(128) {
            cell.read(|partition| {
                for (id, status) in some {
                    if let Some((entries, bytes)) = partition.usage(*id) {
                        status.entries += entries as u64;
                        status.bytes += bytes as u64;
                    }
                }
            });
        }
    }
    all.into_iter().map(|(_, status)| status).collect()
}
