//! Who leads, who follows and who reads along: terms, held commits, former primaries, learners.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "model/rig.rs"]
#[allow(dead_code)]
mod rig;

use commands::{Cmd, Val};
use grid_core::Kind;
use grid_core::ids::{Index, Seq, SessionId, Term};
use grid_core::limits::{LEARNER_RING_BYTES_MAX, RING_BYTES_MAX};
use grid_core::op::Life;
use grid_core::partition::Partition;
use rig::{B1, B2, Rig, SMALL, feed};

#[test]
fn records_carry_the_term_of_their_writer_and_terms_do_not_go_back() {
    let mut rig = Rig::following();
    let mut primary = Rig::replicated();
    primary.0.lead(Term(4), &[(B1, Seq(0))]).unwrap();
    primary.set(0, 0, 8).unwrap();
    primary.0.lead(Term(6), &[(B1, Seq(0))]).unwrap();
    assert_eq!((primary.0.term(), primary.0.last_record_term()), (Term(6), Term(4)));
    primary.set(0, 1, 8).unwrap();
    assert_eq!(primary.0.last_record_term(), Term(6));
    let (records, _) = primary.0.records_after(Seq(0), 1).unwrap();
    assert_eq!(rig.0.replicate(records, Seq(0)), Ok(Seq(1)));
    assert_eq!((rig.0.term(), rig.0.last_record_term()), (Term(4), Term(4)));
    feed(&mut primary.0, &mut rig.0, B1, false);
    assert_eq!((rig.0.term(), rig.0.last_record_term()), (Term(6), Term(6)));
    assert_eq!(rig.0.lead(Term(5), &[]).unwrap_err().kind(), Kind::Internal);
    assert!(rig.0.is_following() && rig.0.committed() == Seq(0));
    // Led without a record, a term is seen too.
    rig.0.lead(Term(9), &[(B2, Seq(0))]).unwrap();
    rig.0.follow();
    assert_eq!(rig.0.lead(Term(8), &[]).unwrap_err().kind(), Kind::Internal);
    // A record of an older term than the last has come too late to be true.
    let mut deposed = Rig::following();
    deposed.0.lead(Term(5), &[(B1, Seq(0))]).unwrap();
    (0..3).for_each(|k| drop(deposed.set(1, k, 8).unwrap()));
    let (records, _) = deposed.0.records_after(Seq(2), 1).unwrap();
    let before = rig.state();
    assert_eq!(rig.0.replicate(records, Seq(3)).unwrap_err().kind(), Kind::NotServing);
    assert_eq!(rig.state(), before);
}

#[test]
fn logs_that_differ_are_told_apart() {
    let mut a = Rig::replicated();
    (0..3).for_each(|k| drop(a.set(0, k, 8).unwrap()));
    let mut b = Rig::following();
    feed(&mut a.0, &mut b.0, B1, false);
    // Both go on by themselves, in different terms.
    let mut c = Rig::following();
    feed(&mut a.0, &mut c.0, B2, false);
    b.0.lead(Term(2), &[(B2, Seq(3))]).unwrap();
    b.set(0, 7, 8).unwrap();
    b.set(0, 8, 8).unwrap();
    a.set(0, 9, 8).unwrap();
    feed(&mut a.0, &mut c.0, B2, false);
    let before = c.state();
    let (records, _) = b.0.records_after(Seq(3), usize::MAX).unwrap();
    let error = c.0.replicate(records, Seq(5)).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.detail().unwrap().contains("diverged"), "{error}");
    assert_eq!((c.state(), c.0.committed()), (before, Seq(0)));
    // The common part is passed over, whether the ring still has it or not.
    for committed in [0, 3] {
        let (records, _) = a.0.records_after(Seq(0), 1).unwrap();
        assert_eq!(c.0.replicate(records, Seq(committed)), Ok(Seq(4)));
    }
    assert_eq!(c.0.records_after(Seq(2), 1), None);
    // Of what the ring no longer has, the term tells at least what cannot be.
    c.0.replicate(&[], Seq(4)).unwrap();
    let (records, _) = b.0.records_after(Seq(3), 1).unwrap();
    assert!(c.0.replicate(records, Seq(4)).unwrap_err().detail().unwrap().contains("diverged"));
}

