//! Any bytes, and mutated messages, as what a replica receives that becomes a copy: never a panic, nothing
//! taken in of what is refused, no memory beyond what came, and a new copy makes it whole.

use grid_core::control::{MapConfig, QueueConfig, StructureConfig};
use grid_core::data::{Blob, TypeTag};
use grid_core::ids::{Index, MemberId, Millis, RequestId, Seq, SessionId, StructureId, Term};
use grid_core::op::{Life, Op};
use grid_core::partition::{CopyCursor, Env, Outcome, Partition, Request, Stamp};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::ManualClock;
use grid_core::wire::bytes::KeyRef;
use grid_core::wire::{begin_frame, end_frame, split_frame};
use grid_core::{Kind, PartitionId};
use std::sync::{Arc, OnceLock};

/// Most memory that a replica may have taken for so many bytes.
fn memory_max(received: usize) -> u64 {
    (96 << 10) + 16 * received as u64
}

fn partition() -> Partition {
    let ledger = Arc::new(Ledger::new(u64::MAX));
    let config = PoolConfig { reserve_bytes: 2 << 20, ..PoolConfig::default() };
    let pool = Pool::new(&config, Arc::clone(&ledger)).unwrap();
    let mut partition = Partition::new(PartitionId(0), Env { pool, ledger, seed: 1 });
    partition.declare(StructureId(0), &StructureConfig::Map(MapConfig::default()));
    partition.declare(StructureId(1), &StructureConfig::Queue(QueueConfig::default()));
    partition.declare(StructureId(2), &StructureConfig::Topic);
    partition.declare(StructureId(3), &StructureConfig::Map(MapConfig::default()));
    partition
}

fn step(partition: &mut Partition, structure: u32, op: Op<'_>, request: Option<u64>) {
    let clock = ManualClock::at(Millis(1000));
    let hash = op.key().map_or(0, |key| hash64(key.blob.payload, 1));
    let stamp = request.map(|request| Stamp {
        session: SessionId(3 + request % 3),
        request: RequestId(request),
        floor: RequestId(1),
    });
    let structure = StructureId(structure);
    let request = Request { structure, op, stamp, hash, again: false };
    let outcome = partition.step(&clock, &request, &mut Vec::new());
    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
}

fn write(partition: &mut Partition, n: u64) {
    let bytes = n.to_le_bytes();
    let key = KeyRef {
        blob: Blob::new(TypeTag(-11), &bytes),
        affinity: n.is_multiple_of(3).then_some(7),
    };
    let value = Blob::new(TypeTag(-7), &bytes[..(n % 8) as usize]);
    let life = Life {
        ttl_ms: n.is_multiple_of(2).then_some(50),
        max_idle_ms: n.is_multiple_of(5).then_some(8),
    };
    step(partition, if n.is_multiple_of(4) { 3 } else { 0 }, Op::MapPut(key, value, life), Some(n));
    step(partition, 1, Op::QueueOffer(value), None);
}

/// A primary, and the messages of a copy of it: byte 0 and records, or byte 1 and a piece.
fn primary() -> &'static (Partition, Vec<Vec<u8>>) {
    static PRIMARY: OnceLock<(Partition, Vec<Vec<u8>>)> = OnceLock::new();
    PRIMARY.get_or_init(|| {
        let mut primary = partition();
        (1..20).for_each(|n| write(&mut primary, n));
        primary.retain(Some(primary.last()));
        let (mut cursor, mut messages, mut n) = (CopyCursor::default(), Vec::new(), 20);
        loop {
            let mut piece = vec![1];
            let all = primary.copy_out(&mut cursor, 150, &mut piece);
            messages.push(piece);
            if all {
                break;
            }
            let had = primary.last();
            write(&mut primary, n);
            step(&mut primary, 1, Op::QueuePoll, None);
            if n == 24 {
                step(&mut primary, 3, Op::MapClear, None);
                let clock = ManualClock::at(Millis(2000));
                primary.expire_session(&clock, SessionId(4), Index(90)).unwrap();
            }
            let (records, _) = primary.records_after(had, usize::MAX).unwrap();
            messages.push([&[0], records].concat());
            n += 1;
        }
        (primary, messages)
    })
}

/// The messages, each with its length before it.
pub(crate) fn valid() -> Vec<u8> {
    let mut out = Vec::new();
    for message in &primary().1 {
        let at = begin_frame(&mut out);
        out.extend_from_slice(message);
        end_frame(&mut out, at);
    }
    out
}

/// The entry. Byte 0: 0 the rest as it is; else edits of valid messages, four bytes each: where (two),
/// what to do, with what.
pub(crate) fn run(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else { return };
    if *mode == 0 {
        return copy(rest);
    }
    let mut messages = valid();
    for [low, high, what, with] in rest.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % messages.len().max(1);
        match what % 4 {
            0 | 1 => messages[at] = *with,
            2 => drop(messages.drain(at..(at + usize::from(*with)).min(messages.len()))),
            _ => messages.insert(at, *with),
        }
        if messages.is_empty() {
            break;
        }
    }
    copy(&messages);
}

fn copy(mut messages: &[u8]) {
    let mut partition = partition();
    partition.copy_begin();
    let (mut received, mut whole) = (0, false);
    while let Ok(Some((message, used))) = split_frame(messages, usize::MAX) {
        messages = &messages[used..];
        received += used;
        let Some((kind, bytes)) = message.split_first() else { continue };
        let state = |p: &Partition| (p.last(), p.bytes(), p.time(), p.is_copying());
        let before = (state(&partition), partition.digest());
        let result = match kind {
            0 => partition.replicate(bytes, Seq(u64::MAX)).map(|_| false),
            _ => partition.copy_in(bytes),
        };
        match result {
            Ok(last) => whole |= last,
            Err(error) if error.kind() == Kind::OutOfMemory => assert!(partition.is_copying()),
            // Of several records those before the refused one are there.
            Err(_) if *kind == 0 => {}
            Err(_) => assert_eq!((state(&partition), partition.digest()), before),
        }
        let used = partition.env().ledger.used();
        assert!(used <= memory_max(received), "{used} bytes for {received}");
        assert!(partition.committed() <= partition.last());
    }
    assert_eq!(whole, !partition.is_copying());
    if whole {
        partition.lead(partition.term(), &[(MemberId(1), partition.last())]).unwrap();
        let last = partition.last();
        // Without a stamp: the copy may hold that this session wants no request so low.
        step(&mut partition, 0, Op::MapClear, None);
        step(&mut partition, 1, Op::QueueOffer(Blob::new(TypeTag(-7), b"more")), None);
        assert!(partition.last() > last, "it goes on working");
    }
    // And becomes what it should have been.
    let (from, _) = primary();
    partition.copy_begin();
    let (mut cursor, mut piece) = (CopyCursor::default(), Vec::new());
    assert!(from.copy_out(&mut cursor, usize::MAX, &mut piece));
    assert_eq!(partition.copy_in(&piece), Ok(true));
    assert_eq!((partition.last(), partition.digest()), (from.last(), from.digest()));
    assert!(partition.lead(Term(u64::MAX), &[]).is_ok());
}
