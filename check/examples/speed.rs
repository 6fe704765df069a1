//! How fast histories are checked: `cargo run --release -p grid-check --example speed`.
//!
//! Processes run one operation after the other on an object that is linearizable; some answers are
//! lost. Each workload is checked as it is, then with one answer changed ("broken": most of those are
//! not linearizable), and those with their counterexamples. Times are per history, in microseconds;
//! `?` counts the histories for which the budget was too small.

use grid_check::{
    Checker, Decision, History, Model, OpId, Queue, QueueIn, QueueOut, QueueState, Register,
    RegisterIn, RegisterOut, audit,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tries per history.
const BUDGET: u64 = 1_000_000;

/// Operations of all histories of a workload.
const OPERATIONS: usize = 60_000;

fn main() {
    println!("{:44} {:^54} {:^36} {:>10}", "", "as it is", "one answer changed", "explained");
    print!(
        "{:44} {:>9} {:>7} {:>7} {:>8}",
        "operations, processes", "checks/s", "mean", "p50", "p99"
    );
    print!(" {:>7} {:>8} {:>2}", "tries", "p99", "?");
    println!(" {:>8} {:>8} {:>9} {:>4}  {:>10}", "mean", "p50", "p99", "?", "p50");
    let register = |name, operations, processes, lost, input| {
        measure::<Register>(name, operations, processes, lost, &None, input);
    };
    register("register: get, set", 100, 5, 0, get_set);
    register("register: get, set; 5 % lost", 100, 5, 50, get_set);
    register("register: all", 100, 5, 0, register_all);
    register("register: all; 5 % lost", 100, 5, 50, register_all);
    register("register: all; 5 % lost", 200, 16, 50, register_all);
    register("register: get, set; 5 % lost", 10_000, 16, 50, get_set);
    register("register: all; 5 % lost", 10_000, 8, 50, register_all);
    let queue = |name, operations, processes, lost, state: QueueState, input| {
        measure::<Queue>(name, operations, processes, lost, &state, input);
    };
    let free = QueueState::unbounded;
    queue("queue: offer, poll", 100, 5, 0, free(), offer_poll);
    queue("queue: offer, poll; 5 % lost", 100, 5, 50, free(), offer_poll);
    queue("queue: mostly offers; 5 % lost", 200, 16, 50, free(), offers);
    queue("queue: all; 5 % lost", 100, 5, 50, free(), queue_all);
    queue("queue of 8: all; 5 % lost", 100, 5, 50, QueueState::bounded(8), queue_all);
    queue("queue of 8: all; 5 % lost", 200, 16, 50, QueueState::bounded(8), queue_all);
    queue("queue: offer, poll; 5 % lost", 10_000, 8, 50, free(), offer_poll);
    audits();
}

/// Checks histories of a workload, and prints a line.
fn measure<M: Object>(
    name: &str,
    operations: usize,
    processes: usize,
    lost: u64,
    initial: &M::State,
    input: fn(&mut Random, u64) -> M::In,
) {
    let mut random = Random(operations as u64 * 31 + lost);
    let load = Load { operations, processes, lost, initial, input };
    let mut histories = |broken: bool| -> Vec<History<M>> {
        (0..OPERATIONS / operations).map(|_| run(&mut random, &load, broken)).collect()
    };
    let (good, bad) = (histories(false), histories(true));
    let mut checker = Checker::<M>::new(BUDGET);
    let decide = |history: &History<M>| (checker.decide(history), checker.tries());
    let (good_times, found) = time(&good, decide);
    assert!(found.iter().all(|(decision, _)| *decision != Decision::Violation), "{name}");
    let unknown = found.iter().filter(|(decision, _)| *decision == Decision::Open).count();
    let mut tries: Vec<u64> = found.iter().map(|(_, tries)| *tries).collect();
    tries.sort_unstable();
    print!("{:44}", format!("{operations:>5}, {processes:>2}  {name}"));
    print!(" {:>9.0} {}", 1e6 / mean(&good_times), shown(&good_times));
    print!(" {:>7} {:>8} {unknown:>2}", at(&tries, 50), at(&tries, 99));
    let (bad_times, found) = time(&bad, |history| checker.decide(history));
    let unknown = found.iter().filter(|decision| **decision == Decision::Open).count();
    print!("  {} {unknown:>4}", shown(&bad_times));
    let violations: Vec<History<M>> = bad
        .into_iter()
        .zip(found)
        .filter(|(_, decision)| *decision == Decision::Violation)
        .map(|(history, _)| history)
        .take(30)
        .collect();
    let (explained, _) = time(&violations, |history| checker.check(history));
    println!("  {:>10.0}", micros(at(&explained, 50)));
}

/// The audit of a long queue.
fn audits() {
    let state = QueueState::unbounded();
    let load =
        Load { operations: 100_000, processes: 16, lost: 20, initial: &state, input: offer_poll };
    let history = run::<Queue>(&mut Random(7), &load, false);
    let start = Instant::now();
    let anomalies = black_box(audit(&history));
    assert!(anomalies.is_empty());
    println!(
        "audit of a queue, 100000 operations, 16 processes, 2 % lost: {:.1?}",
        start.elapsed()
    );
}

/// Times of the checks, sorted, and what they found.
fn time<M: Model, T>(
    histories: &[History<M>],
    mut check: impl FnMut(&History<M>) -> T,
) -> (Vec<Duration>, Vec<T>) {
    let one = |history| {
        let start = Instant::now();
        let found = black_box(check(history));
        (start.elapsed(), found)
    };
    let (mut times, found): (Vec<_>, Vec<_>) = histories.iter().map(one).unzip();
    times.sort_unstable();
    (times, found)
}

fn mean(times: &[Duration]) -> f64 {
    micros(times.iter().sum::<Duration>()) / times.len() as f64
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn shown(times: &[Duration]) -> String {
    let [p50, p99] = [50, 99].map(|percent| micros(at(times, percent)));
    format!("{:>7.1} {p50:>7.1} {p99:>8.1}", mean(times))
}

/// The value below which `percent` of the sorted values are.
fn at<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// What is run, and how.
struct Load<'a, M: Model> {
    operations: usize,
    processes: usize,
    /// Of 1000 answers, and of 1000 requests, how many are lost.
    lost: u64,
    initial: &'a M::State,
    input: fn(&mut Random, u64) -> M::In,
}

/// Runs processes on an object. An operation takes effect at some event between its invocation and
/// its answer; if that is lost, later or never.
fn run<M: Object>(random: &mut Random, load: &Load<'_, M>, broken: bool) -> History<M> {
    let Load { operations, processes, lost, initial, input } = *load;
    let mut history = History::<M>::starting_at(initial.clone());
    let mut state = initial.clone();
    // For each process, what it waits for, and the answer once there is one.
    let mut waiting: Vec<Option<(OpId, Option<M::Out>)>> = vec![None; processes];
    let mut late: Vec<OpId> = Vec::new();
    let middle = operations / 4 + random.below(operations as u64 / 2) as usize;
    let wrong = if broken { middle } else { operations };
    let mut now = 0;
    while history.len() < operations || waiting.iter().any(Option::is_some) {
        now += 1;
        if !late.is_empty() && random.below(20) == 0 {
            let op = late.swap_remove(random.below(late.len() as u64) as usize);
            M::apply(&mut state, &M::In::clone(history.op(op).input()));
        }
        let process = random.below(processes as u64) as usize;
        match waiting[process].take() {
            None if history.len() < operations => {
                let input = input(random, history.len() as u64);
                waiting[process] = Some((history.invoke(process as u32, input, now), None));
            }
            None => {}
            Some((op, None)) if random.below(1000) < lost => {
                history.maybe(op);
                late.push(op);
            }
            Some((op, None)) => {
                let mut output = M::apply(&mut state, &M::In::clone(history.op(op).input()));
                if op.index() == wrong {
                    output = M::wrong(output, random);
                }
                waiting[process] = Some((op, Some(output)));
            }
            Some((op, Some(_))) if random.below(1000) < lost => history.maybe(op),
            Some((op, Some(output))) => history.ret(op, output, now),
        }
    }
    history
}

/// Something to run operations on.
trait Object: Model {
    fn apply(state: &mut Self::State, input: &Self::In) -> Self::Out;
    fn wrong(output: Self::Out, random: &mut Random) -> Self::Out;
}

impl Object for Register {
    fn apply(state: &mut Option<u64>, input: &RegisterIn) -> RegisterOut {
        let old = *state;
        *state = Register::step(state, input, None).unwrap_or(old);
        match input {
            RegisterIn::Set(_) | RegisterIn::Delete => RegisterOut::Done,
            RegisterIn::Contains => RegisterOut::Flag(old.is_some()),
            RegisterIn::CompareAndSet { expected, .. } => RegisterOut::Flag(old == *expected),
            RegisterIn::Add(_) => RegisterOut::Value(*state),
            _ => RegisterOut::Value(old),
        }
    }

    fn wrong(output: RegisterOut, random: &mut Random) -> RegisterOut {
        match output {
            RegisterOut::Value(Some(value)) => {
                RegisterOut::Value(Some(value.saturating_sub(1 + random.below(9))))
            }
            RegisterOut::Value(None) => RegisterOut::Value(Some(random.below(9))),
            RegisterOut::Flag(flag) => RegisterOut::Flag(!flag),
            RegisterOut::Done => RegisterOut::Done,
        }
    }
}

impl Object for Queue {
    fn apply(state: &mut QueueState, input: &QueueIn) -> QueueOut {
        let old = state.clone();
        *state = Queue::step(state, input, None).unwrap_or_else(|| old.clone());
        match input {
            QueueIn::Offer(_) => QueueOut::Flag(old != *state),
            QueueIn::Poll | QueueIn::Peek => QueueOut::Item(old.items().first().copied()),
            QueueIn::Size => QueueOut::Size(old.items().len() as u64),
            QueueIn::Clear => QueueOut::Done,
        }
    }

    fn wrong(output: QueueOut, random: &mut Random) -> QueueOut {
        match output {
            QueueOut::Item(Some(item)) => {
                QueueOut::Item(Some(item.saturating_sub(1 + random.below(9))))
            }
            QueueOut::Item(None) => QueueOut::Item(Some(random.below(9))),
            QueueOut::Size(size) => QueueOut::Size(size + 1),
            other => other,
        }
    }
}

fn get_set(random: &mut Random, fresh: u64) -> RegisterIn {
    if random.below(2) == 0 { RegisterIn::Get } else { RegisterIn::Set(fresh) }
}

fn register_all(random: &mut Random, fresh: u64) -> RegisterIn {
    match random.below(20) {
        0..=7 => RegisterIn::Get,
        8..=10 => RegisterIn::Set(fresh),
        11..=13 => RegisterIn::Put(fresh),
        14 => RegisterIn::PutIfAbsent(fresh),
        15 => RegisterIn::Replace(fresh),
        16 => RegisterIn::Remove,
        17 => RegisterIn::Delete,
        18 => RegisterIn::CompareAndSet { expected: None, new: Some(fresh) },
        _ => {
            let expected = Some(fresh.saturating_sub(1 + random.below(4)));
            RegisterIn::CompareAndSet { expected, new: Some(fresh) }
        }
    }
}

fn offer_poll(random: &mut Random, fresh: u64) -> QueueIn {
    if random.below(2) == 0 { QueueIn::Poll } else { QueueIn::Offer(fresh) }
}

fn offers(random: &mut Random, fresh: u64) -> QueueIn {
    if random.below(10) < 3 { QueueIn::Poll } else { QueueIn::Offer(fresh) }
}

fn queue_all(random: &mut Random, fresh: u64) -> QueueIn {
    match random.below(10) {
        0..=4 => QueueIn::Offer(fresh),
        5..=7 => QueueIn::Poll,
        8 => QueueIn::Peek,
        _ => QueueIn::Size,
    }
}

/// A small generator: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}
