//! What a member tells of itself. One walk over the member fills a [`Status`]; `grid status`, `/status`
//! and `/metrics` are views of it, so that they cannot disagree.

mod cluster;
mod text;

pub use cluster::{
    ClusterStatus, CopyStatus, LinkStatus, LogRole, LogStatus, PartitionRow, PartitionState,
    PartitionStatus, PeerStatus, RoleTotals,
};

pub(crate) use text::ranges;

use grid_core::control::StructureKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What can be asked for its state. Both calls may take partition locks one after the other, each
/// briefly; they never wait for other members or clients.
pub trait Observe: Send + Sync + 'static {
    /// Everything that there is to see.
    fn status(&self) -> Status;
    /// Whether the member lives, takes clients, and could be lost without loss of data.
    fn health(&self) -> Health;
}

/// The state of a member and what it knows of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// What the member waits for, as long as it has not come to its cluster.
    pub waiting: Option<String>,
    /// What would be lost, or could not go on, if one more member ended now.
    pub dangers: Vec<String>,
    /// The cluster.
    pub cluster: ClusterStatus,
    /// The member that tells.
    pub member: MemberStatus,
    /// The partitions, as this member sees them.
    pub partitions: PartitionStatus,
    /// Memory for data on this member.
    pub memory: MemoryStatus,
    /// Structures, what this member holds of them.
    pub structures: Vec<StructureStatus>,
    /// What clients do at this member.
    pub clients: ClientStatus,
    /// The data connections to the other members.
    pub links: Vec<LinkStatus>,
    /// What it has done since it started.
    pub totals: Totals,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its id, that of one process life.
    pub id: u64,
    /// The name of its node.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Where it serves clients, as `HOST:PORT`.
    pub address: String,
    /// Where it serves HTTP, if it does.
    pub http: Option<String>,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// Threads that serve connections.
    pub cores: u64,
}

/// Memory for data, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// In use, indexes and slack included.
    pub used_bytes: u64,
    /// That may be in use.
    pub budget_bytes: u64,
}

/// A structure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StructureStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StructureKind,
    /// Entries or items that this member serves.
    pub entries: u64,
    /// Bytes that this member holds for it.
    pub bytes: u64,
    /// Entries or items of all members, as they said within the last second or so. None: they do not tell, for
    /// there are too many structures.
    #[serde(default)]
    pub cluster_entries: Option<u64>,
    /// Bytes of all members, backups included.
    #[serde(default)]
    pub cluster_bytes: Option<u64>,
}

/// Clients, now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientStatus {
    /// Open connections.
    pub connections: u64,
    /// Registered sessions.
    pub sessions: u64,
    /// Topic subscriptions.
    pub subscriptions: u64,
    /// Answers that wait for their operation to be committed.
    pub parked_replies: u64,
}

/// Counted since the member started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were ended because their side broke the rules.
    pub offenders: u64,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
    /// Operations of clients by what they do.
    pub operations: BTreeMap<String, u64>,
    /// What happened to its partitions.
    pub roles: RoleTotals,
    /// Refused requests by the kind of error, as [`label`] writes it: `out_of_memory`.
    pub refused: BTreeMap<String, u64>,
}

/// Answers to "how are you".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The process works: restart it if not.
    pub live: Check,
    /// It takes clients: send it none if not.
    pub ready: Check,
    /// It can be stopped without loss of data or service: leave it alone if not.
    pub safe: Check,
}

/// One answer: yes, or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether all is well.
    pub ok: bool,
    /// What is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reasons: Vec<String>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn well() -> Self {
        Check { ok: true, reasons: Vec::new() }
    }

    /// Well if there is nothing to say.
    #[must_use]
    pub fn unless(reasons: Vec<String>) -> Self {
        Check { ok: reasons.is_empty(), reasons }
    }
}

/// The name of an enum's variant as metrics and JSON write it: `MapGet` is `map_get`.
#[must_use]
pub fn label(variant: impl Debug) -> String {
    let mut label = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(c.to_ascii_lowercase());
    }
    label
}

