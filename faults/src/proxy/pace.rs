//! When a piece may leave. Pure: times are arguments.

use super::trouble::Trouble;
use std::time::Duration;

/// When a piece came, and its luck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Since the connection began.
    pub(super) at: Duration,
    /// Its share of the latency's distribution.
    pub(super) share: f64,
}

/// The pieces of one direction leave in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last piece left, and its length.
    last: Option<(Duration, usize)>,
}

impl Pace {
    /// When the piece may leave under this trouble; none: not before the trouble changes.
    pub(super) fn due(&self, arrival: Arrival, trouble: &Trouble) -> Option<Duration> {
        if trouble.stall {
            return None;
        }
        let after_latency = arrival.at + trouble.latency.at(arrival.share);
        let wire_is_free = match (self.last, trouble.bytes_per_s) {
            (Some((at, bytes)), rate) if rate > 0 => {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                at + Duration::from_secs_f64(f64::from(bytes) / f64::from(rate))
            }
            _ => Duration::ZERO,
        };
        Some(after_latency.max(wire_is_free))
    }

    /// A piece of so many bytes leaves.
    pub(super) fn left(&mut self, now: Duration, bytes: usize) {
        self.last = Some((now, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Latency;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_stall_holds_until_it_ends_and_a_new_rate_counts_at_once() {
        let mut pace = Pace::default();
        let arrival = Arrival { at: 5 * MS, share: 0.0 };
        assert_eq!(pace.due(arrival, &Trouble { stall: true, ..Trouble::default() }), None);
        assert_eq!(pace.due(arrival, &Trouble::default()), Some(5 * MS));
        pace.left(5 * MS, 1000);
        let slow = |bytes_per_s| Trouble { bytes_per_s, ..Trouble::default() };
        assert_eq!(pace.due(arrival, &slow(1_000)), Some(1005 * MS));
        assert_eq!(pace.due(arrival, &slow(10_000)), Some(105 * MS));
        assert_eq!(pace.due(arrival, &slow(0)), Some(5 * MS));
    }

    proptest! {
        /// Nothing leaves before its latency is over, and never more than the rate allows.
        #[test]
        fn latency_and_rate_are_kept(
            pieces in proptest::collection::vec((0u64..50, 1usize..5_000, 0.0f64..1.0), 1..50),
            rate in 1_000u32..1_000_000,
            base in 0u64..100,
        ) {
            let latency = Latency { base: Duration::from_millis(base), ..Latency::default() };
            let trouble = Trouble { latency, bytes_per_s: rate, ..Trouble::default() };
            let (mut pace, mut now, mut clock) = (Pace::default(), Duration::ZERO, Duration::ZERO);
            let (mut first, mut passed) = (None, 0);
            for (gap, bytes, share) in pieces {
                clock += Duration::from_millis(gap);
                let due = pace.due(Arrival { at: clock, share }, &trouble).unwrap();
                prop_assert!(due >= clock + latency.base && (first.is_none() || due > now));
                now = due;
                pace.left(now, bytes);
                let since = now - *first.get_or_insert(now);
                prop_assert!(passed as f64 <= since.as_secs_f64() * f64::from(rate) * 1.0001 + 1.0);
                passed += bytes;
            }
        }
    }
}
