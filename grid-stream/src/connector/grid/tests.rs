//! Connectors against partitions in this process that answer at once or only when asked again.

use crate::testkit::{Circumstances, circumstances, drive};
use crate::{Pipeline, sinks, sources};
use grid_core::control::{MapConfig, QueueConfig, StructureConfig, StructureKind};
use grid_core::handle::{BoxFuture, Call, Invoke, Mailbox, Started, Token, block_on};
use grid_core::op::Op;
use grid_core::partition::{Env, Outcome, Partition, Request};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::{ManualClock, Millis};
use grid_core::{Error, Grid, Kind, Map, PartitionId, Queue, Result, StructureId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

const PARTITIONS: u16 = 7;

/// Partitions in this process. Every `slow`-th operation (0: none) answers only at its second poll.
struct Local {
    cells: Vec<Mutex<Partition>>,
    names: Mutex<Vec<String>>,
    clock: ManualClock,
    queue_max: u32,
    slow: usize,
    calls: AtomicUsize,
    /// Whether it was asked for, and the answer.
    waiting: Mutex<HashMap<u64, Late>>,
}

type Late = (bool, Result<Vec<u8>>);

impl Local {
    fn grid(slow: usize, queue_max: u32) -> Grid {
        let ledger = Arc::new(Ledger::new(u64::MAX));
        let pool = Pool::new(&PoolConfig::default(), Arc::clone(&ledger)).unwrap();
        let env = Env { pool, ledger, seed: 1 };
        Grid::new(Arc::new(Local {
            cells: (0..PARTITIONS)
                .map(|id| Mutex::new(Partition::new(PartitionId(id), env.clone())))
                .collect(),
            names: Mutex::default(),
            clock: ManualClock::at(Millis(1)),
            queue_max,
            slow,
            calls: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }))
    }

    fn call(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Result<()> {
        let op = Op::decode(call.code as u8, call.body)?;
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, 1));
        let request = Request { structure: call.structure, op, stamp: None, hash, again: false };
        let mut partition = self.cells[usize::from(call.partition.0)].lock();
        loop {
            match partition.step(&self.clock, &request, reply) {
                Outcome::Answered(_) => return Ok(()),
                Outcome::Refused(error) => return Err(error),
                Outcome::Again => {}
            }
        }
    }
}

impl Invoke for Local {
    fn partitions(&self) -> u16 {
        PARTITIONS
    }
    fn life(&self) -> u32 {
        0
    }
    fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Started {
        let number = self.calls.fetch_add(1, SeqCst) + 1;
        if self.slow == 0 || !number.is_multiple_of(self.slow) {
            return Started::Ready(self.call(call, reply));
        }
        let mut late = Vec::new();
        let result = self.call(call, &mut late).map(|()| late);
        self.waiting.lock().insert(number as u64, (false, result));
        Started::Waiting(Token(number as u64))
    }
    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>> {
        let mut waiting = self.waiting.lock();
        let (asked, _) = waiting.get_mut(&token.0).expect("a token that waits");
        if !std::mem::replace(asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (_, result) = waiting.remove(&token.0).expect("a token that waits");
        Poll::Ready(result.map(|late| reply.extend(late)))
    }
    fn forget(&self, token: Token) {
        self.waiting.lock().remove(&token.0);
    }
    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        _timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>> {
        let mut names = self.names.lock();
        let slot = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        let id = StructureId(u32::try_from(slot).unwrap());
        let config = match kind {
            StructureKind::Map => StructureConfig::Map(MapConfig::default()),
            StructureKind::Queue => StructureConfig::Queue(QueueConfig {
                items_max: Some(self.queue_max.into()),
                ..QueueConfig::default()
            }),
            StructureKind::Topic => StructureConfig::Topic,
        };
        self.cells.iter().for_each(|cell| cell.lock().declare(id, &config));
        Box::pin(std::future::ready(Ok(id)))
    }
    fn subscribe(
        &self,
        _: StructureId,
        _: u32,
        _: PartitionId,
        _: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        Box::pin(std::future::ready(Err(Error::new(Kind::Invalid))))
    }
}

fn get<K: grid_core::data::Key + grid_core::GridData, V: grid_core::GridData>(
    map: &Map<K, V>,
    key: &K,
) -> Option<V> {
    block_on(async { map.get(key).await }).unwrap()
}

/// Runs a pipeline in all circumstances, over grids that are quick, slow and mixed.
fn everywhere(test: impl Fn(&Grid, Circumstances)) {
    for slow in [0, 1, 3] {
        for how in circumstances() {
            test(&Local::grid(slow, u32::MAX), how);
        }
    }
}

#[test]
fn the_last_write_of_a_key_wins_and_none_is_lost() {
    everywhere(|grid, how| {
        let map: Map<u64, u64> = grid.map("squares");
        let p = Pipeline::new();
        let items = (0..300u64).map(|n| (n % 10, n)).collect();
        p.read(sources::items(items).in_order())
            .write(sinks::map(&map, |(key, n): &(u64, u64)| (*key, *n)));
        drive(p, how).unwrap();
        for key in 0..10 {
            assert_eq!(get(&map, &key), Some(290 + key), "{how:?}");
        }
    });
}

#[test]
fn a_stream_is_enriched_from_a_map_in_order() {
    everywhere(|grid, how| {
        let names: Map<u32, String> = grid.map("names");
        for n in 0..5u32 {
            block_on(async { names.set(&n, &format!("name-{n}")).await }).unwrap();
        }
        let p = Pipeline::new();
        let (sink, out) = sinks::collect();
        p.read(sources::items((0..200u32).collect()).in_order())
            .enrich(names, |n| n % 7, |n, name: Option<String>| (n, name))
            .write(sink);
        drive(p, how).unwrap();
        let name = |n: u32| (n % 7 < 5).then(|| format!("name-{}", n % 7));
        let expect: Vec<_> = (0..200).map(|n| (n, name(n))).collect();
        assert_eq!(out.take(), expect, "{how:?}");
    });
}

#[test]
fn a_full_queue_holds_the_job_back_and_keeps_the_order() {
    for slow in [0, 2] {
        let grid = Local::grid(slow, 4);
        let queue: Queue<u64> = grid.queue("numbers");
        let p = Pipeline::new();
        p.read(sources::items((0..50u64).collect())).write(sinks::queue(&queue));
        let job = crate::run_local(p, 1).unwrap();
        let mut got = Vec::new();
        while got.len() < 50 {
            got.extend(block_on(async { queue.poll().await }).unwrap());
        }
        job.join().wait().unwrap();
        assert_eq!(got, (0..50).collect::<Vec<u64>>());
    }
}

#[test]
fn a_failing_sink_fails_the_job_and_names_the_stage() {
    let grid = Local::grid(0, 1);
    // The name belongs to a queue by now.
    let queue: Queue<u64> = grid.queue("taken");
    block_on(async { queue.offer(&1).await }).unwrap();
    let map: Map<u64, u64> = grid.map("taken");
    let p = Pipeline::new();
    p.read(sources::items(vec![1u64])).write(sinks::map(&map, |n: &u64| (*n, *n)));
    let error = crate::run_local(p, 1).unwrap().join().wait().unwrap_err();
    assert_eq!(error.stage(), "items > map taken");
}
