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
mod results;
mod summary;
mod terminal;
mod time;

use args::Args;
use clap::Parser;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

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
    let data = data::Data::load(&args.data)?;
    terminal::print(&summary::input(&data))?;
    let _lag = data::lag(&data.departures);

    let mut progress = terminal::Progress::new(data.departures.len() as u64);
    let start = Instant::now();
    let mut results = job::run(&data, |done| progress.show(done));
    let took = start.elapsed();
    drop(progress);

    results::write(&args.out, &mut results.hours)?;
    results::write(&args.out, &mut results.carrier_days)?;
    results::write(&args.out, &mut results.anomalies)?;

    let airports = data.airports.iter().cloned().collect();
    terminal::print(&summary::results(&results, &airports))?;
    let files =
        format!("\nWrote hourly.csv, carriers.csv and anomalies.csv to {}\n", args.out.display());
    terminal::print(&(files + &summary::speed(data.departures.len(), took)))?;
    Ok(())
}
