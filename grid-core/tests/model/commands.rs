//! What the model tests do to a partition: commands on few structures, keys and values, so that they
//! meet often.

use grid_core::PartitionId;
use grid_core::control::{MapConfig, QueueConfig, StructureConfig};
use grid_core::data::{Blob, TypeTag};
use grid_core::ids::StructureId;
use grid_core::op::{self, Life, Op, OpCode, Part};
use grid_core::partition::{Env, Partition};
use grid_core::store::{Ledger, Pool, PoolConfig};
use grid_core::wire::bytes::{KeyRef, put_key, put_value};
use proptest::prelude::*;
use std::sync::Arc;

pub(crate) const SEED: u64 = 0x9e37;
pub(crate) const KEYS: u8 = 24;
pub(crate) const MAPS: u8 = 4;
pub(crate) const QUEUES: u8 = 2;
pub(crate) const TOPIC: StructureId = StructureId(6);
pub(crate) const UNDECLARED: StructureId = StructureId(9);

/// Time-to-live and idle time of each map.
pub(crate) const LIVES: [(Option<u64>, Option<u32>); MAPS as usize] =
    [(None, None), (Some(50), None), (None, Some(80)), (Some(100), Some(40))];
pub(crate) const QUEUE_MAX: [Option<u64>; QUEUES as usize] = [Some(3), None];

pub(crate) fn map(m: u8) -> StructureId {
    StructureId(u32::from(m))
}

pub(crate) fn queue(q: u8) -> StructureId {
    StructureId(u32::from(MAPS + q))
}

pub(crate) fn env(budget: u64, reserve_bytes: u64) -> Env {
    let ledger = Arc::new(Ledger::new(budget));
    let config = PoolConfig { reserve_bytes, keep_free_bytes: 0, ..PoolConfig::default() };
    Env { pool: Pool::new(&config, Arc::clone(&ledger)).unwrap(), ledger, seed: SEED }
}

/// A partition that knows all structures.
pub(crate) fn partition(env: Env) -> Partition {
    let mut partition = Partition::new(PartitionId(0), env);
    for (m, (ttl_ms, max_idle_ms)) in (0..).zip(LIVES) {
        partition.declare(
            map(m),
            &StructureConfig::Map(MapConfig { ttl_ms, max_idle_ms, ..MapConfig::default() }),
        );
    }
    for (q, items_max) in (0..).zip(QUEUE_MAX) {
        partition.declare(
            queue(q),
            &StructureConfig::Queue(QueueConfig { items_max, ..QueueConfig::default() }),
        );
    }
    partition.declare(TOPIC, &StructureConfig::Topic);
    partition.set_subscribers(TOPIC, 1).unwrap();
    partition
}

pub(crate) type Owned = (i32, Arc<[u8]>);

/// Keys in pairs of one payload and two tags: their hashes are equal.
pub(crate) fn key(k: u8) -> (i32, Vec<u8>, Option<u32>) {
    let pair = usize::from(k / 2);
    let len = [0, 1, 7, 8, 9, 20, 21, 40, 100, 300, 1000, 5000][pair % 12];
    let payload = (0..len).map(|i| (i as u8).wrapping_add(pair as u8 * 17)).collect();
    let affinity = k.is_multiple_of(3).then_some(u32::from(k) * 7);
    (if k.is_multiple_of(2) { -11 } else { 5 }, payload, affinity)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Val {
    pub(crate) len: usize,
    pub(crate) fill: u8,
}

impl Val {
    pub(crate) fn owned(self) -> Owned {
        let tag = if self.fill.is_multiple_of(3) { 7 } else { -7 };
        (tag, (0..self.len).map(|i| (i / 7) as u8 ^ self.fill).collect())
    }
}

/// What a comparison expects of a key that has no value.
pub(crate) const UNLIKELY: Val = Val { len: 2, fill: 9 };

pub(crate) fn blob(owned: &Owned) -> Blob<'_> {
    Blob { tag: TypeTag(owned.0), payload: &owned.1 }
}

