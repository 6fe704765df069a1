//! Full copies of a partition: what of each record concerns what was copied already, what is refused,
//! and what the copy promises when it leads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "model/rig.rs"]
#[allow(dead_code)]
mod rig;

use commands::{Cmd, KEYS, SEED, TOPIC, Val, env, key, map, queue};
use grid_core::control::{MapConfig, QueueConfig, StructureConfig};
use grid_core::ids::{Index, Seq, SessionId, Term};
use grid_core::op::Life;
use grid_core::partition::{CopyCursor, Partition};
use grid_core::store::hash64;
use grid_core::{Kind, PartitionId, Result};
use rig::{B1, B2, Rig, SMALL, feed};

/// A copy under way.
struct Copy {
    to: Rig,
    cursor: CopyCursor,
}

impl Copy {
    fn of(from: &mut Rig) -> Self {
        Self::onto(from, Rig::new(u64::MAX))
    }

    fn onto(from: &mut Rig, mut to: Rig) -> Self {
        to.0.copy_begin();
        from.0.retain(Some(from.0.last()));
        Copy { to, cursor: CopyCursor::default() }
    }

    fn records(&mut self, from: &Rig) -> Result<Seq> {
        let to = &mut self.to.0;
        let (records, _) = from.0.records_after(to.last(), usize::MAX).expect("retained");
        to.replicate(records, from.0.committed())
    }

    /// What the next message has, taken in; whether the copy is whole.
    fn next(&mut self, from: &Rig, bytes_max: usize) -> Result<bool> {
        if self.to.0.last() > Seq(0) {
            self.records(from)?;
        }
        let before = self.cursor.clone();
        let mut piece = Vec::new();
        from.0.copy_out(&mut self.cursor, bytes_max, &mut piece);
        let whole = self.to.0.copy_in(&piece);
        if whole.is_err() {
            self.cursor = before;
        }
        whole
    }

    /// Pieces of one entry, item or session each until the copy is whole.
    fn finish(mut self, from: &Rig) -> Rig {
        assert!((0..1000).any(|_| self.next(from, 0).unwrap()), "it comes to no end");
        assert_eq!(self.to.state(), from.state());
        self.to
    }
}

/// The keys of a map in the order of a walk.
fn walk() -> Vec<u8> {
    let mut keys: Vec<_> = (0..KEYS).collect();
    keys.sort_by_key(|k| {
        let (tag, payload, _) = key(*k);
        (hash64(&payload, SEED), payload, tag)
    });
    keys
}

/// Map 1 has all keys, the two next to it some, so do queues, and there are sessions.
fn filled() -> Rig {
    let mut rig = Rig::new(u64::MAX);
    (0..KEYS).for_each(|k| drop(rig.set(1, k, 20).unwrap()));
    for m in [0, 2] {
        (0..3).for_each(|k| drop(rig.set(m, k, 20).unwrap()));
    }
    for fill in 0..3 {
        rig.gate(&Cmd::Offer(0, Val { len: 5, fill }));
        rig.gate(&Cmd::Offer(1, Val { len: 6, fill }));
    }
    for session in [3, 5, 7] {
        for request in 1..4 {
            let cmd = Cmd::Put(3, 0, Val { len: 30, fill: request as u8 }, Life::default());
            rig.run(&cmd, Rig::stamp_of(session, request)).unwrap();
        }
    }
    rig
}

/// Pieces of one item each until `upto` entries of the maps in their order were copied.
fn begun(from: &mut Rig, entries: usize) -> Copy {
    let mut copy = Copy::of(from);
    (0..entries).for_each(|_| assert_eq!(copy.next(from, 0), Ok(false)));
    copy
}

fn len(partition: &Partition, structure: grid_core::StructureId) -> usize {
    partition.usage(structure).unwrap().0
}

