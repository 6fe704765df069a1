//! Pseudo-random numbers that a seed fixes for ever (SplitMix64): a schedule must be the same in every
//! build that replays it.

use std::time::Duration;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// Another stream, which nothing drawn from this one later changes.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Rng(self.next())
    }

    /// Any number.
    #[allow(clippy::should_implement_trait)] // a stream without end
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }

    /// An index into something of this length; 0 if that is 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True this many times in a million.
    pub fn in_million(&mut self, times: u32) -> bool {
        self.below(1_000_000) < u64::from(times)
    }

    /// A share of one, 0 included, 1 not.
    pub fn share(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // 53 bits fit
        let bits = (self.next() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// A duration from `least` to `most`, short ones as likely as long ones on a logarithmic scale.
    pub fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let (low, high) = (least.as_secs_f64().max(1e-6), most.as_secs_f64().max(1e-6));
        let drawn = low * (high / low).powf(self.share());
        Duration::from_secs_f64(drawn).clamp(least.min(most), most)
    }

    /// One of the items, as likely as its weight says; none if all weights are 0.
    pub fn weighted<T: Copy>(&mut self, items: &[(T, u32)]) -> Option<T> {
        let mut at = self.below(items.iter().map(|(_, weight)| u64::from(*weight)).sum());
        for (item, weight) in items {
            match at.checked_sub(u64::from(*weight)) {
                None => return Some(*item),
                Some(rest) => at = rest,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut rng = Rng::new(7);
        assert_eq!([rng.next(), rng.next()], [7191089600892374487, 309689372594955804]);
    }

    #[test]
    fn weights_are_shares() {
        let (mut rng, mut counts) = (Rng::new(1), [0u32; 3]);
        for _ in 0..10_000 {
            counts[rng.weighted(&[(0, 1), (1, 0), (2, 3)]).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
        assert_eq!(rng.weighted::<u8>(&[]), None);
        assert_eq!(rng.weighted(&[(1, 0)]), None);
    }

    #[test]
    fn durations_stay_within_their_bounds() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut rng = Rng::new(3);
        let drawn: Vec<_> = (0..1_000).map(|_| rng.duration(least, most)).collect();
        assert!(drawn.iter().all(|d| (least..=most).contains(d)));
        let short = drawn.iter().filter(|d| **d < Duration::from_secs(1)).count();
        assert!((400..600).contains(&short), "half of them are in the lower decade: {short}");
    }
}
