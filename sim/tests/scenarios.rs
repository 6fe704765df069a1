//! Sequences that were argued about, played step by step, and the breaks that they find.

#![allow(clippy::expect_used)]

use grid_core::control::{Change, Command, Goal, Outcome, Record};
use grid_core::ids::{Index, MemberId, PartitionId, RequestId};
use grid_core::lease::{Beacon, Leases};
use grid_core::mutant::{self, Mutant};
use grid_core::replica::Follower;
use grid_core::time::Nanos;
use grid_sim::event::{Ask, Event, Message, Request, Who};
use grid_sim::plan::MS;
use grid_sim::{Plan, Rng, World};

const P0: PartitionId = PartitionId(0);

/// A cluster of which all is in sync, with one client.
fn cluster(members: usize, backups: u8, min: u8, partitions: u16) -> World {
    let mut plan = Plan::quiet(members, backups, min, partitions);
    plan.clients = 1;
    let mut world = World::with(plan, Rng::new(1));
    assert!(world.run_until(3_000, World::is_healed), "{}", world.unhealed());
    world.run_for(200);
    world
}

fn record(world: &World, partition: PartitionId) -> Record {
    world.head.record(partition).expect("it exists").clone()
}

fn slot(world: &World, member: MemberId) -> usize {
    world.slots.iter().position(|id| *id == member).expect("it lives")
}

fn serves(world: &World, member: MemberId, partition: PartitionId) -> bool {
    let cells = world.members.get(&member).map(|member| &member.cells);
    cells.is_some_and(|cells| cells[usize::from(partition.0)].replica.serves())
}

fn put(world: &mut World, partition: PartitionId, value: u64) -> bool {
    world.ask(0, partition, Ask::Put(0, value));
    world.run_until(400, |world| world.answer(partition, Ask::Put(0, value)).is_some())
}

fn change(world: &mut World, by: MemberId, partition: PartitionId, change: Change) {
    let version = record(world, partition).version;
    let done = world.commit(Command::Change { by, changes: vec![(partition, version, change)] });
    assert_eq!(done, Outcome::Taken(1));
}

/// Whether the break is found by the scenario; that it passes without is a test of its own.
fn finds(mutant: Mutant, scenario: impl FnOnce() -> World + std::panic::UnwindSafe) -> bool {
    mutant::set(Some(mutant));
    let world = std::panic::catch_unwind(scenario);
    mutant::set(None);
    world.is_err() || world.is_ok_and(|world| world.violation.is_some())
}

fn fine(world: &World) {
    assert_eq!(world.violation, None);
}

fn repeated_start() -> World {
    let mut world = cluster(3, 1, 1, 8);
    let starts = world.log.iter().filter(|command| matches!(command, Command::Start { .. }));
    let starts: Vec<Command> = starts.cloned().collect();
    let (members, slots) = (world.head.members().clone(), world.slots.clone());
    for start in starts.iter().chain(&starts) {
        assert!(matches!(world.commit(start.clone()), Outcome::Refused(..)));
        world.run_for(7);
    }
    let late = world.now + 300 * MS;
    world.at(late, Event::Repeat(Box::new(starts[1].clone())));
    world.run_for(400);
    assert_eq!((world.head.members(), &world.slots), (&members, &slots));
    assert!(world.is_healed(), "{}", world.unhealed());
    world
}

#[test]
fn a_repeated_start_retires_nobody() {
    fine(&repeated_start());
    assert!(finds(Mutant::StartRepeated, repeated_start));
}

/// The primary of partition 0, cut off from the log, is demoted there; it goes on in another one.
fn demoted_in_one() -> World {
    let mut world = cluster(2, 1, 1, 8);
    let old = record(&world, P0).primary;
    let heir = *record(&world, P0).isr.iter().find(|id| **id != old).expect("a backup");
    let other = (1..8).map(PartitionId).find(|at| record(&world, *at).primary == old);
    let other = other.expect("it leads elsewhere");
    let (log, at) = (world.log_place(), slot(&world, old));
    world.cut(log, at);
    change(&mut world, heir, P0, Change::Promote);
    assert!(world.run_until(300, |world| serves(world, heir, P0)), "{:?}", world.violation);
    assert!(world.counts.withheld > 0, "it was granted nothing meanwhile");
    assert!(serves(&world, old, other), "nobody took that one");
    world.uncut();
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    world
}

