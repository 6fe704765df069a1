//! Tests of the control state machine.

use super::*;
use crate::ids::Term;
use crate::limits::NAME_BYTES_MAX;

fn config(partitions: u16, sync_backups: u8, min_in_sync: u8) -> ClusterConfig {
    ClusterConfig {
        partitions,
        sync_backups,
        async_backups: 0,
        min_in_sync,
        lease_ms: 400,
        hash_seed: 1,
    }
}

/// A state with an ideal log in front of it.
struct Log {
    state: ControlState,
    next: u64,
}

impl Log {
    fn new(config: ClusterConfig) -> Self {
        let mut log = Log { state: ControlState::default(), next: 1 };
        assert_eq!(log.apply(Command::Form(config, 77)), Outcome::Done);
        log
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let index = Index(self.next);
        self.next += 1;
        let before = self.state.table().to_vec();
        let applied = self.state.apply(index, command);
        for (n, record) in self.state.table().iter().enumerate() {
            if let Some(before) = before.get(n)
                && before != record
            {
                assert!(applied.changed.contains(&PartitionId(n as u16)));
                assert_eq!(record.version.0, before.version.0 + 1);
                assert_eq!(record.index, index);
                let moved = record.primary != before.primary;
                assert_eq!(record.term.0, before.term.0 + u64::from(moved));
            }
            assert!(record.in_sync(record.primary), "{record:?}");
            assert!(record.learners().all(|member| !record.in_sync(member)));
        }
        applied.outcome
    }

    fn start(&mut self, node: u64, boot: u64) -> Outcome {
        let member =
            MemberInfo { node: NodeId(node), address: format!("10.0.0.{node}:5701"), http: None };
        self.apply(Command::Start { boot, member })
    }

    fn member(&mut self, node: u64, boot: u64) -> MemberId {
        match self.start(node, boot) {
            Outcome::Started(member) => member,
            other => panic!("{other:?}"),
        }
    }

    fn change(&mut self, by: MemberId, change: Change) -> bool {
        let version = self.state.table()[0].version;
        let changes = vec![(PartitionId(0), version, change)];
        self.apply(Command::Change { by, changes }) == Outcome::Taken(1)
    }

    fn record(&self) -> &Record {
        &self.state.table()[0]
    }

    fn assign(&mut self, replicas: &[MemberId]) {
        let version = self.record().version;
        let goal = Goal {
            partition: PartitionId(0),
            version,
            replicas: replicas.to_vec(),
            followers: Vec::new(),
        };
        assert_eq!(self.apply(Command::Assign(vec![goal])), Outcome::Taken(1));
    }
}

#[test]
fn the_first_use_of_a_name_decides_its_id_kind_and_configuration() {
    let mut log = Log::new(config(7, 1, 1));
    let mut declare =
        |name: &str, config| log.apply(Command::Declare { name: name.into(), config });
    let first = StructureConfig::Map(MapConfig { ttl_ms: Some(5), ..MapConfig::default() });
    let agreed = Outcome::Declared(StructureId(0), first.clone());
    assert_eq!(declare("a", first), agreed);
    assert_eq!(declare("a", StructureConfig::Map(MapConfig::default())), agreed);
    let refused = declare("a", StructureConfig::Topic);
    assert!(matches!(refused, Outcome::Refused(Kind::WrongStructure, _)), "{refused:?}");
    let next = declare("b", StructureConfig::Topic);
    assert_eq!(next, Outcome::Declared(StructureId(1), StructureConfig::Topic));
    for bad in ["", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(declare(bad, StructureConfig::Topic), Outcome::Refused(..)));
    }
}

#[test]
fn nothing_happens_before_the_cluster_is_formed_and_it_is_formed_once() {
    let mut state = ControlState::default();
    let early = state.apply(Index(3), Command::OpenSession).outcome;
    assert!(matches!(early, Outcome::Refused(Kind::Invalid, _)));
    let form = |life| Command::Form(config(3, 1, 1), life);
    assert_eq!(state.apply(Index(4), form(9)).outcome, Outcome::Done);
    assert!(matches!(state.apply(Index(7), form(8)).outcome, Outcome::Refused(..)));
    assert_eq!((state.life(), state.index()), (9, Index(7)));
}

#[test]
fn a_repeated_or_delayed_start_retires_nobody() {
    let mut log = Log::new(config(3, 1, 1));
    let first = log.member(1, 2);
    assert!(matches!(log.start(1, 2), Outcome::Refused(..)));
    assert!(matches!(log.start(1, 1), Outcome::Refused(..)));
    assert_eq!(log.state.table().len(), 3);
    assert_eq!(log.record().primary, first);
    assert!(!log.record().retired);
}

#[test]
fn session_ids_are_log_positions_and_never_come_back() {
    let mut log = Log::new(config(1, 0, 1));
    let Outcome::SessionOpened(a) = log.apply(Command::OpenSession) else { panic!() };
    assert!(log.state.has_session(a));
    assert_eq!(log.apply(Command::ExpireSessions(vec![a])), Outcome::Taken(1));
    assert_eq!(log.apply(Command::ExpireSessions(vec![a])), Outcome::Taken(0));
    let Outcome::SessionOpened(b) = log.apply(Command::OpenSession) else { panic!() };
    assert!(b > a && !log.state.has_session(a));
}