#[derive(Clone, Debug)]
pub(crate) enum Cmd {
    Get(u8, u8),
    Contains(u8, u8),
    View(u8, u8),
    Put(u8, u8, Val, Life),
    Set(u8, u8, Val, Life),
    PutIfAbsent(u8, u8, Val, Life),
    Replace(u8, u8, Val),
    /// Expects this value, or the one that is there.
    ReplaceIfSame(u8, u8, Option<Val>, Val),
    Remove(u8, u8),
    RemoveIfSame(u8, u8, Option<Val>),
    Delete(u8, u8),
    SetTtl(u8, u8, u64),
    GetAll(u8, Vec<u8>),
    PutAll(u8, Vec<(u8, Val)>, Life),
    Size(u8),
    Clear(u8),
    /// A page of at most so many entries; where from is the driver's to say.
    Scan(u8, u32, Part),
    Offer(u8, Val),
    Poll(u8),
    Peek(u8),
    QueueSize(u8),
    QueueClear(u8),
    Publish(Val),
    /// A command on the wrong kind of structure, or one that is not known.
    Wrong(u8),
}

/// A command as it travels.
pub(crate) struct Sent {
    pub(crate) structure: StructureId,
    pub(crate) code: OpCode,
    pub(crate) body: Vec<u8>,
    /// Payload bytes of keys and values.
    pub(crate) payload: usize,
    pub(crate) items: usize,
}

impl Cmd {
    pub(crate) fn writes(&self) -> bool {
        !matches!(
            self,
            Cmd::Get(..)
                | Cmd::Contains(..)
                | Cmd::View(..)
                | Cmd::GetAll(..)
                | Cmd::Size(_)
                | Cmd::Scan(..)
                | Cmd::Peek(_)
                | Cmd::QueueSize(_)
                | Cmd::Wrong(_)
        )
    }

    /// The key, of commands on one key of a map.
    pub(crate) fn key(&self) -> Option<(u8, u8)> {
        match *self {
            Cmd::Get(m, k)
            | Cmd::Contains(m, k)
            | Cmd::View(m, k)
            | Cmd::Put(m, k, ..)
            | Cmd::Set(m, k, ..)
            | Cmd::PutIfAbsent(m, k, ..)
            | Cmd::Replace(m, k, _)
            | Cmd::ReplaceIfSame(m, k, ..)
            | Cmd::Remove(m, k)
            | Cmd::RemoveIfSame(m, k, _)
            | Cmd::Delete(m, k)
            | Cmd::SetTtl(m, k, _) => Some((m, k)),
            _ => None,
        }
    }

