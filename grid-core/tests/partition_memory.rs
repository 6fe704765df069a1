//! The memory account of a partition: what is refused leaves nothing behind, the budget holds, and what
//! was charged comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;

use commands::{Cmd, KEYS, MAPS, QUEUES, SEED, Val, cmd, env, partition};
use grid_core::Kind;
use grid_core::error::Applied;
use grid_core::ids::{Index, MemberId, Millis, RequestId, Seq, SessionId, Term};
use grid_core::op::{Life, Op};
use grid_core::partition::{Env, Outcome, Partition, Request, Stamp};
use grid_core::store::hash64;
use grid_core::time::ManualClock;
use proptest::prelude::*;

const BUDGET: u64 = 512 << 10;
/// How far over the budget a partition may get: the answers of removals and the fixed part of all
/// answers are remembered unasked, and the cleaner of each map may take a block for a while.
const OVER_MAX: u64 = 384 << 10;

struct Rig {
    clock: ManualClock,
    partition: Partition,
    env: Env,
    request: u64,
}

impl Rig {
    fn new(env: Env) -> Self {
        let partition = partition(env.clone());
        Rig { clock: ManualClock::at(Millis(1000)), partition, env, request: 1 }
    }

    fn run(&mut self, cmd: &Cmd, stamp: Option<Stamp>) -> (Outcome, Vec<u8>) {
        let sent = cmd.send(None, 0);
        let op = Op::decode(sent.code as u8, &sent.body).unwrap();
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure: sent.structure, op, stamp, hash, again: false };
        let mut reply = Vec::new();
        loop {
            match self.partition.step(&self.clock, &request, &mut reply) {
                Outcome::Again => {}
                outcome => return (outcome, reply),
            }
        }
    }

    /// As a request of session 1 that confirms all but the last three.
    fn stamped(&mut self, cmd: &Cmd) -> (Outcome, Vec<u8>) {
        self.request += 1;
        let stamp = Stamp {
            session: SessionId(1),
            request: RequestId(self.request),
            floor: RequestId(self.request.saturating_sub(3)),
        };
        self.run(cmd, Some(stamp))
    }

    fn ok(&mut self, cmd: &Cmd) -> Vec<u8> {
        let (outcome, answer) = self.run(cmd, None);
        assert!(matches!(outcome, Outcome::Answered(_)), "{cmd:?}: {outcome:?}");
        answer
    }

    fn refused(&mut self, cmd: &Cmd) -> Option<grid_core::Error> {
        match self.run(cmd, None).0 {
            Outcome::Refused(error) => Some(error),
            _ => None,
        }
    }

    fn state(&self) -> (u64, u64) {
        (self.partition.last().0, self.partition.digest())
    }

    fn empty(&mut self) {
        (0..MAPS).for_each(|m| drop(self.ok(&Cmd::Clear(m))));
        (0..QUEUES).for_each(|q| drop(self.ok(&Cmd::QueueClear(q))));
        self.partition.expire_session(&self.clock, SessionId(1), Index(9)).unwrap();
    }
}

