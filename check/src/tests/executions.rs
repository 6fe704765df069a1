//! Random executions: operations one after the other, answered by plain collections, recorded with
//! wider intervals than they took; and answers that are wrong.

use crate::history::History;
use crate::model::Model;
use crate::models::map::{MapIn, MapOfKeys, MapOut};
use crate::models::queue::{Queue, QueueIn, QueueOut, QueueState};
use crate::models::register::{Register, RegisterIn, RegisterOut};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// An object to run operations on.
pub(super) trait Plain: Model {
    /// The object itself, as plain as can be.
    type Object: Clone;
    fn object(initial: &Self::State) -> Self::Object;
    fn initial(seed: u8) -> Self::State;
    /// Some operation, if `plain` only one of the usual ones; if `fresh` is given, it is the value
    /// that it writes.
    fn input(seed: u16, fresh: Option<u64>, plain: bool) -> Self::In;
    fn apply(object: &mut Self::Object, input: &Self::In) -> Self::Out;
    /// Another answer of the same form.
    fn wrong(output: &Self::Out, seed: u16) -> Self::Out;
}

/// A random operation.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    kind: u16,
    process: u32,
    before: u64,
    after: u64,
    fate: u8,
}

/// A random execution.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) draws: Vec<Draw>,
    pub(super) unique: bool,
    plain: bool,
    /// Every so many operations, one takes very long.
    long: Option<usize>,
    initial: u8,
    /// Which operation gets a wrong answer, and which.
    pub(super) wrong: Option<(prop::sample::Index, u16)>,
}

/// Executions of up to `len` operations; `fates` of 256 operations have another end than an answer.
/// Times are in steps of 5, that many are equal.
pub(super) fn run(len: usize, widen: u64, fates: u8, wrong: bool) -> impl Strategy<Value = Run> {
    let draw = (any::<u16>(), 0..4u32, 0..widen / 5, 0..widen / 5, any::<u8>()).prop_map(
        move |(kind, process, before, after, fate)| {
            let (before, after) = (5 * before, 5 * after);
            let fate = if fate < fates { 1 + fate % 3 } else { 0 };
            Draw { kind, process, before, after, fate }
        },
    );
    let wrong = wrong.then(|| (any::<prop::sample::Index>(), any::<u16>()));
    let wrong = match wrong {
        Some(wrong) => proptest::option::weighted(0.8, wrong).boxed(),
        None => Just(None).boxed(),
    };
    let draws = proptest::collection::vec(draw, 1..=len);
    (draws, any::<bool>(), any::<bool>(), any::<u8>(), wrong).prop_map(
        |(draws, unique, plain, initial, wrong)| Run {
            draws,
            unique,
            plain,
            long: None,
            initial,
            wrong,
        },
    )
}

/// The same, and every `long` operations, one takes very long.
pub(super) fn run_long(len: usize, widen: u64, long: usize) -> impl Strategy<Value = Run> {
    run(len, widen, 0, false).prop_map(move |run| Run { long: Some(long), ..run })
}

/// The history of an execution.
pub(super) fn history<M: Plain>(run: &Run) -> History<M> {
    let initial = M::initial(run.initial);
    let mut object = M::object(&initial);
    let mut history = History::starting_at(initial);
    let wrong = run.wrong.map(|(index, seed)| (index.index(run.draws.len()), seed));
    for (place, draw) in run.draws.iter().enumerate() {
        let now = 100 + 10 * place as u64;
        let input = M::input(draw.kind, run.unique.then_some(100 + place as u64), run.plain);
        let long = run.long.is_some_and(|long| place % long == 3);
        let after = if long { 1_000 } else { draw.after };
        let id = history.invoke(draw.process, input.clone(), now - draw.before.min(now));
        match draw.fate {
            0 => {
                let mut output = M::apply(&mut object, &input);
                if let Some((_, seed)) = wrong.filter(|(index, _)| *index == place) {
                    output = M::wrong(&output, seed);
                }
                history.ret(id, output, now + after);
            }
            1 => {
                M::apply(&mut object, &input);
                history.maybe(id);
            }
            2 => history.maybe(id),
            _ => history.never(id),
        }
    }
    history
}

