//! What the cluster agrees on: members, sessions, structures and who owns which partition. A
//! deterministic state machine over a log of commands. One member applies its own log at once; a
//! cluster will put consensus in front of the same commands.

use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, NodeId, SessionId, StructureId, Term, Version};
use crate::limits::{NAME_BYTES_MAX, STRUCTURES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kinds of structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StructureKind {
    /// A map, spread over all partitions.
    Map,
    /// A queue in one partition.
    Queue,
    /// A topic in one partition.
    Topic,
}

impl std::fmt::Display for StructureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StructureKind::Map => "map",
            StructureKind::Queue => "queue",
            StructureKind::Topic => "topic",
        })
    }
}

/// Configuration of a map; fixed when its name is first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapConfig {
    /// Time-to-live of entries that are written without their own, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Entries that nobody accesses for this long expire, in milliseconds.
    pub max_idle_ms: Option<u32>,
}

/// Configuration of a queue; fixed when its name is first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Most items that the queue takes; none: as memory allows.
    pub items_max: Option<u64>,
}

/// Configuration of a structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StructureConfig {
    /// Of a map.
    Map(MapConfig),
    /// Of a queue.
    Queue(QueueConfig),
    /// Of a topic.
    Topic,
}

impl StructureConfig {
    /// The kind that this configures.
    #[must_use]
    pub fn kind(&self) -> StructureKind {
        match self {
            StructureConfig::Map(_) => StructureKind::Map,
            StructureConfig::Queue(_) => StructureKind::Queue,
            StructureConfig::Topic => StructureKind::Topic,
        }
    }
}

/// A named structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// Its name, unique over all kinds.
    pub name: String,
    /// Its configuration.
    pub config: StructureConfig,
}

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows by one with every change of the record.
    pub version: Version,
    /// Changes exactly when `primary` does.
    pub term: Term,
    /// Serves the partition.
    pub primary: MemberId,
    /// In-sync replicas, the primary among them.
    pub isr: Vec<MemberId>,
}

/// A change to what the cluster agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A process of a node begins its life; `boot` counts the lives of the node.
    Start {
        /// The node.
        node: NodeId,
        /// Number of this life; a repeated or older one changes nothing.
        boot: u64,
    },
    /// A client wants an identity.
    OpenSession,
    /// A session has ended or was silent for too long.
    ExpireSession(SessionId),
    /// A name is used for the first time (or again: then nothing changes).
    Declare(Structure),
}

/// What applying a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The id of the member that started.
    Started(MemberId),
    /// The new session.
    SessionOpened(SessionId),
    /// Whether the session existed.
    SessionExpired(bool),
    /// The id and the agreed configuration of the name.
    Declared(StructureId, StructureConfig),
    /// The command changed nothing.
    Refused(Kind, String),
}

/// The state that the log of commands leads to; equal on every member at an equal index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlState {
    index: Index,
    boots: BTreeMap<NodeId, (u64, MemberId)>,
    sessions: BTreeMap<SessionId, Index>,
    names: BTreeMap<String, StructureId>,
    structures: Vec<Structure>,
    table: Vec<Record>,
    partitions: u16,
}