/// Mostly commands that add.
fn filling() -> impl Strategy<Value = Cmd> {
    let grow = (0..QUEUES, 0..4u8, 0..20_000usize)
        .prop_map(|(q, fill, len)| Cmd::Offer(q, Val { len, fill }));
    let set = (0..MAPS, 0..KEYS, 0..30_000usize)
        .prop_map(|(m, k, len)| Cmd::Put(m, k, Val { len, fill: 1 }, Life::default()));
    prop_oneof![4 => grow, 4 => set, 3 => cmd()]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_full_budget_refuses_whole_operations_and_is_never_far_exceeded(
        commands in proptest::collection::vec((filling(), any::<bool>()), 100..400),
        backup in any::<bool>(),
    ) {
        let mut rig = Rig::new(env(BUDGET, 8 << 20));
        if backup {
            rig.partition.lead(Term(1), &[(MemberId(1), Seq(0))]).unwrap();
        }
        let mut refused = 0;
        for (cmd, stamped) in &commands {
            let before = rig.state();
            let (outcome, _) = match *stamped && cmd.writes() {
                true => rig.stamped(cmd),
                false => rig.run(cmd, None),
            };
            if let Outcome::Refused(error) = outcome
                && error.kind() == Kind::OutOfMemory
            {
                refused += 1;
                prop_assert_eq!(error.applied(), Applied::No);
                prop_assert_eq!(rig.state(), before, "{:?} left something", cmd);
                prop_assert!(!matches!(
                    cmd,
                    Cmd::Remove(..) | Cmd::Delete(..) | Cmd::Poll(_) | Cmd::Clear(_)
                ));
            }
            let used = rig.env.ledger.used();
            prop_assert!(used <= BUDGET + OVER_MAX, "{} bytes used after {:?}", used, cmd);
            let last = rig.partition.last();
            rig.partition.acknowledge(MemberId(1), last);
        }
        prop_assume!(refused > 0);
        // Taking away makes room again.
        let big = Cmd::Offer(1, Val { len: 400 << 10, fill: 0 });
        prop_assert_eq!(rig.refused(&big).unwrap().kind(), Kind::OutOfMemory);
        rig.empty();
        rig.partition.lead(Term(1), &[]).unwrap();
        prop_assert_eq!(rig.env.ledger.used(), 0, "cleared");
        rig.ok(&big);
        drop(rig.partition);
        prop_assert_eq!(rig.env.ledger.used(), 0, "dropped");
    }

    #[test]
    fn a_dropped_partition_and_a_dropped_backup_leave_nothing_in_the_ledger(
        commands in proptest::collection::vec((filling(), any::<bool>()), 1..100),
    ) {
        let mut rig = Rig::new(env(u64::MAX, 8 << 20));
        rig.partition.lead(Term(1), &[(MemberId(1), Seq(0))]).unwrap();
        let backup_env = env(0, 8 << 20);
        let mut backup = partition(backup_env.clone());
        backup.follow();
        for (cmd, stamped) in &commands {
            if *stamped && cmd.writes() { rig.stamped(cmd) } else { rig.run(cmd, None) };
            let (records, _) = rig.partition.records_after(backup.last(), usize::MAX).unwrap();
            let has = backup.replicate(records, rig.partition.committed()).unwrap();
            rig.partition.acknowledge(MemberId(1), has);
        }
        prop_assert_eq!(rig.partition.digest(), backup.digest(), "a backup applies over its budget");
        let (used, held) = (rig.env.ledger.used(), rig.partition.bytes() as u64);
        prop_assert!(used >= held.saturating_sub(1), "{} used, {} held", used, held);
        drop((rig.partition, backup));
        prop_assert_eq!(rig.env.ledger.used(), 0);
        prop_assert_eq!(backup_env.ledger.used(), 0);
    }
}

#[test]
fn every_part_that_can_grow_is_in_the_ledger() {
    let mut rig = Rig::new(env(u64::MAX, 8 << 20));
    let used = |rig: &Rig| rig.env.ledger.used() as usize;
    for _ in 0..100 {
        rig.ok(&Cmd::Offer(1, Val { len: 1000, fill: 0 }));
    }
    assert!((100_000..120_000).contains(&used(&rig)), "a queue: {}", used(&rig));
    rig.ok(&Cmd::QueueClear(1));
    assert_eq!(used(&rig), 0);
    // Answers: those of one session above its floor.
    rig.ok(&Cmd::Set(0, 0, Val { len: 3000, fill: 0 }, Life::default()));
    let before = used(&rig);
    for _ in 0..20 {
        rig.stamped(&Cmd::Put(0, 0, Val { len: 3000, fill: 0 }, Life::default()));
    }
    assert!((9_000..16_000).contains(&(used(&rig) - before)), "{}", used(&rig) - before);
    rig.empty();
    assert_eq!(used(&rig), 0);
}

