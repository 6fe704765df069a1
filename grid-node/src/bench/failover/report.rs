//! What `grid bench failover` reports.

use super::quiet::Quiet;
use super::samples::{self, Sample};
use super::{FailoverArgs, Mode};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What one fault has shown, in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    partitions: usize,
    writes: f64,
    reads: f64,
    table: Option<f64>,
    back_writes: f64,
    back_reads: f64,
    stale: usize,
    probes: usize,
    errors: BTreeMap<String, u64>,
}

#[allow(clippy::cast_precision_loss)] // times of a run
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

impl Fault {
    /// `times`: the first probe that the fault can have met was due then; the victim came back; the probes
    /// ended. `table`: when the table named heirs.
    pub(super) fn new(
        samples: &[Sample],
        times: (u64, u64, u64),
        table: Option<Duration>,
        partitions: usize,
    ) -> Self {
        let (from, returns, end) = times;
        let wait = |write, from, to| ms(samples::longest_wait(samples, write, from..to, end));
        let mut errors = BTreeMap::new();
        samples::errors(samples, &mut errors);
        Fault {
            partitions,
            writes: wait(true, from, returns),
            reads: wait(false, from, returns),
            table: table.map(|table| table.as_secs_f64() * 1e3),
            back_writes: wait(true, returns, end),
            back_reads: wait(false, returns, end),
            stale: samples::stale_reads(samples),
            probes: samples.len(),
            errors,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { partitions, writes, reads, back_writes, back_reads, stale, probes, .. } = self;
        let table = self.table.map_or("never".to_owned(), |table| format!("after {table:.0} ms"));
        write!(
            f,
            "{partitions} partitions out of reach for {writes:.0} ms (writes) and {reads:.0} ms (reads), heirs \
             named {table}; when it came back {back_writes:.0} and {back_reads:.0} ms; {stale} stale of {probes} \
             probes"
        )?;
        let errors: u64 = self.errors.values().sum();
        if errors > 0 { write!(f, ", {errors} failed") } else { Ok(()) }
    }
}

/// Of one time for each fault, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the faults were not worse.
    pub p50: f64,
    /// 99 of 100 were not worse.
    pub p99: f64,
    /// None was worse.
    pub max: f64,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_unstable_by(f64::total_cmp);
        // Nearest rank.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        Spread { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:>7.0}  p99 {:>7.0}  max {:>7.0} ms", self.p50, self.p99, self.max)
    }
}

/// What the faults of one mode have shown.
#[derive(Clone, Debug, Serialize)]
pub struct ModeReport {
    /// What was done.
    pub mode: String,
    /// How often.
    pub faults: usize,
    /// What the longest wait of a fault is to be at most, at p99, in milliseconds.
    pub aim_ms: u32,
    /// The longest wait of a write to any partition of the victim.
    pub writes: Spread,
    /// The longest wait of a read.
    pub reads: Spread,
    /// From the fault until the table named another primary for all of them.
    pub table: Spread,
    /// The longest wait of a write after the victim had come back.
    pub back_writes: Spread,
    /// The longest wait of a read then.
    pub back_reads: Spread,
    /// Reads that returned what had been overwritten.
    pub stale: usize,
    /// Operations of all probes.
    pub probes: usize,
    /// Those that failed, by kind.
    pub errors: BTreeMap<String, u64>,
    #[serde(skip)]
    all: Vec<Fault>,
}

impl ModeReport {
    pub(super) fn new(mode: Mode, lease_ms: u32) -> Self {
        let none = Spread::default();
        ModeReport {
            mode: mode.name(),
            faults: 0,
            aim_ms: mode.aim_ms(lease_ms),
            writes: none,
            reads: none,
            table: none,
            back_writes: none,
            back_reads: none,
            stale: 0,
            probes: 0,
            errors: BTreeMap::new(),
            all: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.faults += 1;
        self.stale += fault.stale;
        self.probes += fault.probes;
        for (kind, count) in &fault.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.all.push(fault);
        let spread = |of: fn(&Fault) -> f64| Spread::of(self.all.iter().map(of).collect());
        self.writes = spread(|fault| fault.writes);
        self.reads = spread(|fault| fault.reads);
        self.table = spread(|fault| fault.table.unwrap_or(f64::INFINITY));
        self.back_writes = spread(|fault| fault.back_writes);
        self.back_reads = spread(|fault| fault.back_reads);
    }
}

impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ModeReport { mode, faults, aim_ms, stale, probes, .. } = self;
        writeln!(
            f,
            "{mode}: {faults} faults, {probes} probes, {stale} stale reads; aim: p99 {aim_ms} ms"
        )?;
        for (name, spread) in [
            ("longest wait, writes", self.writes),
            ("longest wait, reads", self.reads),
            ("heirs in the table", self.table),
            ("at return, writes", self.back_writes),
            ("at return, reads", self.back_reads),
        ] {
            writeln!(f, "  {name:<22}{spread}")?;
        }
        let failed: u64 = self.errors.values().sum();
        write!(f, "  {:<22}{failed}", "failed")?;
        for (kind, count) in &self.errors {
            write!(f, "\n{count:>26} {kind}")?;
        }
        Ok(())
    }
}

/// What [`super::run`] reports.
#[derive(Clone, Debug, Serialize)]
pub struct FailoverReport {
    /// How to do it again.
    pub command: String,
    /// Length of a lease, in milliseconds.
    pub lease_ms: u32,
    /// Members.
    pub members: u8,
    /// Milliseconds between two probes of a partition, of each kind.
    pub interval_ms: u32,
    /// Full load without faults, if it was asked for.
    pub quiet: Option<Quiet>,
    /// The faults.
    pub modes: Vec<ModeReport>,
    /// Why there are fewer than were asked for.
    pub failure: Option<String>,
}

impl FailoverReport {
    pub(super) fn new(args: &FailoverArgs, lease_ms: u32) -> Self {
        let FailoverArgs { kills, members, interval, seed, quiet_minutes, .. } = args;
        let modes: Vec<String> = args.mode.iter().map(|mode| mode.name()).collect();
        let mut command = format!(
            "grid bench failover --mode {} --kills {kills} --members {members} --interval {interval} --seed {seed}",
            modes.join(",")
        );
        if *quiet_minutes > 0.0 {
            command += &format!(" --quiet-minutes {quiet_minutes}");
        }
        FailoverReport {
            command,
            lease_ms,
            members: *members,
            interval_ms: *interval,
            quiet: None,
            modes: Vec::new(),
            failure: None,
        }
    }
}

impl fmt::Display for FailoverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailoverReport { command, lease_ms, members, interval_ms, quiet, modes, .. } = self;
        writeln!(f, "{command}")?;
        write!(
            f,
            "{members} members, lease {lease_ms} ms; a write and a read for each partition of the victim every \
             {interval_ms} ms, waits count from when they were due"
        )?;
        if let Some(quiet) = quiet {
            write!(f, "\n{quiet}")?;
        }
        modes.iter().try_for_each(|mode| write!(f, "\n{mode}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_times_that_were_measured() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of(vec![7.0]), Spread { p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
