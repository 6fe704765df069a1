//! Pauses between attempts to connect: doubling, with jitter, so that many clients do not come at once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Backoff { first, most, attempt: 0 }
    }

    /// The next pause: between half of and the whole doubled time.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.attempt.min(16)).min(self.most);
        self.attempt = self.attempt.saturating_add(1);
        let random = RandomState::new().build_hasher().finish() % 1000;
        #[allow(clippy::cast_possible_truncation)] // below 1000
        let jitter = whole / 2 * random as u32 / 1000;
        whole / 2 + jitter
    }

    /// After a success the next failure begins anew.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_vary() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let whole = Duration::from_millis(500.min(10 << n.min(10)));
            assert!(*pause >= whole / 2 && *pause <= whole, "{n}: {pause:?}");
        }
        let late = &pauses[10..];
        assert!(late.iter().any(|pause| *pause != late[0]), "all pauses are {:?}", late[0]);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(10));
    }
}