#[test]
fn a_held_commit_stands_still_whatever_is_acknowledged() {
    let mut rig = Rig::new(u64::MAX);
    let mut backup = Rig::following();
    rig.0.hold_commit(true);
    let set = rig.set(0, 0, 8).unwrap().0;
    let gone = rig.gate(&Cmd::Delete(0, 0));
    assert_eq!((rig.0.committed(), set, gone), (Seq(0), Seq(1), Seq(2)));
    assert_eq!(rig.gate(&Cmd::Get(0, 0)), gone, "the tombstone is there");
    rig.0.lead(Term(2), &[(B1, Seq(0))]).unwrap();
    assert_eq!(rig.0.committed(), Seq(0), "held before it led");
    feed(&mut rig.0, &mut backup.0, B1, true);
    assert_eq!((rig.0.committed(), backup.0.committed()), (Seq(0), Seq(0)));
    assert!(!rig.0.acknowledge(B1, gone));
    assert!(rig.0.records_after(Seq(0), 1).is_some(), "what is not committed is kept");
    rig.0.lead(Term(2), &[]).unwrap();
    assert_eq!(rig.0.committed(), Seq(0));
    rig.0.hold_commit(false);
    assert_eq!((rig.0.committed(), rig.gate(&Cmd::Get(0, 0))), (gone, Seq(0)));
    assert_eq!(rig.0.records_after(Seq(1), 1), None);
    // What waits is bounded although nobody needs the records.
    rig.0.hold_commit(true);
    let written = (0..100).take_while(|_| rig.set(0, 0, 100_000).is_ok()).count();
    assert!((30..50).contains(&written), "{written} of 100 kB each");
    rig.overloaded(&Cmd::Set(0, 0, Val { len: 100_000, fill: 1 }, Life::default()));
    // A primary's word counts, held or not.
    backup.0.hold_commit(true);
    backup.0.replicate(&[], gone).unwrap();
    assert_eq!(backup.0.committed(), gone);
}

#[test]
fn a_former_primary_keeps_what_was_not_committed_for_those_who_lack_it() {
    let mut old = Rig::replicated();
    let (mut heir, mut third) = (Rig::following(), Rig::following());
    (0..4).for_each(|k| drop(old.set(0, k, 8).unwrap()));
    feed(&mut old.0, &mut heir.0, B1, true);
    let (first, _) = old.0.records_after(Seq(0), 1).unwrap();
    let first_three = old.0.records_after(Seq(0), 3 * first.len()).unwrap().0.to_vec();
    third.0.replicate(first, Seq(0)).unwrap();
    old.0.acknowledge(B2, Seq(1));
    old.gate(&Cmd::Delete(0, 0));
    feed(&mut old.0, &mut heir.0, B1, true);
    assert_eq!(old.0.committed(), Seq(1));
    heir.0.lead(Term(2), &[(B1, Seq(5)), (B2, Seq(1))]).unwrap();
    old.0.follow();
    assert_eq!(old.0.committed(), Seq(1));
    for write in [Cmd::Set(0, 9, SMALL, Life::default()), Cmd::Delete(0, 1), Cmd::Poll(0)] {
        if let Err(error) = old.run(&write, None) {
            assert_eq!(error.kind(), Kind::NotServing, "{write:?}");
        } else {
            assert!(matches!(write, Cmd::Poll(_)), "an empty queue is no write");
        }
    }
    assert!(!old.0.acknowledge(B1, Seq(5)), "a late acknowledgement");
    assert!(!old.0.expire(&old.1));
    // The heir writes, nobody but the old primary gets it, the heir dies.
    heir.set(0, 6, 8).unwrap();
    feed(&mut heir.0, &mut old.0, B1, true);
    assert_eq!(old.state(), heir.state());
    old.0.replicate(&[], Seq(3)).unwrap();
    assert!(!reads(&old.0, Seq(2)) && reads(&old.0, Seq(3)), "it forgets what is committed");
    drop(heir);
    third.0.replicate(&first_three, Seq(1)).unwrap();
    old.0.lead(Term(3), &[(B2, Seq(3))]).unwrap();
    assert_eq!((old.0.committed(), old.0.last()), (Seq(3), Seq(6)));
    assert_eq!(old.gate(&Cmd::Get(0, 0)), Seq(5), "the tombstone of its first time as primary");
    feed(&mut old.0, &mut third.0, B2, true);
    assert_eq!((old.state(), old.0.committed()), (third.state(), Seq(6)));
    assert_eq!(old.gate(&Cmd::Get(0, 0)), Seq(0));
}

#[test]
fn last_accesses_are_those_of_the_primary_whatever_the_own_clock_showed() {
    let (mut old, mut new) = (Rig::replicated(), Rig::following());
    old.set(1, 1, 8).unwrap();
    feed(&mut old.0, &mut new.0, B1, true);
    old.1.advance(30);
    old.gate(&Cmd::Get(1, 1));
    assert_eq!(
        (old.0.time().0, old.0.last()),
        (1030, Seq(1)),
        "time was asked for without a record"
    );
    new.0.lead(Term(2), &[(B1, new.0.last())]).unwrap();
    old.0.follow();
    new.set(2, 3, 8).unwrap();
    feed(&mut new.0, &mut old.0, B1, true);
    assert_eq!((new.0.time().0, old.0.time().0), (1000, 1030));
    assert_eq!(old.state(), new.state());
}

fn large(rig: &mut Rig) -> Seq {
    rig.set(0, 0, 100_000).unwrap().0
}

fn reads(partition: &Partition, from: Seq) -> bool {
    partition.records_after(from, 1).is_some_and(|(records, _)| !records.is_empty())
}

