//! Whole jobs: files in and out, forks and unions, keyed processes, failures, cancelling.
#![allow(clippy::unwrap_used)]

use flate2::Compression;
use flate2::write::GzEncoder;
use grid_stream::sources::OnMalformed;
use grid_stream::testkit::{check, circumstances, drive};
use grid_stream::{Pipeline, ProcessCx, Report, run_local, sinks, sources};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    carrier: String,
    delay: Option<i32>,
}

fn flight(carrier: &str, delay: Option<i32>) -> Flight {
    Flight { carrier: carrier.into(), delay }
}

/// A path of this process and test, in the directory for temporary files.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("grid-stream-{}-{name}", std::process::id()))
}

fn run(p: Pipeline, workers: usize) -> Report {
    run_local(p, workers).unwrap().join().wait().unwrap()
}

#[test]
fn rows_of_packed_csv_files_are_read_and_bad_ones_reported() {
    let file = path("flights.csv.gz");
    let mut gz = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
    gz.write_all(b"carrier,delay\nUA,5\nAA,NA\nDL,soon\nB6\nUA,-3\n").unwrap();
    gz.finish().unwrap();
    let read = |policy| {
        let p = Pipeline::new();
        let (sink, rows) = sinks::collect();
        p.read(sources::csv::<Flight>(&file).null("NA").on_malformed(policy)).write(sink);
        (run_local(p, 2).unwrap().join().wait(), rows.take())
    };
    let (report, rows) = read(OnMalformed::Skip);
    assert_eq!(rows, [flight("UA", Some(5)), flight("AA", None), flight("UA", Some(-3))]);
    let report = report.unwrap();
    assert_eq!((report.stages[0].malformed, report.stages[0].fraction), (2, Some(1.0)));
    let lines: Vec<u64> = report.stages[0].first_malformed.iter().map(|m| m.line).collect();
    assert_eq!(lines, [4, 5]);
    let (failed, _) = read(OnMalformed::Fail);
    assert!(failed.unwrap_err().to_string().contains("line 4"));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_is_written_can_be_read_again() {
    let rows: Vec<Flight> = (0..5000).map(|n| flight(&format!("C{n}"), Some(n))).collect();
    let (csv, json) = (path("out.csv"), path("out.jsonl"));
    let p = Pipeline::new();
    let [to_csv, to_json] = p.read(sources::items(rows.clone())).fork();
    to_csv.write(sinks::csv_file(&csv));
    to_json.write(sinks::json_file(&json));
    run(p, 3);
    let p = Pipeline::new();
    let (sink, back) = sinks::collect();
    p.read(sources::csv::<Flight>(&csv))
        .union(p.read(sources::json_lines::<Flight>(&json)))
        .write(sink);
    run(p, 2);
    let mut expect: Vec<_> = rows.iter().chain(&rows).cloned().collect();
    expect.sort();
    assert_eq!(back.take_sorted(), expect);
    std::fs::remove_file(csv).unwrap();
    std::fs::remove_file(json).unwrap();
}

#[test]
fn malformed_json_lines_are_counted() {
    let file = path("bad.jsonl");
    std::fs::write(&file, "{\"carrier\":\"UA\",\"delay\":1}\n\nnot json\n").unwrap();
    let p = Pipeline::new();
    let (sink, rows) = sinks::collect();
    p.read(sources::json_lines::<Flight>(&file)).write(sink);
    let report = run(p, 1);
    assert_eq!(rows.take(), [flight("UA", Some(1))]);
    assert_eq!(report.stages[0].first_malformed[0].line, 3);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_missing_file_refuses_the_start() {
    let p = Pipeline::new();
    p.read(sources::csv::<Flight>("/nowhere/flights.csv")).write(sinks::collect().0);
    let error = run_local(p, 1).unwrap_err();
    assert_eq!(error.stage(), "/nowhere/flights.csv");
    assert!(error.to_string().contains("cannot open"), "{error}");
}

#[test]
fn a_process_keeps_state_per_key_and_can_forget_it() {
    // Running count per key; zero forgets it.
    let counted = |count: &mut u64, key: &u64, item: (u64, u64), cx: &mut ProcessCx<'_, _>| {
        *count += 1;
        cx.emit((*key, *count));
        if item.1 == 0 {
            cx.forget();
        }
    };
    let results = |items: Vec<(u64, u64)>, how| {
        let p = Pipeline::new();
        let (sink, results) = sinks::collect();
        let items = p.read(sources::items(items).in_order());
        items.key_by(|item| item.0).process(counted).named("counts").write(sink);
        drive(p, how).unwrap();
        results.take_sorted()
    };
    for how in circumstances() {
        let few = vec![(1, 9), (2, 9), (1, 0), (1, 9), (2, 9), (1, 9)];
        assert_eq!(results(few, how), [(1, 1), (1, 1), (1, 2), (1, 2), (2, 1), (2, 2)]);
        let many = (0..3000).map(|n| (n % 1500, 0)).collect();
        let expect: Vec<(u64, u64)> = (0..3000).map(|n| (n / 2, 1)).collect();
        assert_eq!(results(many, how), expect);
    }
}

#[test]
fn a_detached_chain_is_the_same_chain() {
    check(|s| s.map(|n: i32| n + 1).detach().filter(|n| *n > 2), &[1, 2, 3], &[3, 4]);
}

#[test]
fn a_panic_fails_the_job_with_the_stage_and_not_the_process() {
    let p = Pipeline::new();
    p.read(sources::items(vec![1, 0]))
        .map(|n: i32| {
            assert!(n != 0, "no zero");
            n
        })
        .write(sinks::collect().0);
    let error = run_local(p, 2).unwrap().join().wait().unwrap_err();
    assert_eq!(error.stage(), "items > collect");
    assert!(error.to_string().contains("no zero"), "{error}");
}

#[test]
fn names_of_stages_must_differ() {
    let p = Pipeline::new();
    for _ in 0..2 {
        p.read(sources::items(vec![1u64]))
            .key_by(|n| *n)
            .count()
            .named("same")
            .write(sinks::collect().0);
    }
    assert_eq!(run_local(p, 1).unwrap_err().stage(), "same");
}

#[test]
fn an_unbounded_job_runs_until_it_is_cancelled() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    let p = Pipeline::new();
    p.read(sources::generate(|n| n).rate(100_000.0)).write(sinks::for_each(move |_: u64| {
        count.fetch_add(1, Relaxed);
        Ok(())
    }));
    let job = run_local(p, 2).unwrap();
    while seen.load(Relaxed) < 1000 {
        std::thread::yield_now();
    }
    job.cancel();
    assert!(job.join().wait().unwrap().cancelled);
}

