//! `grid-faults`: breaks members of the grid in earnest and audits what clients saw.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use grid_faults::nemesis::{Patience, Profile};
use grid_faults::run::{Config, run};
use grid_faults::run_id::RunId;
use grid_faults::{Error, clean, cluster, workload};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Break members of the grid in earnest and audit what clients saw
///
/// Exit status: 0 nothing is wrong, 1 something is, 2 the run could not take place, 77 this machine cannot run it
/// (network namespaces need root, iproute2 and nftables): nothing was tested.
#[derive(Debug, Parser)]
#[command(name = "grid-faults", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run members and clients, break and heal, audit
    Run(Box<Run>),
    /// Remove the processes, mounts and network namespaces of runs that did not end in order
    Clean,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// kill -9, restart at once, SIGTERM
    Kill,
    /// SIGSTOP, SIGCONT
    Pause,
    /// Cuts in one direction and both, splits, lost packets, low rates
    Cut,
    /// Delays, stalls, half-open connections, resets, by proxies in the links
    Link,
    /// Full disks
    Disk,
    /// Members cannot agree on anything while data goes between them: no operation may fail
    Quorum,
    /// All of them but the last
    All,
}

#[derive(Debug, Args)]
struct Run {
    /// The binary `grid`
    #[arg(long, value_name = "PATH")]
    grid: PathBuf,
    /// Number of members
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    members: u8,
    /// Number of faults
    #[arg(long, default_value_t = 40)]
    faults: usize,
    /// Fixes the schedule and what clients choose; a new one every time if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Which faults
    #[arg(long, value_enum, default_value = "all")]
    profile: Which,
    /// How long each fault lasts, in seconds, instead of what the seed says
    #[arg(long)]
    lasts: Option<f64>,
    /// Begin no fault after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Most members that the others have to do without at a time
    #[arg(long, default_value_t = 1)]
    down_max: usize,
    /// Expect that a killed member takes its data with it: for members without replicas
    #[arg(long)]
    expect_loss: bool,
    /// On addresses of the loopback interface: no root needed, processes are all that is broken
    #[arg(long)]
    direct: bool,
    /// Put no proxies in the links, even if the profile has faults for them
    #[arg(long)]
    no_proxies: bool,
    /// Flip bits behind TCP's back as well (the members' protocol must have checksums)
    #[arg(long)]
    flips: bool,
    /// Members say on their page /health/PAGE that one of them may be killed
    #[arg(long, value_name = "PAGE", default_value = "safe")]
    safe_page: String,
    /// Directory for logs and histories [default: a new one in the system's directory for such]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Room of a member's disk, in mebibytes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    disk_mib: u32,
    /// A variable of the members, as GRID_LOG__LEVEL=debug
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// Further arguments of `grid start`
    #[arg(last = true)]
    arguments: Vec<String>,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    patience: Limits,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What clients do")]
struct Load {
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// Tasks of a client, each with one operation at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    tasks: u16,
    /// Operations per second of all clients together; 0: as fast as they can
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Deadline of an operation, in milliseconds
    #[arg(long, default_value_t = 5000)]
    timeout_ms: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How long members may take, in seconds")]
struct Limits {
    /// From a start until ready
    #[arg(long, default_value_t = 30)]
    ready_within: u64,
    /// From the last fault until safe
    #[arg(long, default_value_t = 60)]
    safe_within: u64,
    /// From SIGTERM to the end
    #[arg(long, default_value_t = 30)]
    stop_within: u64,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "it has to be NAME=VALUE".to_owned())
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(options) => faults(*options),
        Verb::Clean => tidy(),
    }
}

fn faults(options: Run) -> ExitCode {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    listen(&INTERRUPTED);
    let config = config(options);
    match run(&config, &INTERRUPTED) {
        Ok(outcome) if outcome.wrong.is_empty() => {
            println!("PASSED: seed {}, results in {}", config.seed, config.cluster.out.display());
            ExitCode::SUCCESS
        }
        Ok(outcome) => {
            outcome.wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
            println!("FAILED: seed {}, results in {}", config.seed, config.cluster.out.display());
            ExitCode::from(1)
        }
        Err(error @ Error::Missing(_)) => {
            eprintln!("SKIPPED, NOTHING WAS TESTED: {error}");
            ExitCode::from(77)
        }
        Err(error) => {
            eprintln!("grid-faults: {error}");
            ExitCode::from(2)
        }
    }
}

fn config(options: Run) -> Config {
    let run = RunId::own();
    let seed = options.seed.unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.as_secs() ^ u64::from(now.subsec_micros()) << 20
    });
    let profile = match options.profile {
        Which::Kill => Profile::Kill,
        Which::Pause => Profile::Pause,
        Which::Cut => Profile::Cut,
        Which::Link => Profile::Link,
        Which::Disk => Profile::Disk,
        Which::Quorum => Profile::Quorum,
        Which::All => Profile::All,
    };
    let seconds = Duration::from_secs;
    Config {
        cluster: cluster::Config {
            members: options.members.into(),
            program: options.grid,
            arguments: options.arguments,
            environment: options.environment,
            direct: options.direct,
            detours: matches!(profile, Profile::Link | Profile::Quorum | Profile::All)
                && !options.no_proxies,
            disk_mebibytes: options.disk_mib,
            out: options
                .out
                .unwrap_or_else(|| std::env::temp_dir().join("grid-faults").join(run.to_string())),
        },
        workload: workload::Config {
            addresses: Vec::new(),
            clients: options.load.clients.into(),
            tasks: options.load.tasks.into(),
            rate: options.load.rate,
            timeout: Duration::from_millis(options.load.timeout_ms),
            steady: profile == Profile::Quorum,
            closing: seconds(options.patience.safe_within),
            seed,
        },
        seed,
        faults: options.faults,
        profile,
        flips: options.flips,
        lasts: options.lasts.and_then(|lasts| Duration::try_from_secs_f64(lasts).ok()),
        lasts_max: options.seconds.map(seconds),
        down_max: options.down_max,
        expect_loss: options.expect_loss,
        safe_page: options.safe_page,
        calm: seconds(2),
        patience: Patience {
            ready: seconds(options.patience.ready_within),
            safe: seconds(options.patience.safe_within),
            stop: seconds(options.patience.stop_within),
        },
    }
}

/// The first SIGINT or SIGTERM ends the run in order; the second at once, and leaves things behind.
fn listen(interrupted: &'static AtomicBool) {
    let wait = async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        for _ in 0..2 {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if interrupted.swap(true, Relaxed) {
                eprintln!("stopping at once; `grid-faults clean` removes what is left");
                std::process::exit(130);
            }
            eprintln!("stopping; once more stops at once");
        }
        std::io::Result::Ok(())
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Err(error) = runtime.and_then(|runtime| runtime.block_on(wait)) {
            eprintln!("grid-faults: cannot listen for signals: {error}");
        }
    });
}

fn tidy() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let found = clean::left(None);
    if found.is_empty() {
        println!("nothing is left of any run that has ended");
    }
    for left in found {
        match clean::remove(&left) {
            Ok(()) => println!("removed {left}"),
            Err(error) => {
                eprintln!("grid-faults: {error}");
                code = ExitCode::from(2);
            }
        }
    }
    code
}