#[test]
fn a_learner_reads_along_a_primary_without_backups() {
    let mut rig = Rig::new(u64::MAX);
    rig.set(0, 0, 8).unwrap();
    assert!(rig.0.records_after(Seq(1), 1).is_some() && rig.0.records_after(Seq(0), 1).is_none());
    rig.0.retain(Some(Seq(1)));
    let set = rig.set(0, 1, 8).unwrap().0;
    assert_eq!(rig.0.committed(), set, "nobody has to acknowledge it");
    rig.gate(&Cmd::Delete(0, 1));
    assert_eq!(rig.gate(&Cmd::Get(0, 1)), Seq(0), "no tombstone needed");
    assert_eq!(rig.0.records_after(Seq(1), usize::MAX).unwrap().1, Seq(3));
    rig.0.retain(Some(Seq(2)));
    assert!(!reads(&rig.0, Seq(1)) && reads(&rig.0, Seq(2)));
    rig.0.retain(None);
    assert!(!reads(&rig.0, Seq(2)));
    rig.set(0, 1, 8).unwrap();
    assert_eq!(rig.0.records_after(Seq(3), 1), None, "not written");
}

#[test]
fn a_learner_that_is_too_slow_loses_its_place_and_stops_nobody() {
    for required in [vec![], vec![(B1, Seq(0))]] {
        let mut rig = Rig::new(u64::MAX);
        rig.0.lead(Term(2), &required).unwrap();
        rig.0.retain(Some(Seq(0)));
        let mut lost = None;
        for n in 1..=100 {
            assert_eq!(large(&mut rig), Seq(n));
            rig.0.acknowledge(B1, Seq(n));
            assert_eq!(rig.0.committed(), Seq(n));
            if lost.is_none() && !reads(&rig.0, Seq(0)) {
                lost = Some(n as usize);
                assert_eq!(rig.0.records_after(Seq(0), 1), None);
            }
            assert!(reads(&rig.0, Seq(n - 1)), "one that is quicker goes on");
        }
        let most = LEARNER_RING_BYTES_MAX / 100_000;
        assert_eq!(lost, Some(most + 1), "{required:?}");
        assert!(reads(&rig.0, Seq(100 - most as u64 + 1)));
        // What it is kept does not count as room for the backup.
        rig.0.retain(Some(Seq(100)));
        rig.0.lead(Term(2), &[(B1, Seq(100))]).unwrap();
        (0..10).for_each(|_| assert!(large(&mut rig) > Seq(100)));
        rig.0.acknowledge(B1, Seq(110));
        let room = (0..100).take_while(|_| rig.set(0, 0, 100_000).is_ok()).count();
        assert_eq!(room, RING_BYTES_MAX / 100_100);
        assert!(reads(&rig.0, Seq(100)), "and is not what is given up for it");
    }
}

#[test]
fn a_learner_that_is_required_frees_the_ring_while_it_catches_up() {
    let mut rig = Rig::new(u64::MAX);
    rig.0.lead(Term(1), &[(B1, Seq(0))]).unwrap();
    rig.0.retain(Some(Seq(0)));
    for n in 1..=10 {
        assert_eq!(large(&mut rig), Seq(n));
        rig.0.acknowledge(B1, Seq(n));
    }
    rig.0.retain(None);
    assert!(!reads(&rig.0, Seq(9)));
    rig.0.retain(Some(Seq(10)));
    (0..10).for_each(|_| assert!(large(&mut rig) > Seq(10)));
    rig.0.acknowledge(B1, Seq(20));
    rig.0.lead(Term(1), &[(B1, Seq(20)), (B2, Seq(12))]).unwrap();
    rig.0.retain(None);
    let fill = |rig: &mut Rig| (0..100).take_while(|_| rig.set(0, 0, 100_000).is_ok()).count();
    let room = fill(&mut rig);
    assert_eq!(room, RING_BYTES_MAX / 100_100 - 8, "the last eight are needed again");
    assert!(!rig.0.acknowledge(B2, Seq(17)), "those are committed");
    assert_eq!(fill(&mut rig), 5);
}

#[test]
fn one_record_larger_than_what_a_learner_is_kept_is_kept_until_the_next() {
    let mut rig = Rig::new(u64::MAX);
    rig.0.retain(Some(Seq(0)));
    rig.set(0, 0, 2 * LEARNER_RING_BYTES_MAX).unwrap();
    assert!(reads(&rig.0, Seq(0)));
    rig.set(0, 1, 8).unwrap();
    assert!(!reads(&rig.0, Seq(0)) && reads(&rig.0, Seq(1)));
}

#[test]
fn published_items_are_not_delivered_by_one_who_steps_down() {
    let mut rig = Rig::replicated();
    rig.gate(&Cmd::Publish(Val { len: 3, fill: 0 }));
    rig.0.follow();
    rig.0.replicate(&[], Seq(1)).unwrap();
    assert_eq!((rig.0.committed(), rig.0.next_published()), (Seq(1), None));
}

#[test]
fn a_session_is_not_expired_by_one_who_follows() {
    let mut rig = Rig::replicated();
    rig.run(&Cmd::Offer(0, SMALL), Rig::stamp(1)).unwrap();
    rig.0.follow();
    let error = rig.0.expire_session(&rig.1, SessionId(5), Index(9)).unwrap_err();
    assert_eq!((error.kind(), rig.0.last()), (Kind::NotServing, Seq(1)));
}
