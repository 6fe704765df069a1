//! Runs seeds: `grid-sim --seeds N [--from S] [--threads T]`; one with everything told:
//! `grid-sim --seed S`; how soon each break of the protocol is found: `grid-sim --mutants [NAME]`.

#![allow(clippy::cast_precision_loss)]

use grid_core::mutant::{self, Mutant};
use grid_sim::run::{Report, run};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

#[derive(Default)]
struct Total {
    seeds: u64,
    bad: BTreeMap<u64, String>,
    sums: [u64; 16],
    /// Nanoseconds on a core, where the system tells.
    cpu: u64,
}

const NAMES: [&str; 16] = [
    "events",
    "checked operations",
    "faults",
    "crashes",
    "promotions",
    "transfers",
    "adds",
    "shrinks",
    "expired",
    "windows",
    "withheld",
    "given up",
    "resets",
    "resets with data",
    "barriers",
    "virtual s",
];

impl Total {
    fn add(&mut self, seed: u64, report: &Report) {
        let c = report.counts;
        let all = [
            c.events,
            c.ops,
            c.faults,
            c.crashes,
            c.promotions,
            c.transfers,
            c.adds,
            c.shrinks,
            c.expired,
            c.windows,
            c.withheld,
            c.given_up,
            c.resets,
            c.kept,
            c.barriers,
            report.time / 1_000_000_000,
        ];
        self.seeds += 1;
        for (sum, n) in self.sums.iter_mut().zip(all) {
            *sum += n;
        }
        if let Some(fault) = report.fault() {
            self.bad.insert(seed, fault);
        }
    }

    fn merge(&mut self, other: Total) {
        self.seeds += other.seeds;
        self.bad.extend(other.bad);
        self.cpu += other.cpu;
        for (sum, n) in self.sums.iter_mut().zip(other.sums) {
            *sum += n;
        }
    }
}

/// What this thread has spent on a core; 0 where the system does not tell.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Runs seeds on threads; with a mutant, until it is found `kills` times.
fn batch(from: u64, seeds: u64, threads: usize, mutant: Option<Mutant>, kills: usize) -> Total {
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let found = AtomicU64::new(0);
    let work = || {
        mutant::set(mutant);
        let mut total = Total::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            let report = run(seed, false);
            if report.violation.is_some()
                && found.fetch_add(1, Ordering::Relaxed) + 1 >= kills as u64
            {
                stop.store(true, Ordering::Relaxed);
            }
            total.add(seed, &report);
        }
        mutant::set(None);
        total.cpu = cpu_nanos();
        total
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut total = Total::default();
        for thread in threads {
            match thread.join() {
                Ok(part) => total.merge(part),
                Err(_) => {
                    total.bad.insert(u64::MAX, "a thread panicked".into());
                }
            }
        }
        total
    })
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut seeds, mut from, mut threads) = (1000, 0, cores);
    let (mut one, mut mutants, mut kills, mut name) = (None, false, usize::MAX, None);
    while let Some(arg) = args.next() {
        let number = |args: &mut dyn Iterator<Item = String>| {
            args.next().and_then(|text| text.parse::<u64>().ok())
        };
        match (arg.as_str(), &mut args) {
            ("--seeds", args) => seeds = number(args).unwrap_or(seeds),
            ("--from", args) => from = number(args).unwrap_or(from),
            ("--threads", args) => threads = number(args).unwrap_or(1).max(1) as usize,
            ("--kills", args) => kills = number(args).unwrap_or(1) as usize,
            ("--seed", args) => one = number(args),
            ("--mutants", _) => mutants = true,
            ("--mutant", args) => name = args.next(),
            _ => {
                eprintln!(
                    "grid-sim [--seeds N] [--from S] [--threads T] | --seed S [--mutant NAME] | --mutants [--kills K]"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let chosen = name.as_ref().and_then(|name| {
        mutant::ALL.iter().copied().find(|mutant| format!("{mutant:?}") == **name)
    });
    if let Some(seed) = one {
        mutant::set(chosen);
        let (report, histories) = grid_sim::run::run_and_tell(seed);
        print!("{histories}");
        println!("{report:?}");
        return if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    if mutants || chosen.is_some() {
        for mutant in mutant::ALL.iter().copied().filter(|m| chosen.is_none_or(|c| c == *m)) {
            let kills = if kills == usize::MAX { 1 } else { kills };
            let began = Instant::now();
            let total = batch(from, seeds, threads, Some(mutant), kills);
            let first = total.bad.first_key_value();
            println!(
                "{:22}{} kills {:3} of {:6} seeds {:6.1} s  {}",
                format!("{mutant:?}"),
                if mutant.is_unsafe() { "       " } else { "covered" },
                total.bad.len(),
                total.seeds,
                began.elapsed().as_secs_f64(),
                first.map_or(String::new(), |(seed, what)| format!("{seed}: {what:.110}"))
            );
        }
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let total = batch(from, seeds, threads, None, kills);
    let seconds = began.elapsed().as_secs_f64();
    for (seed, what) in &total.bad {
        println!("seed {seed}: {what}");
    }
    let sums: Vec<_> =
        NAMES.iter().zip(total.sums).map(|(name, sum)| format!("{name} {sum}")).collect();
    println!("{} seeds, {} bad: {}", total.seeds, total.bad.len(), sums.join(", "));
    let runs = total.seeds.max(1) as f64;
    let [events, ops, faults] = [total.sums[0], total.sums[1], total.sums[2]].map(|n| n as f64);
    println!(
        "per seed: {:.0} events, {:.1} checked operations, {:.1} faults",
        events / runs,
        ops / runs,
        faults / runs
    );
    println!(
        "{seconds:.1} s on {threads} threads: {:.0} seeds/s, {:.0} events/s, {:.0} checked operations/s, {:.0} faults/s",
        runs / seconds,
        events / seconds,
        ops / seconds,
        faults / seconds,
    );
    if total.cpu > 0 {
        let cpu = total.cpu as f64 / 1e9;
        println!("{cpu:.1} s on cores: {:.0} seeds/s per core", runs / cpu);
    }
    if total.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
