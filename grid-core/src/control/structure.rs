//! Structures: what a name stands for, and how it is configured.

use crate::error::{Error, Kind, Result};
use crate::ids::Index;
use crate::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};

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

/// When an operation is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ack {
    /// Once every in-sync replica has what the answer saw: nothing that was answered is lost while one of them
    /// lives.
    #[default]
    All,
    /// Once the primary has applied it. The backups follow, as far behind as the partition's ring allows; if the
    /// primary dies or is cut off, what they lack is lost.
    Primary,
}

/// Configuration of a map; fixed when its name is first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapConfig {
    /// Time-to-live of entries that are written without their own, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Entries that nobody accesses for this long expire, in milliseconds.
    pub max_idle_ms: Option<u32>,
    /// When operations are answered.
    pub ack: Ack,
}

/// Configuration of a queue; fixed when its name is first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Most items that the queue takes; none: as memory allows.
    pub items_max: Option<u64>,
    /// When operations are answered.
    pub ack: Ack,
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
    /// When operations are answered.
    #[must_use]
    pub fn ack(&self) -> Ack {
        match self {
            StructureConfig::Map(config) => config.ack,
            StructureConfig::Queue(config) => config.ack,
            StructureConfig::Topic => Ack::All,
        }
    }

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
    /// Log position of its first use, or of the last time that the loss of a part of it was accepted:
    /// partitions that were lost later do not answer for it.
    pub since: Index,
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