#[test]
fn only_the_primary_changes_its_set_and_only_an_in_sync_backup_takes_over() {
    let mut log = Log::new(config(1, 1, 1));
    let (a, b, c) = (log.member(1, 1), log.member(2, 1), log.member(3, 1));
    assert!(!log.change(a, Change::Add(b)), "nobody wants it there");
    log.assign(&[a, b]);
    assert!(!log.change(b, Change::Promote), "not in sync");
    assert!(!log.change(b, Change::Add(b)), "not the primary");
    assert!(log.change(a, Change::Add(b)));
    assert!(!log.change(a, Change::Promote), "it is the primary");
    assert!(!log.change(a, Change::Transfer(c)));
    let old = log.record().version;
    assert!(log.change(b, Change::Promote));
    assert_eq!((log.record().term, log.record().isr.clone()), (Term(2), vec![b]));
    assert_eq!(log.record().removed, Some(a));
    let late = vec![(PartitionId(0), old, Change::Shrink(b))];
    assert_eq!(log.apply(Command::Change { by: a, changes: late }), Outcome::Taken(0));
    assert!(log.change(b, Change::Add(a)));
    assert!(log.change(b, Change::Transfer(a)));
    assert!(log.record().surrendered && log.record().in_sync(b));
    assert!(log.change(a, Change::Shrink(b)));
    assert!(!log.change(a, Change::Shrink(a)));
}

#[test]
fn a_shrink_never_goes_below_the_least_number_of_replicas() {
    let mut log = Log::new(config(1, 1, 2));
    let (a, b) = (log.member(1, 1), log.member(2, 1));
    log.assign(&[a, b]);
    assert!(log.change(a, Change::Add(b)));
    assert!(!log.change(a, Change::Shrink(b)));
    assert!(log.change(b, Change::Promote), "a takeover may leave fewer");
}

#[test]
fn a_new_life_of_a_node_retires_the_one_before() {
    let mut log = Log::new(config(1, 1, 1));
    let (a, b) = (log.member(1, 1), log.member(2, 1));
    log.assign(&[a, b]);
    assert!(log.change(a, Change::Add(b)));
    let b2 = log.member(2, 2);
    assert_eq!((log.record().isr.clone(), log.record().goal.clone()), (vec![a], vec![a]));
    log.assign(&[a, b2]);
    assert!(log.change(a, Change::Add(b2)));
    log.member(1, 2);
    assert!(log.record().retired && !log.record().lost);
    assert!(!log.change(a, Change::Shrink(b2)), "a retired process proposes nothing");
    assert!(log.change(b2, Change::Promote));
    assert!(!log.record().retired && log.record().isr == vec![b2]);
}

#[test]
fn a_partition_whose_replicas_are_all_gone_is_lost_until_it_is_reset() {
    let mut log = Log::new(config(2, 0, 1));
    let (a, b) = (log.member(1, 1), log.member(2, 1));
    // Partition 1 moves to b, so that not everything is lost with a.
    let version = log.state.table()[1].version;
    let goal = Goal { partition: PartitionId(1), version, replicas: vec![b], followers: vec![] };
    log.apply(Command::Assign(vec![goal]));
    for change in [Change::Add(b), Change::Transfer(b)] {
        let version = log.state.table()[1].version;
        let changes = vec![(PartitionId(1), version, change)];
        assert_eq!(log.apply(Command::Change { by: a, changes }), Outcome::Taken(1));
    }
    let declare =
        |name: &str| Command::Declare { name: name.into(), config: StructureConfig::Topic };
    let old = match log.apply(declare("old")) {
        Outcome::Declared(id, _) => id,
        other => panic!("{other:?}"),
    };
    log.member(1, 2);
    assert!(log.record().lost && !log.state.table()[1].lost);
    assert!(!log.state.answers(old, PartitionId(0)) && log.state.answers(old, PartitionId(1)));
    let reset = |owner, keep| Command::ResetLost { partition: PartitionId(0), owner, keep };
    assert!(matches!(log.apply(reset(b, true)), Outcome::Refused(..)), "b never had it");
    assert!(matches!(log.apply(reset(a, false)), Outcome::Refused(..)), "a is gone");
    assert_eq!(log.apply(reset(b, false)), Outcome::Done);
    assert!(matches!(log.apply(reset(b, false)), Outcome::Refused(..)), "not lost any more");
    assert!(log.record().empty && !log.record().lost);
    assert!(!log.state.answers(old, PartitionId(0)), "older than the loss");
    log.apply(declare("new"));
    assert!(log.state.answers(StructureId(1), PartitionId(0)));
    assert_eq!(log.apply(Command::AcceptLoss("old".into())), Outcome::Done);
    assert!(log.state.answers(old, PartitionId(0)));
}

