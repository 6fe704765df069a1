//! Requests that were sent before, barriers, and what is remembered of sessions.
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
use grid_core::op::{Life, Part};
use rig::{B1, Rig, SMALL, feed};

fn value(fill: u8) -> Val {
    Val { len: 8, fill }
}

#[test]
fn a_late_first_sending_does_nothing_after_the_second_was_answered() {
    for replicated in [false, true] {
        let mut rig = if replicated { Rig::replicated() } else { Rig::new(u64::MAX) };
        rig.set(0, 0, 8).unwrap();
        let offer = |n: u64, fill| (Cmd::Offer(0, value(fill)), Rig::stamp(n));
        (0..3).for_each(|n| drop(rig.run(&offer(n + 1, 0).0, offer(n + 1, 0).1).unwrap()));
        // Each finds nothing to do when it is sent again; the first sending would, later.
        let life = Life::default();
        let requests = [
            (Cmd::Offer(0, value(3)), Rig::stamp(11), vec![0]),
            (Cmd::PutIfAbsent(0, 0, value(1), life), Rig::stamp(12), {
                let (tag, payload) = value(0).owned();
                [&[1], &tag.to_le_bytes()[..], &payload].concat()
            }),
            (Cmd::Replace(0, 2, value(1)), Rig::stamp(13), vec![0]),
            (Cmd::ReplaceIfSame(0, 2, Some(value(1)), value(2)), Rig::stamp(14), vec![0]),
            (Cmd::Remove(0, 2), Rig::stamp(15), vec![0]),
            (Cmd::RemoveIfSame(0, 2, Some(value(1))), Rig::stamp(16), vec![0]),
            (Cmd::Delete(0, 2), Rig::stamp(17), vec![]),
            (Cmd::SetTtl(0, 2, 9), Rig::stamp(18), vec![0]),
            (Cmd::PutAll(0, vec![], life), Rig::stamp(19), vec![]),
            (Cmd::Clear(1), Rig::stamp(20), vec![]),
            (Cmd::Poll(1), Rig::stamp(21), vec![0]),
            (Cmd::QueueClear(1), Rig::stamp(22), vec![]),
        ];
        for (cmd, stamp, answer) in &requests {
            let before = rig.0.last();
            let sent = rig.send(cmd, *stamp, true).unwrap();
            assert_eq!(sent, (before.next(), answer.clone()), "{cmd:?}");
            assert_eq!(rig.0.last(), before.next());
        }
        // Now there would be something to do.
        rig.gate(&Cmd::QueueClear(0));
        rig.gate(&Cmd::Delete(0, 0));
        rig.set(0, 2, 8).unwrap();
        rig.run(&Cmd::Replace(0, 2, value(1)), None).unwrap();
        rig.set(1, 0, 8).unwrap();
        rig.gate(&Cmd::Offer(1, SMALL));
        let before = rig.state();
        for (n, (cmd, stamp, answer)) in requests.iter().enumerate() {
            for again in [false, true] {
                let late = rig.send(cmd, *stamp, again).unwrap();
                assert_eq!((late.0.0, &late.1), (5 + n as u64, answer), "{cmd:?}");
            }
        }
        assert_eq!(rig.state(), before);
        assert_eq!(rig.0.committed() == rig.0.last(), !replicated);
    }
}

#[test]
fn what_reads_has_no_identity_or_was_refused_is_not_remembered() {
    let mut rig = Rig::replicated();
    rig.set(0, 0, 8).unwrap();
    let before = rig.state();
    let reads = [
        Cmd::Get(0, 0),
        Cmd::Contains(0, 1),
        Cmd::View(0, 0),
        Cmd::GetAll(0, vec![0, 1]),
        Cmd::Size(0),
        Cmd::Scan(0, 3, Part::Keys),
        Cmd::Peek(0),
        Cmd::QueueSize(0),
    ];
    for cmd in reads {
        rig.send(&cmd, Rig::stamp(1), true).unwrap();
    }
    rig.send(&Cmd::Delete(0, 5), None, true).unwrap();
    rig.send(&Cmd::Delete(0, 5), Rig::stamp(2), false).unwrap();
    for n in 0..6 {
        rig.send(&Cmd::Wrong(n), Rig::stamp(3), true).unwrap_err();
    }
    assert_eq!(rig.state(), before);
    // What has an effect is remembered with it, once.
    assert_eq!(rig.send(&Cmd::Delete(0, 0), Rig::stamp(4), true).unwrap().0, Seq(2));
    assert_eq!(rig.0.last(), Seq(2));
    // The end of an entry is logged for itself.
    rig.set(1, 0, 8).unwrap();
    rig.1.advance(50);
    assert_eq!(rig.send(&Cmd::Remove(1, 0), Rig::stamp(5), true).unwrap(), (Seq(5), vec![0]));
    // No room, nothing remembered.
    while rig.set(0, 0, 100_000).is_ok() {}
    let big = Cmd::PutIfAbsent(0, 0, SMALL, Life::default());
    let before = rig.state();
    assert_eq!(rig.send(&big, Rig::stamp(6), true).unwrap_err().kind(), Kind::Overloaded);
    assert!(rig.send(&big, Rig::stamp(6), false).is_ok(), "without effect it needs no room");
    assert_eq!(rig.state(), before);
}