fn small(seed: u16) -> u64 {
    u64::from(seed) % 3 + 1
}

fn apply_key(value: &mut Option<u64>, input: &RegisterIn) -> RegisterOut {
    let old = *value;
    match *input {
        RegisterIn::Get => {}
        RegisterIn::Contains => return RegisterOut::Flag(old.is_some()),
        RegisterIn::Put(new) => *value = Some(new),
        RegisterIn::Set(new) => {
            *value = Some(new);
            return RegisterOut::Done;
        }
        RegisterIn::PutIfAbsent(new) => {
            if old.is_none() {
                *value = Some(new);
            }
        }
        RegisterIn::Replace(new) => {
            if old.is_some() {
                *value = Some(new);
            }
        }
        RegisterIn::Remove => *value = None,
        RegisterIn::Delete => {
            *value = None;
            return RegisterOut::Done;
        }
        RegisterIn::CompareAndSet { expected, new } => {
            if old == expected {
                *value = new;
            }
            return RegisterOut::Flag(old == expected);
        }
        RegisterIn::Add(delta) => {
            let sum = old.unwrap_or(0).wrapping_add(delta.cast_unsigned());
            *value = Some(sum);
            return RegisterOut::Value(Some(sum));
        }
    }
    RegisterOut::Value(old)
}

fn wrong_value(value: Option<u64>, seed: u16) -> Option<u64> {
    let others = [None, Some(1), Some(2), Some(3), Some(100), Some(101), Some(102), Some(104)];
    let others: Vec<_> = others.into_iter().filter(|other| *other != value).collect();
    others[usize::from(seed) % others.len()]
}

impl Plain for Register {
    type Object = Option<u64>;

    fn object(initial: &Option<u64>) -> Option<u64> {
        *initial
    }

    fn initial(seed: u8) -> Option<u64> {
        seed.is_multiple_of(4).then_some(1)
    }

    fn input(seed: u16, fresh: Option<u64>, plain: bool) -> RegisterIn {
        let value = fresh.unwrap_or(small(seed >> 8));
        let expected = match seed >> 4 & 7 {
            0..=3 => None,
            4 => Some(1),
            5 => Some(2),
            _ => Some(100 + u64::from(seed >> 7 & 3)),
        };
        let new = (seed >> 12 & 1 == 0).then_some(value);
        match if plain { seed % 2 * 7 } else { seed % 16 } {
            0..=3 => RegisterIn::Get,
            4 => RegisterIn::Contains,
            5 | 6 => RegisterIn::Put(value),
            7 | 8 => RegisterIn::Set(value),
            9 => RegisterIn::PutIfAbsent(value),
            10 => RegisterIn::Replace(value),
            11 => RegisterIn::Remove,
            12 => RegisterIn::Delete,
            13 | 14 => RegisterIn::CompareAndSet { expected, new },
            _ if fresh.is_some() => RegisterIn::Set(value),
            _ => RegisterIn::Add(i64::from(seed >> 8 & 3) - 1),
        }
    }

    fn apply(object: &mut Option<u64>, input: &RegisterIn) -> RegisterOut {
        apply_key(object, input)
    }

    fn wrong(output: &RegisterOut, seed: u16) -> RegisterOut {
        match output {
            RegisterOut::Done => RegisterOut::Done,
            RegisterOut::Value(value) => RegisterOut::Value(wrong_value(*value, seed)),
            RegisterOut::Flag(flag) => RegisterOut::Flag(!flag),
        }
    }
}

impl Plain for MapOfKeys {
    type Object = BTreeMap<u64, u64>;

    fn object(initial: &Vec<(u64, u64)>) -> BTreeMap<u64, u64> {
        initial.iter().copied().collect()
    }