#[test]
fn a_copy_at_rest_equals_its_sender() {
    for bytes_max in [0, 1, 100, 300, 5000, usize::MAX] {
        let mut from = filled();
        let mut copy = Copy::of(&mut from);
        let mut pieces = 1;
        while !copy.next(&from, bytes_max).unwrap() {
            assert!(copy.to.0.is_copying());
            pieces += 1;
        }
        let to = copy.to;
        assert_eq!((to.state(), to.0.is_copying()), (from.state(), false));
        assert_eq!(to.0.time(), from.0.time());
        assert_eq!(to.0.last_record_term(), from.0.last_record_term());
        let things = usize::from(KEYS) + 2 * 3 + 2 * 3 + 1 + 3;
        match bytes_max {
            0 | 1 => assert_eq!(pieces, things, "one thing at a time"),
            usize::MAX => assert_eq!(pieces, 1),
            _ => assert!((2..=things).contains(&pieces), "{pieces} of {bytes_max} bytes"),
        }
    }
    let mut empty = Rig::new(u64::MAX);
    let mut copy = Copy::of(&mut empty);
    assert_eq!(copy.next(&empty, 0), Ok(true));
    assert_eq!(copy.to.state(), empty.state());
}

#[test]
fn pieces_are_as_long_as_asked_for_and_longer_only_for_one_value() {
    let mut from = filled();
    let large = Val { len: 100_000, fill: 0 };
    from.run(&Cmd::Set(1, walk()[5], large, Life::default()), None).unwrap();
    from.gate(&Cmd::Offer(1, large));
    from.gate(&Cmd::Offer(1, SMALL));
    let stamp = Rig::stamp_of(6, 1);
    from.run(&Cmd::Put(1, walk()[5], SMALL, Life::default()), stamp).unwrap();
    from.run(&Cmd::Set(1, walk()[5], large, Life::default()), None).unwrap();
    let (mut cursor, mut long) = (CopyCursor::default(), 0);
    loop {
        let mut piece = b"what was there".to_vec();
        let whole = from.0.copy_out(&mut cursor, 1000, &mut piece);
        assert!(piece.starts_with(b"what was there"));
        if piece.len() > 6000 {
            assert!((100_000..100_400).contains(&piece.len()), "{}", piece.len());
            long += 1;
        }
        if whole {
            break;
        }
    }
    assert_eq!(long, 3, "a value, an item, an answer");
    // A cursor is plain data: from a copy of it comes the same piece.
    let mut cursor = CopyCursor::default();
    let mut pieces = [Vec::new(), Vec::new(), Vec::new()];
    from.0.copy_out(&mut cursor, 100, &mut pieces[0]);
    from.0.copy_out(&mut cursor.clone(), 100, &mut pieces[1]);
    from.0.copy_out(&mut cursor, 100, &mut pieces[2]);
    assert!(pieces[1] == pieces[2] && pieces[0] != pieces[1]);
}

#[test]
fn of_a_map_under_way_the_copy_takes_what_concerns_the_keys_that_it_has() {
    let order = walk();
    // Two keys of one payload follow each other: the bound may lie between them.
    for bound in (1..order.len()).step_by(3) {
        for (at, k) in order.iter().copied().enumerate() {
            let cmds = [
                Cmd::Set(1, k, Val { len: 60, fill: 2 }, Life::default()),
                Cmd::Delete(1, k),
                Cmd::SetTtl(1, k, 900),
            ];
            for cmd in cmds {
                let mut from = filled();
                let mut copy = begun(&mut from, 3 + bound);
                assert_eq!(len(&copy.to.0, map(1)), bound);
                let (bytes, digest) = (copy.to.0.bytes(), copy.to.0.digest());
                from.gate(&cmd);
                copy.records(&from).unwrap();
                let removed = usize::from(at < bound && matches!(cmd, Cmd::Delete(..)));
                assert_eq!(len(&copy.to.0, map(1)), bound - removed, "{cmd:?} {at} of {bound}");
                if at >= bound {
                    assert_eq!(copy.to.0.bytes(), bytes);
                    assert_eq!(copy.to.0.digest(), digest.wrapping_add(1), "the number only");
                }
                copy.finish(&from);
            }
        }
    }
}

