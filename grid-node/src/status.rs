//! What a member tells of itself. One walk over the member fills a [`Status`]; `grid status`, `/status`
//! and `/metrics` are views of it, so that they cannot disagree.

use grid_core::control::StructureKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

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
    /// What it has done since it started.
    pub totals: Totals,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Which life of the cluster's data this is.
    pub life: u64,
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

/// Partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionStatus {
    /// Of the cluster.
    pub count: u64,
    /// That this member serves.
    pub primary: u64,
    /// That it is an in-sync backup of.
    pub backup: u64,
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

/// Structures that the text shows; the largest.
const STRUCTURES_SHOWN: usize = 20;

/// For people, in lines.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { cluster, member, partitions, memory, structures, clients, totals } = self;
        writeln!(
            f,
            "cluster     {}, life {}, {} partitions",
            cluster.name, cluster.life, partitions.count
        )?;
        let http = member.http.as_deref().unwrap_or("off");
        writeln!(f, "member      {} ({}), version {}", member.id, member.name, member.version)?;
        writeln!(f, "            at {}, http {http}, {} cores", member.address, member.cores)?;
        writeln!(f, "            up {}", Uptime(member.uptime_ms))?;
        writeln!(
            f,
            "partitions  {} as primary, {} as backup",
            partitions.primary, partitions.backup
        )?;
        let (used, budget) = (Mebibytes(memory.used_bytes), Mebibytes(memory.budget_bytes));
        writeln!(f, "memory      {used} of {budget}")?;
        let ClientStatus { connections, sessions, subscriptions, parked_replies } = clients;
        writeln!(
            f,
            "clients     {connections} connections, {sessions} sessions, {subscriptions} subscriptions, {parked_replies} answers waiting"
        )?;
        let operations: u64 = totals.operations.values().sum();
        let refused: u64 = totals.refused.values().sum();
        write!(
            f,
            "since start {operations} operations, {refused} refused, {} received, {} sent",
            Mebibytes(totals.received_bytes),
            Mebibytes(totals.sent_bytes)
        )?;
        if structures.is_empty() {
            return Ok(());
        }
        write!(f, "\n\n{:5}  {:>12}  {:>12}  name", "kind", "entries", "memory")?;
        for s in largest(structures).into_iter().take(STRUCTURES_SHOWN) {
            let kind = s.kind.to_string();
            write!(
                f,
                "\n{kind:5}  {:>12}  {:>12}  {}",
                s.entries,
                Mebibytes(s.bytes).to_string(),
                s.name
            )?;
        }
        match structures.len().saturating_sub(STRUCTURES_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more (--json shows all)"),
        }
    }
}

/// Structures, the largest first; by name where equal.
pub(crate) fn largest(structures: &[StructureStatus]) -> Vec<&StructureStatus> {
    let mut sorted: Vec<_> = structures.iter().collect();
    sorted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    sorted
}

struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (u128::from(self.0) * 10) >> 20;
        write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
    }
}

struct Uptime(u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, m) => write!(f, "{m}m {}s", seconds % 60),
            (0, h, m) => write!(f, "{h}h {m}m"),
            (d, h, _) => write!(f, "{d}d {h}h"),
        }
    }
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
        };
        Status {
            cluster: ClusterStatus { name: "dev".into(), life: 3 },
            member: MemberStatus {
                id: 7,
                name: "a".into(),
                version: "0.1.0".into(),
                address: "127.0.0.1:5701".into(),
                http: None,
                uptime_ms: 61_500,
                cores: 2,
            },
            partitions: PartitionStatus { count: 271, primary: 270, backup: 1 },
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
            totals: Totals {
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

    #[test]
    fn the_text_shows_the_largest_structures_first() {
        let mut status = example();
        let text = status.to_string();
        assert!(text.contains("up 1m 1s") && text.contains("3.0 MiB of 1024.0 MiB"), "{text}");
        assert!(text.find("rs\n").unwrap() < text.find("small").unwrap(), "{text}");
        let one = status.structures[0].clone();
        status.structures = vec![one; STRUCTURES_SHOWN + 5];
        assert!(status.to_string().ends_with("and 5 more (--json shows all)"));
    }
}
