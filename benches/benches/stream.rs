//! The floor job of stream engines: generate, map, filter, key by 10,000 keys, count per key and
//! second of event time, fold the results. On the grid's engine (with a real keyed exchange, plain
//! and combining before it), as a plain loop, and on timely dataflow; interleaved rounds in one run.
//!
//! `cargo bench -p grid-benches --bench stream [-- EVENTS ROUNDS [FILTER]]`
//!
//! Rates are medians by the clock; "per cpu-s" divides by the processor time of the process, which
//! says what a core does when others use the machine, too.
#![allow(clippy::expect_used)]

use grid_stream::{Config, Job, Pipeline, Tumbling, WindowResult, sinks, sources};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Counts allocations of all threads.
struct Counting(mimalloc::MiMalloc);

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

#[allow(unsafe_code)]
// SAFETY: every call is passed on unchanged to the allocator behind it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { self.0.realloc(at, layout, size) }
    }
}

const KEYS: u64 = 10_000;
const EVENTS_PER_SECOND: u64 = 1_000_000;
const BASE_MS: u64 = 1_700_000_000_000;
const WINDOW_MS: u64 = 1_000;

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Event {
    key: u64,
    value: u64,
    time: u64,
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Event `n` of the job.
#[inline]
fn event(n: u64) -> Event {
    let key = ((mix(n + 1) >> 32) * KEYS) >> 32;
    Event { key, value: n % 1000, time: BASE_MS + n * 1000 / EVENTS_PER_SECOND }
}

/// What the sink folds; independent of the order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    rows: u64,
    counted: u64,
    sum: u64,
}