#[test]
fn a_fast_source_waits_for_a_slow_one_in_event_time() {
    // The slow source has one item; the fast one may not run away from it while it is there.
    let (gate, ahead) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let p = Pipeline::new();
    let closed = gate.clone();
    let slow = p
        .read(sources::iterator(move || Slow { closed: closed.clone(), next: 0 }))
        .filter_map(|item| item)
        .with_timestamps(|n| *n, Duration::ZERO);
    let newest = ahead.clone();
    let fast = p
        .read(sources::generate(u64::cast_signed).count(100_000))
        .inspect(move |n| {
            newest.fetch_max(n.cast_unsigned(), Relaxed);
        })
        .with_timestamps(|n| *n, Duration::ZERO);
    let (sink, _) = sinks::collect();
    slow.union(fast).write(sink);
    let job = run_local(p, 1).unwrap();
    while ahead.load(Relaxed) < 600 {
        std::thread::yield_now();
    }
    for _ in 0..100 {
        std::thread::yield_now();
        assert!(ahead.load(Relaxed) < 500 + 4 * 1024);
    }
    gate.store(1, Relaxed);
    job.join().wait().unwrap();
    assert_eq!(ahead.load(Relaxed), 99_999);
}

/// One item at time 0, then nothing until the gate opens.
struct Slow {
    closed: Arc<AtomicU64>,
    next: u64,
}

impl Iterator for Slow {
    type Item = Option<i64>;
    fn next(&mut self) -> Option<Option<i64>> {
        self.next += 1;
        match self.next {
            1 => Some(Some(0)),
            _ if self.closed.load(Relaxed) == 0 => Some(None),
            _ => None,
        }
    }
}
