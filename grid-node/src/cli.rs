//! The command line. Answers go to standard output, errors to standard error; the exit status is 0, 1
//! (it failed) or 2 (it was asked for wrongly: arguments or configuration).

mod admin;
mod bench;
mod job;
mod map;
mod queue;
mod start;
mod status;
mod target;

use clap::{Parser, Subcommand};
use grid_core::Error;
use grid_node::config::ConfigError;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

/// An in-memory data grid: maps, queues and topics that programs share over the network
#[derive(Debug, Parser)]
#[command(name = "grid", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Start),
    Status(status::Status),
    Map(map::Map),
    Queue(queue::Queue),
    Admin(admin::Admin),
    Job(job::Job),
    Bench(bench::Bench),
}

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Failure { status: 1, text: text.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::new(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure { status: 2, text: format!("the configuration is refused\n{error}") }
    }
}

type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Does what the arguments of the process say.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Start(start) => start.run(),
        Command::Status(status) => status.run(),
        Command::Map(map) => map.run(),
        Command::Queue(queue) => queue.run(),
        Command::Admin(admin) => admin.run(),
        Command::Job(job) => job.run(),
        Command::Bench(bench) => bench.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, text }) => {
            let _ = writeln!(std::io::stderr(), "grid: {text}");
            ExitCode::from(status)
        }
    }
}

/// Runs a command that talks to a member.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Writes a line to standard output. That nobody reads it any more (as with `| head`) is no failure.
fn say(line: impl std::fmt::Display) -> Result {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Writes a remark for people, which is no part of the answer, to standard error.
fn remark(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_names_that_scripts_rely_on_are_taken() {
        for line in [
            "start",
            "start --config f --bind a:1 --join b:1,c:1 --http off --cluster x --data-dir d",
            "start --advertise a:1",
            "status --addr a:1 --json",
            "map get --addr a:1 orders k",
            "map set orders k v --addr a:1",
            "map put --addr a:1 --json orders k v",
            "map remove --addr a:1 orders k",
            "map size --addr a:1 orders",
            "map set --addr a:1 --cluster x orders k -v",
            "queue offer --addr a:1 inbox v",
            "queue poll --addr a:1 inbox",
            "queue size --addr a:1 inbox",
            "admin reset-lost 7 --addr a:1",
            "admin reset-lost all --yes --addr a:1",
            "admin reset-lost 7 --from-last-removed --yes --addr a:1",
            "admin accept-loss orders --yes --addr a:1 --json",
            "admin force-new-cluster --yes --addr a:1",
            "admin remove 12 --yes --addr a:1 --cluster x",
            "admin drain",
            "job submit --addr a:1 f.toml",
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("grid").chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for line in [
            "",
            "stop",
            "map get orders",
            "map get orders k v",
            "queue poll",
            "status --addr a",
            "admin",
            "admin reset-lost --yes",
            "admin reset-lost 16384 --yes",
            "admin accept-loss",
            "admin remove a",
        ] {
            let words = line.split(' ').filter(|word| !word.is_empty());
            assert!(Cli::try_parse_from(std::iter::once("grid").chain(words)).is_err(), "{line}");
        }
    }
}
