//! What a partition and its backups must do in the situations that random steps rarely meet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "model/rig.rs"]
#[allow(dead_code)]
mod rig;

use commands::{Cmd, Val, env};
use grid_core::Kind;
use grid_core::error::Applied;
use grid_core::ids::{Index, RequestId, Seq, SessionId, Term};
use grid_core::limits::RING_BYTES_MAX;
use grid_core::op::Life;
use grid_core::partition::{Partition, Stamp};
use rig::{B1, B2, Rig, SMALL, feed};

#[test]
fn a_full_ring_refuses_before_anything_is_done_and_an_empty_one_takes_any_record() {
    let mut rig = Rig::replicated();
    rig.0.lead(Term(1), &[(B1, Seq(0))]).unwrap();
    let mut written = 0;
    while let Ok((gate, _)) = rig.set(0, (written % 20) as u8, 100_000) {
        written += 1;
        assert_eq!(gate, Seq(written));
        assert!(written < 100, "never full");
    }
    let held = rig.0.records_after(Seq(0), usize::MAX).unwrap().0.len();
    assert!(held <= RING_BYTES_MAX && held + 100_200 > RING_BYTES_MAX, "{held} bytes held");
    rig.overloaded(&Cmd::Put(0, 0, Val { len: 100_000, fill: 3 }, Life::default()));
    rig.overloaded(&Cmd::Remove(0, 0));
    rig.overloaded(&Cmd::PutAll(
        0,
        vec![(1, SMALL), (2, Val { len: 100_000, fill: 1 })],
        Life::default(),
    ));
    rig.overloaded(&Cmd::Offer(0, Val { len: 100_000, fill: 1 }));
    rig.overloaded(&Cmd::Publish(Val { len: 100_000, fill: 1 }));
    assert!(rig.run(&Cmd::Get(0, 0), None).is_ok(), "reads go on");
    rig.0.acknowledge(B1, Seq(1));
    assert!(rig.set(0, 0, 100_000).is_ok(), "as much room again");
    rig.0.acknowledge(B1, rig.0.last());
    assert!(rig.set(0, 0, RING_BYTES_MAX + 1).is_ok(), "an empty ring takes any record");
    rig.overloaded(&Cmd::Delete(0, 1));
    let (record, last) = rig.0.records_after(Seq(rig.0.last().0 - 1), 1).unwrap();
    assert!(record.len() > RING_BYTES_MAX);
    rig.0.acknowledge(B1, last);
    assert!(rig.run(&Cmd::Delete(0, 1), None).is_ok());
}

#[test]
fn an_heir_with_a_backup_behind_shows_nothing_that_backup_lacks_and_sends_it_on() {
    let mut rig = Rig::replicated();
    let (mut b1, mut b2) = (Rig::following(), Rig::following());
    for (m, k) in [(0, 0), (0, 1), (1, 2)] {
        rig.set(m, k, 8).unwrap();
    }
    rig.gate(&Cmd::Offer(0, SMALL));
    feed(&mut rig.0, &mut b1.0, B1, true);
    feed(&mut rig.0, &mut b2.0, B2, true);
    feed(&mut rig.0, &mut b1.0, B1, true);
    let shared = b2.0.last();
    assert_eq!((rig.0.committed(), b1.0.committed()), (shared, shared));
    let stamp = Stamp { session: SessionId(5), request: RequestId(1), floor: RequestId(1) };
    rig.gate(&Cmd::Delete(0, 0));
    let removed = rig.run(&Cmd::Remove(0, 1), Some(stamp)).unwrap();
    rig.gate(&Cmd::Clear(1));
    rig.gate(&Cmd::Poll(0));
    rig.set(2, 3, 8).unwrap();
    feed(&mut rig.0, &mut b1.0, B1, true);
    let last = rig.0.last();
    drop(rig);
    // The first backup is promoted, the second has none of this.
    b1.0.lead(Term(2), &[(B2, shared)]).unwrap();
    assert_eq!((b1.0.last(), b1.0.committed()), (last, shared));
    for cmd in
        [Cmd::Get(0, 0), Cmd::Get(0, 1), Cmd::Get(1, 2), Cmd::Get(2, 3), Cmd::Peek(0), Cmd::Size(0)]
    {
        assert!(b1.gate(&cmd) > shared, "{cmd:?} is answered from what one replica has");
    }
    let retried = b1.run(&Cmd::Remove(0, 1), Some(stamp)).unwrap();
    assert_eq!(retried, removed, "the answer that its primary gave");
    assert_eq!(b1.0.last(), last);
    feed(&mut b1.0, &mut b2.0, B2, true);
    assert_eq!(b1.0.committed(), last);
    assert_eq!(b1.state(), b2.state());
    for cmd in [Cmd::Get(0, 0), Cmd::Get(0, 1), Cmd::Get(1, 2), Cmd::Get(2, 3), Cmd::Peek(0)] {
        assert!(b1.gate(&cmd) <= last);
    }
    // And the second after it.
    b2.0.lead(Term(3), &[]).unwrap();
    assert_eq!(b2.0.committed(), last);
    assert_eq!(b2.run(&Cmd::Remove(0, 1), Some(stamp)).unwrap(), removed);
    // The session ends on all replicas.
    b1.0.lead(Term(2), &[(B2, last)]).unwrap();
    b1.0.expire_session(&b1.1, SessionId(5), Index(9)).unwrap();
    let again = b1.run(&Cmd::Remove(0, 1), Some(stamp)).unwrap();
    assert_eq!(again.1, [0], "executed anew: the shell refuses requests of expired sessions");
}