#[test]
fn of_maps_below_everything_is_taken_and_of_those_above_nothing() {
    let mut from = filled();
    let mut copy = begun(&mut from, 3 + 10);
    from.set(0, 9, 20).unwrap();
    from.gate(&Cmd::Delete(0, 1));
    from.set(2, 9, 20).unwrap();
    from.gate(&Cmd::Delete(2, 1));
    from.gate(&Cmd::Offer(1, SMALL));
    copy.records(&from).unwrap();
    assert_eq!([0, 1, 2].map(|m| len(&copy.to.0, map(m))), [3, 10, 0]);
    assert_eq!(len(&copy.to.0, queue(1)), 0);
    copy.finish(&from);
    // What is between two structures belongs to neither.
    let mut from = filled();
    let mut copy = begun(&mut from, 3);
    assert_eq!([0, 1].map(|m| len(&copy.to.0, map(m))), [3, 0]);
    from.set(0, walk()[KEYS as usize - 1], 20).unwrap();
    from.set(1, walk()[0], 8).unwrap();
    copy.records(&from).unwrap();
    assert_eq!(len(&copy.to.0, map(0)), 4, "the first is whole");
    assert_eq!(len(&copy.to.0, map(1)), 0, "the second has not begun");
    copy.finish(&from);
}

#[test]
fn a_clear_takes_what_is_there_of_it() {
    for (m, left) in [(0, [0, 10, 0]), (1, [3, 0, 0]), (2, [3, 10, 0])] {
        let mut from = filled();
        let mut copy = begun(&mut from, 3 + 10);
        from.gate(&Cmd::Clear(m));
        copy.records(&from).unwrap();
        assert_eq!([0, 1, 2].map(|m| len(&copy.to.0, map(m))), left);
        // Keys on both sides of where the walk is.
        for k in [walk()[2], walk()[20]] {
            from.set(m, k, 8).unwrap();
        }
        copy.records(&from).unwrap();
        let below = if m == 0 { 2 } else { usize::from(m == 1) };
        assert_eq!(len(&copy.to.0, map(m)), below);
        copy.finish(&from);
    }
}

#[test]
fn a_queue_under_way_loses_its_head_and_gets_its_tail_by_pieces() {
    let entries = usize::from(KEYS) + 2 * 3 + 1;
    for sent in 0..=3 {
        for taken in 0..=3 {
            for clear in [false, true] {
                let mut from = filled();
                let mut copy = begun(&mut from, entries + sent);
                assert_eq!(len(&copy.to.0, queue(0)), sent);
                (0..taken).for_each(|_| assert!(from.gate(&Cmd::Poll(0)) > Seq(0)));
                if clear {
                    from.gate(&Cmd::QueueClear(0));
                }
                from.gate(&Cmd::Poll(1));
                from.gate(&Cmd::Offer(1, SMALL));
                copy.records(&from).unwrap();
                let left = if clear { 0 } else { sent.saturating_sub(taken) };
                assert_eq!(len(&copy.to.0, queue(0)), left, "{taken} of {sent} taken");
                assert_eq!(len(&copy.to.0, queue(1)), 0);
                if taken > 0 || clear {
                    from.gate(&Cmd::Offer(0, Val { len: 9, fill: 9 }));
                }
                copy.records(&from).unwrap();
                // With the third item came the word that it was the last.
                let tail = usize::from(sent == 3 && (taken > 0 || clear));
                assert_eq!(len(&copy.to.0, queue(0)), left + tail, "{taken} of {sent} taken");
                copy.finish(&from);
            }
        }
    }
    // Whole, it takes everything.
    let mut from = filled();
    let mut copy = begun(&mut from, entries + 3 + 1);
    from.gate(&Cmd::Poll(0));
    from.gate(&Cmd::Poll(0));
    from.gate(&Cmd::Offer(0, SMALL));
    copy.records(&from).unwrap();
    assert_eq!((len(&copy.to.0, queue(0)), len(&copy.to.0, queue(1))), (2, 1));
    copy.finish(&from);
}

