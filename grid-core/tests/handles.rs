//! The handles over an invoker that is nothing but partitions: every answer there at once, or later,
//! or never, or an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;

use commands::env;
use futures_core::Stream;
use grid_core::control::{
    ClusterConfig, Command, ControlState, MapConfig, Outcome as Decided, QueueConfig,
    StructureConfig, StructureKind,
};
use grid_core::data::{Affinity, BlobBuf};
use grid_core::handle::{
    BoxFuture, Call, Grid, Invoke, Mailbox, Map, Message, RawEvent, Read, Started, Token, block_on,
};
use grid_core::ids::{Index, Millis, PartitionId, StructureId};
use grid_core::op::{Op, OpCode};
use grid_core::partition::{Outcome, Partition, Request};
use grid_core::store::hash64;
use grid_core::time::ManualClock;
use grid_core::{Applied, Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const PARTITIONS: u16 = 7;

/// When answers come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    AtOnce,
    /// At the second time of asking.
    Later,
    /// When the test says so.
    Held,
}

struct State {
    control: ControlState,
    partitions: Vec<Partition>,
    clock: ManualClock,
    mode: Mode,
    life: u32,
    tokens: u64,
    /// Answers not fetched yet, and how often they were asked for.
    waiting: BTreeMap<u64, (Result<Vec<u8>>, u32)>,
    wakers: Vec<Waker>,
    /// Errors for the next calls on a partition, of this code if there is one.
    errors: BTreeMap<u16, Error>,
    failing: Option<OpCode>,
    calls: Vec<(OpCode, u16, Option<Duration>, Read)>,
    declared: Vec<String>,
    forgotten: Vec<u64>,
    mailboxes: Vec<(StructureId, Arc<Mailbox>)>,
}

struct Fake(Mutex<State>);

fn partitions() -> Vec<Partition> {
    let env = env(u64::MAX, 64 << 20);
    (0..PARTITIONS).map(|p| Partition::new(PartitionId(p), env.clone())).collect()
}

fn formed() -> ControlState {
    let config = ClusterConfig {
        partitions: PARTITIONS,
        sync_backups: 0,
        async_backups: 0,
        min_in_sync: 1,
        lease_ms: 400,
        hash_seed: 0,
    };
    let mut state = ControlState::default();
    assert_eq!(state.apply(Index(1), Command::Form(config, 0)).outcome, Decided::Done);
    state
}

fn fake(mode: Mode) -> (Arc<Fake>, Grid) {
    let fake = Arc::new(Fake(Mutex::new(State {
        control: formed(),
        partitions: partitions(),
        clock: ManualClock::at(Millis(1000)),
        mode,
        life: 0,
        tokens: 0,
        waiting: BTreeMap::new(),
        wakers: Vec::new(),
        errors: BTreeMap::new(),
        failing: None,
        calls: Vec::new(),
        declared: Vec::new(),
        forgotten: Vec::new(),
        mailboxes: Vec::new(),
    })));
    let grid = Grid::new(Arc::clone(&fake) as Arc<dyn Invoke>);
    (fake, grid)
}

impl Fake {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    fn fail(&self, partition: u16, error: Error) {
        self.with(|state| state.errors.insert(partition, error));
    }

    /// The cluster has started again, empty.
    fn restart(&self) {
        self.with(|state| {
            state.life += 1;
            state.partitions = partitions();
            state.control = formed();
        });
    }

