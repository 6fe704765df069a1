//! Handles in the process that owns the data, beside dashmap in the same run: time per operation on
//! one and two threads, memory per entry in a clean process, allocations per operation.
//!
//! `cargo bench -p grid-benches --bench embedded [-- --ops N --rounds N --only-entries N --only get
//! --backend member]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/local.rs"]
mod local;

use bytes::Bytes;
use common::{Random, VALUE_BYTES, flag, key, median, ns_per_op, number, resident_bytes};
use dashmap::DashMap;
use grid_core::{Grid, Map, Queue, block_on};
use grid_node::Member;
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

type Key = [u8; 16];
type Value = [u8; VALUE_BYTES];
type Dash = DashMap<Key, Bytes, ahash::RandomState>;

/// mimalloc, counting allocations while told to.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)] // hands every call through to mimalloc
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { mimalloc::MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        unsafe { mimalloc::MiMalloc.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What runs behind the handles, kept alive.
struct Backend {
    name: &'static str,
    grid: Grid,
    _member: Option<Member>,
}

/// A member, with its entries in huge pages or not, or the least that can stand behind the handles.
const BACKENDS: [&str; 3] = ["member", "member, huge pages", "bare partitions"];

impl Backend {
    fn start(name: &'static str) -> Self {
        if name.starts_with("bare") {
            return Backend { name, grid: Grid::new(local::Local::new(false)), _member: None };
        }
        let huge = name.ends_with("huge pages");
        let member =
            Member::builder().cores(1).set("memory.huge-pages", huge).start_blocking().unwrap();
        Backend { name, grid: member.grid(), _member: Some(member) }
    }
}

fn backends() -> impl Iterator<Item = Backend> {
    let only = flag("--backend");
    let wanted = move |name: &&str| only.as_ref().is_none_or(|only| only == name);
    BACKENDS.into_iter().filter(wanted).map(Backend::start)
}

/// One map under test.
trait Subject: Sync {
    /// Runs `what` on `ops` uniform keys below `entries` on one thread.
    fn run(&self, what: What, seed: u64, ops: u64, entries: u64);
}

#[derive(Clone, Copy)]
enum What {
    Get,
    /// The next key is known only when the value is there, as in most programs: no two gets overlap.
    GetInTurn,
    GetOwned,
    Set,
    Put,
}

struct Ours {
    fixed: Map<Key, Value>,
    owned: Map<Key, Bytes>,
}

impl Ours {
    fn new(grid: &Grid) -> Self {
        Ours { fixed: grid.map("fixed"), owned: grid.map("owned") }
    }

    fn load(&self, entries: u64, owned: bool) {
        block_on(async {
            for n in 0..entries {
                self.fixed.set(&key(n), &[b'x'; VALUE_BYTES]).await.unwrap();
                if owned && n < OWNED {
                    self.owned
                        .set(&key(n), &Bytes::from_static(&[b'x'; VALUE_BYTES]))
                        .await
                        .unwrap();
                }
            }
        });
    }
}

/// Entries of the map with values on the heap: enough to leave every cache.
const OWNED: u64 = 300_000;

impl Subject for Ours {
    fn run(&self, what: What, seed: u64, ops: u64, entries: u64) {
        let mut random = Random::new(seed);
        let value = black_box([b'y'; VALUE_BYTES]);
        let mut last = 0;
        block_on(async {
            for _ in 0..ops {
                let key = key(random.below(entries) + last);
                match what {
                    What::GetInTurn => {
                        let value = self.fixed.get(&key).await.unwrap().unwrap();
                        last = u64::from(value[VALUE_BYTES - 1] & 0x80);
                    }
                    What::Get => drop(black_box(self.fixed.get(&key).await.unwrap().unwrap())),
                    What::GetOwned => drop(black_box(self.owned.get(&key).await.unwrap().unwrap())),
                    What::Set => self.fixed.set(&key, &value).await.unwrap(),
                    What::Put => drop(black_box(self.fixed.put(&key, &value).await.unwrap())),
                }
            }
        });
    }
}

impl Subject for Dash {
    fn run(&self, what: What, seed: u64, ops: u64, entries: u64) {
        let mut random = Random::new(seed);
        let value = black_box([b'y'; VALUE_BYTES]);
        let mut out = [0; VALUE_BYTES];
        let mut last = 0;
        for _ in 0..ops {
            let key = key(random.below(entries) + last);
            match what {
                What::GetInTurn => {
                    out.copy_from_slice(&self.get(&key).unwrap());
                    last = u64::from(black_box(&mut out)[VALUE_BYTES - 1] & 0x80);
                }
                What::Get => {
                    out.copy_from_slice(&self.get(&key).unwrap());
                    black_box(&mut out);
                }
                What::GetOwned => drop(black_box(Bytes::copy_from_slice(&self.get(&key).unwrap()))),
                What::Set => {
                    if let Some(old) = self.insert(key, Bytes::copy_from_slice(&value)) {
                        black_box(old);
                    }
                }
                What::Put => {
                    out.copy_from_slice(&self.insert(key, Bytes::copy_from_slice(&value)).unwrap());
                    black_box(&mut out);
                }
            }
        }
    }
}

/// Nanoseconds per operation and thread.
fn time(
    subject: &dyn Subject,
    what: What,
    threads: u64,
    ops: u64,
    entries: u64,
    round: u64,
) -> f64 {
    ns_per_op(ops, || {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || subject.run(what, round * 16 + thread, ops, entries));
            }
        });
    })
}