    /// Encodes it. `present` is the value that the key has, `from` where a scan goes on.
    pub(crate) fn send(&self, present: Option<&Owned>, from: u64) -> Sent {
        let k = self.key().map(|(_, k)| key(k)).unwrap_or_default();
        let at = KeyRef { blob: Blob { tag: TypeTag(k.0), payload: &k.1 }, affinity: k.2 };
        let mut sent = Sent {
            structure: TOPIC,
            code: OpCode::MapGet,
            body: Vec::new(),
            payload: k.1.len(),
            items: 1,
        };
        if let Some((m, _)) = self.key() {
            sent.structure = map(m);
        }
        let expected = |val: Option<Val>| match (val, present) {
            (None, Some(present)) => present.clone(),
            (val, _) => val.unwrap_or(UNLIKELY).owned(),
        };
        match self {
            Cmd::Get(..) => sent.op(Op::MapGet(at)),
            Cmd::Contains(..) => sent.op(Op::MapContains(at)),
            Cmd::View(..) => sent.op(Op::MapView(at)),
            Cmd::Put(_, _, v, life) => sent.op(Op::MapPut(at, blob(&v.owned()), *life)),
            Cmd::Set(_, _, v, life) => sent.op(Op::MapSet(at, blob(&v.owned()), *life)),
            Cmd::PutIfAbsent(_, _, v, life) => {
                sent.op(Op::MapPutIfAbsent(at, blob(&v.owned()), *life));
            }
            Cmd::Replace(_, _, v) => sent.op(Op::MapReplace(at, blob(&v.owned()))),
            Cmd::ReplaceIfSame(_, _, e, v) => {
                sent.op(Op::MapReplaceIfSame(at, blob(&expected(*e)), blob(&v.owned())));
            }
            Cmd::Remove(..) => sent.op(Op::MapRemove(at)),
            Cmd::RemoveIfSame(_, _, e) => sent.op(Op::MapRemoveIfSame(at, blob(&expected(*e)))),
            Cmd::Delete(..) => sent.op(Op::MapDelete(at)),
            Cmd::SetTtl(_, _, ttl) => sent.op(Op::MapSetTtl(at, *ttl)),
            Cmd::GetAll(m, keys) => {
                let mut encoded = Vec::new();
                keys.iter().for_each(|k| put(&mut encoded, *k));
                sent.many(
                    OpCode::MapGetAll,
                    map(*m),
                    keys.len(),
                    op::keys_body(keys.len(), &encoded),
                );
            }
            Cmd::PutAll(m, entries, life) => {
                let mut encoded = Vec::new();
                for (k, v) in entries {
                    put(&mut encoded, *k);
                    put_value(&mut encoded, blob(&v.owned()));
                }
                let body = op::entries_body(entries.len(), &encoded, *life);
                sent.many(OpCode::MapPutAll, map(*m), entries.len(), body);
                sent.payload = entries.iter().map(|(k, v)| key(*k).1.len() + v.len).sum();
            }
            Cmd::Size(m) => sent.on(map(*m), Op::MapSize),
            Cmd::Clear(m) => sent.on(map(*m), Op::MapClear),
            Cmd::Scan(m, entries_max, part) => {
                sent.on(map(*m), Op::MapScan { from, entries_max: *entries_max, part: *part });
            }
            Cmd::Offer(q, v) => sent.on(queue(*q), Op::QueueOffer(blob(&v.owned()))),
            Cmd::Poll(q) => sent.on(queue(*q), Op::QueuePoll),
            Cmd::Peek(q) => sent.on(queue(*q), Op::QueuePeek),
            Cmd::QueueSize(q) => sent.on(queue(*q), Op::QueueSize),
            Cmd::QueueClear(q) => sent.on(queue(*q), Op::QueueClear),
            Cmd::Publish(v) => sent.on(TOPIC, Op::TopicPublish(blob(&v.owned()))),
            Cmd::Wrong(0) => sent.on(UNDECLARED, Op::MapSize),
            Cmd::Wrong(1) => sent.on(queue(0), Op::MapGet(at)),
            Cmd::Wrong(2) => sent.on(map(0), Op::QueuePoll),
            Cmd::Wrong(3) => sent.on(map(1), Op::TopicPublish(Blob::new(TypeTag(1), b"x"))),
            Cmd::Wrong(4) => sent.on(TOPIC, Op::MapClear),
            Cmd::Wrong(_) => sent.on(StructureId(u32::MAX), Op::QueuePoll),
        }
        if let Cmd::Put(_, _, v, _)
        | Cmd::Set(_, _, v, _)
        | Cmd::PutIfAbsent(_, _, v, _)
        | Cmd::Replace(_, _, v)
        | Cmd::ReplaceIfSame(_, _, _, v)
        | Cmd::Offer(_, v)
        | Cmd::Publish(v) = self
        {
            sent.payload += v.len;
        }
        sent
    }
}

fn put(out: &mut Vec<u8>, k: u8) {
    let (tag, payload, affinity) = key(k);
    put_key(out, KeyRef { blob: Blob { tag: TypeTag(tag), payload: &payload }, affinity });
}

impl Sent {
    fn op(&mut self, op: Op<'_>) {
        self.code = op::encode(&op, &mut self.body);
    }

    fn on(&mut self, structure: StructureId, op: Op<'_>) {
        self.structure = structure;
        self.op(op);
    }

