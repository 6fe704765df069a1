//! What an origin's hourly mean delay usually is, and which hours are far above it.

/// Hours to see before one can be called an anomaly.
const HOURS_MIN: u64 = 48;
/// An anomaly is more than so many deviations above the mean.
const SIGMAS: f64 = 3.0;

/// Running mean and deviation of the hourly means of one origin, by Welford's method: one pass, no cancellation.
///
/// The last bits depend on the order of the hours, so they are added in window order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    hours: u64,
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
}

/// What was expected of an hour that is an anomaly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) mean: f64,
    pub(crate) sigma: f64,
}

impl Baseline {
    /// Judges an hour by those before it, then adds it.
    pub(crate) fn add(&mut self, hour: f64) -> Option<Expected> {
        let anomaly =
            self.expected().filter(|expected| hour > expected.mean + SIGMAS * expected.sigma);
        self.hours += 1;
        let delta = hour - self.mean;
        self.mean += delta / self.hours as f64;
        self.squares += delta * (hour - self.mean);
        anomaly
    }

    /// Mean and sample deviation so far, once enough hours were seen.
    fn expected(&self) -> Option<Expected> {
        (self.hours >= HOURS_MIN).then(|| Expected {
            mean: self.mean,
            sigma: (self.squares / (self.hours - 1) as f64).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_49th_hour_is_the_first_to_be_judged() {
        let mut baseline = Baseline::default();
        for hour in 0..48 {
            assert_eq!(baseline.add(f64::from(hour % 2) * 1e6), None);
        }
        let expected = baseline.add(1e9).unwrap();
        assert_eq!(expected.mean, 5e5);
        // 48 values half a million from their mean: squares 48 * 25e10, over 47.
        assert!((expected.sigma - (48.0 * 25e10 / 47.0_f64).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn only_more_than_three_deviations_above_is_an_anomaly() {
        let mut baseline = Baseline::default();
        for _ in 0..48 {
            baseline.add(10.0);
        }
        assert_eq!(baseline.add(10.0), None);
        assert_eq!(baseline.add(9.0), None);
        let before = baseline.expected().unwrap();
        assert_eq!(baseline.clone().add(before.mean + 3.0 * before.sigma), None);
        assert_eq!(baseline.add(before.mean + 3.1 * before.sigma), Some(before));
    }

    #[test]
    fn an_anomaly_is_added_too() {
        let mut baseline = Baseline::default();
        for _ in 0..48 {
            baseline.add(0.0);
        }
        assert!(baseline.add(49.0).is_some());
        assert!((baseline.expected().unwrap().mean - 1.0).abs() < 1e-12);
    }
}
