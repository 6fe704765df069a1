//! The entry store beside dashmap: time of a get and an overwrite, memory per entry.
//!
//! 16-byte keys, 100-byte values, uniformly random keys; the store as a member uses it, behind one
//! lock per partition. Every layout lives in a process of its own, so that its memory is its own;
//! the processes take turns, round by round, so that a disturbance meets all of them. Keys are made
//! before the clock starts.
//!
//! `cargo bench -p grid-benches --bench store [-- ENTRIES...]`

use bytes::Bytes;
use dashmap::DashMap;
use grid_core::data::{Blob, TypeTag};
use grid_core::partitioning::{partition_hash, partition_of};
use grid_core::store::{Ledger, Meta, Pool, PoolConfig, Store, hash64};
use parking_lot::Mutex;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LAYOUTS: [&str; 3] = ["dashmap", "store", "store, huge pages"];
const KINDS: [&str; 6] = ["get 1", "get 2", "set 1", "set 2", "batch 1", "batch 2"];
const PARTITIONS: u16 = 271;
const ROUNDS: usize = 7;
const OPS: usize = 300_000;
const BATCH: usize = 32;
const SEED: u64 = 0x5eed;

type Failure = Box<dyn std::error::Error>;
type Key = [u8; 16];

fn key(n: u64) -> Key {
    (u128::from(n) | u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64).to_le_bytes()
}

/// What is compared.
trait Layout: Send + Sync {
    fn get(&self, key: &Key, out: &mut [u8; 100]) -> bool;
    fn set(&self, key: &Key, value: &[u8; 100]);
    /// Gets of a whole read batch.
    fn batch(&self, keys: &[Key], out: &mut [u8; 100]) {
        for key in keys {
            self.get(key, out);
            black_box(&mut *out);
        }
    }
}

struct Grid {
    partitions: Vec<Mutex<Store>>,
}

impl Grid {
    fn new(huge_pages: bool) -> Result<Self, Failure> {
        let config = PoolConfig { huge_pages, ..PoolConfig::default() };
        let pool = Pool::new(&config, Arc::new(Ledger::new(u64::MAX)))?;
        let store = |_| Mutex::new(Store::new(&pool, SEED));
        Ok(Self { partitions: (0..PARTITIONS).map(store).collect() })
    }

    fn partition(&self, key: &Key) -> &Mutex<Store> {
        &self.partitions[usize::from(partition_of(partition_hash(key), PARTITIONS).0)]
    }
}

fn blob(payload: &[u8]) -> Blob<'_> {
    Blob { tag: TypeTag::BYTES, payload }
}

impl Layout for Grid {
    fn get(&self, key: &Key, out: &mut [u8; 100]) -> bool {
        let hash = hash64(key, SEED);
        let store = self.partition(key).lock();
        store.get(hash, blob(key)).map(|entry| out.copy_from_slice(entry.value().payload)).is_some()
    }

    fn set(&self, key: &Key, value: &[u8; 100]) {
        let hash = hash64(key, SEED);
        let mut store = self.partition(key).lock();
        let put = store.put(hash, blob(key), blob(value), &Meta::new(7));
        assert!(put.is_ok());
    }

    fn batch(&self, keys: &[Key], out: &mut [u8; 100]) {
        let mut prepared = [(0, &self.partitions[0]); BATCH];
        for (key, prepared) in keys.iter().zip(&mut prepared) {
            *prepared = (hash64(key, SEED), self.partition(key));
            prepared.1.lock().prefetch_index(prepared.0);
        }
        for (hash, partition) in prepared {
            partition.lock().prefetch_record(hash);
        }
        for (key, (hash, partition)) in keys.iter().zip(prepared) {
            if let Some(entry) = partition.lock().get(hash, blob(key)) {
                out.copy_from_slice(entry.value().payload);
            }
            black_box(&mut *out);
        }
    }
}

impl Layout for DashMap<Key, Bytes, ahash::RandomState> {
    fn get(&self, key: &Key, out: &mut [u8; 100]) -> bool {
        DashMap::get(self, key).map(|value| out.copy_from_slice(&value)).is_some()
    }

    fn set(&self, key: &Key, value: &[u8; 100]) {
        self.insert(*key, Bytes::copy_from_slice(value));
    }
}

