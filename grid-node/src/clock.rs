//! The wall clock.

use grid_core::ids::Millis;
use grid_core::time::Clock;
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
