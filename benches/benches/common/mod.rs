//! What the benchmarks share: keys, random numbers, medians, memory of this process.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

/// Bytes of every value.
pub const VALUE_BYTES: usize = 100;

/// Key number `n` as `key:%012d`. Two words, so that a reader of words does not stall on bytes
/// that are still being stored.
#[inline]
pub fn key(n: u64) -> [u8; 16] {
    let (high, low) = (n / 100_000_000, n % 100_000_000);
    let head = u64::from(u32::from_le_bytes(*b"key:")) | (digits(high) >> 32) << 32;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&head.to_le_bytes());
    key[8..].copy_from_slice(&digits(low).to_le_bytes());
    key
}

/// The eight decimal digits of `n`, the first in the lowest byte.
#[inline]
fn digits(n: u64) -> u64 {
    let fours = n / 10_000 | (n % 10_000) << 32;
    let high = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = ((fours - 100 * high) << 16) + high;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens + ((twos - 10 * tens) << 8)) + 0x3030_3030_3030_3030
}

/// A xorshift generator.
pub struct Random(u64);

impl Random {
    /// One stream of numbers per seed.
    pub fn new(seed: u64) -> Self {
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds per operation of `ops` operations.
#[inline]
pub fn ns_per_op(ops: u64, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / ops as f64
}

/// Resident bytes of this process.
pub fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux /proc");
    let pages: f64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).expect("pages");
    pages * 4096.0
}

/// A value of the flag `--name VALUE` or of the default, and whether `--name` is there.
pub fn flag(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.next().map(|_| args.next().unwrap_or_default())
}

/// A number given by a flag.
pub fn number(name: &str, default: u64) -> u64 {
    flag(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}