#[test]
fn of_sessions_the_copy_takes_what_concerns_those_that_it_has() {
    let before = usize::from(KEYS) + 2 * 3 + 1 + 2 * 3;
    for sent in 0..3 {
        let mut from = filled();
        let mut copy = begun(&mut from, before + sent);
        for (session, request) in [(3, 4), (7, 4), (4, 1), (9, 1)] {
            let cmd = Cmd::Put(3, 0, SMALL, Life::default());
            from.run(&cmd, Rig::stamp_of(session, request)).unwrap();
        }
        from.0.expire_session(&from.1, SessionId(5), Index(50 + sent as u64)).unwrap();
        copy.records(&from).unwrap();
        let has: Vec<u64> = copy.to.0.sessions().map(|id| id.0).collect();
        let expected = [&[][..], &[3], &[3, 4]][sent];
        assert_eq!(has, expected, "after {sent} sessions");
        assert_eq!(copy.to.0.expired_index(), Index(50 + sent as u64));
        let mut to = copy.finish(&from);
        // What was answered is answered so again, what was not is executed.
        to.0.lead(Term(2), &[]).unwrap();
        let last = to.0.last();
        for (session, request) in [(3, 1), (3, 4), (7, 2), (7, 4), (4, 1), (9, 1)] {
            let cmd = Cmd::Put(3, 0, SMALL, Life::default());
            let there = from.run(&cmd, Rig::stamp_of(session, request)).unwrap();
            assert_eq!(to.run(&cmd, Rig::stamp_of(session, request)).unwrap(), there);
        }
        assert_eq!(to.0.last(), last);
    }
}

#[test]
fn what_a_session_has_confirmed_stays_confirmed_in_a_copy() {
    let mut from = Rig::new(u64::MAX);
    let mut stamp = Rig::stamp_of(5, 20).unwrap();
    from.run(&Cmd::Offer(1, SMALL), Some(stamp)).unwrap();
    stamp.request.0 = 12;
    stamp.floor.0 = 10;
    from.run(&Cmd::Offer(1, SMALL), Some(stamp)).unwrap();
    let mut to = Copy::of(&mut from).finish(&from);
    to.0.lead(Term(2), &[]).unwrap();
    assert!(to.run(&Cmd::Offer(1, SMALL), Rig::stamp_of(5, 20)).is_ok());
    let error = to.run(&Cmd::Offer(1, SMALL), Rig::stamp_of(5, 9)).unwrap_err();
    assert_eq!((error.kind(), len(&to.0, queue(1))), (Kind::Malformed, 2));
}

#[test]
fn a_copy_that_leads_shows_nothing_that_others_may_lack() {
    let mut from = filled();
    from.0.lead(Term(1), &[(B1, from.0.last())]).unwrap();
    let committed = from.0.committed();
    from.gate(&Cmd::Delete(0, 0));
    from.gate(&Cmd::Clear(2));
    from.gate(&Cmd::Poll(0));
    let bare = Rig(Partition::new(PartitionId(0), env(u64::MAX, 64 << 20)), Rig::new(0).1);
    let mut copy = Copy::onto(&mut from, bare);
    for (m, config) in (0..).zip([(None, None), (Some(50), None)]) {
        let (ttl_ms, max_idle_ms) = config;
        copy.to.0.declare(
            map(m),
            &StructureConfig::Map(MapConfig { ttl_ms, max_idle_ms, ..MapConfig::default() }),
        );
    }
    copy.to.0.declare(map(3), &StructureConfig::Map(MapConfig::default()));
    for q in 0..2 {
        copy.to.0.declare(queue(q), &StructureConfig::Queue(QueueConfig::default()));
    }
    let mut to = copy.finish(&from);
    let last = from.0.last();
    to.0.lead(Term(2), &[(B2, committed)]).unwrap();
    assert_eq!(to.0.committed(), committed);
    // Declared only now: it was cleared, and the copy knows nothing of it.
    to.0.declare(map(2), &StructureConfig::Map(MapConfig::default()));
    to.0.declare(TOPIC, &StructureConfig::Topic);
    for cmd in [
        Cmd::Get(0, 0),
        Cmd::Get(0, 23),
        Cmd::Get(2, 0),
        Cmd::Size(0),
        Cmd::Size(2),
        Cmd::Peek(0),
        Cmd::QueueSize(1),
        Cmd::Clear(2),
    ] {
        assert_eq!(to.gate(&cmd), last, "{cmd:?}");
    }
    assert!(to.gate(&Cmd::Get(0, 1)) <= committed, "an entry has its own number");
    assert_eq!(to.0.records_after(committed, 1), None, "it has no records of before");
}

