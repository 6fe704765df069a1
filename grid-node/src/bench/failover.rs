//! `grid bench failover`: how long partitions are out of reach when their primary ends, stands still, or
//! nothing happens at all.
//!
//! The command starts members of its own on this machine. For each fault it probes every partition of the
//! victim at fixed times, with a write and a read each; a time counts from when a probe was due.

mod members;
mod prober;
mod quiet;
mod report;
mod samples;

use super::keys::Random;
use clap::{Args, ValueEnum};
use grid_client::Client;
use grid_core::error::Result;
use grid_core::ids::PartitionId;
use grid_core::wire::table::TableView;
use members::Members;
use prober::{Probed, Prober, nanos};
pub use report::FailoverReport;
use report::{Fault, ModeReport};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Probes before a fault.
const BEFORE: Duration = Duration::from_millis(600);
/// Probes go on for so long after a fault, at least, before the victim comes back.
const OUTAGE_MIN: Duration = Duration::from_secs(2);
/// Between two looks at the table.
const LOOK: Duration = Duration::from_millis(2);
/// How long a member that was stopped stays so, in lengths of a lease.
const STOPPED_LEASES: u32 = 3;
/// Deadline of a probe.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// SIGKILL to one that does not lead the control log, started again once the others have taken over
    Kill,
    /// SIGKILL to the one that leads the control log
    LeaderKill,
    /// SIGSTOP for three leases to one that does not lead the control log, then SIGCONT
    Stop,
    /// SIGSTOP for three leases to the one that leads the control log, then SIGCONT
    LeaderStop,
}

impl Mode {
    fn of_leader(self) -> bool {
        matches!(self, Mode::LeaderKill | Mode::LeaderStop)
    }

    fn kills(self) -> bool {
        matches!(self, Mode::Kill | Mode::LeaderKill)
    }

