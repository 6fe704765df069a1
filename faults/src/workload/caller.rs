//! Does operations and notes them.

use super::{History, Progress};
use crate::history::{Call, Clock, Operation, Outcome, Target};
use grid_core::{Applied, Error, Grid, Kind, Map, Queue};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long after its deadline an operation counts as one that never returns.
const GRACE: Duration = Duration::from_secs(5);
/// Names whose handles are kept.
const HANDLES_MAX: usize = 256;
/// Odd things that a caller reports; the rest is counted with the errors.
const ODD_MAX: usize = 5;

/// One process of a history.
pub(super) struct Caller {
    grid: Grid,
    process: u32,
    clock: Clock,
    patience: Duration,
    maps: HashMap<String, Map<u64, u64>>,
    queues: HashMap<String, Queue<u64>>,
    values: u32,
    operations: Vec<Operation>,
    errors: BTreeMap<String, u64>,
    odd: Vec<String>,
    progress: Arc<Progress>,
}

impl Caller {
    pub(super) fn new(
        grid: Grid,
        process: u32,
        clock: Clock,
        timeout: Duration,
        progress: &Arc<Progress>,
    ) -> Self {
        Caller {
            grid,
            process,
            clock,
            patience: timeout + GRACE,
            maps: HashMap::new(),
            queues: HashMap::new(),
            values: 0,
            operations: Vec::new(),
            errors: BTreeMap::new(),
            odd: Vec::new(),
            progress: Arc::clone(progress),
        }
    }

    /// A value that nobody else writes.
    pub(super) fn unique(&mut self) -> u64 {
        self.values += 1;
        u64::from(self.process) << 32 | u64::from(self.values)
    }

    /// Does an operation and notes it.
    pub(super) async fn call(&mut self, target: Target, call: Call) -> Outcome {
        let name = target.structure();
        let called = self.clock.now();
        let result = match target {
            Target::Entry { key, .. } | Target::Counter { key } => {
                let map = self.map(name);
                tokio::time::timeout(self.patience, on_map(&map, key, call)).await
            }
            Target::Queue { .. } => {
                let queue = self.queue(name);
                tokio::time::timeout(self.patience, on_queue(&queue, call)).await
            }
        };
        let returned = self.clock.now();
        let outcome = match result {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => self.failed(target, call, &error),
            Err(_) => {
                self.report("never returned", format!("{call:?} on {target} never returned"));
                Outcome::Maybe
            }
        };
        let counter = match outcome {
            Outcome::NotApplied => &self.progress.not_applied,
            Outcome::Maybe => &self.progress.maybe,
            _ => &self.progress.done,
        };
        counter.fetch_add(1, Relaxed);
        let process = self.process;
        self.operations.push(Operation { target, process, called, returned, call, outcome });
        outcome
    }

    fn failed(&mut self, target: Target, call: Call, error: &Error) -> Outcome {
        let kind = format!("{:?}, applied: {:?}", error.kind(), error.applied());
        if is_odd(error.kind()) {
            self.report(&kind, format!("{call:?} on {target}: {error}"));
        } else {
            *self.errors.entry(kind).or_default() += 1;
        }
        match error.applied() {
            Applied::No => Outcome::NotApplied,
            Applied::Maybe => Outcome::Maybe,
        }
    }

    fn report(&mut self, kind: &str, text: String) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
        if self.odd.len() < ODD_MAX {
            self.odd.push(text);
        }
    }

    fn map(&mut self, name: String) -> Map<u64, u64> {
        let grid = &self.grid;
        self.maps.entry(name).or_insert_with_key(|name| grid.map(name)).clone()
    }

    fn queue(&mut self, name: String) -> Queue<u64> {
        if self.queues.len() > HANDLES_MAX {
            self.queues.clear();
        }
        let grid = &self.grid;
        self.queues.entry(name).or_insert_with_key(|name| grid.queue(name)).clone()
    }

    /// Moves what was noted so far to the history.
    pub(super) fn hand_over(&mut self, history: &mut History) {
        history.operations.append(&mut self.operations);
        history.odd.append(&mut self.odd);
        for (kind, count) in std::mem::take(&mut self.errors) {
            *history.errors.entry(kind).or_default() += count;
        }
    }
}

/// Errors that are wrong whatever happens to members and networks.
fn is_odd(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Internal
            | Kind::Malformed
            | Kind::Invalid
            | Kind::Lost
            | Kind::TooLarge
            | Kind::WrongType
            | Kind::WrongStructure
            | Kind::OutOfMemory
            | Kind::Closed
            | Kind::UserCode
    )
}

async fn on_map(map: &Map<u64, u64>, key: u64, call: Call) -> grid_core::Result<Outcome> {
    Ok(match call {
        Call::Get => Outcome::Value(map.get(&key).await?),
        Call::Put(value) => Outcome::Value(map.put(&key, &value).await?),
        Call::Set(value) => {
            map.set(&key, &value).await?;
            Outcome::Done
        }
        Call::Remove => Outcome::Value(map.remove(&key).await?),
        Call::PutIfAbsent(value) => Outcome::Value(map.put_if_absent(&key, &value).await?),
        Call::ReplaceIfSame { expected, value } => {
            Outcome::Flag(map.replace_if_same(&key, &expected, &value).await?)
        }
        Call::RemoveIfSame(expected) => Outcome::Flag(map.remove_if_same(&key, &expected).await?),
        Call::Offer(_) | Call::Poll | Call::Wipe => {
            return Err(Error::with(Kind::Invalid, "a map has no such operation"));
        }
    })
}

async fn on_queue(queue: &Queue<u64>, call: Call) -> grid_core::Result<Outcome> {
    match call {
        Call::Offer(item) => Ok(Outcome::Flag(queue.offer(&item).await?)),
        Call::Poll => Ok(Outcome::Value(queue.poll().await?)),
        _ => Err(Error::with(Kind::Invalid, "a queue has no such operation")),
    }
}
