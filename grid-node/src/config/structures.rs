//! The sections of structures, `[map."orders*"]`, and which of them counts for a name.

use super::pattern::Pattern;
use super::problem::{Origin, Problem, nearest};
use super::value::Value;
use grid_core::control::{Ack, MapConfig, QueueConfig, StructureConfig, StructureKind};
use std::ops::RangeInclusive;
use std::time::Duration;

const MAP_KEYS: &[&str] = &["ack", "max-idle", "time-to-live"];
const QUEUE_KEYS: &[&str] = &["ack", "items-max"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TTL_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY.saturating_mul(36_500);
const IDLE_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY.saturating_mul(49);
/// Sections of one kind; they are compared in pairs.
const SECTIONS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq)]
struct Section<C> {
    pattern: Pattern,
    origin: Origin,
    config: C,
}

/// Sections of one kind of structure.
#[derive(Clone, Debug, PartialEq)]
struct Sections<C>(Vec<Section<C>>);

impl<C> Default for Sections<C> {
    fn default() -> Self {
        Sections(Vec::new())
    }
}

impl<C: Default + Clone> Sections<C> {
    /// The section of exactly this pattern, made now if there is none.
    fn section(&mut self, pattern: Pattern, origin: &Origin) -> Result<&mut C, String> {
        let at = self.0.iter().position(|s| s.pattern == pattern).unwrap_or(self.0.len());
        if at == self.0.len() {
            if at >= SECTIONS_MAX {
                return Err(format!(
                    "more than {SECTIONS_MAX} sections, the most that are possible"
                ));
            }
            self.0.push(Section { pattern, origin: origin.clone(), config: C::default() });
        }
        Ok(&mut self.0[at].config)
    }

    fn of(&self, name: &str) -> C {
        let fitting = self.0.iter().filter(|s| s.pattern.fits(name));
        fitting.max_by_key(|s| s.pattern.rank()).map(|s| s.config.clone()).unwrap_or_default()
    }

    fn check(&self, kind: StructureKind, problems: &mut Vec<Problem>) {
        for (i, a) in self.0.iter().enumerate() {
            let Some(b) = self.0[..i].iter().find(|b| a.pattern.ambiguous_with(&b.pattern)) else {
                continue;
            };
            problems.push(Problem::new(
                &a.origin,
                format!(
                    "{kind}.\"{}\" and {kind}.\"{}\" fit the same names and neither is within the other; \
                     make one of them narrower",
                    a.pattern, b.pattern
                ),
            ));
        }
    }
}

/// What the structures are configured with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Structures {
    maps: Sections<MapConfig>,
    queues: Sections<QueueConfig>,
    topics: Sections<()>,
}

/// The kind whose sections have this name.
pub(super) fn kind_of(section: &str) -> Option<StructureKind> {
    [StructureKind::Map, StructureKind::Queue, StructureKind::Topic]
        .into_iter()
        .find(|kind| kind.to_string() == section)
}

impl Structures {
    /// The configuration of a structure by its name.
    pub(super) fn of(&self, kind: StructureKind, name: &str) -> StructureConfig {
        match kind {
            StructureKind::Map => StructureConfig::Map(self.maps.of(name)),
            StructureKind::Queue => StructureConfig::Queue(self.queues.of(name)),
            StructureKind::Topic => StructureConfig::Topic,
        }
    }

    /// Sets the configuration of all structures that fit a pattern.
    pub(super) fn put(
        &mut self,
        pattern: &str,
        config: StructureConfig,
        origin: &Origin,
    ) -> Result<(), String> {
        let pattern = Pattern::parse(pattern)?;
        match config {
            StructureConfig::Map(config) => *self.maps.section(pattern, origin)? = config,
            StructureConfig::Queue(config) => *self.queues.section(pattern, origin)? = config,
            StructureConfig::Topic => *self.topics.section(pattern, origin)? = (),
        }
        Ok(())
    }

    /// Reads one line of a section (or its header, without a key).
    pub(super) fn apply(
        &mut self,
        kind: StructureKind,
        pattern: &str,
        key: Option<&str>,
        value: &Value,
        origin: &Origin,
    ) -> Result<(), String> {
        let pattern = Pattern::parse(pattern)?;
        let place = format!("{kind}.\"{pattern}\"");
        let Some(key) = key else {
            if *value != Value::Section {
                return Err(format!("{place} is {value}; possible: a section, [{place}]"));
            }
            return self.header(kind, pattern, origin);
        };
        let impossible = |wanted| format!("{place}.{key} is {value}; possible: {wanted}");
        match (kind, key) {
            (StructureKind::Map, "time-to-live") => {
                let ttl = value.duration(TTL_RANGE).map_err(impossible)?;
                self.maps.section(pattern, origin)?.ttl_ms = u64::try_from(ttl.as_millis()).ok();
            }
            (StructureKind::Map, "max-idle") => {
                let idle = value.duration(IDLE_RANGE).map_err(impossible)?;
                self.maps.section(pattern, origin)?.max_idle_ms =
                    u32::try_from(idle.as_millis()).ok();
            }
            (StructureKind::Map, "ack") => {
                self.maps.section(pattern, origin)?.ack = ack(value).map_err(impossible)?;
            }
            (StructureKind::Queue, "ack") => {
                self.queues.section(pattern, origin)?.ack = ack(value).map_err(impossible)?;
            }
            (StructureKind::Queue, "items-max") => {
                let items_max = value.whole(1..=u64::MAX).map_err(impossible)?;
                self.queues.section(pattern, origin)?.items_max = Some(items_max);
            }
            (kind, key) => return Err(unknown(kind, &place, key)),
        }
        Ok(())
    }

    fn header(
        &mut self,
        kind: StructureKind,
        pattern: Pattern,
        origin: &Origin,
    ) -> Result<(), String> {
        match kind {
            StructureKind::Map => self.maps.section(pattern, origin).map(|_| ()),
            StructureKind::Queue => self.queues.section(pattern, origin).map(|_| ()),
            StructureKind::Topic => self.topics.section(pattern, origin).map(|_| ()),
        }
    }

    /// Finds sections that cannot stand together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.maps.check(StructureKind::Map, problems);
        self.queues.check(StructureKind::Queue, problems);
        self.topics.check(StructureKind::Topic, problems);
    }
}

fn ack(value: &Value) -> Result<Ack, String> {
    let known = [("all", Ack::All), ("primary", Ack::Primary)];
    value.one_of(&known)
}

fn unknown(kind: StructureKind, place: &str, key: &str) -> String {
    let known = match kind {
        StructureKind::Map => MAP_KEYS,
        StructureKind::Queue => QUEUE_KEYS,
        StructureKind::Topic => {
            return format!("unknown setting {key:?} in {place}; topics have none yet");
        }
    };
    let advice = nearest(key, known.iter().copied()).map_or_else(
        || format!("possible: {}", known.join(", ")),
        |near| format!("did you mean {near}?"),
    );
    format!("unknown setting {key:?} in {place}; {advice}")
}
