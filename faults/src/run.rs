//! A run from the first member to the verdict.

use crate::audit::{Findings, Histories};
use crate::clean;
use crate::cluster::{self, Cluster};
use crate::error::{Error, Result};
use crate::history::Clock;
use crate::log::Log;
use crate::nemesis::{Conditions, Done, Nemesis, Patience, Policy, Profile, Step, plan, table};
use crate::rng::Rng;
use crate::run_id::RunId;
use crate::workload::{self, History, Workload};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often the log tells how far the clients are.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Violations that the log shows; all are in a file.
const SHOWN_MAX: usize = 10;

/// What to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The members.
    pub cluster: cluster::Config,
    /// The clients. Their addresses are those of the members, whatever is said here.
    pub workload: workload::Config,
    /// What is random about the run follows from it.
    pub seed: u64,
    /// How many faults.
    pub faults: usize,
    /// Which ones.
    pub profile: Profile,
    /// Whether bits may be flipped behind TCP's back.
    pub flips: bool,
    /// How long each fault lasts, instead of what the schedule says; not those that are over at once.
    pub lasts: Option<Duration>,
    /// After this long no further fault is begun.
    pub lasts_max: Option<Duration>,
    /// Most members that the others have to do without at a time.
    pub down_max: usize,
    /// Whether a member that is killed takes its data with it: true for members without replicas.
    pub expect_loss: bool,
    /// Members say on their page `/health/PAGE` that one of them may be killed; not asked of a lone one.
    pub safe_page: String,
    /// How long members may take.
    pub patience: Patience,
    /// Load before the first fault and after the last one.
    pub calm: Duration,
}

/// What a run found; an empty one has passed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is wrong, a sentence each.
    pub wrong: Vec<String>,
}

/// Runs it. `interrupted` ends it early, in order.
///
/// # Errors
/// If the run could not take place: nothing is known then.
pub fn run(config: &Config, interrupted: &AtomicBool) -> Result<Outcome> {
    let (run, clock) = (RunId::own(), Clock::start());
    let out = &config.cluster.out;
    std::fs::create_dir_all(out).map_err(|error| Error::failed(out.display(), error))?;
    let log = Log::create(&out.join("events.log"), clock)?;
    log.say(format_args!("run {run}, seed {}, results in {}", config.seed, out.display()));
    let mut rng = Rng::new(config.seed);
    let steps = schedule(config, &log)?;
    let mut cluster = Cluster::build(&config.cluster, run, rng.fork())?;
    let members = start_members(&mut cluster, config, &log)?;
    let mut clients = config.workload.clone();
    clients.addresses = members;
    let workload = Workload::start(clients, clock, cluster.clients())?;
    let mut outcome = Outcome::default();
    let done =
        faults(config, &mut cluster, &steps, &workload, (clock, &log), interrupted, &mut outcome);
    log.say(format_args!("reading everything once more"));
    let history = workload.finish()?;
    drop(cluster);
    for left in clean::left(Some(run)) {
        outcome.wrong.push(format!("the harness has left {left}"));
    }
    judge(config, &history, &done, &log, &mut outcome)?;
    Ok(outcome)
}

/// The schedule, which is written to a file too.
fn schedule(config: &Config, log: &Log) -> Result<Vec<Step>> {
    let members = config.cluster.members;
    let conditions = Conditions {
        members,
        network: !config.cluster.direct,
        proxies: config.cluster.detours && !config.cluster.direct,
        flips: config.flips,
    };
    let mut steps = plan(config.seed, config.faults, config.profile, conditions);
    for fault in steps.iter_mut().map(|step| &mut step.fault).filter(|f| !f.lasts.is_zero()) {
        fault.lasts = config.lasts.unwrap_or(fault.lasts);
    }
    if steps.len() < config.faults {
        let what = "no fault of this profile is possible with these members on this network";
        return Err(Error::failed("the schedule", what));
    }
    let path = config.cluster.out.join("schedule.txt");
    let line = |step: &Step| format!("{:?}\t{}\n", step.wait, step.fault.describe(members));
    write(&path, steps.iter().map(line).collect::<String>().as_bytes())?;
    log.say(format_args!("{} faults are planned: {}", steps.len(), path.display()));
    Ok(steps)
}

fn start_members(
    cluster: &mut Cluster,
    config: &Config,
    log: &Log,
) -> Result<Vec<std::net::SocketAddr>> {
    let all: Vec<usize> = (0..config.cluster.members).collect();
    for member in &all {
        cluster.start(*member)?;
    }
    let ready = cluster.wait("ready", &all, config.patience.ready)?;
    if all.len() > 1 {
        cluster.wait(&config.safe_page, &all, config.patience.safe)?;
    }
    let addresses: Vec<_> = cluster.members().iter().map(|member| member.address).collect();
    log.say(format_args!("members are ready ({} ms): {addresses:?}", ready.as_millis()));
    Ok(addresses)
}