    fn many(&mut self, code: OpCode, structure: StructureId, items: usize, body: Vec<u8>) {
        *self = Sent { structure, code, body, payload: 0, items };
    }
}

pub(crate) fn val() -> impl Strategy<Value = Val> {
    let len = prop_oneof![
        12 => proptest::sample::select(vec![0usize, 1, 3, 7, 8, 20, 100]),
        3 => proptest::sample::select(vec![1000usize, 4000, 4090, 4096, 4097, 5000]),
        1 => Just(100_000usize),
    ];
    (len, 0..4u8).prop_map(|(len, fill)| Val { len, fill })
}

pub(crate) fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        6 => Just(Life::default()),
        1 => (1..120u64).prop_map(|ttl| Life { ttl_ms: Some(ttl), max_idle_ms: None }),
        1 => (1..120u32).prop_map(|idle| Life { ttl_ms: None, max_idle_ms: Some(idle) }),
        1 => (0..60u64, 0..60u32)
            .prop_map(|(ttl, idle)| Life { ttl_ms: Some(ttl), max_idle_ms: Some(idle) }),
        1 => Just(Life { ttl_ms: Some(u64::MAX), max_idle_ms: Some(u32::MAX) }),
    ]
}

pub(crate) fn cmd() -> impl Strategy<Value = Cmd> {
    // Few keys often, so that commands meet; all now and then, so that scans have something to do.
    let mk = || (0..MAPS, prop_oneof![3 => 0..6u8, 1 => 0..KEYS]);
    let same = || proptest::option::weighted(0.3, val());
    prop_oneof![
        6 => mk().prop_map(|(m, k)| Cmd::Get(m, k)),
        2 => mk().prop_map(|(m, k)| Cmd::Contains(m, k)),
        4 => mk().prop_map(|(m, k)| Cmd::View(m, k)),
        6 => (mk(), val(), life()).prop_map(|((m, k), v, l)| Cmd::Put(m, k, v, l)),
        10 => (mk(), val(), life()).prop_map(|((m, k), v, l)| Cmd::Set(m, k, v, l)),
        4 => (mk(), val(), life()).prop_map(|((m, k), v, l)| Cmd::PutIfAbsent(m, k, v, l)),
        3 => (mk(), val()).prop_map(|((m, k), v)| Cmd::Replace(m, k, v)),
        3 => (mk(), same(), val()).prop_map(|((m, k), e, v)| Cmd::ReplaceIfSame(m, k, e, v)),
        4 => mk().prop_map(|(m, k)| Cmd::Remove(m, k)),
        3 => (mk(), same()).prop_map(|((m, k), e)| Cmd::RemoveIfSame(m, k, e)),
        4 => mk().prop_map(|(m, k)| Cmd::Delete(m, k)),
        4 => (mk(), 0..100u64).prop_map(|((m, k), t)| Cmd::SetTtl(m, k, t)),
        3 => (0..MAPS, proptest::collection::vec(0..KEYS, 0..6)).prop_map(|(m, k)| Cmd::GetAll(m, k)),
        3 => (0..MAPS, proptest::collection::vec((0..KEYS, val()), 0..6), life())
            .prop_map(|(m, e, l)| Cmd::PutAll(m, e, l)),
        3 => (0..MAPS).prop_map(Cmd::Size),
        1 => (0..MAPS).prop_map(Cmd::Clear),
        8 => (0..MAPS, 0..5u32, any::<bool>()).prop_map(|(m, n, keys)| {
            Cmd::Scan(m, n, if keys { Part::Keys } else { Part::Entries })
        }),
        5 => (0..QUEUES, val()).prop_map(|(q, v)| Cmd::Offer(q, v)),
        4 => (0..QUEUES).prop_map(Cmd::Poll),
        2 => (0..QUEUES).prop_map(Cmd::Peek),
        2 => (0..QUEUES).prop_map(Cmd::QueueSize),
        1 => (0..QUEUES).prop_map(Cmd::QueueClear),
        3 => val().prop_map(Cmd::Publish),
        1 => (0..6u8).prop_map(Cmd::Wrong),
    ]
}
