//! A member as a server, beside redis and beside an echo of the same frames, each a process of its own,
//! all on this machine and in one run: interleaved rounds, medians. Compare the ratios; the absolute
//! figures include a generator that shares the processors.
//!
//! `cargo build --release -p grid-node && cargo bench -p grid-benches --bench server
//! [-- --rounds N --ms MILLISECONDS --keys N --connections N --only ours,redis --no-typed]`
//! `GRID_BIN` names the binary, unless it is the one in the same target directory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/echo.rs"]
mod echo;
#[path = "common/resp.rs"]
mod resp;

use common::{VALUE_BYTES, flag, median, number};
use grid_node::bench::generator::{self, Load};
use grid_node::bench::map::{self, Client, MapArgs};
use grid_node::bench::process;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One server process, killed at the end.
struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(name: &'static str, command: impl FnOnce(SocketAddr) -> Command) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = command(address);
        let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("!! {name} is NOT measured: {:?}: {error}", command.get_program());
                return None;
            }
        };
        let server = Server { name, address, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{name} does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
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

fn servers() -> Vec<Server> {
    let grid = |cores: &'static str| {
        move |address: SocketAddr| {
            let mut command = Command::new(grid_binary());
            command
                .args(["start", "--http", "off", "--bind", &address.to_string()])
                .env_remove("GRID_BIN")
                .env("GRID_CORES", cores);
            if flag("--huge-pages").is_some() {
                command.env("GRID_MEMORY__HUGE_PAGES", "true");
            }
            command
        }
    };
    let echo = |address: SocketAddr| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--echo", &address.to_string()]);
        command
    };
    let redis = |address: SocketAddr| {
        let mut command = Command::new("redis-server");
        let port = address.port().to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        command
    };
    let only = flag("--only");
    let wanted =
        |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|o| name.starts_with(o)));
    let mut servers = Vec::new();
    if wanted("ours") {
        servers.extend(Server::start("ours, 1 core", grid("1")));
        servers.extend(Server::start("ours, all cores", grid("0")));
        assert!(!servers.is_empty(), "build it first: cargo build --release -p grid-node");
    }
    if wanted("echo") {
        servers.extend(Server::start("echo, 1 core", echo));
    }
    if wanted("redis") {
        servers.extend(Server::start("redis", redis));
    }
    servers
}

/// Figures of one run.
#[derive(Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu_us: f64,
}

#[derive(Clone, Copy)]
struct Shape {
    connections: usize,
    pipeline: usize,
    reads: u8,
    client: Client,
}

fn measure(server: &Server, shape: Shape, fill: bool, seconds: f64) -> Figures {
    let keys = number("--keys", 1_000_000);
    let warmup = seconds / 5.0;
    if server.name == "redis" {
        let load = Load {
            addresses: vec![server.address],
            connections: shape.connections,
            pipeline: shape.pipeline,
            threads: 1,
            keys,
            value_bytes: VALUE_BYTES,
            reads_percent: shape.reads,
            measure: Duration::from_secs_f64(seconds),
            warmup: Duration::from_secs_f64(warmup),
            fill,
            rate: None,
            verify: true,
        };
        let measured = generator::run(&load, resp::Redis).unwrap();
        assert_eq!(measured.failed(), 0, "{:?}", measured.errors);
        let latency = measured.reads().or(measured.writes()).unwrap();
        return Figures {
            per_second: measured.per_second(),
            p50: latency.p50,
            p99: latency.p99,
            cpu_us: measured.server_cpu_us().unwrap_or(f64::NAN),
        };
    }
    let args = MapArgs {
        addr: vec![server.address.to_string()],
        cluster: "dev".into(),
        map: "bench".into(),
        connections: shape.connections,
        pipeline: shape.pipeline,
        threads: 1,
        keys,
        value_size: VALUE_BYTES,
        reads: shape.reads,
        seconds,
        warmup,
        rate: None,
        load: fill && !server.name.starts_with("echo"),
        client: shape.client,
        json: false,
    };
    let report = map::run(&args).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let latency = report.get_us.or(report.set_us).unwrap();
    Figures {
        per_second: report.operations_per_second,
        p50: latency.p50,
        p99: latency.p99,
        cpu_us: report.server_cpu_us.unwrap_or(f64::NAN),
    }
}

