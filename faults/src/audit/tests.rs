//! Histories of a correct key and a correct queue pass, whatever the interleaving; broken ones do not.

use super::*;
use crate::rng::Rng;
use proptest::prelude::*;
use std::collections::VecDeque;

const KEY: Target = Target::Entry { map: 0, key: 1 };
const COUNTER: Target = Target::Counter { key: 1 };
const QUEUE: Target = Target::Queue { queue: 0, generation: 0 };

fn op(target: Target, process: u32, times: (u64, u64), call: Call, outcome: Outcome) -> Operation {
    Operation { target, process, called: times.0, returned: times.1, call, outcome }
}

fn value(value: u64) -> Outcome {
    Outcome::Value(Some(value))
}

const NONE: Outcome = Outcome::Value(None);

fn violations(operations: &[Operation], losses: &[(u64, u64)]) -> Vec<String> {
    let found = Histories::new(operations, losses).audit();
    assert_eq!(found.unknown, []);
    found.violations.into_iter().map(|(_, why)| why.lines().next().unwrap().to_owned()).collect()
}

fn is_fine(operations: &[Operation]) -> bool {
    violations(operations, &[]).is_empty()
}

#[test]
fn a_lost_write_and_a_stale_read_have_no_order() {
    let set = op(KEY, 1, (0, 10), Call::Set(7), Outcome::Done);
    assert!(is_fine(&[set, op(KEY, 2, (20, 30), Call::Get, value(7))]));
    assert!(is_fine(&[set, op(KEY, 2, (5, 30), Call::Get, NONE)]), "they overlap");
    assert!(!is_fine(&[set, op(KEY, 2, (20, 30), Call::Get, NONE)]), "lost");
    let second = op(KEY, 1, (20, 30), Call::Put(8), value(7));
    assert!(!is_fine(&[set, second, op(KEY, 2, (40, 50), Call::Get, value(7))]), "stale");
    let forward = [
        set,
        op(KEY, 2, (15, 60), Call::Set(8), Outcome::Done),
        op(KEY, 3, (20, 30), Call::Get, value(8)),
        op(KEY, 4, (40, 50), Call::Get, value(7)),
    ];
    assert!(!is_fine(&forward), "a read went back in time");
}

#[test]
fn what_may_have_been_applied_may_come_late_or_never_but_once() {
    let maybe = op(KEY, 1, (0, 10), Call::Put(7), Outcome::Maybe);
    let get = |at, outcome| op(KEY, 2, (at, at + 5), Call::Get, outcome);
    assert!(is_fine(&[maybe, get(20, NONE), get(30, NONE)]));
    assert!(is_fine(&[maybe, get(20, NONE), get(30, value(7))]));
    let remove = op(KEY, 3, (40, 45), Call::Remove, value(7));
    assert!(is_fine(&[maybe, get(30, value(7)), remove, get(50, NONE)]));
    assert!(!is_fine(&[maybe, get(30, value(7)), remove, get(50, value(7))]), "doubled");
    let refused = op(KEY, 1, (0, 10), Call::Put(7), Outcome::NotApplied);
    assert!(!is_fine(&[refused, get(20, value(7))]), "refused, but applied");
}

#[test]
fn compare_and_set_has_one_winner() {
    let set = op(KEY, 1, (0, 10), Call::Set(7), Outcome::Done);
    let cas = |process, value, won| {
        let call = Call::ReplaceIfSame { expected: 7, value };
        op(KEY, process, (20, 30), call, Outcome::Flag(won))
    };
    assert!(is_fine(&[set, cas(1, 8, true), cas(2, 9, false)]));
    assert!(!is_fine(&[set, cas(1, 8, true), cas(2, 9, true)]));
    assert!(!is_fine(&[set, cas(1, 8, false)]));
}

#[test]
fn a_loss_that_is_expected_is_an_operation() {
    let set = op(KEY, 1, (0, 10), Call::Set(7), Outcome::Done);
    let gone = op(KEY, 2, (50, 60), Call::Get, NONE);
    assert_eq!(violations(&[set, gone], &[(20, 40)]).len(), 0);
    assert_eq!(violations(&[set, gone], &[(70, 80)]).len(), 1, "lost before the fault");
    let kept = op(KEY, 2, (50, 60), Call::Get, value(7));
    assert_eq!(violations(&[set, kept], &[(20, 40)]).len(), 1, "nobody had it any more");
}