#[test]
fn the_records_of_the_meantime_are_in_the_ring_of_the_copy() {
    let mut from = filled();
    let mut copy = begun(&mut from, 5);
    let began = copy.to.0.last();
    from.0.lead(Term(3), &[(B1, began)]).unwrap();
    (0..KEYS).for_each(|k| drop(from.set(1, k, 30).unwrap()));
    from.gate(&Cmd::Delete(1, 3));
    copy.next(&from, 0).unwrap();
    from.run(&Cmd::Offer(1, SMALL), Rig::stamp_of(8, 1)).unwrap();
    let mut third = Copy::of(&mut from).finish(&from);
    let mut to = copy.finish(&from);
    assert_eq!((to.0.committed(), to.0.last_record_term()), (began, Term(3)));
    let (mine, last) = to.0.records_after(began, usize::MAX).unwrap();
    assert_eq!((mine, last), from.0.records_after(began, usize::MAX).unwrap());
    to.0.lead(Term(4), &[(B1, began), (B2, last)]).unwrap();
    assert_eq!(to.gate(&Cmd::Get(1, 3)), last, "the copy's gate");
    to.set(1, 3, 9).unwrap();
    feed(&mut to.0, &mut third.0, B2, true);
    assert_eq!(to.state(), third.state());
}

#[test]
fn pieces_come_in_order_with_the_records_between_them() {
    let mut from = filled();
    let mut to = Rig::new(u64::MAX);
    let kind = |result: Result<bool>| result.unwrap_err().kind();
    let mut cursor = CopyCursor::default();
    let mut pieces = Vec::new();
    for _ in 0..3 {
        let mut piece = Vec::new();
        from.0.copy_out(&mut cursor, 0, &mut piece);
        pieces.push(piece);
    }
    assert_eq!(kind(to.0.copy_in(&pieces[0])), Kind::Internal, "not begun");
    to.0.copy_begin();
    assert!(to.0.is_copying() && to.0.is_following());
    assert_eq!(to.0.replicate(&[], Seq(0)).unwrap_err().kind(), Kind::Lost);
    assert_eq!(kind(to.0.copy_in(&pieces[1])), Kind::Lost);
    assert_eq!(to.0.copy_in(&pieces[0]), Ok(false));
    assert_eq!(kind(to.0.copy_in(&pieces[0])), Kind::Lost, "twice");
    assert_eq!(kind(to.0.copy_in(&pieces[2])), Kind::Lost, "one is missing");
    assert_eq!(to.0.lead(Term(9), &[]).unwrap_err().kind(), Kind::Internal);
    from.0.retain(Some(from.0.last()));
    from.set(1, 0, 8).unwrap();
    let mut later = Vec::new();
    let mut cursor = CopyCursor::default();
    from.0.copy_out(&mut cursor, 0, &mut Vec::new());
    from.0.copy_out(&mut cursor, 0, &mut later);
    assert_eq!(kind(to.0.copy_in(&later)), Kind::Lost, "a record is missing");
    let (records, last) = from.0.records_after(to.0.last(), usize::MAX).unwrap();
    assert_eq!(to.0.replicate(records, Seq(0)), Ok(last));
    assert_eq!(kind(to.0.copy_in(&pieces[1])), Kind::Lost, "read too early");
    assert_eq!(to.0.copy_in(&later), Ok(false));
    // From the beginning, at any time.
    to.0.copy_begin();
    assert_eq!((to.0.last(), to.0.bytes(), to.0.env().ledger.used()), (Seq(0), 0, 0));
    let copy = Copy { to, cursor: CopyCursor::default() };
    copy.finish(&from);
}

