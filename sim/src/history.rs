//! What clients saw, and whether one order of all operations explains it.

use crate::event::{Ask, Values};
use crate::member::QUEUE_MAX;
use hashbrown::HashSet;

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Record {
    /// What it asked.
    pub ask: Ask,
    /// When.
    pub from: u64,
    /// When it was answered, and how; unanswered it may have happened at any later time, or never.
    pub answer: Option<(u64, Values)>,
}

/// The operations on each object that is linearizable as a whole: the map in one partition (its keys, its
/// size and scans of it), and the queue.
#[derive(Debug, Default)]
pub struct Histories {
    /// By partition.
    pub maps: Vec<Vec<Record>>,
    /// Of the one queue.
    pub queue: Vec<Record>,
}

/// What a linearizability check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An order was found.
    Linearizable,
    /// There is none.
    Violation,
    /// It was given up.
    Unknown,
}

impl Histories {
    /// Checks all of them. Returns what is wrong, and how many operations were checked: those of a history that
    /// takes too long are not counted.
    #[must_use]
    pub fn check(&self) -> (Option<String>, u64) {
        let mut checked = 0;
        let maps = self.maps.iter().enumerate().map(|(at, map)| (format!("partition {at}"), map));
        let queue = std::iter::once(("the queue".to_owned(), &self.queue));
        for (name, history) in maps.chain(queue) {
            let answered = history.iter().filter(|record| record.answer.is_some()).count() as u64;
            match check(history) {
                Verdict::Linearizable => checked += answered,
                Verdict::Unknown => {}
                Verdict::Violation => return (Some(format!("not linearizable: {name}")), checked),
            }
        }
        (None, checked)
    }
}

impl Histories {
    /// The histories that are not linearizable, an operation a line.
    #[must_use]
    pub fn tell(&self) -> String {
        let mut out = String::new();
        let all = self.maps.iter().enumerate().chain([(usize::MAX, &self.queue)]);
        for (at, history) in all.filter(|(_, history)| check(history) != Verdict::Linearizable) {
            out += &format!("history of {at}:\n");
            for Record { ask, from, answer } in history {
                let (until, values) = answer.map_or((String::new(), String::new()), |(t, v)| {
                    (format!("{:.3}", t as f64 / 1e6), format!("{v:?}"))
                });
                out += &format!("{:>9.3} {until:>9} {ask:?} {values}\n", *from as f64 / 1e6);
            }
        }
        out
    }
}

/// Looks for an order of the operations of one object that explains all answers (Wing and Gong 1993, with
/// Lowe's memory of what was tried).
#[must_use]
pub fn check(history: &[Record]) -> Verdict {
    const STEPS_MAX: usize = 100_000;
    let counts = |record: &&Record| record.answer.is_some() || !record.ask.reads();
    let mut ops: Vec<&Record> = history.iter().filter(counts).collect();
    ops.sort_by_key(|record| record.from);
    if ops.len() > 128 {
        return Verdict::Unknown;
    }
    let answered = ops.iter().enumerate().filter(|(_, op)| op.answer.is_some());
    let all = answered.fold(0u128, |mask, (at, _)| mask | 1 << at);
    let mut tried: HashSet<(u128, State)> = HashSet::new();
    let mut stack = vec![(0u128, State::default())];
    while let Some((mask, state)) = stack.pop() {
        if mask & all == all {
            return Verdict::Linearizable;
        }
        if tried.len() > STEPS_MAX {
            return Verdict::Unknown;
        }
        if !tried.insert((mask, state)) {
            continue;
        }
        let open = ops.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 0);
        let until = |op: &Record| op.answer.map_or(u64::MAX, |(at, _)| at);
        let first_end = open.clone().map(|(_, op)| until(op)).min().unwrap_or(u64::MAX);
        for (at, op) in open.rev() {
            if op.from <= first_end
                && let Some(next) = state.after(op.ask, op.answer.map(|(_, values)| values))
            {
                stack.push((mask | 1 << at, next));
            }
        }
    }
    Verdict::Violation
}

/// The state of a map of three keys, or of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    keys: [u64; 3],
    items: [u64; QUEUE_MAX as usize],
}

impl State {
    /// What comes after an operation, if it can have been answered so.
    fn after(mut self, ask: Ask, answer: Option<Values>) -> Option<State> {
        let expect = |value: u64| answer.is_none_or(|answer| answer[0] == value);
        let old = |key: u8, state: &State| state.keys[usize::from(key)];
        let fits = match ask {
            Ask::Get(key) | Ask::Confirm(key) => expect(old(key, &self)),
            Ask::Scan => answer.is_none_or(|answer| answer == self.keys),
            Ask::Size => expect(self.keys.iter().filter(|value| **value != 0).count() as u64),
            Ask::Put(key, value) => {
                let fits = expect(old(key, &self));
                self.keys[usize::from(key)] = value;
                fits
            }
            Ask::PutIfAbsent(key, value) => {
                let before = old(key, &self);
                if before == 0 {
                    self.keys[usize::from(key)] = value;
                }
                expect(before)
            }
            Ask::Cas(key, from, to) => {
                let same = old(key, &self) == from;
                if same {
                    self.keys[usize::from(key)] = to;
                }
                expect(u64::from(same))
            }
            Ask::Remove(key) => {
                let before = old(key, &self);
                self.keys[usize::from(key)] = 0;
                expect(before)
            }
            Ask::Offer(item) => {
                let free = self.items.iter().position(|item| *item == 0);
                if let Some(free) = free {
                    self.items[free] = item;
                }
                expect(u64::from(free.is_some()))
            }
            Ask::Poll => {
                let first = self.items[0];
                self.items.rotate_left(1);
                self.items[QUEUE_MAX as usize - 1] = 0;
                expect(first)
            }
        };
        fits.then_some(self)
    }
}