#[test]
fn counters_say_what_happened() {
    let up = |n, at, outcome| {
        let call = Call::ReplaceIfSame { expected: n, value: n + 1 };
        op(COUNTER, 1, (at, at + 5), call, outcome)
    };
    let first = op(COUNTER, 1, (0, 5), Call::PutIfAbsent(1), NONE);
    let get = |outcome| op(COUNTER, 2, (50, 60), Call::Get, outcome);
    let (yes, no) = (Outcome::Flag(true), Outcome::Flag(false));
    assert!(is_fine(&[first, up(1, 10, yes), up(1, 20, no), get(value(2))]));
    assert!(is_fine(&[first, up(1, 10, Outcome::Maybe), get(value(2))]));
    let lost = violations(&[first, up(1, 10, yes), get(value(1))], &[]);
    assert_eq!(lost, ["counted up 2 times, but it is 1: acknowledged writes are lost"]);
    let doubled = violations(&[first, up(1, 10, yes), get(value(3))], &[]);
    assert_eq!(doubled, ["counted up at most 2 times, but it is 3: effects are doubled"]);
}

fn offer(item: u64, at: u64, outcome: Outcome) -> Operation {
    op(QUEUE, 1, (at, at + 5), Call::Offer(item), outcome)
}

fn poll(at: u64, outcome: Outcome) -> Operation {
    op(QUEUE, 2, (at, at + 5), Call::Poll, outcome)
}

#[test]
fn queues_give_each_item_once_and_in_order() {
    let yes = Outcome::Flag(true);
    let (a, b) = (offer(1, 0, yes), offer(2, 10, yes));
    let wrong = |operations: &[Operation]| {
        let found = violations(operations, &[]);
        found.first().map(|why| why.split([':', ',']).next().unwrap().to_owned())
    };
    assert_eq!(wrong(&[a, b, poll(20, value(1)), poll(30, value(2)), poll(40, NONE)]), None);
    let twice = [a, poll(20, value(1)), poll(30, value(1)), poll(40, NONE)];
    assert_eq!(wrong(&twice).as_deref(), Some("seen again after it was polled"));
    let swapped = [a, b, poll(20, value(2)), poll(30, value(1)), poll(40, NONE)];
    assert_eq!(wrong(&swapped).as_deref(), Some("offered before what p2 [20"));
    assert_eq!(wrong(&[a, b, poll(20, value(1)), poll(40, NONE)]).as_deref(), Some("lost"));
    assert_eq!(wrong(&[poll(20, value(1))]).as_deref(), Some("never offered by then"));
    let refused = offer(1, 0, Outcome::Flag(false));
    assert_eq!(wrong(&[refused, poll(20, value(1))]).as_deref(), Some("never offered by then"));
    let early = [poll(0, value(2)), offer(2, 10, yes)];
    assert_eq!(wrong(&early).as_deref(), Some("never offered by then"));
    let blind = [a, poll(20, NONE), poll(30, value(1)), poll(40, NONE)];
    assert_eq!(wrong(&blind).as_deref(), Some("the queue was not empty"));
    // An unanswered poll may have taken one item, not two.
    let maybe = poll(15, Outcome::Maybe);
    assert_eq!(wrong(&[a, maybe, poll(40, NONE)]), None);
    assert_eq!(wrong(&[a, b, maybe, poll(40, NONE)]).as_deref(), Some("lost"));
    assert_eq!(wrong(&[offer(1, 0, Outcome::Maybe), poll(40, NONE)]), None);
    assert_eq!(violations(&[a, b, poll(90, NONE)], &[(20, 40)]).len(), 0);
    assert_eq!(violations(&[a, b, offer(3, 60, yes), poll(90, NONE)], &[(20, 40)]).len(), 1);
    assert_eq!(
        violations(&[offer(3, 30, yes), poll(90, NONE)], &[(20, 40)]).len(),
        0,
        "then or after"
    );
    assert_eq!(violations(&[offer(3, 30, yes), poll(90, value(3))], &[(20, 40)]).len(), 0);
}