fn layout(name: &str) -> Result<Box<dyn Layout>, Failure> {
    Ok(match name {
        "dashmap" => Box::new(DashMap::<Key, Bytes, ahash::RandomState>::default()),
        "store" => Box::new(Grid::new(false)?),
        _ => Box::new(Grid::new(true)?),
    })
}

fn resident_bytes() -> Result<f64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4096.0)
}

/// One thread's operations; returns the time they took.
fn run(layout: &dyn Layout, kind: &str, entries: u64, seed: u64) -> Duration {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    let mut keys = [[0; 16]; BATCH];
    let (mut took, mut out, mut misses) = (Duration::ZERO, [0; 100], 0);
    for _ in 0..OPS / BATCH {
        for slot in &mut keys {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *slot = key(((u128::from(state) * u128::from(entries)) >> 64) as u64);
        }
        black_box(&mut keys);
        let start = Instant::now();
        match kind {
            "get" => {
                for key in &keys {
                    misses += u32::from(!layout.get(key, &mut out));
                    black_box(&mut out);
                }
            }
            "set" => keys.iter().for_each(|key| layout.set(key, &[b'y'; 100])),
            _ => layout.batch(&keys, &mut out),
        }
        took += start.elapsed();
    }
    assert_eq!(misses, 0);
    took
}

/// A measured process: loads, reports bytes and load time per entry, then runs what it reads.
fn child(name: &str, entries: u64) -> Result<(), Failure> {
    let before = resident_bytes()?;
    let layout = layout(name)?;
    let start = Instant::now();
    (0..entries).for_each(|n| layout.set(&key(n), &[b'x'; 100]));
    let load = start.elapsed().as_nanos() as f64 / entries as f64;
    println!("{} {load}", (resident_bytes()? - before) / entries as f64);
    let mut seed = 1;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (kind, threads) = line.split_once(' ').ok_or("kind and threads")?;
        let threads: u64 = threads.parse()?;
        seed += threads;
        let took: Duration = std::thread::scope(|scope| {
            let layout = &*layout;
            let spawn = |n| scope.spawn(move || run(layout, kind, entries, seed + n));
            let running: Vec<_> = (0..threads).map(spawn).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        println!("{}", took.as_nanos() as f64 / (threads as f64 * OPS as f64));
    }
    Ok(())
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(name: &str, entries: u64) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--child", name, &entries.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("stdout")?);
        Ok(Self { child, input, output })
    }

    fn numbers(&mut self) -> Result<Vec<f64>, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    fn measure(&mut self, kind: &str) -> Result<f64, Failure> {
        writeln!(self.input, "{kind}")?;
        Ok(*self.numbers()?.first().ok_or("a child died")?)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(entries: u64) -> Result<(), Failure> {
    let mut processes = Vec::new();
    println!("{entries} entries of 16 + 100 bytes; ns per operation and thread (ratio to dashmap)");
    for name in LAYOUTS {
        let mut process = Process::start(name, entries)?;
        let loaded = process.numbers()?;
        let [bytes, load] = loaded[..] else { return Err("a child died".into()) };
        println!("  {name:18} {bytes:6.1} B/entry resident, load {load:4.0} ns/entry");
        processes.push(process);
    }
    let mut times = vec![vec![Vec::new(); KINDS.len()]; LAYOUTS.len()];
    for _ in 0..ROUNDS {
        for (k, kind) in KINDS.iter().enumerate() {
            for (process, times) in processes.iter_mut().zip(&mut times) {
                times[k].push(process.measure(kind)?);
            }
        }
    }
    let (base, _) = times.split_first().ok_or("no layouts")?;
    for (name, own) in LAYOUTS.iter().zip(&times) {
        print!("  {name:18}");
        for ((kind, own), base) in KINDS.iter().zip(own).zip(base) {
            let ratios = own.iter().zip(base).map(|(own, base)| own / base).collect();
            print!(" | {kind} {:4.0} ({:.2})", median(own.clone()), median(ratios));
        }
        println!();
    }
    for mut process in processes {
        drop(process.input);
        process.child.wait()?;
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, name, entries] = &args[..]
        && flag == "--child"
    {
        return child(name, entries.parse()?);
    }
    let sizes: Result<Vec<u64>, _> = args.iter().map(|arg| arg.parse()).collect();
    let sizes = sizes?;
    let default = [600_000, 1_000_000, 1_500_000];
    for entries in if sizes.is_empty() { default.to_vec() } else { sizes } {
        compare(entries)?;
    }
    Ok(())
}