    /// Everything held is there now.
    fn release(&self) {
        let wakers = self.with(|state| {
            state.mode = Mode::AtOnce;
            std::mem::take(&mut state.wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    fn calls(&self, code: OpCode) -> usize {
        self.with(|state| state.calls.iter().filter(|call| call.0 == code).count())
    }
}

impl State {
    fn execute(&mut self, call: &Call<'_>) -> Result<Vec<u8>> {
        self.calls.push((call.code, call.partition.0, call.timeout, call.read));
        if call.life != self.life {
            return Err(Error::new(Kind::UnknownStructure));
        }
        if self.failing.is_none_or(|code| code == call.code)
            && let Some(error) = self.errors.remove(&call.partition.0)
        {
            return Err(error);
        }
        let op = Op::decode(call.code as u8, call.body)?;
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, commands::SEED));
        let request = Request { structure: call.structure, op, stamp: None, hash, again: false };
        let partition = &mut self.partitions[usize::from(call.partition.0)];
        let mut reply = Vec::new();
        loop {
            match partition.step(&self.clock, &request, &mut reply) {
                Outcome::Answered(gate) => {
                    assert!(gate <= partition.committed());
                    while let Some(item) = partition.next_published() {
                        let event = RawEvent::Item {
                            seq: item.seq.0,
                            item: BlobBuf { tag: item.tag, payload: item.payload.into() },
                        };
                        for (structure, mailbox) in &self.mailboxes {
                            if *structure == item.structure {
                                self.wakers.extend(mailbox.deliver(event.clone()));
                            }
                        }
                    }
                    return Ok(reply);
                }
                Outcome::Refused(error) => return Err(error),
                Outcome::Again => {}
            }
        }
    }

    fn declare(&mut self, name: &str, kind: StructureKind) -> Result<StructureId> {
        self.declared.push(name.to_owned());
        let config = match kind {
            StructureKind::Map => StructureConfig::Map(MapConfig::default()),
            StructureKind::Queue => {
                StructureConfig::Queue(QueueConfig { items_max: Some(2), ..QueueConfig::default() })
            }
            StructureKind::Topic => StructureConfig::Topic,
        };
        let index = Index(self.control.index().0 + 1);
        let command = Command::Declare { name: name.into(), config };
        match self.control.apply(index, command).outcome {
            Decided::Declared(id, config) => {
                self.partitions.iter_mut().for_each(|p| p.declare(id, &config));
                Ok(id)
            }
            Decided::Refused(kind, detail) => Err(Error::with(kind, detail)),
            other => panic!("{other:?}"),
        }
    }
}

/// Ready at the second poll, so that a declaration takes a while too.
struct Slow<T>(Option<T>, bool);

impl<T: Unpin> Future for Slow<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if !std::mem::replace(&mut self.1, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.take().unwrap())
    }
}

impl Invoke for Fake {
    fn partitions(&self) -> u16 {
        PARTITIONS
    }

    fn life(&self) -> u32 {
        self.with(|state| state.life)
    }

    fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Started {
        assert!(reply.is_empty(), "a buffer that was given back full");
        self.with(|state| {
            let result = state.execute(call);
            if state.mode == Mode::AtOnce {
                return Started::Ready(result.map(|answer| reply.extend_from_slice(&answer)));
            }
            state.tokens += 1;
            state.waiting.insert(state.tokens, (result, 0));
            Started::Waiting(Token(state.tokens))
        })
    }

    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>> {
        assert!(reply.is_empty());
        self.with(|state| {
            let (_, asked) = state.waiting.get_mut(&token.0).expect("a token that is not void");
            *asked += 1;
            match state.mode {
                Mode::Later if *asked == 1 => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Mode::Held => {
                    state.wakers.push(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => {}
            }
            let (result, _) = state.waiting.remove(&token.0).unwrap();
            Poll::Ready(result.map(|answer| reply.extend_from_slice(&answer)))
        })
    }

    fn forget(&self, token: Token) {
        self.with(|state| {
            assert!(state.waiting.remove(&token.0).is_some(), "forgotten twice, or after its end");
            state.forgotten.push(token.0);
        });
    }

    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        _timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>> {
        let result = self.with(|state| state.declare(name, kind));
        Box::pin(Slow(Some(result), false))
    }

    fn subscribe(
        &self,
        structure: StructureId,
        life: u32,
        partition: PartitionId,
        items_max: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        let mailbox = Arc::new(Mailbox::new(items_max));
        let result = self.with(|state| {
            if life != state.life {
                return Err(Error::new(Kind::UnknownStructure));
            }
            state.partitions[usize::from(partition.0)].set_subscribers(structure, 1)?;
            state.mailboxes.push((structure, Arc::clone(&mailbox)));
            Ok(mailbox)
        });
        Box::pin(Slow(Some(result), false))
    }
}

fn each_mode(test: impl Fn(&Fake, &Grid)) {
    for mode in [Mode::AtOnce, Mode::Later] {
        let (fake, grid) = fake(mode);
        test(&fake, &grid);
        fake.with(|state| assert!(state.waiting.is_empty() && state.forgotten.is_empty()));
    }
}

#[test]
fn map_operations_answer_as_documented() {
    each_mode(|fake, grid| {
        let map = grid.map::<String, u64>("m");
        assert_eq!(map.name(), "m");
        assert_eq!(block_on(map.get("a")), Ok(None));
        assert_eq!(block_on(map.put("a", &1)), Ok(None));
        assert_eq!(block_on(map.put("a", &2)), Ok(Some(1)));
        assert_eq!(block_on(map.set("a", &3)), Ok(()));
        assert_eq!(block_on(map.get("a")), Ok(Some(3)));
        assert_eq!(block_on(map.put_if_absent("a", &4)), Ok(Some(3)));
        assert_eq!(block_on(map.put_if_absent("b", &5)), Ok(None));
        assert_eq!(block_on(map.replace("c", &6)), Ok(None));
        assert_eq!(block_on(map.replace("b", &6)), Ok(Some(5)));
        assert_eq!(block_on(map.replace_if_same("b", &5, &7)), Ok(false));
        assert_eq!(block_on(map.replace_if_same("b", &6, &7)), Ok(true));
        assert_eq!(block_on(map.remove_if_same("b", &6)), Ok(false));
        assert_eq!(block_on(map.remove_if_same("b", &7)), Ok(true));
        assert_eq!(block_on(map.contains("b")), Ok(false));
        assert_eq!(block_on(map.remove("a")), Ok(Some(3)));
        assert_eq!(block_on(map.remove("a")), Ok(None));
        assert_eq!(block_on(map.delete("a")), Ok(()));
        assert_eq!(block_on(map.is_empty()), Ok(true));
        assert_eq!(fake.with(|state| state.declared.len()), 1, "at the first operation, and once");
    });
}

#[test]
fn lives_are_rounded_up_and_zero_is_for_ever() {
    each_mode(|fake, grid| {
        let map = grid.map::<u32, u32>("m");
        let ends = |key| block_on(map.entry(&key)).unwrap().unwrap().expires_at;
        block_on(map.set(&1, &1).ttl(Duration::from_micros(1))).unwrap();
        assert_eq!(ends(1), Some(Millis(1001)), "not for ever");
        block_on(map.set(&1, &1).ttl(Duration::from_micros(2500))).unwrap();
        assert_eq!(ends(1), Some(Millis(1003)));
        block_on(map.set(&1, &1).ttl(Duration::ZERO)).unwrap();
        assert_eq!(ends(1), None);
        block_on(map.set(&1, &1).max_idle(Duration::from_nanos(1))).unwrap();
        assert_eq!(ends(1), Some(Millis(1001)));
        assert_eq!(block_on(map.set_ttl(&1, Duration::from_micros(10))), Ok(true));
        assert_eq!(block_on(map.set_ttl(&2, Duration::MAX)), Ok(false));
        block_on(map.put_if_absent(&3, &1).ttl(Duration::MAX).max_idle(Duration::MAX)).unwrap();
        fake.with(|state| state.clock.advance(1));
        assert_eq!(block_on(map.get(&1)), Ok(None));
        assert_eq!(block_on(map.size()), Ok(1));
        let entry = block_on(map.entry(&3)).unwrap().unwrap();
        block_on(map.set(&3, &9)).unwrap();
        assert!(block_on(map.entry(&3)).unwrap().unwrap().version > entry.version);
    });
}

#[test]
fn the_id_is_asked_for_at_the_first_use_and_again_after_the_data_was_lost() {
    let (fake, grid) = fake(Mode::Later);
    let map = grid.map::<u32, u32>("m");
    let other = grid.map::<u32, u32>("other");
    assert!(fake.with(|state| state.declared.is_empty()), "no I/O for a handle");
    block_on(map.set(&1, &1)).unwrap();
    block_on(map.clone().set(&2, &2)).unwrap();
    fake.restart();
    // The id of the old life is another structure's in the new one.
    block_on(other.set(&1, &7)).unwrap();
    assert_eq!(block_on(map.get(&1)), Ok(None));
    assert_eq!(fake.with(|state| state.declared.clone()), ["m", "other", "m"]);
    let wrong = grid.queue::<u32>("m");
    assert_eq!(block_on(wrong.poll()).unwrap_err().kind(), Kind::WrongStructure);
    assert_eq!(block_on(grid.queue::<u32>("").poll()).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_call_under_way_never_reaches_a_structure_of_another_life() {
    let (fake, grid) = fake(Mode::AtOnce);
    let (a, b) = (grid.map::<u32, u32>("a"), grid.map::<u32, u32>("b"));
    block_on(a.set(&1, &1)).unwrap();
    fake.restart();
    // Declared in one life, sent in the next: the declaration below is overtaken by a restart.
    let set = b.set(&1, &2).into_future();
    assert!(!set.is_ready());
    fake.restart();
    block_on(a.set(&5, &5)).unwrap();
    assert_eq!(block_on(set).unwrap_err().kind(), Kind::UnknownStructure);
    assert_eq!(block_on(a.size()), Ok(1), "nothing of b's");
    block_on(b.set(&1, &2)).unwrap();
    assert_eq!(block_on(b.get(&1)), Ok(Some(2)));
}

#[test]
fn deadlines_go_along_and_errors_come_back_as_they_are() {
    let (fake, grid) = fake(Mode::Later);
    let map = grid.map::<u32, u32>("m");
    let (short, long) = (Duration::from_millis(5), Duration::from_secs(9));
    block_on(map.get(&1).timeout(short)).unwrap();
    block_on(map.set(&1, &1).timeout(long)).unwrap();
    block_on(map.set(&1, &1)).unwrap();
    let timeouts: Vec<_> = fake.with(|state| state.calls.iter().map(|call| call.2).collect());
    assert_eq!(timeouts, [Some(short), Some(long), None]);
    let error = Error::with(Kind::Timeout, "too late").maybe_applied();
    (0..PARTITIONS).for_each(|p| fake.fail(p, error.clone()));
    assert_eq!(block_on(map.get(&1)), Err(error));
    assert_eq!(block_on(map.get(&1)), Ok(Some(1)));
}

#[test]
fn a_dropped_future_forgets_its_operation_and_a_finished_one_does_not() {
    let (fake, grid) = fake(Mode::AtOnce);
    let map = grid.map::<u32, u32>("m");
    block_on(map.set(&1, &1)).unwrap();
    let ready = map.get(&1).into_future();
    assert!(ready.is_ready());
    drop(ready);
    fake.with(|state| state.mode = Mode::Held);
    let mut cx = Context::from_waker(Waker::noop());
    let mut get = map.get(&1).into_future();
    assert!(!get.is_ready());
    assert!(Pin::new(&mut get).poll(&mut cx).is_pending());
    drop(get);
    assert_eq!(fake.with(|state| state.forgotten.clone()), [1]);
    let mut all = map.size().into_future();
    assert!(all.as_mut().poll(&mut cx).is_pending());
    assert_eq!(fake.calls(OpCode::MapSize), 7, "all partitions at once");
    drop(all);
    assert_eq!(fake.with(|state| state.forgotten.len()), 8);
    // Not started before it is awaited.
    let calls = fake.with(|state| state.calls.len());
    drop(map.set(&1, &2));
    assert_eq!(fake.with(|state| state.calls.len()), calls);
    let mut get = map.get(&1).into_future();
    assert!(Pin::new(&mut get).poll(&mut cx).is_pending());
    fake.release();
    assert_eq!(Pin::new(&mut get).poll(&mut cx), Poll::Ready(Ok(Some(1))));
    let again = Pin::new(&mut get).poll(&mut cx);
    assert!(matches!(again, Poll::Ready(Err(e)) if e.kind() == Kind::Invalid), "awaited twice");
    drop(get);
    assert_eq!(fake.with(|state| state.forgotten.len()), 8);
}

#[test]
fn reads_say_how_fresh_they_have_to_be_and_writes_do_not() {
    let (fake, grid) = fake(Mode::AtOnce);
    let map = grid.map::<u32, u32>("m");
    let queue = grid.queue::<u32>("q");
    block_on(map.set(&1, &1)).unwrap();
    let reads = |f: &dyn Fn()| {
        fake.with(|state| state.calls.clear());
        f();
        let mut reads: Vec<Read> = fake.with(|state| state.calls.iter().map(|c| c.3).collect());
        reads.dedup();
        reads
    };
    let stale = Read::Stale(Duration::from_millis(50));
    for read in [Read::Linearizable, Read::Confirmed, stale] {
        let all = reads(&|| {
            assert_eq!(block_on(map.get(&1).read(read)), Ok(Some(1)));
            assert_eq!(block_on(map.contains(&1).read(read)), Ok(true));
            assert!(block_on(map.entry(&1).read(read)).unwrap().is_some());
            assert_eq!(block_on(map.size().read(read)), Ok(1));
            assert_eq!(block_on(map.is_empty().read(read)), Ok(false));
            assert_eq!(block_on(map.get_all([&1, &2]).read(read)), Ok(vec![Some(1), None]));
            assert_eq!(block_on(map.keys().read(read).all()), Ok(vec![1]));
            assert_eq!(block_on(queue.peek().read(read)), Ok(None));
            assert_eq!(block_on(queue.size().read(read)), Ok(0));
        });
        assert_eq!(all, [read]);
    }
    let all = reads(&|| {
        block_on(map.get(&1)).unwrap();
        block_on(map.put(&1, &2)).unwrap();
        block_on(queue.offer(&1)).unwrap();
    });
    assert_eq!(all, [Read::Linearizable], "unless told otherwise");
}

#[test]
fn a_subscription_never_reaches_a_structure_of_another_life() {
    let (fake, grid) = fake(Mode::AtOnce);
    let (t, u) = (grid.topic::<u64>("t"), grid.topic::<u64>("u"));
    let mut cx = Context::from_waker(Waker::noop());
    // Declared in one life; in the next its id is another topic's.
    let mut subscribing = Box::pin(t.subscribe());
    assert!(subscribing.as_mut().poll(&mut cx).is_pending());
    assert_eq!(fake.with(|state| state.declared.clone()), ["t"]);
    fake.restart();
    block_on(u.publish(&1)).unwrap();
    let mut subscription = loop {
        if let Poll::Ready(subscription) = subscribing.as_mut().poll(&mut cx) {
            break subscription.unwrap();
        }
    };
    block_on(u.publish(&2)).unwrap();
    block_on(t.publish(&3)).unwrap();
    let message = block_on(subscription.next()).unwrap();
    assert!(matches!(message, Some(Message::Item { value: 3, .. })), "{message:?}");
}

fn twenty(map: &Map<u32, u64>) -> Result<()> {
    let entries: Vec<(u32, u64)> = (0..20).map(|n| (n, u64::from(n) * 10)).collect();
    block_on(map.put_all(entries.iter().map(|(k, v)| (k, v))))
}

#[test]
fn many_keys_go_to_their_partitions_together() {
    each_mode(|fake, grid| {
        let map = grid.map::<u32, u64>("m");
        twenty(&map).unwrap();
        assert_eq!(fake.with(|state| state.declared.len()), 1, "once, not for every partition");
        assert!(fake.calls(OpCode::MapPutAll) <= 7);
        assert_eq!(block_on(map.size()), Ok(20));
        let keys = [3, 99, 0, 3, 19];
        let values = block_on(map.get_all(keys.iter())).unwrap();
        assert_eq!(values, [Some(30), None, Some(0), Some(30), Some(190)], "in the caller's order");
        assert_eq!(block_on(map.get_all::<u32>([])), Ok(vec![]));
        block_on(map.clear()).unwrap();
        assert_eq!(block_on(map.is_empty()), Ok(true));
    });
}

#[test]
fn many_bytes_of_one_partition_go_in_several_requests_in_order() {
    each_mode(|fake, grid| {
        let map = grid.map::<Affinity<u32, u8>, Vec<u8>>("m");
        let entries: Vec<(Affinity<u32, u8>, Vec<u8>)> =
            (0..7).map(|n| (Affinity::new(n % 6, &1), vec![n as u8; 400_000])).collect();
        block_on(map.put_all(entries.iter().map(|(k, v)| (k, v)))).unwrap();
        assert_eq!(fake.calls(OpCode::MapPutAll), 4);
        let partitions: BTreeSet<u16> =
            fake.with(|state| state.calls.iter().map(|c| c.1).collect());
        assert_eq!(partitions.len(), 1, "affinity decides");
        let last = block_on(map.get(&Affinity::new(0, &1))).unwrap().unwrap();
        assert_eq!(last[0], 6, "the later of two entries of one key");
        let mut keys: Vec<u32> =
            block_on(map.keys().all()).unwrap().iter().map(|k| *k.key()).collect();
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn an_error_of_put_all_speaks_of_all_partitions() {
    let no = || Error::new(Kind::Overloaded);
    let maybe = || Error::new(Kind::Timeout).maybe_applied();
    let run = |errors: Vec<(u16, Error)>| {
        let (fake, grid) = fake(Mode::Later);
        errors.into_iter().for_each(|(p, error)| fake.fail(p, error));
        let error = twenty(&grid.map::<u32, u64>("m")).unwrap_err();
        (error.kind(), error.applied())
    };
    let all = |error: fn() -> Error| (0..PARTITIONS).map(|p| (p, error())).collect::<Vec<_>>();
    assert_eq!(run(all(|| Error::new(Kind::Overloaded))), (Kind::Overloaded, Applied::No));
    assert_eq!(run(vec![(2, no())]), (Kind::Overloaded, Applied::Maybe), "others have written");
    let mut mixed = all(|| Error::new(Kind::Overloaded));
    mixed[5].1 = maybe();
    assert_eq!(run(mixed), (Kind::Overloaded, Applied::Maybe), "one may have written");
}

#[test]
fn queue_operations_answer_as_documented() {
    each_mode(|_, grid| {
        let queue = grid.queue::<String>("q");
        assert_eq!(block_on(queue.poll()), Ok(None));
        assert_eq!(block_on(queue.offer("a")), Ok(true));
        assert_eq!(block_on(queue.offer("b")), Ok(true));
        assert_eq!(block_on(queue.offer("c")), Ok(false), "full");
        assert_eq!(block_on(queue.size()), Ok(2));
        assert_eq!(block_on(queue.peek()), Ok(Some("a".into())));
        assert_eq!(block_on(queue.poll()), Ok(Some("a".into())));
        assert_eq!(block_on(queue.poll()), Ok(Some("b".into())));
        block_on(queue.offer("d")).unwrap();
        block_on(queue.clear()).unwrap();
        assert_eq!(block_on(queue.size()), Ok(0));
    });
}

fn deliver(mailbox: &Mailbox, event: RawEvent) {
    mailbox.deliver(event).into_iter().for_each(Waker::wake);
}

#[test]
fn subscribers_get_items_in_order_and_are_told_what_they_missed() {
    each_mode(|fake, grid| {
        let topic = grid.topic::<u32>("t");
        block_on(topic.publish(&1)).unwrap();
        let mut first = block_on(topic.subscribe()).unwrap();
        let mut slow = block_on(topic.subscribe_with(2)).unwrap();
        (2..7).for_each(|n| block_on(topic.publish(&n)).unwrap());
        let mut got = Vec::new();
        while let Some(Message::Item { value, .. }) = first.try_next().unwrap() {
            got.push(value);
        }
        assert_eq!(got, [2, 3, 4, 5, 6], "from the subscription on");
        assert!(matches!(block_on(slow.next()), Ok(Some(Message::Item { value: 2, .. }))));
        assert!(matches!(block_on(slow.next()), Ok(Some(Message::Item { value: 3, .. }))));
        assert_eq!(block_on(slow.next()), Ok(Some(Message::Gap { missed: Some(3) })));
        let mailboxes = fake.with(|state| state.mailboxes.clone());
        let (first_box, slow_box) = (&mailboxes[0].1, &mailboxes[1].1);
        // Numbers from a peer do not overflow.
        for _ in 0..5 {
            deliver(slow_box, RawEvent::Gap { missed: Some(u64::MAX) });
        }
        assert_eq!(slow.try_next(), Ok(Some(Message::Gap { missed: Some(u64::MAX) })));
        // An item of another type is an error, and the next call goes on behind it.
        let item = BlobBuf::of("no number").unwrap();
        deliver(first_box, RawEvent::Item { seq: 9, item });
        deliver(first_box, RawEvent::Gap { missed: None });
        assert_eq!(first.try_next().unwrap_err().kind(), Kind::WrongType);
        assert_eq!(first.try_next(), Ok(Some(Message::Gap { missed: None })));
        drop(first);
        deliver(first_box, RawEvent::Gap { missed: None });
        let text = format!("{first_box:?}");
        assert!(text.contains("events: 0") && text.contains("left: true"), "{text}");
        slow_box.close().into_iter().for_each(Waker::wake);
        while block_on(slow.next()).unwrap().is_some() {}
        assert_eq!(block_on(slow.next()), Ok(None));
    });
}

#[test]
fn a_scan_returns_everything_once_and_tries_a_failed_page_again() {
    each_mode(|fake, grid| {
        let map = grid.map::<u32, u64>("m");
        let entries: Vec<(u32, u64)> = (0..500).map(|n| (n, u64::from(n) * 10)).collect();
        block_on(map.put_all(entries.iter().map(|(k, v)| (k, v)))).unwrap();
        let mut values = block_on(map.values().page_entries(7).all()).unwrap();
        values.sort_unstable();
        assert!(values.iter().copied().eq((0..500).map(|n| n * 10)));
        assert_eq!(block_on(map.keys().page_entries(0).all()).unwrap().len(), 500);
        // Writes and an error in between.
        let mut scan = map.entries().page_entries(11);
        let mut seen = BTreeMap::new();
        let mut failures = 0;
        fake.with(|state| state.failing = Some(OpCode::MapScan));
        for round in 0.. {
            match block_on(scan.next()) {
                Ok(None) => break,
                Ok(Some((key, value))) => assert_eq!(seen.insert(key, value), None),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Disconnected);
                    failures += 1;
                }
            }
            block_on(map.set(&(1000 + round), &1)).unwrap();
            block_on(map.delete(&(1000 + round / 2))).unwrap();
            if round % 100 == 50 {
                (0..PARTITIONS).for_each(|p| fake.fail(p, Error::new(Kind::Disconnected)));
            }
            if round > 5000 {
                panic!("no end");
            }
        }
        assert!(failures > 0);
        assert!((0..500).all(|key| seen.get(&key) == Some(&(u64::from(key) * 10))));
    });
    let (fake, grid) = fake(Mode::Held);
    let map = grid.map::<u32, u64>("m");
    let mut scan = map.keys();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(Pin::new(&mut scan).poll_next(&mut cx).is_pending());
    }
    assert_eq!(fake.calls(OpCode::MapScan), 1, "one page at a time");
    drop(scan);
    assert_eq!(fake.with(|state| state.forgotten.len()), 1);
}