#[test]
fn when_every_replica_is_gone_the_cluster_begins_empty_under_another_life() {
    let mut log = Log::new(config(2, 0, 1));
    log.member(1, 1);
    let Outcome::SessionOpened(session) = log.apply(Command::OpenSession) else { panic!() };
    let (life, term) = (log.state.life(), log.record().term);
    let again = log.member(1, 2);
    assert_eq!(log.record().primary, again);
    assert!(log.record().empty && log.record().term > term);
    assert_ne!(log.state.life(), life);
    assert!(!log.state.has_session(session));
}

mod planning {
    use super::*;
    use proptest::prelude::*;

    /// Lets primaries do at once all that they would do one after the other.
    fn settle(log: &mut Log, alive: &[MemberId]) -> (usize, usize) {
        let config = log.state.config().unwrap().clone();
        let goals = plan(&config, log.state.table(), alive);
        let mut copies = 0;
        for goal in &goals {
            let record = log.state.record(goal.partition).unwrap();
            let all = goal.replicas.iter().chain(&goal.followers);
            copies += all.filter(|m| !record.in_sync(**m) && !record.followers.contains(m)).count();
        }
        let count = goals.len();
        log.apply(Command::Assign(goals));
        for n in 0..log.state.table().len() {
            let partition = PartitionId(n as u16);
            let step = |log: &mut Log, change| {
                let record = log.state.record(partition).unwrap();
                let (by, version) = (record.primary, record.version);
                log.apply(Command::Change { by, changes: vec![(partition, version, change)] });
            };
            let goal = log.state.record(partition).unwrap().goal.clone();
            for member in &goal {
                step(log, Change::Add(*member));
            }
            step(log, Change::Transfer(goal[0]));
            for member in log.state.record(partition).unwrap().isr.clone() {
                if !goal.contains(&member) {
                    step(log, Change::Shrink(member));
                }
            }
        }
        (count, copies)
    }

    fn spread(log: &Log, alive: &[MemberId]) -> (Vec<usize>, Vec<usize>) {
        let table = log.state.table();
        let replicas =
            |m| table.iter().filter(|r| r.in_sync(m) || r.followers.contains(&m)).count();
        let primaries = |m| table.iter().filter(|r| r.primary == m).count();
        (
            alive.iter().map(|m| replicas(*m)).collect(),
            alive.iter().map(|m| primaries(*m)).collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn plans_are_balanced_complete_and_settle(
            partitions in 1u16..120, sync in 0u8..3, asynchronous in 0u8..2, sizes in prop::collection::vec(1usize..8, 1..5)
        ) {
            let mut log = Log::new(ClusterConfig { async_backups: asynchronous, ..config(partitions, sync, 1) });
            let mut members = vec![log.member(0, 1)];
            for size in sizes {
                while members.len() < size {
                    let node = log.next;
                    members.push(log.member(node, 1));
                }
                // Members that go hand over first (as far as the plan is concerned, they are not alive).
                let alive: Vec<MemberId> = members.iter().copied().rev().take(size).collect();
                settle(&mut log, &alive);
                let config = log.state.config().unwrap().clone();
                prop_assert!(plan(&config, log.state.table(), &alive).is_empty(), "a settled table needs no more");
                let (replicas, primaries) = spread(&log, &alive);
                let want = (usize::from(sync) + 1 + usize::from(asynchronous)).min(alive.len());
                prop_assert_eq!(replicas.iter().sum::<usize>(), want * usize::from(partitions));
                for spread in [&replicas, &primaries] {
                    let (least, most) = (spread.iter().min().unwrap(), spread.iter().max().unwrap());
                    let slack = 2 + most / 8;
                    prop_assert!(most - least <= slack, "{spread:?} with {want} of {}", alive.len());
                }
            }
        }
    }

    #[test]
    fn a_member_that_joins_gets_its_share_and_nothing_else_moves() {
        let mut log = Log::new(config(271, 1, 1));
        let mut alive = vec![log.member(1, 1), log.member(2, 1), log.member(3, 1)];
        settle(&mut log, &alive);
        alive.push(log.member(4, 1));
        let (_, copies) = settle(&mut log, &alive);
        let ideal = 271 * 2 / 4;
        assert!(copies <= ideal + ideal / 10 + 1, "{copies} copies, ideal {ideal}");
    }

    #[test]
    fn a_dead_member_is_replaced_without_moving_what_lives() {
        let mut log = Log::new(config(271, 1, 1));
        let mut alive = vec![log.member(1, 1), log.member(2, 1), log.member(3, 1)];
        settle(&mut log, &alive);
        let dead = alive.remove(0);
        let held = log.state.table().iter().filter(|r| r.in_sync(dead)).count();
        let goals = plan(log.state.config().unwrap(), log.state.table(), &alive);
        let copies: usize = goals
            .iter()
            .map(|goal| {
                let record = log.state.record(goal.partition).unwrap();
                goal.replicas.iter().filter(|m| !record.in_sync(**m)).count()
            })
            .sum();
        assert_eq!(copies, held, "what the dead one held, and nothing else, is copied");
    }
}