#[test]
fn answers_that_have_to_be_remembered_are_admitted_too() {
    let mut rig = Rig::new(env(BUDGET, 8 << 20));
    let put = Cmd::Put(0, 0, Val { len: 100_000, fill: 0 }, Life::default());
    assert!(matches!(rig.stamped(&put).0, Outcome::Answered(_)));
    let mut taken = 1;
    // Overwriting takes no room, but each remembers the value before; three of them are kept.
    let refused = loop {
        rig.request += 1;
        let stamp =
            Stamp { session: SessionId(2), request: RequestId(rig.request), floor: RequestId(1) };
        match rig.run(&put, Some(stamp)).0 {
            Outcome::Refused(error) => break error,
            _ => taken += 1,
        }
        assert!(taken < 20);
    };
    assert_eq!(refused.kind(), Kind::OutOfMemory);
    assert!(rig.env.ledger.used() <= BUDGET);
    assert!(rig.refused(&Cmd::Set(0, 0, Val { len: 100_000, fill: 2 }, Life::default())).is_none());
    assert!(
        matches!(rig.stamped(&Cmd::Remove(0, 0)).0, Outcome::Answered(_)),
        "removing goes through"
    );
}

#[test]
fn a_session_that_keeps_too_many_answers_goes_on_once_it_confirms_them() {
    let mut rig = Rig::new(env(u64::MAX, 8 << 20));
    let put = Cmd::Put(0, 0, Val { len: 300_000, fill: 0 }, Life::default());
    let stamp = |request, floor| Stamp {
        session: SessionId(1),
        request: RequestId(request),
        floor: RequestId(floor),
    };
    for request in 1..=5 {
        assert!(matches!(rig.run(&put, Some(stamp(request, 1))).0, Outcome::Answered(_)));
    }
    let (outcome, _) = rig.run(&put, Some(stamp(6, 1)));
    assert!(matches!(&outcome, Outcome::Refused(e) if e.kind() == Kind::Overloaded), "{outcome:?}");
    assert!(matches!(rig.run(&put, Some(stamp(3, 1))).0, Outcome::Answered(_)), "still known");
    assert!(matches!(rig.run(&put, Some(stamp(7, 7))).0, Outcome::Answered(_)), "room again");
}

#[test]
fn a_pool_without_blocks_refuses_and_forgets_no_expiry() {
    let mut rig = Rig::new(env(u64::MAX, 1 << 20));
    rig.partition.lead(Term(1), &[(MemberId(1), Seq(0))]).unwrap();
    let old = Val { len: 1000, fill: 0 };
    (0..KEYS).for_each(|k| drop(rig.ok(&Cmd::Set(1, k, old, Life::default()))));
    let mut fill = 0;
    while rig
        .refused(&Cmd::Set(
            0,
            (fill % u64::from(KEYS)) as u8,
            Val { len: (fill as usize * 37) % 4000, fill: 0 },
            Life::default(),
        ))
        .is_none()
        && fill < 5000
    {
        fill += 1;
        let last = rig.partition.last();
        rig.partition.acknowledge(MemberId(1), last);
    }
    // The keys are few: fill the rest of the pool with the blocks of other partitions.
    let mut others = Vec::new();
    while others.len() < 2000 {
        let mut other = Rig { env: rig.env.clone(), ..Rig::new(rig.env.clone()) };
        let taken = (0..KEYS).take_while(|k| {
            other.refused(&Cmd::Set(0, *k, Val { len: 4000, fill: 0 }, Life::default())).is_none()
        });
        let taken = taken.count();
        others.push(other);
        if taken == 0 {
            break;
        }
    }
    let state = rig.state();
    let mut refused = Vec::new();
    for k in 0..KEYS {
        // For ever, so that the old entry's end would be lost if it were taken off the books too soon.
        let life = Life { ttl_ms: Some(0), max_idle_ms: None };
        let cmd = Cmd::Set(1, k, Val { len: 3500, fill: 1 }, life);
        if let Some(error) = rig.refused(&cmd) {
            assert_eq!((error.kind(), error.applied()), (Kind::OutOfMemory, Applied::No));
            refused.push(k);
        }
    }
    assert!(!refused.is_empty(), "the pool has blocks left");
    if refused.len() == usize::from(KEYS) {
        assert_eq!(rig.state(), state);
    }
    for k in &refused {
        let answer = rig.ok(&Cmd::Get(1, *k));
        assert_eq!(answer.len(), 5 + old.len, "key {k} has its old value");
    }
    rig.clock.advance(1000);
    let left = u64::from(KEYS) - refused.len() as u64;
    assert_eq!(rig.ok(&Cmd::Size(1)), left.to_le_bytes(), "all that were not written have expired");
}

