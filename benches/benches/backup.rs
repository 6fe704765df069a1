//! What a synchronous backup costs: two clusters of two members each, all processes on this machine, one with a
//! backup of everything and one without, measured in turn. CPU time is that of both members of a cluster;
//! that of the generator is told apart. Compare the ratios; throughput includes the generator, which shares
//! the processors.
//!
//! `cargo build --release -p grid-node && cargo bench -p grid-benches --bench backup
//! [-- --rounds N --ms MILLISECONDS --keys N --connections N]`
//! `GRID_BIN` names the binary, unless it is the one in the same target directory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{VALUE_BYTES, flag, median, number};
use grid_core::PartitionId;
use grid_node::bench::map::{self, Client, MapArgs};
use grid_node::bench::report::MapReport;
use grid_node::bench::watch::Watch;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two members, killed at the end.
struct Cluster {
    name: &'static str,
    addresses: Vec<SocketAddr>,
    members: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

impl Cluster {
    fn start(name: &'static str, backups: usize) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        drop(listeners);
        let join = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let member = |address: &SocketAddr| {
            let mut command = Command::new(grid_binary());
            command.args(["start", "--http", "off", "--bind", &address.to_string()]);
            command.args(["--join", &join]).env("GRID_CLUSTER__SYNC_BACKUPS", backups.to_string());
            command.env_remove("GRID_BIN").stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("build it first: cargo build --release -p grid-node")
        };
        let members = addresses.iter().map(member).collect();
        let cluster = Cluster { name, addresses, members };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !cluster.is_whole(backups + 1) {
            assert!(Instant::now() < deadline, "{name} does not become whole");
            std::thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    /// Whether both members lead, with all replicas in sync.
    fn is_whole(&self, replicas: usize) -> bool {
        let Ok(watch) = Watch::open(self.addresses[0], "dev") else { return false };
        let partitions = (0..watch.table.partitions()).map(PartitionId);
        let led = |at| partitions.clone().filter(|p| watch.table.primary(*p) == Some(at)).count();
        partitions.clone().all(|p| watch.table.replicas(p).len() == replicas)
            && led(0).abs_diff(led(1)) < 3
    }

    fn measure(&self, shape: Shape, fill: bool, seconds: f64) -> MapReport {
        let args = MapArgs {
            addr: self.addresses.iter().map(ToString::to_string).collect(),
            cluster: "dev".into(),
            map: "bench".into(),
            connections: shape.connections,
            pipeline: shape.pipeline,
            threads: 1,
            keys: number("--keys", 400_000),
            value_size: VALUE_BYTES,
            reads: 0,
            seconds,
            warmup: seconds / 5.0,
            rate: shape.rate,
            load: fill,
            client: Client::Raw,
            json: false,
        };
        let report = map::run(&args).unwrap();
        assert!(report.errors.is_empty(), "{}: {:?}", self.name, report.errors);
        assert_eq!(report.server_pids.len(), 2, "{}: {:?}", self.name, report.server_pids);
        report
    }
}

fn grid_binary() -> PathBuf {
    std::env::var_os("GRID_BIN").map_or_else(
        || {
            let exe = std::env::current_exe().unwrap();
            exe.parent().and_then(|deps| deps.parent()).unwrap().join("grid")
        },
        PathBuf::from,
    )
}

#[derive(Clone, Copy)]
struct Shape {
    connections: usize,
    pipeline: usize,
    rate: Option<f64>,
}

/// Medians of several runs.
struct Figures {
    per_second: f64,
    p50_us: f64,
    members_ns: f64,
    generator_ns: f64,
}

fn medians(runs: &[MapReport]) -> Figures {
    let of = |f: fn(&MapReport) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    Figures {
        per_second: of(|run| run.operations_per_second),
        p50_us: of(|run| run.set_us.unwrap().p50),
        members_ns: of(|run| run.server_cpu_us.unwrap_or(f64::NAN) * 1000.0),
        generator_ns: of(|run| run.client_cpu_us.unwrap_or(f64::NAN) * 1000.0),
    }
}

/// Measures the clusters in turn. Returns the throughput of the first.
fn compare(clusters: &[Cluster], shape: Shape, rounds: u64, seconds: f64, goal: &str) -> f64 {
    let mut runs = vec![Vec::new(); clusters.len()];
    for _ in 0..rounds {
        for (cluster, runs) in clusters.iter().zip(&mut runs) {
            runs.push(cluster.measure(shape, false, seconds));
        }
    }
    let load = shape.rate.map_or("closed loop".into(), |rate| format!("{rate:.0} puts/s"));
    println!(
        "\nset, {} connections x {} deep, {load}, {rounds} rounds; goal: {goal}",
        shape.connections, shape.pipeline
    );
    println!(
        "{:<18}{:>12}{:>10}{:>16}{:>18}{:>12}{:>12}",
        "", "k puts/s", "p50 us", "members ns/put", "generator ns/put", "CPU ratio", "p50 ratio"
    );
    let figures: Vec<Figures> = runs.iter().map(|runs| medians(runs)).collect();
    for (at, (cluster, f)) in clusters.iter().zip(&figures).enumerate() {
        // Ratios of each round: what disturbed it disturbed both.
        let ratio = |of: fn(&MapReport) -> f64| {
            let pairs = runs[at].iter().zip(&runs[0]);
            median(&pairs.map(|(run, base)| of(run) / of(base)).collect::<Vec<_>>())
        };
        println!(
            "{:<18}{:>12.0}{:>10.0}{:>16.0}{:>18.0}{:>12.2}{:>12.2}",
            cluster.name,
            f.per_second / 1000.0,
            f.p50_us,
            f.members_ns,
            f.generator_ns,
            ratio(|run| run.server_cpu_us.unwrap_or(f64::NAN)),
            ratio(|run| run.set_us.unwrap().p50)
        );
    }
    figures[0].per_second
}

fn main() {
    let (rounds, seconds) = (number("--rounds", 8), number("--ms", 1000) as f64 / 1000.0);
    let connections = number("--connections", 50) as usize;
    let clusters = [Cluster::start("no backup", 0), Cluster::start("one sync backup", 1)];
    println!(
        "two members each, {VALUE_BYTES} byte values, one generator thread, {} processors",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let deep = Shape { connections, pipeline: 64, rate: None };
    for cluster in &clusters {
        cluster.measure(deep, true, 0.2);
    }
    let wanted = |pipeline: &str| flag("--only").is_none_or(|only| only == pipeline);
    if wanted("64") {
        compare(&clusters, deep, rounds, seconds, "CPU at most 2.1 times, 2 M/s with a backup");
    }
    if wanted("1") {
        let single = Shape { connections, pipeline: 1, rate: None };
        let peak = compare(&clusters, single, rounds, seconds, "CPU at most 1.7 times");
        let calm = Shape { rate: Some(peak / 5.0), ..single };
        compare(&clusters, calm, rounds, seconds, "a fifth of the peak; latency");
    }
}