#[test]
fn an_answer_that_is_remembered_without_effect_needs_memory() {
    let mut rig = Rig::new(400 << 10);
    rig.set(0, 0, 100_000).unwrap();
    let absent = Cmd::PutIfAbsent(0, 0, SMALL, Life::default());
    let remembered = (1..10).take_while(|n| rig.send(&absent, Rig::stamp(*n), true).is_ok());
    assert!((1..4).contains(&remembered.count()));
    let error = rig.send(&absent, Rig::stamp(9), true).unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfMemory);
    assert!(rig.send(&Cmd::Delete(0, 7), Rig::stamp(10), true).is_ok(), "a short one does not");
}

#[test]
fn a_barrier_is_committed_when_all_before_it_is() {
    let mut rig = Rig::new(u64::MAX);
    rig.set(0, 0, 8).unwrap();
    assert_eq!(rig.0.barrier(&rig.1), Ok(Seq(1)));
    rig.0.retain(Some(Seq(1)));
    assert_eq!(rig.0.barrier(&rig.1), Ok(Seq(1)), "a learner is not waited for");
    rig.0.lead(Term(1), &[(B1, Seq(1))]).unwrap();
    let digest = rig.0.digest();
    assert_eq!(rig.0.barrier(&rig.1), Ok(Seq(2)), "even if nothing was written before it");
    assert_eq!((rig.0.last(), rig.0.committed()), (Seq(2), Seq(1)));
    assert_eq!(rig.0.digest(), digest.wrapping_add(1), "nothing but the number");
    let mut backup = Rig::following();
    let (record, _) = rig.0.records_after(Seq(1), 1).unwrap();
    assert_eq!(backup.0.replicate(record, Seq(0)).unwrap_err().kind(), Kind::Lost);
    rig.0.acknowledge(B1, Seq(2));
    assert_eq!(rig.0.committed(), Seq(2));
    while rig.set(0, 0, 1000).is_ok() {}
    while rig.gate_or_full(&Cmd::Set(0, 0, Val { len: 0, fill: 0 }, Life::default())) {}
    let error = (0..5).find_map(|_| rig.0.barrier(&rig.1).err()).expect("the ring is full");
    assert_eq!(error.kind(), Kind::Overloaded);
    rig.0.hold_commit(true);
    rig.0.lead(Term(1), &[]).unwrap();
    rig.0.follow();
    assert_eq!(rig.0.barrier(&rig.1).unwrap_err().kind(), Kind::NotServing);
}

#[test]
fn a_record_without_effect_reaches_the_backups() {
    let (mut rig, mut backup) = (Rig::replicated(), Rig::following());
    let last = rig.0.barrier(&rig.1).unwrap();
    rig.send(&Cmd::Delete(0, 0), Rig::stamp(1), true).unwrap();
    feed(&mut rig.0, &mut backup.0, B1, true);
    assert_eq!((backup.0.last(), backup.state()), (last.next(), rig.state()));
    backup.0.lead(Term(2), &[]).unwrap();
    backup.set(0, 0, 8).unwrap();
    let late = backup.send(&Cmd::Delete(0, 0), Rig::stamp(1), false).unwrap();
    assert_eq!((late.0, backup.gate(&Cmd::Get(0, 0))), (Seq(2), Seq(3)), "not deleted");
}

#[test]
fn the_end_of_a_session_leaves_its_place_in_the_control_log() {
    let ended = |index| {
        let mut rig = Rig::new(u64::MAX);
        rig.run(&Cmd::Offer(0, SMALL), Rig::stamp_of(3, 1)).unwrap();
        rig.run(&Cmd::Offer(0, SMALL), Rig::stamp_of(5, 1)).unwrap();
        assert!(rig.0.knows_session(SessionId(3)) && !rig.0.knows_session(SessionId(4)));
        assert!(rig.0.sessions().eq([SessionId(3), SessionId(5)]));
        rig.0.expire_session(&rig.1, SessionId(3), Index(index)).unwrap();
        assert!(rig.0.sessions().eq([SessionId(5)]));
        rig
    };
    let (mut a, b) = (ended(7), ended(8));
    assert_eq!((a.0.expired_index(), b.0.expired_index()), (Index(7), Index(8)));
    assert_ne!(a.0.digest(), b.0.digest());
    // Where nothing is remembered nothing is logged.
    let before = a.state();
    a.0.expire_session(&a.1, SessionId(3), Index(9)).unwrap();
    assert_eq!((a.state(), a.0.expired_index()), (before, Index(7)));
    // One that ended earlier takes nothing back.
    a.0.expire_session(&a.1, SessionId(5), Index(2)).unwrap();
    assert_eq!((a.0.last(), a.0.expired_index()), (Seq(4), Index(7)));
}
