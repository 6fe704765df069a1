//! Latency of a client's gets while a stream job keeps all cores of the member busy, beside the same
//! gets on an idle member.
//!
//! `cargo bench -p grid-benches --bench busy [-- SECONDS]`
#![allow(clippy::unwrap_used)]

use grid_node::Member;
use grid_node::bench::map::{Client, MapArgs, MapReport, run};
use grid_stream::{Pipeline, StageKind, Tumbling, aggregate, sinks, sources};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(5.0);
    let member = Member::builder().start_blocking().unwrap();
    let gets = |load| run(&args(&member, seconds, load)).unwrap();

    let idle = gets(true);
    let job = member.run(endless()).unwrap();
    while job.metrics().iter().all(|stage| stage.items_in == 0) {
        std::thread::yield_now();
    }
    let alone = counted(&job.metrics());
    std::thread::sleep(Duration::from_secs(2));
    let alone = counted(&job.metrics()) - alone;
    let before = counted(&job.metrics());
    let busy = gets(false);
    let events = counted(&job.metrics()) - before;
    job.cancel();
    job.join().wait().unwrap();

    println!(
        "one get at a time on each of 8 connections, {seconds} s each; client on the same machine"
    );
    show("idle", &idle);
    show("busy", &busy);
    #[allow(clippy::cast_precision_loss)]
    let (alone, beside) = (alone as f64 / 2e6, events as f64 / 1e6 / (seconds + 1.0));
    let cores = member.status().member.cores;
    println!(
        "the job on {cores} cores: {alone:.1} M events/s alone, {beside:.1} M/s beside the gets"
    );
}

fn args(member: &Member, seconds: f64, load: bool) -> MapArgs {
    MapArgs {
        addr: vec![member.address().to_string()],
        cluster: "dev".into(),
        map: "busy".into(),
        connections: 8,
        pipeline: 1,
        threads: 1,
        keys: 100_000,
        value_size: 100,
        reads: 100,
        seconds,
        warmup: 1.0,
        rate: None,
        load,
        client: Client::Raw,
        json: false,
    }
}

/// Generate, map, filter, key by 10,000 keys, count per second of event time: for ever.
fn endless() -> Pipeline {
    let p = Pipeline::new();
    p.read(sources::generate(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32, n)))
        .map(|(key, n)| (key % 10_000, n % 1_000, n))
        .filter(|(_, value, _)| *value != 0)
        .with_timestamps(|(_, _, n)| i64::try_from(n / 1_000).unwrap_or(i64::MAX), Duration::ZERO)
        .key_by(|(key, _, _)| *key)
        .window(Tumbling::of(Duration::from_secs(1)))
        .aggregate(aggregate::count())
        .named("count")
        .write(sinks::for_each(|_| Ok(())));
    p
}

fn counted(stages: &[grid_stream::StageMetrics]) -> u64 {
    stages.iter().filter(|stage| stage.kind == StageKind::Source).map(|stage| stage.items_out).sum()
}

fn show(name: &str, report: &MapReport) {
    let get = report.get_us.as_ref().unwrap();
    println!(
        "{name}: p50 {:>6.0} us  p99 {:>6.0} us  p99.9 {:>6.0} us  {:>7.0} gets/s",
        get.p50, get.p99, get.p999, report.operations_per_second
    );
}
