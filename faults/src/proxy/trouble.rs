//! What can be wrong with one direction of a link.

use std::time::Duration;

/// A direction, seen from the side that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From who connected to who listens.
    ToServer,
    /// From who listens to who connected.
    ToClient,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];
}

/// What is wrong with one direction of a link; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// How long bytes take.
    pub latency: Latency,
    /// How many bytes pass in a second; 0: as many as come.
    pub bytes_per_s: u32,
    /// Nothing passes. It is kept, up to a mebibyte, and passes later.
    pub stall: bool,
    /// What comes is thrown away while the connection stays open, as behind a middlebox that has forgotten
    /// it. When that ends, the connection is reset: bytes are missing in it.
    pub swallow: bool,
    /// The same, of connections between members that carry what they agree on: consensus, leases and
    /// reports, but no data.
    pub swallow_control: bool,
    /// So many bytes of a million have one bit changed. TCP's checksum is right again behind the proxy.
    pub flips_per_million: u32,
}

/// How long bytes take: a distribution with a tail. Bytes never overtake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub base: Duration,
    /// Up to so much more, all equally likely.
    pub jitter: Duration,
    /// So many times in a million...
    pub tail_per_million: u32,
    /// ... so much more again.
    pub tail: Duration,
}

impl Latency {
    /// The latency at this share of the distribution, 0 the shortest, 1 the longest.
    #[must_use]
    pub(super) fn at(&self, share: f64) -> Duration {
        let in_tail = share >= 1.0 - f64::from(self.tail_per_million) / 1e6;
        let tail = if in_tail && self.tail_per_million > 0 { self.tail } else { Duration::ZERO };
        self.base + self.jitter.mul_f64(share.clamp(0.0, 1.0)) + tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_a_distribution_with_a_tail() {
        let ms = Duration::from_millis;
        let latency =
            Latency { base: ms(10), jitter: ms(20), tail_per_million: 10_000, tail: ms(500) };
        assert_eq!(latency.at(0.0), ms(10));
        assert_eq!(latency.at(0.5), ms(20));
        assert_eq!(latency.at(0.98), Duration::from_micros(29_600));
        assert!(latency.at(0.995) > ms(500));
        assert_eq!(Latency::default().at(1.0), ms(0));
    }
}