impl ControlState {
    /// Before the first command, for this many partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        ControlState { partitions, ..ControlState::default() }
    }

    /// Applies the next command of the log.
    pub fn apply(&mut self, command: Command) -> Outcome {
        self.index = Index(self.index.0 + 1);
        match command {
            Command::Start { node, boot } => self.start(node, boot),
            Command::OpenSession => {
                let id = SessionId(self.index.0);
                self.sessions.insert(id, self.index);
                Outcome::SessionOpened(id)
            }
            Command::ExpireSession(id) => {
                Outcome::SessionExpired(self.sessions.remove(&id).is_some())
            }
            Command::Declare(structure) => match self.declare(structure) {
                Ok((id, config)) => Outcome::Declared(id, config),
                Err(e) => Outcome::Refused(e.kind(), e.detail().unwrap_or_default().to_owned()),
            },
        }
    }

    fn start(&mut self, node: NodeId, boot: u64) -> Outcome {
        if let Some((last, _)) = self.boots.get(&node)
            && boot <= *last
        {
            return Outcome::Refused(
                Kind::Invalid,
                format!("life {boot} of node {node} is not newer than {last}"),
            );
        }
        let member = MemberId(self.index.0);
        self.boots.insert(node, (boot, member));
        if self.table.is_empty() {
            let record =
                Record { version: Version(1), term: Term(1), primary: member, isr: vec![member] };
            self.table = vec![record; usize::from(self.partitions)];
        }
        Outcome::Started(member)
    }

    fn declare(&mut self, structure: Structure) -> Result<(StructureId, StructureConfig)> {
        let Structure { name, config } = structure;
        check_name(&name)?;
        if let Some((id, known)) = self.structure_named(&name) {
            if known.kind() == config.kind() {
                return Ok((id, known.clone()));
            }
            return Err(Error::with(
                Kind::WrongStructure,
                format!("'{name}' is a {}, not a {}", known.kind(), config.kind()),
            ));
        }
        if self.structures.len() >= STRUCTURES_MAX {
            return Err(Error::with(
                Kind::Overloaded,
                format!(
                    "the cluster has {STRUCTURES_MAX} structures already, the most that are possible"
                ),
            ));
        }
        #[allow(clippy::cast_possible_truncation)]
        let id = StructureId(self.structures.len() as u32);
        self.names.insert(name.clone(), id);
        self.structures.push(Structure { name, config: config.clone() });
        Ok((id, config))
    }

    /// Position of the last applied command.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// Whether the session is registered and has not expired.
    #[must_use]
    pub fn has_session(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Number of open sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A structure by id.
    #[must_use]
    pub fn structure(&self, id: StructureId) -> Option<&Structure> {
        self.structures.get(id.0 as usize)
    }

    /// All structures, in the order of their ids.
    #[must_use]
    pub fn structures(&self) -> &[Structure] {
        &self.structures
    }

    /// A structure by name.
    #[must_use]
    pub fn structure_named(&self, name: &str) -> Option<(StructureId, &StructureConfig)> {
        let id = *self.names.get(name)?;
        Some((id, &self.structure(id)?.config))
    }

    /// The table, a record per partition; empty before the first member started.
    #[must_use]
    pub fn table(&self) -> &[Record] {
        &self.table
    }
}

/// A name must not be empty, too long, or hold control characters.
///
/// # Errors
/// `Invalid` or `TooLarge`.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::with(Kind::Invalid, "a name must not be empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::with(
            Kind::TooLarge,
            format!("a name of {} bytes, at most {NAME_BYTES_MAX} are possible", name.len()),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::with(
            Kind::Invalid,
            format!("the name {name:?} holds control characters"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(state: &mut ControlState, name: &str, config: StructureConfig) -> Outcome {
        state.apply(Command::Declare(Structure { name: name.into(), config }))
    }

    #[test]
    fn the_first_use_of_a_name_decides_its_id_kind_and_configuration() {
        let mut state = ControlState::new(7);
        let first = StructureConfig::Map(MapConfig { ttl_ms: Some(5), max_idle_ms: None });
        let agreed = Outcome::Declared(StructureId(0), first.clone());
        assert_eq!(declare(&mut state, "a", first), agreed);
        assert_eq!(declare(&mut state, "a", StructureConfig::Map(MapConfig::default())), agreed);
        let refused = declare(&mut state, "a", StructureConfig::Topic);
        assert!(matches!(refused, Outcome::Refused(Kind::WrongStructure, _)), "{refused:?}");
        let next = declare(&mut state, "b", StructureConfig::Topic);
        assert_eq!(next, Outcome::Declared(StructureId(1), StructureConfig::Topic));
        for bad in ["", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(matches!(
                declare(&mut state, bad, StructureConfig::Topic),
                Outcome::Refused(..)
            ));
        }
    }

    #[test]
    fn a_repeated_or_delayed_start_does_not_make_a_second_member() {
        let mut state = ControlState::new(3);
        let start = |boot| Command::Start { node: NodeId(1), boot };
        assert_eq!(state.apply(start(2)), Outcome::Started(MemberId(1)));
        assert!(matches!(state.apply(start(2)), Outcome::Refused(..)));
        assert!(matches!(state.apply(start(1)), Outcome::Refused(..)));
        assert_eq!(state.apply(start(3)), Outcome::Started(MemberId(4)));
        assert_eq!(state.table().len(), 3);
        assert_eq!(state.table()[0].primary, MemberId(1));
    }

    #[test]
    fn session_ids_are_log_positions_and_never_come_back() {
        let mut state = ControlState::new(1);
        let Outcome::SessionOpened(a) = state.apply(Command::OpenSession) else { panic!() };
        assert!(state.has_session(a));
        assert_eq!(state.apply(Command::ExpireSession(a)), Outcome::SessionExpired(true));
        assert_eq!(state.apply(Command::ExpireSession(a)), Outcome::SessionExpired(false));
        let Outcome::SessionOpened(b) = state.apply(Command::OpenSession) else { panic!() };
        assert!(b > a && !state.has_session(a));
    }
}