#[test]
fn a_replica_of_its_own_mind_follows_nobody() {
    let mut other = Rig::replicated();
    (0..3).for_each(|k| drop(other.set(0, k, 8).unwrap()));
    let (records, _) = other.0.records_after(Seq(0), usize::MAX).unwrap();
    let mut deposed = Rig::replicated();
    deposed.set(1, 1, 8).unwrap();
    let before = deposed.state();
    assert_eq!(
        deposed.0.replicate(records, Seq(3)).unwrap_err().kind(),
        Kind::Internal,
        "it leads"
    );
    assert_eq!((deposed.state(), deposed.0.committed()), (before, Seq(0)));
    // One that claims what does not exist has nothing, and holds the commit back.
    other.0.lead(Term(1), &[(B1, Seq(99)), (B2, Seq(3))]).unwrap();
    assert_eq!(other.0.committed(), Seq(0));
    assert!(!other.0.acknowledge(B1, Seq(99)));
    assert!(other.0.acknowledge(B1, Seq(2)) && other.0.committed() == Seq(2));
    assert!(!other.0.acknowledge(B1, Seq(1)) && other.0.committed() == Seq(2));
    assert!(other.0.records_after(Seq(2), 1).is_some());
    // A late acknowledgement takes nothing back.
    other.0.lead(Term(1), &[(B1, Seq(2)), (B2, Seq(2))]).unwrap();
    other.0.acknowledge(B1, Seq(3));
    other.0.acknowledge(B1, Seq(1));
    assert!(other.0.acknowledge(B2, Seq(3)) && other.0.committed() == Seq(3));
}

#[test]
fn a_structure_that_is_not_declared_stops_a_backup_until_it_is() {
    let mut rig = Rig::replicated();
    rig.gate(&Cmd::Offer(0, SMALL));
    let (records, last) = rig.0.records_after(Seq(0), usize::MAX).unwrap();
    let mut bare = Partition::new(grid_core::PartitionId(0), env(u64::MAX, 8 << 20));
    bare.follow();
    let error = bare.replicate(records, Seq(0)).unwrap_err();
    assert_eq!((error.kind(), bare.last()), (Kind::UnknownStructure, Seq(0)));
    let config = grid_core::control::QueueConfig { items_max: Some(3), ..Default::default() };
    bare.declare(commands::queue(0), &grid_core::control::StructureConfig::Queue(config));
    assert_eq!(bare.replicate(records, Seq(0)), Ok(last));
    assert_eq!(bare.digest(), rig.0.digest());
}

#[test]
fn a_key_that_a_clear_took_is_missing_only_once_the_clear_is_committed() {
    let mut rig = Rig::replicated();
    let set = rig.set(0, 4, 8).unwrap().0;
    rig.0.lead(Term(1), &[(B1, set)]).unwrap();
    let clear = rig.gate(&Cmd::Clear(0));
    for cmd in [
        Cmd::Get(0, 4),
        Cmd::Contains(0, 4),
        Cmd::GetAll(0, vec![5, 4]),
        Cmd::Delete(0, 4),
        Cmd::Size(0),
    ] {
        assert_eq!(rig.gate(&cmd), clear, "{cmd:?}");
    }
    assert!(rig.0.committed() < clear && rig.0.acknowledge(B1, clear));
}

#[test]
fn an_access_moves_the_end_of_an_entry_for_those_who_count_entries_too() {
    for mut rig in [Rig::new(u64::MAX), Rig::replicated()] {
        rig.set(2, 0, 8).unwrap();
        rig.set(2, 1, 8).unwrap();
        rig.1.advance(60);
        rig.gate(&Cmd::Get(2, 0));
        rig.1.advance(30);
        assert_eq!(rig.size(2), 1, "80 ms without access");
        rig.1.advance(49);
        assert_eq!(rig.size(2), 1);
        rig.1.advance(1);
        assert_eq!(rig.size(2), 0, "80 ms after the access");
    }
}

#[test]
fn entries_beyond_the_budget_are_written_all_or_none() {
    let mut rig = Rig::new(256 << 10);
    let fit =
        Cmd::PutAll(0, (0..20).map(|k| (k, Val { len: 4000, fill: 0 })).collect(), Life::default());
    rig.gate(&fit);
    let before = rig.state();
    let more = (0..20).map(|k| (k, Val { len: 20_000, fill: 0 })).collect();
    let error = rig.run(&Cmd::PutAll(1, more, Life::default()), None).unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::OutOfMemory, Applied::No));
    assert_eq!((rig.state(), rig.size(1)), (before, 0));
}
