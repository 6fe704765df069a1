//! The clocks of a member.

use grid_core::ids::Millis;
use grid_core::time::{Clock, Nanos};

/// The system's wall clock, as of its last tick (a few milliseconds ago at most) where it has such: that costs a
/// fifth of the exact time. Before 1970 it stands still.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[inline]
    fn now(&self) -> Millis {
        #[cfg(target_os = "linux")]
        {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
            let (seconds, nanos) = (time.tv_sec.max(0), time.tv_nsec.max(0));
            Millis(seconds.unsigned_abs() * 1000 + nanos.unsigned_abs() / 1_000_000)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            #[allow(clippy::cast_possible_truncation)] // for 500 million years
            Millis(since.as_millis() as u64)
        }
    }
}

/// The monotonic clock that leases go by. Unlike [`std::time::Instant`] it goes on while the machine sleeps.
#[inline]
pub(crate) fn monotonic() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    #[allow(clippy::cast_sign_loss)] // it counts from the start of the machine
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
