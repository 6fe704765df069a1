//! Copies of partitions whose maps grow and shrink by thousands of entries meanwhile, and copies of
//! copies: digests agree at every equal number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;

use commands::{SEED, env, map, partition, queue};
use grid_core::data::{Blob, TypeTag};
use grid_core::ids::{Index, MemberId, Millis, RequestId, Seq, SessionId, StructureId, Term};
use grid_core::op::{Life, Op};
use grid_core::partition::{CopyCursor, Outcome, Partition, Request, Stamp};
use grid_core::store::hash64;
use grid_core::time::ManualClock;
use grid_core::wire::bytes::KeyRef;
use proptest::prelude::*;

const BACKUP: MemberId = MemberId(1);

#[derive(Clone, Debug)]
enum Step {
    /// Sets so many keys of a map from one on, with values of this length and a time-to-live.
    Fill {
        m: u8,
        from: u16,
        count: u16,
        len: u16,
        ttl: u16,
    },
    Drain {
        m: u8,
        from: u16,
        count: u16,
    },
    Clear(u8),
    Offer(u8),
    Poll(u8),
    QueueClear,
    Stamped {
        session: u64,
        len: u16,
    },
    ExpireSession(u64),
    Advance(u16),
    Expire,
    Barrier,
    /// The next piece to the copy, and to the copy of the copy.
    Copy(usize),
    CopyOfCopy(usize),
    Restart,
    RestartCopyOfCopy,
    Acknowledge,
}

fn step() -> impl Strategy<Value = Step> {
    let m = || 0..2u8;
    let bytes = || prop_oneof![0..3000usize, 3000..100_000usize];
    prop_oneof![
        6 => (m(), 0..3000u16, 1..1500u16, 0..60u16, prop_oneof![Just(0), 20..200u16])
            .prop_map(|(m, from, count, len, ttl)| Step::Fill { m, from, count, len, ttl }),
        4 => (m(), 0..3000u16, 1..2500u16)
            .prop_map(|(m, from, count)| Step::Drain { m, from, count }),
        1 => m().prop_map(Step::Clear),
        4 => (1..30u8).prop_map(Step::Offer),
        4 => (1..30u8).prop_map(Step::Poll),
        1 => Just(Step::QueueClear),
        6 => (1..40u64, 0..3000u16).prop_map(|(session, len)| Step::Stamped { session, len }),
        2 => (1..40u64).prop_map(Step::ExpireSession),
        3 => (1..80u16).prop_map(Step::Advance),
        3 => Just(Step::Expire),
        1 => Just(Step::Barrier),
        40 => bytes().prop_map(Step::Copy),
        30 => bytes().prop_map(Step::CopyOfCopy),
        1 => Just(Step::Restart),
        1 => Just(Step::RestartCopyOfCopy),
        10 => Just(Step::Acknowledge),
    ]
}

/// A replica that is copied from another one.
struct Copy {
    to: Partition,
    cursor: CopyCursor,
    begun: bool,
}

impl Copy {
    fn new() -> Self {
        let mut to = partition(env(u64::MAX, 64 << 20));
        to.copy_begin();
        Copy { to, cursor: CopyCursor::default(), begun: false }
    }

    fn restart(&mut self) {
        self.to.copy_begin();
        self.cursor = CopyCursor::default();
        self.begun = false;
    }

    fn whole(&self) -> bool {
        !self.to.is_copying()
    }

    /// One message.
    fn next(&mut self, from: &mut Partition, bytes_max: usize) {
        if self.begun {
            let Some((records, last)) = from.records_after(self.to.last(), usize::MAX) else {
                return self.restart();
            };
            assert_eq!(self.to.replicate(records, from.committed()), Ok(last));
        }
        if !self.whole() {
            let mut piece = Vec::new();
            let all = from.copy_out(&mut self.cursor, bytes_max, &mut piece);
            assert_eq!(self.to.copy_in(&piece), Ok(all));
            self.begun = true;
        }
        from.retain(Some(self.to.last()));
        assert_eq!(self.to.last(), from.last());
        if self.whole() {
            assert_eq!(self.to.digest(), from.digest(), "at {}", from.last());
            assert!(self.to.bytes() <= from.bytes() * 2 + (512 << 10));
        }
    }
}

struct Rig {
    primary: Partition,
    clock: ManualClock,
    request: u64,
}