#[test]
fn a_demotion_in_one_partition_suspends_the_leases_of_the_pair() {
    fine(&demoted_in_one());
    assert!(finds(Mutant::NoHeirWait, demoted_in_one));
    assert!(finds(Mutant::GrantIgnoresDemotion, demoted_in_one));
    assert!(finds(Mutant::NoLease, demoted_in_one));
}

/// A nomination is on its way when beacons of the primary arrive again; the heir that they were granted to
/// dies, and another takes over at once.
fn late_beacon() -> World {
    let mut world = cluster(3, 2, 1, 8);
    let old = record(&world, P0).primary;
    let heir = *record(&world, P0).isr.iter().find(|id| **id != old).expect("a backup");
    let (log, at, dies) = (world.log_place(), slot(&world, old), slot(&world, heir));
    // The third hears of the primary, but not of the heir, so that it waits for the former only.
    let third = (0..3).find(|slot| *slot != at && *slot != dies).expect("three members");
    world.cut(third, dies);
    world.cut(log, at);
    world.run_for(90);
    change(&mut world, heir, P0, Change::Promote);
    world.run_for(6);
    world.kill(dies);
    world.restart(dies);
    let third = |world: &World| world.members.keys().any(|id| *id != old && serves(world, *id, P0));
    assert!(world.run_until(500, third), "{:?}", world.violation);
    world.uncut();
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    world
}

#[test]
fn an_heir_outwaits_every_earlier_primary() {
    fine(&late_beacon());
    assert!(finds(Mutant::WaitForgotten, late_beacon));
}

/// The primary gives up a transfer that it proposed; then it commits.
fn late_transfer() -> World {
    let mut world = cluster(2, 1, 1, 8);
    let old = record(&world, P0).primary;
    let heir = *record(&world, P0).isr.iter().find(|id| **id != old).expect("a backup");
    let Record { version, .. } = record(&world, P0);
    let goal = Goal { partition: P0, version, replicas: vec![heir, old], followers: Vec::new() };
    world.commit(Command::Assign(vec![goal]));
    let (log, at) = (world.log_place(), slot(&world, old));
    let version = record(&world, P0).version;
    let knows =
        |world: &World| world.members[&old].state.record(P0).map(|r| r.version) == Some(version);
    assert!(world.run_until(20, knows));
    world.cut(log, at);
    world.run_for(120);
    assert!(!serves(&world, old, P0), "it cannot know what has become of its proposal");
    change(&mut world, old, P0, Change::Transfer(heir));
    assert!(world.run_until(100, |world| serves(world, heir, P0)), "{:?}", world.violation);
    world.run_for(50);
    world.uncut();
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    world
}

#[test]
fn a_transfer_that_was_given_up_commits() {
    fine(&late_transfer());
    assert!(finds(Mutant::TransferResumes, late_transfer));
}

/// A member that comes back gets its partitions again one after the other, and each is served all the time: it
/// is not handed over before the new one may serve.
#[test]
fn a_partition_is_not_handed_to_a_member_that_has_to_wait() {
    let mut world = cluster(3, 1, 1, 8);
    let transfers = world.counts.transfers;
    world.kill(1);
    world.run_for(600);
    world.restart(1);
    let mut unserved = [0; 8];
    for _ in 0..3_000 {
        world.run_for(1);
        for (partition, unserved) in (0..).map(PartitionId).zip(&mut unserved) {
            let served = world.members.keys().any(|id| serves(&world, *id, partition));
            *unserved = if served { 0 } else { *unserved + 1 };
            assert!(*unserved < 40, "{partition} is not served for {unserved} ms");
        }
    }
    assert!(world.is_healed(), "{}", world.unhealed());
    assert!(world.counts.transfers > transfers, "some were handed over");
    fine(&world);
}