/// Structures, the largest first; by name where equal.
pub(crate) fn largest(structures: &[StructureStatus]) -> Vec<&StructureStatus> {
    let mut sorted: Vec<_> = structures.iter().collect();
    let size = |s: &StructureStatus| s.cluster_bytes.unwrap_or(s.bytes);
    sorted.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.name.cmp(&b.name)));
    sorted
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use grid_core::Kind;
    use grid_core::op::OpCode;

    /// A member as tests need one.
    pub(crate) fn example() -> Status {
        let structure = |name: &str, kind, entries, bytes| StructureStatus {
            name: name.into(),
            kind,
            entries,
            bytes,
            cluster_entries: Some(2 * entries),
            cluster_bytes: Some(4 * bytes),
        };
        let peer = |id, address: &str, log, silent_ms| PeerStatus {
            id,
            node: format!("90{id}"),
            address: address.into(),
            log,
            silent_ms,
            primary: 135,
            backup: 136,
            version: Some("0.1.0".into()),
            uptime_ms: Some(61_500),
            ..PeerStatus::default()
        };
        let row = |partition, state, copies| PartitionRow {
            partition,
            state,
            primary: 7,
            term: 2,
            in_sync: vec![7],
            wanted: vec![7, 9],
            copies,
        };
        let copy = CopyStatus { to: 9, pieces: 3, arrived: 2, bytes: 3 << 20, of_bytes: 4 << 20 };
        Status {
            waiting: None,
            dangers: vec!["something".into()],
            cluster: ClusterStatus {
                name: "dev".into(),
                life: 3,
                replicas: 2,
                min_in_sync: 1,
                lease_ms: 400,
                members: vec![
                    peer(7, "127.0.0.1:5701", LogRole::Leader, None),
                    peer(9, "127.0.0.1:5702", LogRole::Learner, Some(12_300)),
                ],
                log: LogStatus {
                    quorum: true,
                    leader: Some("907".into()),
                    leader_address: Some("127.0.0.1:5701".into()),
                    leads: true,
                    term: 4,
                    applied: 77,
                    last: 78,
                    voters: vec!["127.0.0.1:5701".into()],
                },
            },
            member: MemberStatus {
                id: 7,
                name: "a".into(),
                version: "0.1.0".into(),
                address: "127.0.0.1:5701".into(),
                http: None,
                uptime_ms: 61_500,
                cores: 2,
            },
            partitions: PartitionStatus {
                count: 271,
                primary: 270,
                backup: 1,
                full: 268,
                degraded: 3,
                copying: 1,
                not_full: vec![
                    row(4, PartitionState::Degraded, vec![copy]),
                    row(5, PartitionState::Degraded, Vec::new()),
                    row(6, PartitionState::Degraded, Vec::new()),
                ],
                ..PartitionStatus::default()
            },
            memory: MemoryStatus { used_bytes: 3 << 20, budget_bytes: 1 << 30 },
            structures: vec![
                structure("small", StructureKind::Queue, 1, 100),
                structure("or\"de\\rs", StructureKind::Map, 2, 1 << 21),
            ],
            clients: ClientStatus {
                connections: 4,
                sessions: 3,
                subscriptions: 2,
                parked_replies: 1,
            },
            links: vec![LinkStatus {
                member: 9,
                connected: true,
                sent_bytes: 12,
                copies: 1,
                ..LinkStatus::default()
            }],
            totals: Totals {
                roles: RoleTotals { takeovers: 5, ..RoleTotals::default() },
                connections: 9,
                offenders: 1,
                received_bytes: 10,
                sent_bytes: 11,
                operations: [("read".into(), 5), ("write".into(), 6)].into(),
                refused: [(label(Kind::OutOfMemory), 2)].into(),
            },
        }
    }

    #[test]
    fn labels_are_the_words_in_small_letters() {
        assert_eq!(label(OpCode::MapReplaceIfSame), "map_replace_if_same");
        assert_eq!(label(Kind::Io), "io");
    }

    #[test]
    fn a_status_survives_json_and_takes_one_from_another_version() {
        let status = example();
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        let other = r#"{"member":{"id":7,"mood":"good"},"weather":1}"#;
        assert_eq!(serde_json::from_str::<Status>(other).unwrap().member.id, 7);
    }
}
