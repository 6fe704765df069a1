//! `grid bench map`: gets and sets on a map of a running cluster.

use super::generator::{self, Load};
use super::grid::Target;
pub use super::report::MapReport;
use super::typed;
use super::watch::Watch;
use clap::{Args, ValueEnum};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::PartitionId;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// What the load goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Frames made by hand: what the member can do.
    #[default]
    Raw,
    /// The typed handles of the thin client: what a program gets. Each connection is a client, each
    /// request in flight a task.
    Typed,
}

/// Arguments of `grid bench map`.
#[derive(Args, Clone, Debug)]
pub struct MapArgs {
    /// Members to connect to, HOST:PORT; connections are spread over all members of their cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:5701")]
    pub addr: Vec<String>,
    /// Name of the cluster
    #[arg(long, value_name = "NAME", default_value = "dev")]
    pub cluster: String,
    /// Name of the map; it keeps what is written
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub map: String,
    /// Connections over all threads
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub connections: usize,
    /// Requests in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub pipeline: usize,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Distinct keys of 16 bytes, chosen uniformly
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub keys: u64,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub value_size: usize,
    /// Gets among 100 requests; the rest are sets
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    pub reads: u8,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub seconds: f64,
    /// How long to run before that
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub warmup: f64,
    /// Requests per second over all connections, sent when they are due, whatever the server does;
    /// latencies count from then. Without it, each connection sends when its replies have come
    #[arg(long, value_name = "OPS_PER_S")]
    pub rate: Option<f64>,
    /// Whether to write all keys before
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub load: bool,
    /// Frames made by hand, or the typed handles of the client
    #[arg(long, value_enum, default_value_t)]
    pub client: Client,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the load and waits for its end.
///
/// # Errors
/// `Invalid` for impossible arguments, `Io` for an address that cannot be reached, `WrongCluster`,
/// `WrongVersion`, `Malformed` if something else listens there, `Disconnected` or `Timeout` if the
/// member goes away. Failed requests are part of the report.
pub fn run(args: &MapArgs) -> Result<MapReport> {
    let mut load = load(args)?;
    if args.client == Client::Raw {
        meet_all(&mut load, &args.cluster)?;
    }
    let (client, measured) = match args.client {
        Client::Raw => {
            let target = Target { cluster: args.cluster.clone(), map: args.map.clone() };
            ("raw", generator::run(&load, target)?)
        }
        Client::Typed => ("typed", typed::run(&load, args)?),
    };
    Ok(MapReport::new(&load, client, measured))
}

fn load(args: &MapArgs) -> Result<Load> {
    let load = Load {
        addresses: args.addr.iter().map(|address| resolve(address)).collect::<Result<_>>()?,
        connections: args.connections,
        pipeline: args.pipeline,
        threads: args.threads,
        keys: args.keys,
        value_bytes: args.value_size,
        reads_percent: args.reads,
        measure: seconds("--seconds", args.seconds)?,
        warmup: seconds("--warmup", args.warmup)?,
        fill: args.load,
        rate: args.rate,
        verify: args.load,
    };
    load.check()?;
    Ok(load)
}

/// Raw connections have requests for the keys of their member only, so there must be some to every member.
fn meet_all(load: &mut Load, cluster: &str) -> Result<()> {
    // Who cannot tell of others is met alone, and says what is wrong then.
    let tell = |address: &SocketAddr| Watch::open(*address, cluster).ok();
    let Some(watch) = load.addresses.iter().find_map(tell) else { return Ok(()) };
    let table = &watch.table;
    let leading: BTreeSet<u16> = (0..table.partitions())
        .filter_map(|partition| table.primary(PartitionId(partition)))
        .collect();
    let members: Vec<_> =
        leading.iter().filter_map(|at| table.members().get(usize::from(*at))).collect();
    if members.len() < 2 {
        return Ok(());
    }
    if load.connections < members.len() {
        let (connections, members) = (load.connections, members.len());
        let text = format!("{connections} connections for {members} members; each needs one");
        return Err(Error::with(Kind::Invalid, text));
    }
    load.addresses =
        members.iter().map(|member| resolve(&member.address)).collect::<Result<_>>()?;
    Ok(())
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().map_err(|e| {
        Error::with(Kind::Invalid, format!("'{address}' is no address HOST:PORT: {e}"))
    })?;
    found.next().ok_or_else(|| Error::with(Kind::Invalid, format!("'{address}' has no address")))
}

fn seconds(flag: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::with(Kind::Invalid, format!("{flag} {seconds}: not a time")))
}