#[test]
fn a_grant_of_another_length_is_none() {
    let mut lessor = Leases::new(MemberId(1), 1, 80);
    let mut holder = Leases::new(MemberId(2), 1, 400);
    let now = Nanos::from_millis(1_000);
    let beacon = Beacon { sent: now.0, index: Index(1) };
    let reply = lessor.answer(MemberId(2), beacon, now);
    assert_eq!((reply.lease_ms, reply.behind), (80, None));
    holder.take(MemberId(1), reply, now);
    assert_eq!(holder.held(MemberId(1)).until(), Nanos(0));
}

/// Copies whose messages are lost, doubled and overtaken, one after the other.
#[test]
fn copies_end_well_whatever_happens_to_their_messages() {
    for seed in 0..12 {
        let mut plan = Plan::quiet(3, 2, 1, 8);
        (plan.clients, plan.ordered) = (1, seed % 2 == 0);
        let mut world = World::with(plan, Rng::new(seed));
        assert!(world.run_until(4_000, World::is_healed), "{}", world.unhealed());
        world.run_for(100);
        world.plan.noise = 3_000;
        for round in 0..4 {
            let lost = (round + seed as usize) % 3;
            let old = world.slots[lost];
            world.kill(lost);
            world.restart(lost);
            for value in 1..6 {
                world.ask(0, P0, Ask::Put(value as u8 % 3, value + 10 * round as u64));
                world.run_for(20);
            }
            assert!(!world.members.contains_key(&old));
            world.heal();
            assert!(
                world.run_until(4_000, World::is_healed),
                "{:?} {}",
                world.violation,
                world.unhealed()
            );
            world.run_for(50);
            world.healing = false;
        }
        fine(&world);
        let digests: Vec<u64> =
            world.members.values().map(|m| m.cells[0].replica.partition().digest()).collect();
        assert!(digests.windows(2).all(|two| two[0] == two[1]), "seed {seed}: {digests:?}");
    }
}