    fn initial(seed: u8) -> Vec<(u64, u64)> {
        if seed.is_multiple_of(4) { vec![(0, 1), (1, 2)] } else { Vec::new() }
    }

    fn input(seed: u16, fresh: Option<u64>, plain: bool) -> MapIn {
        let value = fresh.unwrap_or(small(seed >> 8));
        match seed % 10 {
            0 => MapIn::Size,
            1 => MapIn::Scan,
            2 => MapIn::Clear,
            3 => MapIn::PutAll(vec![(1, value), (0, value + 1000)]),
            _ => MapIn::Key(u64::from(seed >> 14) % 2, Register::input(seed / 10, fresh, plain)),
        }
    }

    fn apply(object: &mut BTreeMap<u64, u64>, input: &MapIn) -> MapOut {
        match input {
            MapIn::Key(key, input) => {
                let mut value = object.remove(key);
                let output = apply_key(&mut value, input);
                object.extend(value.map(|value| (*key, value)));
                MapOut::Key(output)
            }
            MapIn::PutAll(entries) => {
                object.extend(entries.iter().copied());
                MapOut::Done
            }
            MapIn::Size => MapOut::Size(object.len() as u64),
            MapIn::Scan => MapOut::Entries(object.clone().into_iter().collect()),
            MapIn::Clear => {
                object.clear();
                MapOut::Done
            }
        }
    }

    fn wrong(output: &MapOut, seed: u16) -> MapOut {
        match output {
            MapOut::Key(output) => MapOut::Key(Register::wrong(output, seed)),
            MapOut::Size(size) => MapOut::Size((size + 1 + u64::from(seed % 2)) % 3),
            MapOut::Entries(entries) if entries.is_empty() => MapOut::Entries(vec![(0, 1)]),
            MapOut::Entries(entries) => MapOut::Entries(entries[1..].to_vec()),
            MapOut::Done => MapOut::Done,
        }
    }
}

impl Plain for Queue {
    type Object = (u64, VecDeque<u64>);

    fn object(initial: &QueueState) -> (u64, VecDeque<u64>) {
        (initial.capacity(), initial.items().iter().copied().collect())
    }

    fn initial(seed: u8) -> QueueState {
        let bound = if seed & 4 == 0 { QueueState::unbounded() } else { QueueState::bounded(2) };
        if seed.is_multiple_of(4) { bound.with_items([1, 2]) } else { bound }
    }

    fn input(seed: u16, fresh: Option<u64>, plain: bool) -> QueueIn {
        let kinds = if plain { 10 } else { 16 };
        match seed % kinds {
            0..=4 => QueueIn::Offer(fresh.unwrap_or(small(seed >> 8))),
            5..=9 => QueueIn::Poll,
            10..=12 => QueueIn::Peek,
            13 | 14 => QueueIn::Size,
            _ => QueueIn::Clear,
        }
    }

    fn apply((capacity, items): &mut Self::Object, input: &QueueIn) -> QueueOut {
        match input {
            QueueIn::Offer(item) => {
                let room = (items.len() as u64) < *capacity;
                if room {
                    items.push_back(*item);
                }
                QueueOut::Flag(room)
            }
            QueueIn::Poll => QueueOut::Item(items.pop_front()),
            QueueIn::Peek => QueueOut::Item(items.front().copied()),
            QueueIn::Size => QueueOut::Size(items.len() as u64),
            QueueIn::Clear => {
                items.clear();
                QueueOut::Done
            }
        }
    }

    fn wrong(output: &QueueOut, seed: u16) -> QueueOut {
        match output {
            QueueOut::Flag(flag) => QueueOut::Flag(!flag),
            QueueOut::Item(item) => QueueOut::Item(wrong_value(*item, seed)),
            QueueOut::Size(size) => QueueOut::Size((size + 1 + u64::from(seed % 2)) % 3),
            QueueOut::Done => QueueOut::Done,
        }
    }
}