impl Totals {
    fn row(&mut self, key: u64, count: u64, end: u64) {
        self.rows += 1;
        self.counted += count;
        self.sum = self.sum.wrapping_add(mix(mix(mix(key) ^ count) ^ end));
    }
    fn add(&mut self, other: Totals) {
        self.rows += other.rows;
        self.counted += other.counted;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// Totals of a sink on one worker, added to the shared ones when the job drops it.
struct Fold {
    own: Totals,
    all: Arc<parking_lot::Mutex<Totals>>,
}

impl Fold {
    fn row(&mut self, result: &WindowResult<u64, u64>) {
        self.own.row(result.key, result.value, result.end.cast_unsigned());
    }
}

impl Clone for Fold {
    fn clone(&self) -> Self {
        Fold { own: Totals::default(), all: self.all.clone() }
    }
}

impl Drop for Fold {
    fn drop(&mut self) {
        self.all.lock().add(self.own);
    }
}

fn grid(events: u64, workers: usize, combining: bool) -> Totals {
    let all = Arc::new(parking_lot::Mutex::new(Totals::default()));
    let mut fold = Fold { own: Totals::default(), all: all.clone() };
    let p = Pipeline::new();
    p.read(sources::generate(event).count(events))
        .map(|e| Event { value: e.value * 908 / 1000, ..e })
        .filter(|e| e.value != 0)
        .with_timestamps(|e| e.time.cast_signed(), Duration::ZERO)
        .key_by(|e| e.key)
        .window(Tumbling::of(Duration::from_millis(WINDOW_MS)))
        .count()
        .combining(combining)
        .named("counts")
        .write(sinks::for_each(move |r: WindowResult<u64, u64>| {
            fold.row(&r);
            Ok(())
        }));
    let job = Job::plan(p, &Config { workers, ..Config::default() }).expect("a plan");
    let report = job.spawn().expect("threads").join().wait().expect("the job ends");
    assert_eq!(report.stage("counts").map(|stage| stage.late), Some(0));
    let totals = all.lock();
    *totals
}

#[inline(never)]
fn plain(events: u64) -> Totals {
    let mut counts = vec![0u64; KEYS as usize];
    let mut totals = Totals::default();
    let mut end = BASE_MS + WINDOW_MS;
    let mut fire = |counts: &mut Vec<u64>, end: u64| {
        for (key, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            totals.row(key as u64, std::mem::take(count), end);
        }
    };
    for n in 0..events {
        let e = event(n);
        if e.time >= end {
            fire(&mut counts, end);
            end = e.time / WINDOW_MS * WINDOW_MS + WINDOW_MS;
        }
        if e.value * 908 / 1000 != 0 {
            counts[e.key as usize] += 1;
        }
    }
    fire(&mut counts, end);
    totals
}

mod peer {
    //! The same job on timely dataflow: exchange by key, a table per window, notified by the
    //! frontier. The timestamp is the window, so that containers are not cut more often than that.

    use super::{BASE_MS, Event, Totals, WINDOW_MS, event};
    use std::collections::HashMap;
    use std::hash::{BuildHasherDefault, Hasher};
    use std::sync::Arc;
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::channels::pact::{Exchange, Pipeline};
    use timely::dataflow::operators::generic::operator::source;
    use timely::dataflow::operators::vec::{Filter, Map};
    use timely::dataflow::operators::{Operator, Probe};

    /// One multiplication: the default hasher would be the benchmark.
    #[derive(Clone, Default)]
    struct Multiply(u64);

    impl Hasher for Multiply {
        fn write(&mut self, _: &[u8]) {}
        fn write_u64(&mut self, n: u64) {
            self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }

    type Counts = HashMap<u64, u64, BuildHasherDefault<Multiply>>;

    /// Events per activation of the source.
    const CHUNK: u64 = 4096;

    /// Runs it on `workers` threads.
    pub(super) fn run(events: u64, workers: usize) -> Totals {
        let config = match workers {
            1 => timely::Config::thread(),
            n => timely::Config::process(n),
        };
        let all = Arc::new(parking_lot::Mutex::new(Totals::default()));
        let totals = all.clone();
        let guards = timely::execute(config, move |worker| dataflow(worker, events, &totals));
        drop(guards.expect("timely workers").join());
        let totals = all.lock();
        *totals
    }

    fn dataflow(
        worker: &mut timely::worker::Worker,
        events: u64,
        totals: &Arc<parking_lot::Mutex<Totals>>,
    ) {
        let (index, peers) = (worker.index() as u64, worker.peers() as u64);
        let all = totals.clone();
        worker.dataflow::<u64, _, _>(move |scope| {
            source::<_, CapacityContainerBuilder<Vec<Event>>, _, _>(
                scope,
                "generate",
                move |capability, info| {
                    let activator = scope.activator_for(info.address);
                    let (mut capability, mut n) = (Some(capability), index);
                    move |output| {
                        let Some(held) = capability.as_mut() else { return };
                        let stop = (n + CHUNK * peers).min(events);
                        while n < stop {
                            let window = event(n).time / WINDOW_MS - BASE_MS / WINDOW_MS;
                            held.downgrade(&window);
                            let end = ((window + 1) * super::EVENTS_PER_SECOND).min(stop);
                            let mut session = output.session(held);
                            while n < end {
                                session.give(event(n));
                                n += peers;
                            }
                        }
                        if n >= events {
                            capability = None;
                        }
                        activator.activate();
                    }
                },
            )
            .map(|e| Event { value: e.value * 908 / 1000, ..e })
            .filter(|e| e.value != 0)
            .unary_notify::<CapacityContainerBuilder<Vec<(u64, u64, u64)>>, _, _>(
                Exchange::new(|e: &Event| e.key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40),
                "count",
                None,
                {
                    let mut open: HashMap<u64, Counts> = HashMap::new();
                    move |input, output, notificator| {
                        input.for_each_time(|time, data| {
                            let counts = open.entry(*time.time()).or_insert_with(|| {
                                notificator.notify_at(time.retain(output.output_index()));
                                Counts::default()
                            });
                            for batch in data {
                                for e in batch.drain(..) {
                                    *counts.entry(e.key).or_insert(0) += 1;
                                }
                            }
                        });
                        for (time, _) in notificator.by_ref() {
                            let end = BASE_MS + (time.time() + 1) * WINDOW_MS;
                            let mut session = output.session(&time);
                            for (key, count) in open.remove(time.time()).unwrap_or_default() {
                                session.give((key, count, end));
                            }
                        }
                    }
                },
            )
            .unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Pipeline,
                "fold",
                move |_, _| {
                    move |(input, _), _output| {
                        let mut own = Totals::default();
                        input.for_each_time(|_, data| {
                            for batch in data {
                                for (key, count, end) in batch.drain(..) {
                                    own.row(key, count, end);
                                }
                            }
                        });
                        if own.rows > 0 {
                            all.lock().add(own);
                        }
                    }
                },
            )
            .probe();
        });
        while worker.step_or_park(None) {}
    }
}

struct Variant {
    name: &'static str,
    workers: usize,
    run: fn(u64) -> Totals,
    seconds: Vec<f64>,
    cpu_seconds: f64,
    allocations: u64,
}

fn variants() -> Vec<Variant> {
    let of = |name, workers, run| Variant {
        name,
        workers,
        run,
        seconds: vec![],
        cpu_seconds: 0.0,
        allocations: 0,
    };
    vec![
        of("plain loop, array by key", 1, plain),
        of("timely", 1, |n| peer::run(n, 1)),
        of("timely", 2, |n| peer::run(n, 2)),
        of("grid, exchange", 1, |n| grid(n, 1, false)),
        of("grid, exchange", 2, |n| grid(n, 2, false)),
        of("grid, combining + exchange", 1, |n| grid(n, 1, true)),
        of("grid, combining + exchange", 2, |n| grid(n, 2, true)),
    ]
}

/// Processor time of this process, as Linux reports it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |at: usize, or: u64| args.get(at).and_then(|a| a.parse().ok()).unwrap_or(or);
    let (events, rounds) = (number(0, 20_000_000), number(1, 5));
    let mut variants = variants();
    if let Some(filter) = args.get(2) {
        variants.retain(|v| format!("{} {}", v.name, v.workers).contains(filter.as_str()));
    }
    let expected = plain(events);
    println!("{events} events, {rounds} rounds: {expected:?}");
    if events == 20_000_000 {
        assert_eq!((expected.rows, expected.counted), (200_000, 19_960_000));
    }
    for _ in 0..rounds {
        for variant in &mut variants {
            let (before, begin) = (ALLOCATIONS.load(Relaxed), Instant::now());
            let cpu = cpu_seconds();
            let totals = (variant.run)(events);
            variant.seconds.push(begin.elapsed().as_secs_f64());
            variant.cpu_seconds += cpu_seconds() - cpu;
            variant.allocations = ALLOCATIONS.load(Relaxed) - before;
            assert_eq!(totals, expected, "{} on {} workers", variant.name, variant.workers);
        }
    }
    print_table(events, &mut variants);
}

#[allow(clippy::cast_precision_loss)]
fn print_table(events: u64, variants: &mut [Variant]) {
    println!(
        "{:28} {:>7} {:>9} {:>9} {:>9} {:>15} {:>9} {:>14}",
        "", "workers", "M ev/s", "/core", "/cpu-s", "range", "x timely", "alloc/1000 ev"
    );
    let rate = |seconds: f64| events as f64 / seconds / 1e6;
    let median = |variant: &mut Variant| {
        variant.seconds.sort_by(f64::total_cmp);
        rate(variant.seconds[variant.seconds.len() / 2])
    };
    let mut timely = [f64::NAN; 3];
    for variant in variants.iter_mut().filter(|v| v.name == "timely") {
        timely[variant.workers] = median(variant);
    }
    for variant in variants {
        let m = median(variant);
        let (best, worst) = (variant.seconds[0], variant.seconds[variant.seconds.len() - 1]);
        println!(
            "{:28} {:>7} {:>9.1} {:>9.1} {:>9.1} {:>15} {:>9.2} {:>14.3}",
            variant.name,
            variant.workers,
            m,
            m / variant.workers as f64,
            rate(variant.cpu_seconds / variant.seconds.len() as f64),
            format!("{:.1}..{:.1}", rate(worst), rate(best)),
            m / timely[variant.workers],
            variant.allocations as f64 * 1000.0 / events as f64,
        );
    }
}
