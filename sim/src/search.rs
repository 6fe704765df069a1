//! Whether one order of all operations of an object explains their answers (Wing and Gong 1993, with Lowe's
//! memory of what was tried).

use crate::event::{Ask, Values};
use crate::history::Record;
use crate::member::QUEUE_MAX;
use hashbrown::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// States that are remembered before a check is given up.
const TRIED_MAX: usize = 100_000;

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

/// Looks for an order of the operations of one object that explains all answers. A map may have begun with
/// something.
#[must_use]
pub fn check(history: &[Record], begins: Values) -> Verdict {
    let answered = |record: &&Record| record.answer.is_some();
    // What was never answered need not have happened; where nobody saw it, it hardly ever did.
    let seen = seen(history);
    let told = |record: &&Record| {
        answered(record) || written(record.ask).is_none_or(|value| seen.contains(&value))
    };
    // The observer looks at bounded-stale reads when they are answered.
    let stale = |record: &&Record| matches!(record.ask, Ask::Stale(..));
    let changes = |record: &&Record| (answered(record) || !record.ask.reads()) && !stale(record);
    let all = history.iter().filter(changes);
    let verdict = search(all.clone().filter(told).collect(), begins, &seen);
    if verdict == Verdict::Linearizable || all.clone().all(|record| told(&record)) {
        return verdict;
    }
    search(all.collect(), begins, &seen)
}

/// The value that an operation leaves, if it takes effect.
fn written(ask: Ask) -> Option<u64> {
    match ask {
        Ask::Put(_, value) | Ask::QuickPut(_, value) => Some(value),
        Ask::PutIfAbsent(_, value) | Ask::Cas(_, _, value) => Some(value),
        Ask::Offer(value) => Some(value),
        _ => None,
    }
}

/// The values that somebody saw, or may have replaced.
fn seen(history: &[Record]) -> HashSet<u64> {
    let mut seen = HashSet::new();
    for record in history {
        if let Ask::Cas(_, expected, _) = record.ask {
            seen.insert(expected);
        }
        seen.extend(record.answer.iter().flat_map(|(_, values)| values));
    }
    seen
}

/// The operations that may come next: begun before the first of the open ones has ended.
fn next(ops: &[Op], mask: u128) -> std::ops::Range<usize> {
    let (first, mut first_end) = (mask.trailing_ones() as usize, u64::MAX);
    let mut end = first;
    while let Some(op) = ops.get(end).filter(|op| op.from <= first_end) {
        if mask >> end & 1 == 0 {
            first_end = first_end.min(op.until);
        }
        end += 1;
    }
    first..end
}

/// Operations that were never answered and whose values nobody saw are as good as each other: for each, the one
/// before it that is to come first.
fn before(records: &[&Record], seen: &HashSet<u64>) -> Vec<u128> {
    let mut last: HashMap<(std::mem::Discriminant<Ask>, u8), u128> = HashMap::new();
    let before = records.iter().zip(0..).map(|(record, at)| {
        let unseen = written(record.ask).is_none_or(|value| !seen.contains(&value));
        let key = match record.ask {
            Ask::Put(key, _) | Ask::QuickPut(key, _) => key,
            Ask::PutIfAbsent(key, _) | Ask::Remove(key) => key,
            Ask::Offer(_) | Ask::Poll => 0,
            _ => return 0,
        };
        if record.answer.is_some() || !unseen {
            return 0;
        }
        last.insert((std::mem::discriminant(&record.ask), key), 1 << at).unwrap_or(0)
    });
    before.collect()
}

fn search(mut records: Vec<&Record>, begins: Values, seen: &HashSet<u64>) -> Verdict {
    records.sort_by_key(|record| record.from);
    if records.len() > 128 {
        return Verdict::Unknown;
    }
    let Some((ops, begins)) = translate(&records, begins) else { return Verdict::Violation };
    let before = before(&records, seen);
    let answered = ops.iter().enumerate().filter(|(_, op)| op.until < u64::MAX);
    let all = answered.fold(0u128, |mask, (at, _)| mask | 1 << at);
    // Who has to see each value: it must not be gone before.
    let mut needs = [0u128; 256];
    for (at, op) in ops.iter().enumerate() {
        op.sees().for_each(|value| needs[usize::from(value)] |= 1 << at);
    }
    let mut tried: HashSet<(u128, State)> = HashSet::new();
    let mut stack = vec![(0u128, State { keys: begins, ..State::default() })];
    let mut steps = 0;
    while let Some((mask, state)) = stack.pop() {
        if mask & all == all {
            return Verdict::Linearizable;
        }
        if tried.len() > TRIED_MAX {
            return Verdict::Unknown;
        }
        // Most orders are found at once: what was tried is remembered only where that takes long.
        steps += 1;
        if steps > 2 * ops.len() && !tried.insert((mask, state)) {
            continue;
        }
        let open = |at: &usize| mask >> at & 1 == 0 && before[*at] & !mask == 0;
        for at in next(&ops, mask).rev().filter(open) {
            let Some((after, gone)) = state.after(&ops[at]) else { continue };
            let mask = mask | 1 << at;
            let lacked = gone != 0 && needs[usize::from(gone)] & !mask != 0;
            // What was never answered and would change nothing here can as well come later, or not at all.
            let idle = ops[at].until == u64::MAX && after == state;
            if !lacked && !idle {
                stack.push((mask, after));
            }
        }
    }
    Verdict::Violation
}

