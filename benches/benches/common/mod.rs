//! What the benchmarks share: flags, medians, memory of this process.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used, clippy::expect_used)]

pub use grid_node::bench::keys::{Random, key};
use std::time::Instant;

/// Bytes of every value.
pub const VALUE_BYTES: usize = 100;

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
