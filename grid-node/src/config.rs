//! The configuration of a member. `config/grid.toml` is the default and describes every setting;
//! [`Layers`] puts a file, the environment and flags over it, a program its own values.
//!
//! Nothing here is global, and nothing panics: what is wrong is collected and told by
//! [`Config::check`], all at once.

mod address;
mod layers;
mod memory;
mod pattern;
mod problem;
mod settings;
mod structures;
#[cfg(test)]
mod tests;
mod together;
pub(crate) mod units;
mod value;

pub use address::{Address, NotAnAddress};
pub use layers::Layers;
pub use memory::Budget;
pub use problem::ConfigError;

use grid_core::control::{StructureConfig, StructureKind};
use problem::{Origin, Problem, nearest};
use settings::SETTINGS;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use structures::{Structures, kind_of};
use together::Places;
use value::{Entry, Value, read_toml};

/// The annotated default, as a text.
pub const DEFAULT_TOML: &str = include_str!("../../config/grid.toml");

/// The configuration of a member. See the module documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    bind: Address,
    http: Option<Address>,
    advertise: Option<Address>,
    name: Option<String>,
    cores: u16,
    join: Vec<Address>,
    data_dir: Option<PathBuf>,
    cluster: Cluster,
    memory: Memory,
    limits: Limits,
    log: Log,
    structures: Structures,
    places: Places,
    problems: Vec<Problem>,
}

/// What all members of a cluster have in common; fixed when it is formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Number of its partitions.
    pub partitions: u16,
    /// In-sync replicas of a partition beside its primary, as far as there are members.
    pub sync_backups: u8,
    /// Further replicas that nobody waits for.
    pub async_backups: u8,
    /// Replicas in sync, the primary included, below which writes are refused; at most one more than
    /// `sync_backups`.
    pub min_in_sync: u8,
    /// How long a primary may be silent before a backup takes over, in whole milliseconds.
    pub lease: Duration,
}

/// Memory for data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// What data may take.
    pub budget: Budget,
    /// Whether to ask for huge pages.
    pub huge_pages: bool,
}

/// Ceilings for what clients can make a member hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest frame, in bytes after its length field.
    pub frame_bytes_max: usize,
    /// Connections served at once.
    pub connections_max: usize,
    /// How long a connection may take to introduce itself.
    pub handshake_timeout: Duration,
    /// After how long a silence a session ends.
    pub session_timeout: Duration,
    /// How long an operation waits for backups, unless it says so itself.
    pub operation_timeout: Duration,
    /// How long a member that is told to stop waits until others have what only it has.
    pub leave_timeout: Duration,
    /// Bytes of topic items that wait for a connection's client.
    pub subscriber_bytes_max: usize,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// The least important that is logged.
    pub level: Level,
    /// In which form.
    pub format: LogFormat,
}

/// How important what is logged must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Level {
    const WORDS: &[(&str, Self)] = &[
        ("off", Level::Off),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
}

impl LogFormat {
    const WORDS: &[(&str, Self)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Config::unset();
        config.apply_toml(&Arc::from("config/grid.toml"), DEFAULT_TOML);
        config
    }
}

impl Config {
    /// Before the default file has said anything.
    fn unset() -> Self {
        Config {
            bind: Address::nowhere(),
            http: None,
            advertise: None,
            name: None,
            cores: 0,
            join: Vec::new(),
            data_dir: None,
            cluster: Cluster::default(),
            memory: Memory { budget: Budget::Bytes(0), huge_pages: false },
            limits: Limits::default(),
            log: Log { level: Level::Off, format: LogFormat::Text },
            structures: Structures::default(),
            places: Places::default(),
            problems: Vec::new(),
        }
    }

    /// Where to listen for clients and members.
    #[must_use]
    pub fn bind(&self) -> &Address {
        &self.bind
    }

    /// Where to listen for HTTP, if at all.
    #[must_use]
    pub fn http(&self) -> Option<&Address> {
        self.http.as_ref()
    }

    /// Where others reach this member, if not where it listens.
    #[must_use]
    pub fn advertise(&self) -> Option<&Address> {
        self.advertise.as_ref()
    }

    /// Members of the cluster to join, or to form together; this one may be among them.
    #[must_use]
    pub fn join(&self) -> &[Address] {
        &self.join
    }