/// Stands for a value: the place of the only operation that writes it, from 1; 0 for none.
type Value = u8;

/// A value that is never there.
const NEVER: Value = 129;
/// The values that a map began with, by key, if none of the operations wrote them.
const FIRST: Value = 130;

/// An operation whose values are short.
#[derive(Clone, Copy, Debug)]
struct Op {
    from: u64,
    until: u64,
    ask: Ask,
    /// What it writes, and what it expects.
    values: (Value, Value),
    /// What it saw. Numbers stay numbers.
    answer: Option<[Value; 3]>,
}

/// Operations, and what there was before, with short values; none if an answer names a value that nobody wrote.
fn translate(records: &[&Record], begins: Values) -> Option<(Vec<Op>, [Value; 3])> {
    let writes = records.iter().zip(1..).filter_map(|(record, n)| Some((written(record.ask)?, n)));
    let mut places: HashMap<u64, Value> = writes.collect();
    for (value, n) in begins.into_iter().zip(FIRST..) {
        places.entry(value).or_insert(n);
    }
    let place = |value: u64| if value == 0 { Some(0) } else { places.get(&value).copied() };
    let translated = records.iter().map(|record| {
        let (from, ask) = (record.from, record.ask);
        let new = written(ask).and_then(place).unwrap_or(0);
        let expected = match ask {
            Ask::Cas(_, expected, _) => place(expected).unwrap_or(NEVER),
            _ => 0,
        };
        let (mut until, mut answer) = (u64::MAX, None);
        if let Some((at, values)) = record.answer {
            until = at;
            let number = |n: u64| Value::try_from(n).ok();
            answer = Some(match ask {
                Ask::Size | Ask::Cas(..) | Ask::Offer(_) => [number(values[0])?, 0, 0],
                _ => [place(values[0])?, place(values[1])?, place(values[2])?],
            });
        }
        Some(Op { from, until, ask, values: (new, expected), answer })
    });
    Some((translated.collect::<Option<_>>()?, begins.map(|value| place(value).unwrap_or(0))))
}

impl Op {
    /// The values that were there before it.
    fn sees(&self) -> impl Iterator<Item = Value> {
        let values = match (self.ask, self.answer) {
            (Ask::Size | Ask::Offer(_), _) | (_, None) => [0; 3],
            (Ask::Cas(..), Some([1, ..])) => [self.values.1, 0, 0],
            (Ask::Cas(..), _) => [0; 3],
            (_, Some(values)) => values,
        };
        values.into_iter().filter(|value| *value != 0)
    }
}

/// The state of a map of three keys, or of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    keys: [Value; 3],
    items: [Value; QUEUE_MAX as usize],
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let all = self.keys.iter().chain(&self.items);
        state.write_u64(all.fold(0, |sum, n| sum << 8 | u64::from(*n)));
    }
}

impl State {
    /// What comes after an operation, if it can have been answered so; and the value that is gone then.
    fn after(mut self, op: &Op) -> Option<(State, Value)> {
        let expect = |value: Value| op.answer.is_none_or(|answer| answer[0] == value);
        let (new, expected) = op.values;
        let key = match op.ask {
            Ask::Get(k) | Ask::Confirm(k) | Ask::Put(k, _) | Ask::Remove(k) => usize::from(k),
            Ask::PutIfAbsent(k, _) | Ask::Cas(k, ..) => usize::from(k),
            Ask::QuickGet(k) | Ask::QuickPut(k, _) => usize::from(k),
            _ => 0,
        };
        let before = self.keys[key];
        let fits = match op.ask {
            Ask::Get(_) | Ask::Confirm(_) | Ask::QuickGet(_) => expect(before),
            Ask::Stale(..) => true,
            Ask::Scan => op.answer.is_none_or(|answer| answer == self.keys),
            Ask::Size => expect(self.keys.iter().map(|value| Value::from(*value != 0)).sum()),
            Ask::Put(..) | Ask::QuickPut(..) => {
                self.keys[key] = new;
                expect(before)
            }
            Ask::PutIfAbsent(..) => {
                if before == 0 {
                    self.keys[key] = new;
                }
                expect(before)
            }
            Ask::Cas(..) => {
                let same = before == expected;
                if same {
                    self.keys[key] = new;
                }
                expect(Value::from(same))
            }
            Ask::Remove(_) => {
                self.keys[key] = 0;
                expect(before)
            }
            Ask::Offer(_) => {
                let free = self.items.iter().position(|item| *item == 0);
                if let Some(free) = free {
                    self.items[free] = new;
                }
                expect(Value::from(free.is_some()))
            }
            Ask::Poll => {
                let first = self.items[0];
                self.items.rotate_left(1);
                self.items[QUEUE_MAX as usize - 1] = 0;
                return expect(first).then_some((self, first));
            }
        };
        let gone = if self.keys[key] == before { 0 } else { before };
        fits.then_some((self, gone))
    }
}