/// Runs processes one operation after the other, each taking effect at a random time between its call and its
/// return; so many of a hundred answers get lost.
fn simulate(seed: u64, target: Target, processes: u32, lost: u64) -> Vec<Operation> {
    let mut rng = Rng::new(seed);
    let (mut state, mut items) = (None, VecDeque::new());
    let mut planned: Vec<(u64, Operation)> = Vec::new();
    for process in 1..=processes {
        let mut now = rng.below(50);
        for number in 0..160 / u64::from(processes) {
            let returned = now + 1 + rng.below(60);
            let unique = u64::from(process) << 32 | number;
            let call = match (target, rng.below(8)) {
                (Target::Queue { .. }, 0..5) => Call::Offer(unique),
                (Target::Queue { .. }, _) => Call::Poll,
                (_, 0..3) => Call::Get,
                (_, 3) => Call::Put(unique),
                (_, 4) => Call::Set(unique),
                (_, 5) => Call::Remove,
                (_, 6) => Call::PutIfAbsent(unique),
                _ => Call::ReplaceIfSame { expected: 1 << 32 | rng.below(10), value: unique },
            };
            let at = now + rng.below(returned - now + 1);
            planned.push((at, op(target, process, (now, returned), call, Outcome::Done)));
            now = returned + rng.below(20);
        }
    }
    planned.sort_by_key(|(at, op)| (*at, op.process));
    let mut end = 0;
    for (_, op) in &mut planned {
        end = end.max(op.returned);
        op.outcome = match op.call {
            Call::Get => Outcome::Value(state),
            Call::Put(value) => Outcome::Value(state.replace(value)),
            Call::Set(value) => {
                state = Some(value);
                Outcome::Done
            }
            Call::Remove => Outcome::Value(state.take()),
            Call::PutIfAbsent(value) => {
                let before = state;
                state = state.or(Some(value));
                Outcome::Value(before)
            }
            Call::ReplaceIfSame { expected, value } => {
                let same = state == Some(expected);
                state = if same { Some(value) } else { state };
                Outcome::Flag(same)
            }
            Call::Offer(item) => {
                items.push_back(item);
                Outcome::Flag(true)
            }
            _ => Outcome::Value(items.pop_front()),
        };
    }
    let mut operations: Vec<_> = planned.into_iter().map(|(_, op)| op).collect();
    if let Target::Queue { .. } = target {
        while let Some(item) = items.pop_front() {
            end += 10;
            operations.push(poll(end, value(item)));
        }
        operations.push(poll(end + 10, NONE));
    } else {
        operations.push(op(target, 99, (end + 10, end + 11), Call::Get, Outcome::Value(state)));
    }
    for op in operations.iter_mut().filter(|op| op.process != 99 && op.returned <= end) {
        if rng.below(100) < lost {
            op.outcome = Outcome::Maybe;
        }
    }
    operations
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_right_passes(seed: u64, processes in 1u32..9) {
        for target in [KEY, QUEUE] {
            let operations = simulate(seed, target, processes, 5);
            let found = Histories::new(&operations, &[]).audit();
            prop_assert!(found.violations.is_empty(), "{:?}", found.violations);
            prop_assert!(found.unknown.is_empty());
        }
    }

    /// The last value of a key was written before, or has just been removed; any other is wrong.
    #[test]
    fn a_final_value_that_is_another_one_is_noticed(seed: u64, processes in 1u32..9) {
        let mut operations = simulate(seed, KEY, processes, 0);
        prop_assert!(is_fine(&operations));
        let last = operations.last_mut().unwrap();
        last.outcome = value(77);
        prop_assert!(!is_fine(&operations));
    }

    /// Of an item that was polled at the end, the queue may not forget the offer, and the other way round.
    #[test]
    fn an_item_too_few_or_too_many_is_noticed(seed: u64, processes in 1u32..9) {
        let operations = simulate(seed, QUEUE, processes, 0);
        prop_assert!(is_fine(&operations));
        let polled = |op: &&Operation| matches!((op.call, op.outcome), (Call::Poll, Outcome::Value(Some(_))));
        let polls: Vec<_> = operations.iter().filter(polled).copied().collect();
        prop_assume!(!polls.is_empty());
        let one = polls[Rng::new(seed).index(polls.len())];
        let without: Vec<_> = operations.iter().filter(|op| **op != one).copied().collect();
        let mut twice = operations.clone();
        twice.push(Operation { process: 100, ..one });
        prop_assert!(!is_fine(&without) && !is_fine(&twice));
    }
}
