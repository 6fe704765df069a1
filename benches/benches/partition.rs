//! Time of `Partition::step`, one thread, no lock, no socket: every operation with and without a
//! backup whose records pile up in the ring and are copied and acknowledged every 64 operations.
//!
//! `cargo bench -p grid-benches --bench partition [-- --entries N --rounds N]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Random, VALUE_BYTES, key, median, ns_per_op, number};
use grid_core::control::{MapConfig, QueueConfig, StructureConfig};
use grid_core::data::{Blob, TypeTag};
use grid_core::op::{Life, Op};
use grid_core::partition::{Env, Outcome, Partition, Request, Stamp};
use grid_core::partitioning::{partition_hash, partition_of};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::{ManualClock, Millis};
use grid_core::wire::bytes::KeyRef;
use grid_core::{MemberId, PartitionId, RequestId, SessionId, StructureId, Term};
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 42;
const MAP: StructureId = StructureId(0);
const QUEUE: StructureId = StructureId(1);
const BACKUP: MemberId = MemberId(2);
const PARTITIONS: u16 = 271;
/// Operations between two acknowledgements of the backup.
const BATCH: u64 = 64;

struct Bench {
    partitions: Vec<Partition>,
    clock: ManualClock,
    reply: Vec<u8>,
    link: Vec<u8>,
    entries: u64,
    request: u64,
    random: Random,
    touched: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Get,
    Set,
    SetInSession,
    Put,
    OfferPoll,
}

impl Bench {
    fn new(entries: u64) -> Self {
        let ledger = Arc::new(Ledger::new(u64::MAX));
        let pool = Pool::new(&PoolConfig::default(), Arc::clone(&ledger)).unwrap();
        let env = Env { pool, ledger, seed: SEED };
        let partition = |id| {
            let mut partition = Partition::new(PartitionId(id), env.clone());
            partition.declare(MAP, &StructureConfig::Map(MapConfig::default()));
            partition.declare(QUEUE, &StructureConfig::Queue(QueueConfig::default()));
            partition
        };
        let mut bench = Bench {
            partitions: (0..PARTITIONS).map(partition).collect(),
            clock: ManualClock::at(Millis(1)),
            reply: Vec::new(),
            link: Vec::new(),
            entries,
            request: 0,
            random: Random::new(1),
            touched: Vec::new(),
        };
        (0..entries).for_each(|n| bench.map(n, What::Set));
        bench
    }

    fn backed_up(mut self) -> Self {
        for partition in &mut self.partitions {
            partition.lead(Term(1), &[(BACKUP, partition.last())]).unwrap();
        }
        self
    }

    #[inline]
    fn map(&mut self, n: u64, what: What) {
        let payload = key(n);
        let blob = Blob { tag: TypeTag::FIXED_BYTES, payload: &payload };
        let key = KeyRef { blob, affinity: None };
        let value = Blob { tag: TypeTag::FIXED_BYTES, payload: &[b'x'; VALUE_BYTES] };
        let at = partition_of(partition_hash(&payload), PARTITIONS).0.into();
        let op = match what {
            What::Get => Op::MapGet(key),
            What::Set | What::SetInSession => Op::MapSet(key, value, Life::default()),
            What::Put => Op::MapPut(key, value, Life::default()),
            What::OfferPoll => unreachable!(),
        };
        let stamp = (what == What::SetInSession).then(|| {
            self.request += 1;
            let floor = self.request.saturating_sub(BATCH);
            Stamp {
                session: SessionId(7),
                request: RequestId(self.request),
                floor: RequestId(floor),
            }
        });
        let request =
            Request { structure: MAP, op, stamp, hash: hash64(&payload, SEED), again: false };
        self.step(at, &request);
    }

    #[inline]
    fn step(&mut self, at: usize, request: &Request<'_>) {
        self.reply.clear();
        let outcome = self.partitions[at].step(&self.clock, request, &mut self.reply);
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        black_box(&self.reply);
        self.touched.push(at);
    }

    /// What a link does: copy what the backup lacks, take its acknowledgement.
    fn ship(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        self.link.clear();
        for at in self.touched.drain(..) {
            let partition = &mut self.partitions[at];
            if partition.committed() == partition.last() {
                continue;
            }
            let (records, last) = partition.records_after(partition.committed(), 1 << 20).unwrap();
            self.link.extend_from_slice(records);
            partition.acknowledge(BACKUP, last);
        }
        black_box(&self.link);
    }

    fn time(&mut self, what: What, ops: u64, backup: bool) -> f64 {
        ns_per_op(ops, || {
            for _ in 0..ops / BATCH {
                for turn in 0..BATCH {
                    match what {
                        What::OfferPoll if turn < BATCH / 2 => {
                            let item = [b'x'; VALUE_BYTES];
                            let blob = Blob { tag: TypeTag::FIXED_BYTES, payload: &item };
                            self.queue(Op::QueueOffer(blob));
                        }
                        What::OfferPoll => self.queue(Op::QueuePoll),
                        _ => {
                            let n = self.random.below(self.entries);
                            self.map(n, what);
                        }
                    }
                }
                if backup {
                    self.ship();
                }
                self.touched.clear();
            }
        })
    }

    #[inline]
    fn queue(&mut self, op: Op<'_>) {
        self.step(0, &Request { structure: QUEUE, op, stamp: None, hash: 0, again: false });
    }
}

fn main() {
    let (entries, rounds) = (number("--entries", 1_000_000), number("--rounds", 5));
    let ops = number("--ops", 500_000) / BATCH * BATCH;
    let mut alone = Bench::new(entries);
    let mut backed = Bench::new(entries).backed_up();
    println!(
        "{entries} entries of 16 + {VALUE_BYTES} bytes, {PARTITIONS} partitions, uniform keys"
    );
    println!(
        "{:<24}{:>10}{:>16}   ns per operation, median of {rounds}",
        "", "alone", "with backup"
    );
    for (name, what) in [
        ("map get", What::Get),
        ("map set", What::Set),
        ("map set in a session", What::SetInSession),
        ("map put", What::Put),
        ("queue offer, poll", What::OfferPoll),
    ] {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            a.push(alone.time(what, ops, false));
            b.push(backed.time(what, ops, true));
        }
        println!("{name:<24}{:>10.1}{:>16.1}", median(&a), median(&b));
    }
}