fn maps(entries: u64, ops: u64, rounds: u64) {
    let dash = Dash::default();
    (0..entries)
        .for_each(|n| drop(dash.insert(key(n), Bytes::copy_from_slice(&[b'x'; VALUE_BYTES]))));
    for Backend { name, grid, _member } in backends() {
        let ours = Ours::new(&grid);
        ours.load(entries, true);
        println!("\n{entries} entries, {name}: ns per operation and thread, median of {rounds}");
        println!(
            "{:<26}{:>8}{:>9}{:>7}{:>10}{:>9}{:>7}  goal",
            "", "1 thread", "dashmap", "ratio", "2 threads", "dashmap", "ratio"
        );
        for (title, what, goal) in [
            ("get, 100 byte array", What::Get, "1.0"),
            ("get, one after another", What::GetInTurn, "1.0"),
            ("get, value on the heap", What::GetOwned, ""),
            ("set", What::Set, "0.8"),
            ("put, returns the old", What::Put, ""),
        ] {
            let entries = if matches!(what, What::GetOwned) { OWNED.min(entries) } else { entries };
            if !flag("--only").is_none_or(|only| title.contains(&only)) {
                continue;
            }
            print!("{title:<26}");
            for threads in [1, 2] {
                let (mut a, mut b) = (Vec::new(), Vec::new());
                for round in 0..rounds {
                    a.push(time(&ours, what, threads, ops, entries, round));
                    b.push(time(&dash, what, threads, ops, entries, round));
                }
                let ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
                print!("{:>8.0}{:>9.0}{:>7.2}  ", median(&a), median(&b), median(&ratios));
            }
            println!("{goal}");
        }
    }
}

fn queues(ops: u64, rounds: u64) {
    for Backend { name, grid, _member } in backends() {
        let queue: Queue<Value> = grid.queue("queue");
        let times: Vec<f64> = (0..rounds)
            .map(|_| {
                ns_per_op(ops, || {
                    block_on(async {
                        for _ in 0..ops / 64 {
                            for _ in 0..32 {
                                queue.offer(&[b'x'; VALUE_BYTES]).await.unwrap();
                            }
                            for _ in 0..32 {
                                black_box(queue.poll().await.unwrap().unwrap());
                            }
                        }
                    });
                })
            })
            .collect();
        println!("\nqueue offer or poll, {name}: {:.0} ns", median(&times));
    }
}

/// Allocations per operation, warm.
fn allocations() {
    for Backend { name, grid, _member } in backends() {
        let ours = Ours::new(&grid);
        ours.load(1000, true);
        println!("\nallocations per operation, {name}");
        for (title, what, goal) in [
            ("get, 100 byte array", What::Get, 0),
            ("get, value on the heap", What::GetOwned, 1),
            ("set over an entry", What::Set, 0),
            ("put over an entry", What::Put, 0),
        ] {
            ours.run(what, 1, 1000, 1000);
            ALLOCATIONS.store(0, Relaxed);
            COUNTS.store(true, Relaxed);
            ours.run(what, 1, 10_000, 1000);
            COUNTS.store(false, Relaxed);
            println!(
                "{title:<26}{:>8.3}  goal {goal}",
                ALLOCATIONS.load(Relaxed) as f64 / 10_000.0
            );
        }
    }
}

/// Loads one map in this fresh process and prints its resident bytes per entry.
fn memory(subject: &str, entries: u64) {
    let before = resident_bytes();
    let kept: Box<dyn std::any::Any> = if subject == "dashmap" {
        let dash = Dash::default();
        (0..entries)
            .for_each(|n| drop(dash.insert(key(n), Bytes::copy_from_slice(&[b'x'; VALUE_BYTES]))));
        Box::new(dash)
    } else {
        let name = BACKENDS.into_iter().find(|name| *name == subject).unwrap();
        let backend = Backend::start(name);
        Ours::new(&backend.grid).load(entries, false);
        Box::new(backend)
    };
    println!("{:.1}", (resident_bytes() - before) / entries as f64);
    drop(kept);
}

fn memory_in_child(subject: &str, entries: u64) -> String {
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--memory", subject, "--entries", &entries.to_string()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn main() {
    if let Some(subject) = flag("--memory") {
        return memory(&subject, number("--entries", 1_000_000));
    }
    let (ops, rounds) = (number("--ops", 1_000_000), number("--rounds", 5));
    let sizes = match number("--only-entries", 0) {
        0 => vec![600_000, 1_000_000, 1_500_000],
        n => vec![n],
    };
    allocations();
    println!(
        "\nresident bytes per entry of 16 + {VALUE_BYTES} bytes, in a process of its own (goal: at most 145)"
    );
    for entries in &sizes {
        let ours: Vec<String> = BACKENDS
            .iter()
            .map(|name| format!("{name}: {}", memory_in_child(name, *entries)))
            .collect();
        println!(
            "{entries:>10} entries: {}; dashmap: {}",
            ours.join("; "),
            memory_in_child("dashmap", *entries)
        );
    }
    queues(ops, rounds);
    sizes.iter().for_each(|entries| maps(*entries, ops, rounds));
}