/// A backup is dropped, and then the primary dies.
fn shrink_and_death() -> World {
    let mut world = cluster(3, 2, 1, 8);
    let Record { primary, isr, .. } = record(&world, P0);
    let backups: Vec<MemberId> = isr.into_iter().filter(|id| *id != primary).collect();
    let (slow, heir) = (slot(&world, backups[0]), backups[1]);
    (0..5).filter(|place| *place != slow).for_each(|place| world.cut(slow, place));
    assert!(world.run_until(300, |world| !record(world, P0).in_sync(backups[0])));
    assert!(put(&mut world, P0, 7), "two are left to acknowledge");
    let dies = slot(&world, primary);
    world.kill(dies);
    world.uncut();
    assert!(world.run_until(500, |world| serves(world, heir, P0)), "{:?}", world.violation);
    world.restart(dies);
    assert!(world.run_until(3_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    world.ask(0, P0, Ask::Get(0));
    assert!(world.run_until(500, |world| world.answer(P0, Ask::Get(0)) == Some([7, 0, 0])));
    world
}

#[test]
fn who_was_dropped_does_not_take_over() {
    fine(&shrink_and_death());
}

/// The only in-sync replica dies; what was dropped before is what is left.
fn lost_partition(keep: bool) -> World {
    let mut world = cluster(3, 1, 1, 8);
    assert!(put(&mut world, P0, 3));
    let Record { primary, isr, .. } = record(&world, P0);
    let backup = *isr.iter().find(|id| **id != primary).expect("a backup");
    // The log's controller must not replace it, so the primary drops it by itself.
    change(&mut world, primary, P0, Change::Shrink(backup));
    let dies = slot(&world, primary);
    world.kill(dies);
    world.restart(dies);
    let now = record(&world, P0);
    assert!(now.lost && now.removed == Some(backup), "{now:?}");
    assert!(!put(&mut world, P0, 4), "nobody owns it");
    let reset = |owner, keep| Command::ResetLost { partition: P0, owner, keep };
    let third = *world.slots.iter().find(|id| **id != backup).expect("three members");
    assert!(matches!(world.commit(reset(third, true)), Outcome::Refused(..)), "it left long ago");
    let owner = if keep { backup } else { third };
    assert_eq!(world.commit(reset(owner, keep)), Outcome::Done);
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    assert!(!put(&mut world, P0, 5), "the map is older than the loss");
    assert_eq!(world.commit(Command::AcceptLoss("m".into())), Outcome::Done);
    world.run_for(50);
    world.ask(0, P0, Ask::Get(0));
    let value = if keep { 3 } else { 0 };
    assert!(world.run_until(500, |world| world.answer(P0, Ask::Get(0)) == Some([value, 0, 0])));
    assert!(put(&mut world, P0, 6));
    world
}

#[test]
fn a_lost_partition_goes_on_with_what_left_last() {
    fine(&lost_partition(true));
}

#[test]
fn a_lost_partition_goes_on_empty() {
    fine(&lost_partition(false));
}

/// The replica that left last has begun to be copied to when the last one dies: half of a copy is no data.
fn half_a_copy() -> World {
    let mut plan = Plan::quiet(3, 1, 1, 8);
    (plan.clients, plan.message) = (6, 1);
    let mut world = World::with(plan, Rng::new(1));
    assert!(world.run_until(3_000, World::is_healed), "{}", world.unhealed());
    world.run_for(200);
    for (client, value) in (0..6).zip(3..) {
        world.ask(client, P0, Ask::Put(client as u8 % 3, value));
        world.run_for(20);
    }
    let Record { primary, isr, .. } = record(&world, P0);
    let backup = *isr.iter().find(|id| **id != primary).expect("a backup");
    // Forgotten and wanted again: then it is copied to. The third hears nothing meanwhile.
    let third = *world.slots.iter().find(|id| ![primary, backup].contains(id)).expect("a third");
    let (dies, to, deaf) = (slot(&world, primary), slot(&world, backup), slot(&world, third));
    world.cut(dies, deaf);
    change(&mut world, primary, P0, Change::Shrink(backup));
    for wanted in [third, backup] {
        let Record { version, .. } = record(&world, P0);
        let goal =
            Goal { partition: P0, version, replicas: vec![primary, wanted], followers: vec![] };
        world.commit(Command::Assign(vec![goal]));
        let knows = |world: &World| {
            let version = record(world, P0).version;
            world.members[&primary].cells[0].replica.record().version == version
        };
        assert!(world.run_until(20, knows));
    }
    let copying = |world: &World| {
        world.members[&backup].cells[0].replica.partition().is_copying()
            && world.members[&primary].cells[0].replica.followers().iter().any(Follower::is_copying)
    };
    assert!(world.run_until(400, copying), "it is wanted again");
    world.cut(dies, to);
    world.kill(dies);
    world.restart(dies);
    let now = record(&world, P0);
    assert!(now.lost && now.removed == Some(backup), "{now:?}");
    let owner = backup;
    let reset = Command::ResetLost { partition: P0, owner, keep: true };
    assert_eq!(world.commit(reset), Outcome::Done);
    world.uncut();
    assert!(world.run_until(400, |world| record(world, P0).lost), "it says that it has nothing");
    assert_eq!(record(&world, P0).removed, None);
    let reset = Command::ResetLost { partition: P0, owner, keep: false };
    assert_eq!(world.commit(reset), Outcome::Done);
    assert_eq!(world.commit(Command::AcceptLoss("m".into())), Outcome::Done);
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    assert!(put(&mut world, P0, 9));
    world
}

#[test]
fn half_a_copy_is_given_up() {
    fine(&half_a_copy());
    assert!(finds(Mutant::HalfCopyLeads, half_a_copy));
}

#[test]
fn when_all_members_have_restarted_the_data_begins_anew() {
    let mut world = cluster(3, 1, 1, 8);
    // A client that has left its session after an answer would not meet the end of it.
    assert!((3..6).all(|value| put(&mut world, P0, value)));
    let (life, slots) = (world.head.life(), world.slots.len());
    (0..slots).for_each(|slot| world.kill(slot));
    (0..slots).for_each(|slot| world.restart(slot));
    assert_eq!(world.head.life(), life + 1);
    assert!(world.run_until(3_000, World::is_healed), "{}", world.unhealed());
    assert!(world.head.table().iter().all(|record| !record.lost && record.lost_at == Index(0)));
    world.ask(0, P0, Ask::Get(1));
    world.run_for(200);
    assert_eq!(world.answer(P0, Ask::Get(1)), None, "its session ended with the old life");
    world.ask(0, P0, Ask::Get(1));
    assert!(world.run_until(1_000, |world| world.answer(P0, Ask::Get(1)) == Some([0; 3])));
}

/// With two in sync demanded, one dies: writes wait until a third has taken its place.
fn min_in_sync() -> World {
    let mut world = cluster(3, 1, 2, 8);
    let Record { primary, isr, .. } = record(&world, P0);
    let backup = *isr.iter().find(|id| **id != primary).expect("a backup");
    let dies = slot(&world, backup);
    world.kill(dies);
    world.ask(0, P0, Ask::Put(0, 9));
    world.run_for(20);
    assert_eq!(world.answer(P0, Ask::Put(0, 9)), None, "only one process has it");
    world.restart(dies); // retires the one that died
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    assert!(put(&mut world, P0, 10));
    assert_eq!(record(&world, P0).isr.len(), 2);
    world
}

#[test]
fn writes_wait_for_as_many_replicas_as_were_promised() {
    fine(&min_in_sync());
    assert!(finds(Mutant::MinIgnored, min_in_sync));
}

/// A primary that is cut off from everybody but a client reads while another one serves already. The control log
/// proves nothing that was asked before the read, and nothing that it does not say.
fn read_without_lease() -> World {
    let mut plan = Plan::quiet(3, 1, 2, 8);
    (plan.clients, plan.barrier) = (2, 60_000 * MS);
    let mut world = World::with(plan, Rng::new(1));
    assert!(world.run_until(3_000, World::is_healed), "{}", world.unhealed());
    world.run_for(200);
    world.healing = true; // clients are patient
    assert!(put(&mut world, P0, 5));
    let old = record(&world, P0).primary;
    let heir = *record(&world, P0).isr.iter().find(|id| **id != old).expect("a backup");
    let (at, log, clients) = (slot(&world, old), world.log_place(), [3, 4]);
    for place in (0..3).filter(|place| *place != at).chain([log, clients[1]]) {
        world.cut(at, place);
    }
    for place in (0..3).filter(|place| *place != at) {
        world.cut(clients[0], place);
    }
    let replica = |world: &World| world.members[&old].cells[0].replica.summary();
    // Its lease has ended: a read waits for a barrier, which begins and is under way for long.
    world.run_for(70);
    world.ask(0, P0, Ask::Get(1));
    assert!(world.run_until(400, |world| world.counts.barriers_begun > 0), "{}", replica(&world));
    let (early, first_begun) = (record(&world, P0), world.counts.barriers_begun);
    assert!(world.run_until(2_000, |world| serves(world, heir, P0)), "{:?}", world.violation);
    world.ask(1, P0, Ask::Put(0, 6));
    let written = |world: &World| world.answer(P0, Ask::Put(0, 6)).is_some();
    assert!(world.run_until(2_000, written), "{:?}", record(&world, P0));
    let late = record(&world, P0);
    assert!(early.primary == old && late.primary != old);
    world.ask(0, P0, Ask::Get(0));
    // As soon as an attempt to read has come, which is the last one then.
    let parked = |world: &World| world.members[&old].cells[0].parked.len();
    let mut tell = |first: bool, record: &Record| {
        for _ in 0..8 {
            let before = parked(&world);
            assert!(world.run_until(400, |world| parked(world) > before), "{}", replica(&world));
            if !first {
                world.run_for(5); // its barrier begins
            }
            let number = if first { first_begun } else { world.counts.barriers_begun };
            world.barrier_done(old, P0, number, Some(record));
            world.run_for(1);
        }
        world.answer(P0, Ask::Get(0))
    };
    assert_eq!(tell(true, &early), None, "the barrier began before the read");
    assert_eq!(tell(false, &late), None, "another one serves");
    world.uncut();
    let answered = |world: &World| world.answer(P0, Ask::Get(0)).is_some();
    assert!(world.run_until(2_000, answered), "{}", replica(&world));
    assert_eq!(world.histories.check().wrong, None);
    world
}

#[test]
fn a_read_without_lease_is_proven_by_what_the_log_says_later() {
    fine(&read_without_lease());
    assert!(finds(Mutant::BarrierUnchecked, read_without_lease));
    assert!(finds(Mutant::BarrierBefore, read_without_lease));
}

/// A removal waits for a backup that hears nothing; a scan that saw it must wait too.
fn scan_of_what_waits() -> World {
    let mut plan = Plan::quiet(2, 1, 1, 8);
    plan.clients = 2;
    let mut world = World::with(plan, Rng::new(1));
    assert!(world.run_until(3_000, World::is_healed), "{}", world.unhealed());
    world.run_for(200);
    assert!(put(&mut world, P0, 5));
    world.ask(1, P0, Ask::Put(1, 6));
    assert!(world.run_until(400, |world| world.answer(P0, Ask::Put(1, 6)).is_some()));
    world.cut(0, 1);
    world.ask(0, P0, Ask::Remove(0));
    world.run_for(3);
    world.ask(1, P0, Ask::Scan);
    world.run_for(20);
    assert_eq!(world.answer(P0, Ask::Remove(0)), None);
    assert_eq!(world.answer(P0, Ask::Scan), None, "it saw what nobody else has");
    world
}

#[test]
fn a_scan_waits_for_what_it_saw() {
    fine(&scan_of_what_waits());
    assert!(finds(Mutant::ScanByEntries, scan_of_what_waits));
    assert!(finds(Mutant::NoReadGate, scan_of_what_waits));
}

/// An heir takes over the logged end of a session of which its own part of the control log does not tell yet;
/// then a late first attempt of that session arrives.
fn unseen_expiry() -> World {
    let mut world = cluster(3, 2, 1, 8);
    assert!(put(&mut world, P0, 5));
    let session = *world.head.sessions().first().expect("the client's");
    let Record { primary, isr, .. } = record(&world, P0);
    let backups: Vec<MemberId> = isr.into_iter().filter(|id| *id != primary).collect();
    let (heir, log) = (backups[0], world.log_place());
    for backup in &backups {
        let at = slot(&world, *backup);
        world.cut(log, at);
    }
    change(&mut world, heir, P0, Change::Promote);
    let promoted = world.log.len() as u64;
    world.commit(Command::ExpireSessions(vec![session]));
    let at = slot(&world, heir);
    world.follow_log_to(heir, promoted);
    world.pause(at, 12 * MS);
    assert!(world.run_until(400, |world| serves(world, heir, P0)), "{:?}", world.violation);
    let expired = world.members[&heir].cells[0].replica.partition().expired_index();
    assert!(expired > world.members[&heir].state.index(), "it has heard of the end here first");
    let number = RequestId(1);
    let request = Request {
        client: 0,
        session,
        request: number,
        floor: number,
        attempt: 0,
        partition: P0,
        ask: Ask::Put(0, 5),
    };
    world.send(Who::Client(0), Who::Member(heir), Message::Request(request));
    world.run_for(20);
    world.uncut();
    assert!(world.run_until(2_000, World::is_healed), "{:?} {}", world.violation, world.unhealed());
    world
}

#[test]
fn a_late_attempt_of_an_ended_session_is_refused() {
    fine(&unseen_expiry());
    assert!(finds(Mutant::ExpiryUnseen, unseen_expiry));
}
