//! The clocks of a member.

use grid_core::ids::Millis;
use grid_core::time::{Clock, Nanos};
use std::time::{SystemTime, UNIX_EPOCH};

/// The system's wall clock; before 1970 it stands still.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[inline]
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        #[allow(clippy::cast_possible_truncation)] // for 500 million years
        Millis(since.as_millis() as u64)
    }
}

/// The monotonic clock that leases go by. Unlike [`std::time::Instant`] it goes on while the machine sleeps.
#[inline]
pub(crate) fn monotonic() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    #[allow(clippy::cast_sign_loss)] // it counts from the start of the machine
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