    /// What is aimed at for the longest wait, in milliseconds.
    fn aim_ms(self, lease_ms: u32) -> u32 {
        match self {
            Mode::Kill => lease_ms + 200,
            Mode::LeaderKill => 1200,
            Mode::Stop | Mode::LeaderStop => lease_ms + 300,
        }
    }

    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Arguments of `grid bench failover`.
#[derive(Args, Clone, Debug)]
pub struct FailoverArgs {
    /// What to do to members, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kill,leader-kill,stop")]
    pub mode: Vec<Mode>,
    /// How often, for each mode
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub kills: u32,
    /// Number of members
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    pub members: u8,
    /// Milliseconds between two probes of a partition, of each kind
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub interval: u32,
    /// Fixes which members are chosen
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// First: full load without faults for so many minutes, and how often the table changed nevertheless
    #[arg(long, value_name = "M", default_value_t = 0.0)]
    pub quiet_minutes: f64,
    /// Keep data directories and logs of the members here
    #[arg(long, value_name = "DIRECTORY")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Starts members, breaks them as asked, and waits for the end.
///
/// # Errors
/// `Io` and others if members cannot be started or broken, `Timeout` if they are not whole again in time.
/// What probes met is part of the report, and what ended it early.
pub fn run(args: &FailoverArgs, progress: &mut dyn FnMut(&str)) -> Result<FailoverReport> {
    let mut members = Members::start(args.members.into(), args.out.as_deref())?;
    let lease_ms = members.watch(None)?.lease_ms;
    let mut report = FailoverReport::new(args, lease_ms);
    if args.quiet_minutes > 0.0 {
        let quiet = quiet::run(&members, args.quiet_minutes, progress)?;
        progress(&quiet.to_string());
        report.quiet = Some(quiet);
    }
    let mut run = Run { args, random: Random::new(args.seed), lease_ms, clock: Instant::now() };
    for mode in &args.mode {
        let mut measured = ModeReport::new(*mode, lease_ms);
        for n in 1..=args.kills {
            let fault = match run.fault(*mode, &mut members) {
                Ok(fault) => fault,
                Err(error) => {
                    report.failure = Some(error.to_string());
                    report.modes.push(measured);
                    return Ok(report);
                }
            };
            progress(&format!("{} {n} of {}: {fault}", mode.name(), args.kills));
            measured.add(fault);
        }
        report.modes.push(measured);
    }
    Ok(report)
}

struct Run<'r> {
    args: &'r FailoverArgs,
    random: Random,
    lease_ms: u32,
    clock: Instant,
}

impl Run<'_> {
    /// One fault from the probes before it until the cluster is whole again.
    fn fault(&mut self, mode: Mode, members: &mut Members) -> Result<Fault> {
        let table = members.wait_whole()?;
        let victim = self.choose(mode, members)?;
        let partitions = led_by(&table, &members.addresses()[victim].to_string());
        // Each fault meets a client that has been at work for a while, not one that has met faults before.
        let mut client = Client::builder().cluster(members::CLUSTER).operation_timeout(DEADLINE);
        for address in members.addresses() {
            client = client.address(address.to_string());
        }
        let client = grid_core::block_on(client.connect())?;
        let map: Probed = client.map("probed");
        let keys = prober::keys(&partitions, table.partitions());
        let interval = Duration::from_millis(self.args.interval.into());
        let prober = Prober::start(map, keys, interval, self.clock)?;
        std::thread::sleep(BEFORE);
        let began = nanos(self.clock.elapsed());
        let broken = Instant::now();
        match mode.kills() {
            true => members.kill(victim)?,
            false => members.stop(victim)?,
        }
        let outage = match mode.kills() {
            true => OUTAGE_MIN,
            false => Duration::from_millis((STOPPED_LEASES * self.lease_ms).into()),
        };
        let replaced = await_heirs(members, victim, (&table, &partitions), broken + outage)?;
        std::thread::sleep(outage.saturating_sub(broken.elapsed()));
        let returns = nanos(self.clock.elapsed());
        match mode.kills() {
            true => members.restart(victim)?,
            false => members.resume(victim)?,
        }
        members.wait_whole()?;
        let samples = prober.finish()?;
        let ended = nanos(self.clock.elapsed());
        // A probe that was due just before the fault may have been under way.
        let from = began - nanos(interval);
        Ok(Fault::new(&samples, (from, returns, ended), replaced, partitions.len()))
    }

    fn choose(&mut self, mode: Mode, members: &Members) -> Result<usize> {
        let (leader, _) = members.leader()?;
        if mode.of_leader() {
            return Ok(leader);
        }
        let others: Vec<usize> =
            (0..self.args.members.into()).filter(|member| *member != leader).collect();
        #[allow(clippy::cast_possible_truncation)] // below the number of members
        let at = self.random.below(others.len() as u64) as usize;
        Ok(others[at])
    }
}

/// Waits until the table of another member names new primaries for all these partitions, at most until then;
/// returns how long that took, none if it did not come.
fn await_heirs(
    members: &Members,
    victim: usize,
    (before, partitions): (&TableView, &[PartitionId]),
    until: Instant,
) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut watch = members.watch(Some(victim))?;
    let primary = |table: &TableView, partition| {
        let at = table.primary(partition).map(usize::from);
        at.and_then(|at| table.members().get(at)).map(|known| known.member)
    };
    while Instant::now() < until {
        let moved = |p: &PartitionId| primary(&watch.table, *p) != primary(before, *p);
        if partitions.iter().all(moved) {
            return Ok(Some(began.elapsed()));
        }
        std::thread::sleep(LOOK);
        watch.ask()?;
    }
    Ok(None)
}

/// The partitions whose primary is at an address.
fn led_by(table: &TableView, address: &str) -> Vec<PartitionId> {
    let at = table.members().iter().position(|member| member.address == address);
    let all = (0..table.partitions()).map(PartitionId);
    all.filter(|p| at.is_some() && table.primary(*p).map(usize::from) == at).collect()
}