#[test]
fn structures_that_the_receiver_does_not_know_can_be_declared_meanwhile() {
    let mut from = filled();
    let bare = Rig(Partition::new(PartitionId(0), env(u64::MAX, 64 << 20)), Rig::new(0).1);
    let mut copy = Copy::onto(&mut from, bare);
    let mut declared = 0;
    loop {
        let before = (copy.to.0.last(), copy.to.0.bytes());
        match copy.next(&from, 300) {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                assert_eq!(error.kind(), Kind::UnknownStructure);
                assert_eq!((copy.to.0.last(), copy.to.0.bytes()), before);
                let text = error.detail().unwrap();
                let id: u32 = text.rsplit(' ').next().unwrap().parse().unwrap();
                let config = match id {
                    0..4 => StructureConfig::Map(MapConfig::default()),
                    _ => StructureConfig::Queue(QueueConfig::default()),
                };
                copy.to.0.declare(grid_core::StructureId(id), &config);
                declared += 1;
            }
        }
    }
    assert_eq!((declared, copy.to.state()), (6, from.state()));
}

#[test]
fn structures_declared_during_a_copy_belong_to_it() {
    let late = grid_core::StructureId(20);
    let config = StructureConfig::Queue(QueueConfig::default());
    for entries in [2, usize::from(KEYS) + 2 * 3 + 1 + 2 * 3 + 1] {
        let mut from = filled();
        let mut copy = begun(&mut from, entries);
        from.0.declare(late, &config);
        from.offer_to(late);
        from.offer_to(late);
        let error = copy.records(&from).unwrap_err();
        assert_eq!(error.kind(), Kind::UnknownStructure, "passed over or not, it must be known");
        copy.to.0.declare(late, &config);
        copy.records(&from).unwrap();
        assert_eq!(len(&copy.to.0, late), if entries == 2 { 0 } else { 2 });
        let to = copy.finish(&from);
        assert_eq!(len(&to.0, late), 2);
    }
}

#[test]
fn a_copy_that_finds_no_memory_gives_back_what_it_took_and_can_begin_again() {
    let mut from = Rig::new(u64::MAX);
    (0..KEYS).for_each(|k| drop(from.set(0, k, 20_000).unwrap()));
    (0..KEYS).for_each(|k| drop(from.set(1, k, 3_000).unwrap()));
    for (budget, reserve) in [(200_000, 64 << 20), (u64::MAX, 1 << 20)] {
        let env = env(budget, reserve);
        // A pool without blocks: others have them.
        let mut others = Vec::new();
        while budget == u64::MAX && others.len() < 2000 {
            let mut other = Rig(commands::partition(env.clone()), Rig::new(0).1);
            let full = (0..KEYS).any(|k| other.set(0, k, 4000).is_err());
            others.push(other);
            if full {
                break;
            }
        }
        let used = env.ledger.used();
        let to = Rig(commands::partition(env.clone()), Rig::new(0).1);
        let mut copy = Copy::onto(&mut from, to);
        let error = (0..1000).find_map(|_| copy.next(&from, 10_000).err()).unwrap();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        assert!(copy.to.0.is_copying());
        assert_eq!((copy.to.0.last(), env.ledger.used()), (Seq(0), used));
        drop(others);
        env.ledger.set_budget(u64::MAX);
        copy.cursor = CopyCursor::default();
        copy.finish(&from);
    }
}

#[test]
fn topics_have_nothing_to_copy_and_keep_their_subscribers() {
    let mut from = filled();
    from.gate(&Cmd::Publish(SMALL));
    let copy = Copy::of(&mut from);
    from.gate(&Cmd::Publish(SMALL));
    let mut to = copy.finish(&from);
    to.0.lead(Term(2), &[]).unwrap();
    to.gate(&Cmd::Publish(Val { len: 3, fill: 3 }));
    let published = to.0.next_published().unwrap();
    assert_eq!((published.structure, published.payload.len()), (TOPIC, 3));
}