fn medians(runs: &[Figures]) -> Figures {
    let of = |f: fn(&Figures) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    Figures {
        per_second: of(|run| run.per_second),
        p50: of(|run| run.p50),
        p99: of(|run| run.p99),
        cpu_us: of(|run| run.cpu_us),
    }
}

/// What is aimed at for the first of our servers.
fn goal(shape: Shape) -> &'static str {
    match (shape.pipeline, shape.reads) {
        (64, 100) => "3.0 M/s, CPU below redis",
        (64, _) => "2.5 M/s, CPU below redis",
        (16, _) => "CPU below redis",
        _ => "0.9 of the echo, CPU at most 1.1 of redis",
    }
}

fn compare(servers: &[Server], shape: Shape, rounds: u64, seconds: f64) {
    let mut runs = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (server, runs) in servers.iter().zip(&mut runs) {
            runs.push(measure(server, shape, false, seconds));
        }
    }
    let figures: Vec<Figures> = runs.iter().map(|runs| medians(runs)).collect();
    let by_name = |name: &str| {
        servers
            .iter()
            .zip(&figures)
            .find(|(s, _)| s.name.starts_with(name))
            .map(|(_, figures)| *figures)
    };
    let (redis, echo) = (by_name("redis").unwrap_or_default(), by_name("echo").unwrap_or_default());
    let what = if shape.reads == 100 { "get" } else { "set" };
    println!(
        "\n{what}, {} connections x {} deep; goal: {}",
        shape.connections,
        shape.pipeline,
        goal(shape)
    );
    println!(
        "{:<18}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}{:>12}",
        "", "k ops/s", "p50 us", "p99 us", "CPU us/op", "rate/redis", "rate/echo", "CPU/redis"
    );
    for (server, f) in servers.iter().zip(&figures) {
        println!(
            "{:<18}{:>10.0}{:>10.0}{:>10.0}{:>10.3}{:>12.2}{:>12.2}{:>12.2}",
            server.name,
            f.per_second / 1000.0,
            f.p50,
            f.p99,
            f.cpu_us,
            f.per_second / redis.per_second,
            f.per_second / echo.per_second,
            f.cpu_us / redis.cpu_us
        );
    }
}

fn typed(server: &Server, rounds: u64, seconds: f64) {
    println!("\ntyped handles against {}", server.name);
    for (clients, tasks) in [(1, 256), (1, 1024), (4, 256)] {
        for (reads, goal) in [(100, "1.0 M/s"), (0, "0.6 M/s")] {
            let shape =
                Shape { connections: clients, pipeline: tasks, reads, client: Client::Typed };
            let runs: Vec<Figures> =
                (0..rounds).map(|_| measure(server, shape, false, seconds)).collect();
            let f = medians(&runs);
            println!(
                "{} {clients} clients x {tasks:<5} tasks{:>10.0} k ops/s  p50 {:>6.0} us  p99 {:>6.0} us  server CPU {:.3} us/op  goal {goal}",
                if reads == 100 { "get" } else { "set" },
                f.per_second / 1000.0,
                f.p50,
                f.p99,
                f.cpu_us
            );
        }
    }
}

fn main() {
    if let Some(address) = flag("--echo") {
        return echo::serve(&address, VALUE_BYTES);
    }
    let (rounds, seconds) = (number("--rounds", 3), number("--ms", 1000) as f64 / 1000.0);
    let connections = number("--connections", 50) as usize;
    let servers = servers();
    let keys = number("--keys", 1_000_000);
    println!(
        "{keys} keys of 16 bytes, {VALUE_BYTES} byte values, one generator thread, {} processors",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for server in &servers {
        let before = process::resident_bytes(server.child.id()).unwrap_or(0);
        let shape = Shape { connections: 50, pipeline: 64, reads: 100, client: Client::Raw };
        measure(server, shape, true, 0.2);
        let after = process::resident_bytes(server.child.id()).unwrap_or(0);
        println!(
            "{:<18}{:>8.1} resident bytes per entry",
            server.name,
            after.saturating_sub(before) as f64 / keys as f64
        );
    }
    for pipeline in [1, 16, 64] {
        for reads in [100, 0] {
            let shape = Shape { connections, pipeline, reads, client: Client::Raw };
            compare(&servers, shape, rounds, seconds);
        }
    }
    if flag("--no-typed").is_none() {
        servers
            .iter()
            .filter(|server| server.name.starts_with("ours"))
            .for_each(|s| typed(s, rounds, seconds));
    }
}
