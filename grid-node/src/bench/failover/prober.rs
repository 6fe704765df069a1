//! Probes: one that writes and one that reads a key of each partition, at fixed times whatever the cluster
//! does.

use super::super::keys::{KEY_BYTES, key};
use super::samples::{Outcome, Sample};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::PartitionId;
use grid_core::partitioning::{partition_hash, partition_of};
use grid_core::{Applied, Map};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The map that is probed.
pub(super) type Probed = Map<[u8; KEY_BYTES], u64>;

/// How often it is looked which probes are due.
const TICK: Duration = Duration::from_millis(1);
/// Operations under way at most; further ones are not begun, and count as failed.
const OPEN_MAX: usize = 50_000;

/// Running probes.
#[derive(Debug)]
pub(super) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

/// A key of each partition.
pub(super) fn keys(partitions: &[PartitionId], count: u16) -> Vec<[u8; KEY_BYTES]> {
    let find = |wanted: &PartitionId| {
        let all = (0..).map(key);
        all.into_iter().find(|key| partition_of(partition_hash(key), count) == *wanted)
    };
    partitions.iter().filter_map(find).collect()
}

impl Prober {
    /// Writes every key once, then starts probes, each every `interval`. Returns once the keys are written.
    /// Times are those of `clock`.
    ///
    /// # Errors
    /// If the keys cannot be written.
    pub(super) fn start(
        map: Probed,
        keys: Vec<[u8; KEY_BYTES]>,
        interval: Duration,
        clock: Instant,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, written) = std::sync::mpsc::channel();
        let probing = Probing {
            map,
            keys,
            interval,
            clock,
            stop: Arc::clone(&stop),
            samples: Arc::default(),
        };
        let thread = std::thread::Builder::new().name("bench-probes".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| Error::with(Kind::Io, e.to_string()))?;
            runtime.block_on(async move {
                let began = probing.write_all().await;
                let failed = began.is_err();
                // Nobody waits any more if the caller has gone.
                let _ = ready.send(began);
                if !failed {
                    probing.run().await;
                }
                Ok(std::mem::take(&mut *probing.samples.lock()))
            })
        });
        let thread = thread.map_err(|e| Error::with(Kind::Io, e.to_string()))?;
        let gone = || Error::with(Kind::Internal, "the probes have ended early");
        written.recv().map_err(|_| gone())??;
        Ok(Prober { stop, thread })
    }

    /// Ends them, and waits for what is under way.
    ///
    /// # Errors
    /// If they have panicked.
    pub(super) fn finish(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Relaxed);
        let panicked = |_| Error::with(Kind::Internal, "the probes have panicked");
        self.thread.join().map_err(panicked)?
    }
}

/// Numbers are unique over all probes of a process.
static NUMBER: AtomicU64 = AtomicU64::new(1);

struct Probing {
    map: Probed,
    keys: Vec<[u8; KEY_BYTES]>,
    interval: Duration,
    clock: Instant,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Probing {
    fn now(&self) -> u64 {
        nanos(self.clock.elapsed())
    }

    async fn write_all(&self) -> Result<()> {
        for (target, key) in self.keys.iter().enumerate() {
            let (number, due) = (NUMBER.fetch_add(1, Relaxed), self.now());
            self.map.set(key, &number).await?;
            let (ended, outcome) = (self.now(), Outcome::Done(Some(number)));
            let sample = Sample { target, write: true, due, began: due, ended, outcome, number };
            self.samples.lock().push(sample);
        }
        Ok(())
    }

    async fn run(&self) {
        let interval = nanos(self.interval).max(1);
        let count = (2 * self.keys.len()).max(1) as u64;
        let first = self.now();
        // Probe n is due at first + interval * n / count, and so on.
        let mut due: Vec<u64> = (0..count).map(|n| first + interval * n / count).collect();
        let mut open = JoinSet::new();
        while !self.stop.load(Relaxed) {
            let now = self.now();
            for (n, due) in due.iter_mut().enumerate() {
                while *due <= now {
                    self.begin(n / 2, n % 2 == 0, *due, &mut open);
                    *due += interval;
                }
            }
            while open.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
        while open.join_next().await.is_some() {}
    }

    fn begin(&self, target: usize, write: bool, due: u64, open: &mut JoinSet<()>) {
        let Some(key) = self.keys.get(target).copied() else { return };
        let number = if write { NUMBER.fetch_add(1, Relaxed) } else { 0 };
        let (map, clock, samples) = (self.map.clone(), self.clock, Arc::clone(&self.samples));
        if open.len() >= OPEN_MAX {
            let (began, outcome) = (self.now(), Outcome::Failed("too many under way".into()));
            let sample = Sample { target, write, due, began, ended: began, outcome, number };
            return samples.lock().push(sample);
        }
        open.spawn(async move {
            let began = nanos(clock.elapsed());
            let result = match write {
                true => map.set(&key, &number).await.map(|()| Some(number)),
                false => map.get(&key).await,
            };
            let ended = nanos(clock.elapsed());
            let outcome = result.map_or_else(|e| Outcome::Failed(kind_of(&e)), Outcome::Done);
            samples.lock().push(Sample { target, write, due, began, ended, outcome, number });
        });
    }
}

fn kind_of(error: &Error) -> String {
    let maybe = if error.applied() == Applied::Maybe { ", maybe applied" } else { "" };
    format!("{:?}{maybe}", error.kind())
}

/// Nanoseconds of a time within a run.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
