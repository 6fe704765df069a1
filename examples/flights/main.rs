//! Streams a month of real departures from New York through the grid.
//!
//! ```text
//! cargo run --release --example flights [-- --data DIR --out DIR]
//! cargo run --release --example flights -- --connect HOST:PORT    # maps in a cluster, engine in this process
//! ```

mod args;
mod baseline;
mod csv;
mod data;
mod job;
mod maps;
mod results;
mod summary;
mod terminal;
mod time;

use args::Args;
use clap::Parser;
use data::Data;
use grid_client::{Builder, Client};
use grid_core::block_on;
use grid_node::Member;
use grid_stream::{JobError, JobHandle, Pipeline, run_local};
use maps::Maps;
use results::Results;
use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Member and client must agree on it.
const CLUSTER: &str = "flights";

/// How long an operation waits for a cluster in trouble.
const OUTAGE: Duration = Duration::from_secs(60);

/// How often the progress bar is drawn.
const FRAME: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "flights: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = Data::load(&args.data)?;
    terminal::print(&summary::input(&data))?;
    let events = data.departures.len();

    let (client, took, _member) = if args.connect.is_empty() {
        embedded(args, data)?
    } else {
        let client = block_on(connect(&args.connect, &args.cluster))?;
        let took = run_job(&Maps::of(&client), data, |p| run_local(p, workers(args)))?;
        (client, took, None)
    };
    let maps = Maps::of(&client);
    let results = block_on(Results::read(&maps))?;
    let airports = block_on(summary::airport_names(&maps, &results))?;
    results.write(&args.out)?;
    terminal::print(&summary::results(&results, &airports))?;
    terminal::print(&summary::end(&args.out, events, took))?;
    Ok(())
}

/// Runs the job in a member of this process, on its cores. Everything from then on is read back over the
/// network, as another program would.
fn embedded(args: &Args, data: Data) -> Result<(Client, Duration, Option<Member>), Box<dyn Error>> {
    let cores = args.workers.map_or(0, NonZeroUsize::get);
    let member = Member::builder().cluster(CLUSTER).cores(cores).start_blocking()?;
    let took = run_job(&Maps::of(&member), data, |pipeline| member.run(pipeline))?;
    let client = block_on(connect(&[member.address().to_string()], CLUSTER))?;
    Ok((client, took, Some(member)))
}

/// A client of a cluster, with any of its members to begin with.
async fn connect(addresses: &[String], cluster: &str) -> grid_core::Result<Client> {
    let builder = Client::builder().cluster(cluster).name("flights");
    let builder = builder.operation_timeout(OUTAGE);
    addresses.iter().fold(builder, Builder::address).connect().await
}

/// Threads of the engine when it runs beside the cluster.
fn workers(args: &Args) -> usize {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    args.workers.unwrap_or_else(cores).get()
}

/// Loads the maps and runs the job. Returns how long the job took.
fn run_job(
    maps: &Maps,
    data: Data,
    run: impl FnOnce(Pipeline) -> Result<JobHandle, JobError>,
) -> Result<Duration, Box<dyn Error>> {
    block_on(maps.clear())?;
    block_on(maps.load(&data))?;
    let lag = data::lag(&data.departures);
    let pipeline = job::pipeline(
        data.departures,
        lag,
        maps.planes.clone(),
        maps.airlines.clone(),
        maps::sink(&maps.hours),
        maps::sink(&maps.carrier_days),
        maps::sink(&maps.anomalies),
    );
    let start = Instant::now();
    join(&run(pipeline)?, start)
}

/// Waits for the end of a job and shows how far it is. Returns how long it took.
fn join(job: &JobHandle, start: Instant) -> Result<Duration, Box<dyn Error>> {
    let (running, ended) = mpsc::channel::<()>();
    let took = thread::scope(|scope| {
        scope.spawn(move || {
            let mut progress = terminal::Progress::new();
            while ended.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
                progress.show(job.fraction().unwrap_or(0.0));
            }
            progress.show(1.0);
        });
        let report = job.join().wait();
        drop(running);
        report.map(|_| start.elapsed())
    });
    took.map_err(|error: JobError| error.into())
}