/// The faults, with load before, meanwhile and after.
fn faults(
    config: &Config,
    cluster: &mut Cluster,
    steps: &[Step],
    workload: &Workload,
    (clock, log): (Clock, &Log),
    interrupted: &AtomicBool,
    outcome: &mut Outcome,
) -> Vec<Done> {
    let began = Instant::now();
    let mut told = began;
    let mut go_on = || {
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            let p = workload.progress();
            let (done, refused, maybe) =
                (p.done.load(Relaxed), p.not_applied.load(Relaxed), p.maybe.load(Relaxed));
            log.say(format_args!("{done} operations done, {refused} not applied, {maybe} maybe"));
        }
        let is_over = config.lasts_max.is_some_and(|most| began.elapsed() >= most);
        !is_over && !interrupted.load(Relaxed) && !workload.has_ended()
    };
    let members = config.cluster.members;
    let policy = Policy { members, down_max: config.down_max };
    // A member alone is never safe.
    let safe_page = if members == 1 { "ready" } else { &config.safe_page };
    let mut nemesis = Nemesis::new(cluster, policy, config.patience, safe_page, clock, log);
    std::thread::sleep(config.calm);
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            log.say(format_args!("WRONG: {error}"));
            outcome.wrong.push(error.to_string());
        }
    };
    note(nemesis.run(steps, &mut go_on));
    note(nemesis.heal());
    std::thread::sleep(config.calm);
    if interrupted.load(Relaxed) {
        outcome.wrong.push("the run was interrupted".into());
    }
    nemesis.into_done()
}

/// Everything that is known when the members have gone.
fn judge(
    config: &Config,
    history: &History,
    done: &[Done],
    log: &Log,
    outcome: &mut Outcome,
) -> Result<()> {
    let out = &config.cluster.out;
    table(done, &history.operations).lines().for_each(|line| log.say(format_args!("{line}")));
    for (error, count) in &history.errors {
        log.say(format_args!("{count} operations failed: {error}"));
    }
    let wrong = &mut outcome.wrong;
    wrong.extend(history.odd.iter().cloned());
    for (target, why) in history.unread.iter().take(SHOWN_MAX) {
        wrong.push(format!("{target} could not be read when everything was healed: {why}"));
    }
    wrong.extend(panics(config));
    if config.profile == Profile::Quorum {
        wrong.extend(history.errors.iter().map(|(error, count)| {
            format!("{count} operations failed though data went between all members: {error}")
        }));
        if first_lines(config, "the cluster has no quorum").is_empty() && !done.is_empty() {
            wrong.push("no member has noticed that there was no quorum".into());
        }
    }
    let losses: Vec<(u64, u64)> = match config.expect_loss {
        true => done.iter().filter(|d| d.restarted).map(|d| (d.begun, d.over)).collect(),
        false => Vec::new(),
    };
    let histories = Histories::new(&history.operations, &losses);
    create(&out.join("entries.history"), |file| histories.write_entries(file))?;
    create(&out.join("queues.history"), |file| histories.write_queues(file))?;
    let found = histories.audit();
    log.say(format_args!(
        "audited {} operations that were done on {} keys and queues; longest history of a key {}",
        found.done, found.targets, found.longest
    ));
    if found.done == 0 {
        wrong.push("no operation was done: nothing was tested".into());
    }
    report(&out.join("violations.txt"), &found, log, wrong)?;
    if !losses.is_empty() {
        // The audit must be able to see what it is told to expect.
        let is_seen = Histories::new(&history.operations, &[]).are_broken();
        let seen = if is_seen { "sees" } else { "does not see" };
        log.say(format_args!("{} losses were expected; the audit {seen} them", losses.len()));
        if !is_seen {
            wrong
                .push("members lost their data, but the audit does not see it: it is blind".into());
        }
    }
    Ok(())
}

fn report(path: &Path, found: &Findings, log: &Log, wrong: &mut Vec<String>) -> Result<()> {
    if !found.unknown.is_empty() {
        wrong.push(format!("{} histories were too hard to decide", found.unknown.len()));
    }
    if found.violations.is_empty() {
        return Ok(());
    }
    let text = found.violations.iter().map(|(target, why)| format!("{target}: {why}\n\n"));
    write(path, text.collect::<String>().as_bytes())?;
    for (target, why) in found.violations.iter().take(SHOWN_MAX) {
        let first = why.lines().next().unwrap_or_default();
        log.say(format_args!("VIOLATION {target}: {first}"));
    }
    let count = found.violations.len();
    wrong.push(format!("{count} violations, with their histories in {}", path.display()));
    Ok(())
}

/// Panics in the logs of members.
fn panics(config: &Config) -> Vec<String> {
    first_lines(config, "panicked at")
}

/// The first line with a text of each member's log that has one.
fn first_lines(config: &Config, text: &str) -> Vec<String> {
    let logs: Vec<PathBuf> = (1..=config.cluster.members)
        .map(|member| config.cluster.out.join(format!("m{member}.log")))
        .collect();
    let found = logs.iter().filter_map(|path| {
        let log = std::fs::read(path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().find(|line| line.contains(text))?;
        Some(format!("{}: {line}", path.display()))
    });
    found.collect()
}

fn create(path: &Path, fill: impl FnOnce(BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let filled = File::create(path).and_then(|file| fill(BufWriter::new(file)));
    filled.map_err(|error| Error::failed(path.display(), error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::failed(path.display(), error))
}
