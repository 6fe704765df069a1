//! Streams a month of real departures from New York through the grid.
//!
//! ```text
//! cargo run --release --example flights [-- --data DIR --out DIR]
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
use grid_client::Client;
use grid_core::block_on;
use grid_node::Member;
use grid_stream::{JobError, JobHandle};
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

    let cores = args.workers.map_or(0, NonZeroUsize::get);
    let member = Member::builder().cluster(CLUSTER).cores(cores).start_blocking()?;
    let took = run_job(&member, data)?;

    // Everything from here on is read back over the network, as another program would.
    let address = member.address().to_string();
    let client = block_on(Client::builder().cluster(CLUSTER).address(address).connect())?;
    let maps = Maps::of(&client);
    let results = block_on(Results::read(&maps))?;
    let airports = block_on(summary::airport_names(&maps, &results))?;
    results.write(&args.out)?;
    terminal::print(&summary::results(&results, &airports))?;
    terminal::print(&summary::end(&args.out, events, took))?;
    Ok(())
}

/// Loads the maps and runs the job on the member's cores. Returns how long the job took.
fn run_job(member: &Member, data: Data) -> Result<Duration, Box<dyn Error>> {
    let maps = Maps::of(member);
    block_on(maps.load(&data))?;
    let lag = data::lag(&data.departures);
    let pipeline = job::pipeline(
        data.departures,
        lag,
        maps.planes,
        maps.airlines,
        maps::sink(&maps.hours),
        maps::sink(&maps.carrier_days),
        maps::sink(&maps.anomalies),
    );
    let start = Instant::now();
    join(&member.run(pipeline)?, start)
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
