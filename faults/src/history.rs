//! What clients did and saw.

use std::fmt;
use std::time::Instant;

/// What an operation worked on. Each target has a history of its own and is audited alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A key of a map, whose values are unique in the whole run.
    Entry {
        /// Number of the map.
        map: u16,
        /// The key.
        key: u64,
    },
    /// A counter: an entry whose value is how often it was counted up.
    Counter {
        /// The key.
        key: u64,
    },
    /// A queue, whose items are unique in the whole run.
    Queue {
        /// Number of the queue.
        queue: u16,
        /// Queues are replaced by new ones now and then.
        generation: u32,
    },
}

impl Target {
    /// Name of the map or queue that it is, or is in.
    #[must_use]
    pub fn structure(self) -> String {
        match self {
            Target::Entry { map, .. } => format!("map-{map}"),
            Target::Counter { .. } => "counters".to_owned(),
            Target::Queue { queue, generation } => format!("queue-{queue}-{generation}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.structure())?;
        match self {
            Target::Entry { key, .. } | Target::Counter { key } => write!(f, "[{key}]"),
            Target::Queue { .. } => Ok(()),
        }
    }
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// The value.
    Get,
    /// Write this value, return the old one.
    Put(u64),
    /// Write this value.
    Set(u64),
    /// Remove the entry, return its value.
    Remove,
    /// Write this value if there is none, return what there is.
    PutIfAbsent(u64),
    /// Write a value if the present one is the expected one.
    ReplaceIfSame {
        /// The expected value.
        expected: u64,
        /// The new one.
        value: u64,
    },
    /// Remove the entry if its value is this one.
    RemoveIfSame(u64),
    /// Add this item at the tail.
    Offer(u64),
    /// Take the item at the head.
    Poll,
    /// All data is lost: not what a client asks for, but what a fault does to a member that is alone.
    Wipe,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done; there is nothing to tell.
    Done,
    /// It was done and answered with this value or none.
    Value(Option<u64>),
    /// It was done and answered yes or no.
    Flag(bool),
    /// It failed and took no effect.
    NotApplied,
    /// It failed and may have taken effect, or may still.
    Maybe,
}

/// One operation. Times are nanoseconds of one clock since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// On what.
    pub target: Target,
    /// Who; one process does one operation after the other.
    pub process: u32,
    /// When it was called, not later.
    pub called: u64,
    /// When it had returned, not earlier.
    pub returned: u64,
    /// What was asked for.
    pub call: Call,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether it was done, for certain.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !matches!(self.outcome, Outcome::NotApplied | Outcome::Maybe)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| (ns / 1_000_000, ns / 1_000 % 1_000);
        let ((c, c_us), (r, r_us)) = (ms(self.called), ms(self.returned));
        write!(
            f,
            "{c}.{c_us:03}\t{r}.{r_us:03}\tp{}\t{:?}\t{:?}",
            self.process, self.call, self.outcome
        )
    }
}

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// Nanoseconds since it was started.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