    /// The name of this node: as configured, or that of the host.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }

    /// Threads that serve connections, at least 1.
    #[must_use]
    pub fn cores(&self) -> usize {
        match self.cores {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n.into(),
        }
    }

    /// Where to keep the identity of the node and the control log, if anywhere.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// What all members have in common.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Memory for data.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Ceilings.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is logged; whoever owns the process may start that with [`crate::logging::start`].
    #[must_use]
    pub fn log(&self) -> Log {
        self.log
    }

    /// The configuration that a structure gets when its name is first used: that of the most specific
    /// section that fits, or the default.
    #[must_use]
    pub fn structure_config(&self, kind: StructureKind, name: &str) -> StructureConfig {
        self.structures.of(kind, name)
    }

    /// Sets any setting by its key in `grid.toml` to a value as one writes it there, without quotes;
    /// lists are separated by commas. What is impossible is told by [`check`](Config::check).
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // reads as `with("cores", 2)`
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        let (path, value) = (key_path(key), Value::Loose(value.to_string()));
        self.apply(&Entry { path, value, origin: Origin::Program });
        self
    }

    /// Sets the configuration of all structures of its kind whose names fit the pattern.
    #[must_use]
    pub fn with_structure(mut self, pattern: &str, config: StructureConfig) -> Self {
        if let Err(why) = self.structures.put(pattern, config, &Origin::Program) {
            self.problems.push(Problem::new(&Origin::Program, why));
        }
        self
    }

    /// Checks what was set, each value and all together.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = self.problems.clone();
        self.structures.check(&mut problems);
        self.check_together(&mut problems);
        ConfigError::unless_none(problems)
    }

    fn apply_toml(&mut self, name: &Arc<str>, text: &str) {
        match read_toml(name, text) {
            Ok(entries) => entries.iter().for_each(|entry| self.apply(entry)),
            Err((origin, why)) => self.problems.push(Problem::new(&origin, why)),
        }
    }

    fn apply(&mut self, entry: &Entry) {
        if let Err(why) = self.try_apply(entry) {
            self.problems.push(Problem::new(&entry.origin, why));
        }
    }

    fn try_apply(&mut self, entry: &Entry) -> Result<(), String> {
        let Entry { path, value, origin } = entry;
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some((first, rest)) = parts.split_first()
            && let Some(kind) = kind_of(first)
        {
            return match rest {
                [] if *value == Value::Section => Ok(()),
                [] => Err(format!("{kind} is {value}; possible: sections, as [{kind}.\"name\"]")),
                [pattern] => self.structures.apply(kind, pattern, None, value, origin),
                [pattern, key] => self.structures.apply(kind, pattern, Some(key), value, origin),
                _ if matches!(origin, Origin::File(..)) => Ok(()), // told with the section around it
                _ => Err(unknown(&parts.join("."))),
            };
        }
        let key = parts.join(".");
        if let Some(setting) = SETTINGS.iter().find(|s| s.key == key) {
            let applied = (setting.apply)(self, value);
            self.places.set(setting.key, origin, applied.is_ok());
            return applied.map_err(|wanted| format!("{key} is {value}; possible: {wanted}"));
        }
        let is_group = |name: &str| {
            SETTINGS.iter().any(|s| s.key.split_once('.').is_some_and(|(g, _)| g == name))
        };
        match parts.as_slice() {
            [name] if is_group(name) && *value == Value::Section => Ok(()),
            [name] if is_group(name) => {
                Err(format!("{name} is {value}; possible: a section, [{name}]"))
            }
            [_] => Err(unknown(&key)),
            [group, _] if is_group(group) => Err(unknown(&key)),
            _ if matches!(origin, Origin::File(..)) => Ok(()), // told with the section around it
            _ => Err(unknown(&key)),
        }
    }
}

fn unknown(key: &str) -> String {
    let sections = ["cluster", "memory", "limits", "log", "map", "queue", "topic"];
    let shown: String = key.chars().take(60).collect();
    match nearest(key, SETTINGS.iter().map(|s| s.key).chain(sections)) {
        Some(near) => format!("unknown setting {shown:?}; did you mean {near}?"),
        None => format!("unknown setting {shown:?}"),
    }
}

/// The parts of a key such as `limits.frame-bytes-max`.
fn key_path(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "member".to_owned())
}