impl Rig {
    fn run(&mut self, structure: StructureId, op: Op<'_>, stamp: Option<Stamp>) {
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure, op, stamp, hash, again: true };
        let mut reply = Vec::new();
        loop {
            match self.primary.step(&self.clock, &request, &mut reply) {
                Outcome::Answered(_) => return,
                Outcome::Again => {}
                Outcome::Refused(_) => {
                    let last = self.primary.last();
                    assert!(self.primary.acknowledge(BACKUP, last), "the ring was full");
                }
            }
        }
    }

    fn write(&mut self, m: u8, n: u16, value: Option<(u16, u16)>) {
        let payload = u32::from(n).to_le_bytes();
        let tag = TypeTag(if n.is_multiple_of(50) { 7 } else { -11 });
        let key = KeyRef { blob: Blob { tag, payload: &payload }, affinity: None };
        let Some((len, ttl)) = value else { return self.run(map(m), Op::MapDelete(key), None) };
        let value = vec![n as u8; len.into()];
        let life =
            Life { ttl_ms: Some(ttl.into()), max_idle_ms: n.is_multiple_of(9).then_some(90) };
        self.run(map(m), Op::MapSet(key, Blob { tag: TypeTag(3), payload: &value }, life), None);
        if n.is_multiple_of(45) {
            self.clock.advance(1);
            self.run(map(m), Op::MapGet(key), None);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Fill { m, from, count, len, ttl } => {
                (from..from + count).for_each(|n| self.write(m, n, Some((len, ttl))));
            }
            Step::Drain { m, from, count } => {
                (from..from + count).for_each(|n| self.write(m, n, None));
            }
            Step::Clear(m) => self.run(map(m), Op::MapClear, None),
            Step::Offer(count) => {
                let item = vec![count; count.into()];
                let blob = Blob { tag: TypeTag(1), payload: &item };
                (0..count).for_each(|_| self.run(queue(1), Op::QueueOffer(blob), None));
            }
            Step::Poll(count) => (0..count).for_each(|_| self.run(queue(1), Op::QueuePoll, None)),
            Step::QueueClear => self.run(queue(1), Op::QueueClear, None),
            Step::Stamped { session, len } => {
                self.request += 1;
                let stamp = Stamp {
                    session: SessionId(session),
                    request: RequestId(self.request),
                    floor: RequestId(self.request.saturating_sub(200)),
                };
                let (value, payload) = (vec![1; len.into()], b"key");
                let key = KeyRef { blob: Blob { tag: TypeTag(1), payload }, affinity: Some(3) };
                let value = Blob { tag: TypeTag(1), payload: &value };
                self.run(map(0), Op::MapPut(key, value, Life::default()), Some(stamp));
            }
            Step::ExpireSession(session) => {
                let last = self.primary.last();
                self.primary.acknowledge(BACKUP, last);
                let index = Index(self.request);
                self.primary.expire_session(&self.clock, SessionId(session), index).unwrap();
            }
            Step::Advance(ms) => self.clock.advance(ms.into()),
            Step::Expire => {
                let last = self.primary.last();
                self.primary.acknowledge(BACKUP, last);
                while self.primary.expire(&self.clock) {}
            }
            Step::Barrier => drop(self.primary.barrier(&self.clock)),
            Step::Acknowledge => {
                let last = self.primary.last();
                self.primary.acknowledge(BACKUP, last);
            }
            _ => unreachable!(),
        }
    }
}

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 { 12 } else { config.cases };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn copies_and_copies_of_copies_agree_with_their_senders(
        backup in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let primary = partition(env(u64::MAX, 256 << 20));
        let mut rig = Rig { primary, clock: ManualClock::at(Millis(1000)), request: 1 };
        if backup {
            rig.primary.lead(Term(2), &[(BACKUP, Seq(0))]).unwrap();
        }
        let (mut copy, mut second) = (Copy::new(), Copy::new());
        for step in &steps {
            match step {
                Step::Copy(bytes_max) => copy.next(&mut rig.primary, *bytes_max),
                Step::CopyOfCopy(bytes_max) if copy.whole() => {
                    second.next(&mut copy.to, *bytes_max);
                }
                Step::CopyOfCopy(_) => {}
                Step::Restart => {
                    copy.restart();
                    second.restart();
                }
                Step::RestartCopyOfCopy => second.restart(),
                step => rig.step(step),
            }
            if !copy.whole() {
                second.restart(); // what it is a copy of is none any more
            }
        }
        while !copy.whole() || copy.to.last() < rig.primary.last() {
            copy.next(&mut rig.primary, 20_000);
        }
        while !second.whole() || second.to.last() < copy.to.last() {
            second.next(&mut copy.to, 20_000);
        }
        prop_assert_eq!(second.to.digest(), rig.primary.digest());
        // It leads, and what it does its copy does too.
        let Rig { clock, request, .. } = rig;
        let last = second.to.last();
        second.to.lead(Term(9), &[(BACKUP, last)]).unwrap();
        let mut rig = Rig { primary: second.to, clock, request };
        rig.step(&Step::Fill { m: 0, from: 0, count: 500, len: 9, ttl: 0 });
        rig.step(&Step::Drain { m: 0, from: 300, count: 3000 });
        rig.step(&Step::Poll(9));
        let (records, _) = rig.primary.records_after(copy.to.last(), usize::MAX).unwrap();
        copy.to.replicate(records, Seq(0)).unwrap();
        prop_assert_eq!(copy.to.digest(), rig.primary.digest());
    }
}

#[test]
fn the_index_of_a_copy_shrinks_like_any_other() {
    let primary = partition(env(u64::MAX, 256 << 20));
    let mut rig = Rig { primary, clock: ManualClock::at(Millis(1000)), request: 1 };
    rig.step(&Step::Fill { m: 0, from: 0, count: 20_000, len: 0, ttl: 0 });
    let mut copy = Copy::new();
    while !copy.whole() {
        copy.next(&mut rig.primary, 10_000);
    }
    for from in (0..19_900).step_by(100) {
        rig.step(&Step::Drain { m: 0, from, count: 100 });
        copy.next(&mut rig.primary, 0);
    }
    let (there, here) = (rig.primary.bytes(), copy.to.bytes());
    assert!(here < there + (32 << 10), "{here} bytes, {there} there");
}
