//! Runs of whole clusters under faults, one per seed: none may break a rule, and each has to heal.

#![allow(clippy::expect_used)]

use grid_sim::run::run;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 500;

#[test]
fn no_seed_breaks_a_rule() {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut broken, mut ops) = (Vec::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return (broken, ops);
            }
            let report = run(seed, false);
            ops += report.counts.ops;
            if let Some(what) = report.fault() {
                let what: String = what.chars().take(300).collect();
                broken.push(format!(
                    "seed {seed}: {what}\n    cargo run --release -p grid-sim -- --seed {seed}"
                ));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let (mut broken, mut ops) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (some, more) = thread.join().expect("a run panicked");
            broken.extend(some);
            ops += more;
        }
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(ops > SEEDS * 200, "only {ops} operations were checked");
}
