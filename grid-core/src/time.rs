//! Time comes from outside: the core asks a [`Clock`] that its shell provides.

pub use crate::ids::Millis;

/// Nanoseconds of the monotonic clock of one member. Those of two members mean nothing to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// This many milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Nanos(ms * 1_000_000)
    }

    /// This much later.
    #[must_use]
    pub const fn plus(self, later: Nanos) -> Self {
        Nanos(self.0.saturating_add(later.0))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Nanos) -> Self {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Source of wall-clock milliseconds. It may jump; partition time never runs backwards over it.
pub trait Clock {
    /// Now.
    fn now(&self) -> Millis;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Millis {
        (**self).now()
    }
}

/// A clock that stands still until it is set, for tests and replays.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Millis) -> Self {
        ManualClock(now.0.into())
    }

    /// Sets the clock.
    pub fn set(&self, now: Millis) {
        self.0.store(now.0, std::sync::atomic::Ordering::Release);
    }

    /// Moves the clock forward by this many milliseconds.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, std::sync::atomic::Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(std::sync::atomic::Ordering::Acquire))
    }
}