#[test]
fn entries_of_which_only_some_found_a_block_are_no_success_on_retry() {
    let mut rig = Rig::new(env(u64::MAX, 1 << 20));
    let mut others = Vec::new();
    loop {
        let mut other = Rig { env: rig.env.clone(), ..Rig::new(rig.env.clone()) };
        let full = (0..KEYS).any(|k| {
            other.refused(&Cmd::Set(0, k, Val { len: 1000, fill: 0 }, Life::default())).is_some()
        });
        others.push(other);
        if full {
            break;
        }
    }
    drop(others.swap_remove(0)); // room for some
    let entries = (0..KEYS).map(|k| (k, Val { len: 4000, fill: 0 })).collect();
    let cmd = Cmd::PutAll(0, entries, Life::default());
    let stamp = Some(Stamp { session: SessionId(1), request: RequestId(1), floor: RequestId(1) });
    for attempt in 0..2 {
        let (outcome, answer) = rig.run(&cmd, stamp);
        let Outcome::Refused(error) = outcome else { panic!("attempt {attempt}: {outcome:?}") };
        assert_eq!((error.kind(), error.applied()), (Kind::OutOfMemory, Applied::Maybe));
        assert!(answer.is_empty());
    }
    drop(others);
    assert!(matches!(rig.run(&cmd, stamp).0, Outcome::Answered(_)), "with room it is done");
    assert_eq!(rig.ok(&Cmd::Size(0)), u64::from(KEYS).to_le_bytes());
}

#[test]
fn what_a_backup_has_no_room_for_is_refused_and_what_grows_nothing_is_not() {
    let mut rig = Rig::new(env(u64::MAX, 8 << 20));
    rig.partition.lead(Term(1), &[(MemberId(1), Seq(0))]).unwrap();
    let value = |len, fill| Val { len, fill };
    let set = |k, len, fill| Cmd::Set(0, k, value(len, fill), Life::default());
    rig.ok(&set(0, 3000, 0));
    rig.ok(&Cmd::Offer(1, value(10, 0)));
    rig.ok(&Cmd::SetTtl(0, 0, 500));
    assert_eq!(rig.partition.free_budget(), u64::MAX);
    rig.partition.set_room(50);
    let state = rig.state();
    let growing = [
        set(1, 100_000, 0),
        Cmd::Put(0, 0, value(8_000, 0), Life::default()),
        Cmd::PutAll(0, vec![(2, value(10, 0))], Life::default()),
        Cmd::Offer(1, value(11, 0)),
    ];
    for cmd in &growing {
        let error = rig.refused(cmd).unwrap_or_else(|| panic!("{cmd:?}"));
        assert_eq!((error.kind(), error.applied()), (Kind::OutOfMemory, Applied::No), "{cmd:?}");
        assert!(error.detail().unwrap().contains("of a backup is used up: 50 bytes"), "{error}");
    }
    let put = Cmd::Put(0, 0, value(3000, 1), Life::default());
    let (remembered, _) = rig.stamped(&put);
    assert!(matches!(&remembered, Outcome::Refused(e) if e.kind() == Kind::OutOfMemory));
    assert_eq!(rig.state(), state);
    rig.ok(&put);
    rig.ok(&Cmd::SetTtl(0, 0, 600));
    rig.ok(&Cmd::Publish(value(100_000, 0)));
    rig.ok(&Cmd::Poll(1));
    rig.ok(&Cmd::Delete(0, 0));
    rig.partition.set_room(200_000);
    rig.ok(&set(1, 100_000, 0));
    // Who follows is told by its primary, and reports itself.
    rig.partition.set_room(0);
    rig.partition.follow();
    rig.partition.lead(Term(2), &[]).unwrap();
    growing.iter().for_each(|cmd| drop(rig.ok(cmd)));
    let env = env(1 << 20, 8 << 20);
    let mut limited = Rig::new(env.clone());
    limited.ok(&set(1, 100_000, 0));
    assert_eq!(limited.partition.free_budget(), (1 << 20) - env.ledger.used());
    env.ledger.set_budget(1);
    assert_eq!(limited.partition.free_budget(), 0);
    let error = limited.refused(&set(2, 100_000, 0)).unwrap();
    assert!(!error.detail().unwrap().contains("backup"), "its own budget: {error}");
}
