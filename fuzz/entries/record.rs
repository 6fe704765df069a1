//! Any bytes, and mutated records, as what a backup receives: never a panic, nothing applied of what is
//! refused, and the backup goes on working. (A mutated record that is still well formed is applied: the
//! links between members are trusted to deliver what was sent.)

use grid_core::PartitionId;
use grid_core::control::{MapConfig, QueueConfig, StructureConfig};
use grid_core::data::{Blob, TypeTag};
use grid_core::ids::{Index, MemberId, Millis, RequestId, Seq, SessionId, StructureId, Term};
use grid_core::op::{Life, Op};
use grid_core::partition::{Env, Outcome, Partition, Request, Stamp};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::ManualClock;
use grid_core::wire::bytes::KeyRef;
use std::sync::{Arc, OnceLock};

fn partition() -> Partition {
    let ledger = Arc::new(Ledger::new(u64::MAX));
    let config = PoolConfig { reserve_bytes: 2 << 20, ..PoolConfig::default() };
    let pool = Pool::new(&config, Arc::clone(&ledger)).unwrap();
    let mut partition = Partition::new(PartitionId(0), Env { pool, ledger, seed: 1 });
    partition.declare(StructureId(0), &StructureConfig::Map(MapConfig::default()));
    partition.declare(StructureId(1), &StructureConfig::Queue(QueueConfig::default()));
    partition.declare(StructureId(2), &StructureConfig::Topic);
    partition
}

fn step(partition: &mut Partition, structure: u32, op: Op<'_>, stamp: Option<Stamp>) {
    let clock = ManualClock::at(Millis(1000));
    let hash = op.key().map_or(0, |key| hash64(key.blob.payload, 1));
    let request = Request { structure: StructureId(structure), op, stamp, hash, again: false };
    let mut reply = Vec::new();
    while partition.step(&clock, &request, &mut reply) == Outcome::Again {}
}

/// Records of every effect.
pub(crate) fn valid() -> &'static [u8] {
    static RECORDS: OnceLock<Vec<u8>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let mut primary = partition();
        primary.lead(Term(1), &[(MemberId(1), Seq(0))]).unwrap();
        write(&mut primary);
        primary.expire_session(&ManualClock::at(Millis(2000)), SessionId(3), Index(9)).unwrap();
        primary.records_after(Seq(0), usize::MAX).unwrap().0.to_vec()
    })
}

fn write(partition: &mut Partition) {
    let key = |payload, affinity| KeyRef { blob: Blob::new(TypeTag(-11), payload), affinity };
    let (a, b) = (key(b"a", None), key(b"bb", Some(7)));
    let value = Blob::new(TypeTag(-7), b"some value");
    let stamp = |request| {
        Some(Stamp { session: SessionId(3), request: RequestId(request), floor: RequestId(1) })
    };
    let life = Life { ttl_ms: Some(50), max_idle_ms: Some(8) };
    step(partition, 0, Op::MapSet(a, value, life), None);
    step(partition, 0, Op::MapPut(b, value, Life::default()), stamp(1));
    step(partition, 0, Op::MapSetTtl(b, 10), None);
    step(partition, 0, Op::MapRemove(b), stamp(2));
    step(partition, 1, Op::QueueOffer(value), stamp(3));
    step(partition, 1, Op::QueueOffer(value), None);
    step(partition, 1, Op::QueuePoll, None);
    step(partition, 1, Op::QueueClear, None);
    step(partition, 2, Op::TopicPublish(value), None);
    step(partition, 0, Op::MapClear, None);
}

/// The entry. Byte 0: 0 the rest as it is; else edits of valid records, four bytes each: where (two),
/// what to do, with what.
pub(crate) fn run(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else { return };
    if *mode == 0 {
        return backup(rest);
    }
    let mut records = valid().to_vec();
    for [low, high, what, with] in rest.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % records.len().max(1);
        match what % 4 {
            0 | 1 => records[at] = *with,
            2 => drop(records.drain(at..(at + usize::from(*with)).min(records.len()))),
            _ => records.insert(at, *with),
        }
        if records.is_empty() {
            break;
        }
    }
    backup(&records);
}

fn backup(records: &[u8]) {
    let mut partition = partition();
    partition.follow();
    let (mut refused, mut rest) = (false, records);
    // One by one, so that it shows what a refused record leaves behind: nothing.
    while let Some(len) = rest.first_chunk().map(|len| u32::from_le_bytes(*len) as usize) {
        let (record, after) = rest.split_at(rest.len().min(len.saturating_add(4)));
        let before = (partition.last(), partition.digest(), partition.bytes(), partition.time());
        if partition.replicate(record, Seq(u64::MAX)).is_err() {
            let now = (partition.last(), partition.digest(), partition.bytes(), partition.time());
            assert_eq!(before, now);
            refused = true;
        }
        rest = after;
    }
    let last = partition.last();
    assert!(partition.committed() <= last);
    if !refused && rest.is_empty() {
        assert_eq!(partition.replicate(records, Seq(0)), Ok(last), "all once more: passed over");
    }
    let required = [(MemberId(1), last), (MemberId(2), Seq(u64::MAX))];
    partition.lead(partition.term(), &required).unwrap();
    write(&mut partition);
    assert!(partition.last() > last, "it goes on working");
}
