//! What the values tell about the order of operations, if each is written at most once.
//!
//! The key has a value from its write to the next effect, and never again. So those that find a value
//! form a block with its write, between which nothing else takes effect; see [`zones`](super::zones)
//! for what follows from that.

use super::zones::Zones;
use super::{In, Out, Register};
use crate::Value;
use crate::history::OpOf;
use crate::model::{Decision, Model};
use crate::span::Span;
use hashbrown::HashMap;

/// Who left the key as an operation found it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// It was so in the beginning.
    Initial,
    /// A span, by its index.
    Span(usize),
    /// One of several spans.
    Several,
    /// Nobody can have.
    Nobody,
}

/// What is known of the values, and of the spans that write them.
struct Facts {
    writers: HashMap<Value, Source>,
    absent: Source,
    /// Which spans wrote a value that another one found.
    read: Vec<bool>,
}

/// Narrows spans by who finds whose value. Decides histories of nothing but reads and writes.
pub(super) fn narrow(
    initial: Option<Value>,
    ops: &[OpOf<Register>],
    spans: &mut Vec<Span>,
) -> Decision {
    let Some(mut facts) = Facts::new(initial, ops, spans) else { return Decision::Open };
    if !facts.follow(ops, spans) {
        return Decision::Violation;
    }
    let mut zones = Zones::new(spans.len());
    for (index, span) in spans.iter().enumerate() {
        if changes(span, ops) {
            zones.add(Source::Span(index), span);
        }
        zones.add(facts.source(span, ops), span);
    }
    if zones.conflict() {
        return Decision::Violation;
    }
    for (index, span) in spans.iter_mut().enumerate() {
        zones.narrow(index, changes(span, ops), facts.source(span, ops), span);
    }
    facts.drop_unread(ops, spans);
    if spans.iter().all(|span| span.must && matches!(span.input(ops), In::Get | In::Set(_))) {
        return Decision::Linearizable;
    }
    Decision::Open
}

impl Facts {
    /// None if a value could have been written twice.
    fn new(initial: Option<Value>, ops: &[OpOf<Register>], spans: &[Span]) -> Option<Self> {
        let mut writers = HashMap::with_capacity(spans.len());
        let mut absent = Source::Initial;
        if let Some(value) = initial {
            writers.insert(value, Source::Initial);
            absent = Source::Nobody;
        }
        for (index, span) in spans.iter().enumerate() {
            if Register::reads(span.input(ops), span.output(ops)) {
                continue;
            }
            match *span.input(ops) {
                In::Put(value)
                | In::Set(value)
                | In::PutIfAbsent(value)
                | In::Replace(value)
                | In::CompareAndSet { new: Some(value), .. } => {
                    if writers.insert(value, Source::Span(index)).is_some() {
                        return None;
                    }
                }
                In::Remove | In::Delete | In::CompareAndSet { new: None, .. } => {
                    absent = Source::Several;
                }
                In::Get | In::Contains | In::Add(_) => return None,
            }
        }
        Some(Facts { writers, absent, read: vec![false; spans.len()] })
    }

    /// Who left the key as this operation found it; `Several` if it does not tell.
    fn source(&self, span: &Span, ops: &[OpOf<Register>]) -> Source {
        match found(span, ops) {
            None => Source::Several,
            Some(None) => self.absent,
            Some(Some(value)) => self.writers.get(&value).copied().unwrap_or(Source::Nobody),
        }
    }

    /// Follows what was found to those that wrote it: they took effect, and before. Whether all that
    /// is possible.
    fn follow(&mut self, ops: &[OpOf<Register>], spans: &mut [Span]) -> bool {
        let mut todo: Vec<usize> = (0..spans.len()).filter(|&index| spans[index].must).collect();
        while let Some(index) = todo.pop() {
            let writer = match self.source(&spans[index], ops) {
                Source::Span(writer) if writer != index => writer,
                Source::Initial | Source::Several => continue,
                Source::Span(_) | Source::Nobody => return false,
            };
            let (from, until) = (spans[writer].from, spans[index].until);
            if from > until {
                return false;
            }
            self.read[writer] = true;
            spans[index].from = spans[index].from.max(from);
            if !spans[writer].must || spans[writer].until > until {
                spans[writer].must = true;
                spans[writer].until = until;
                todo.push(writer);
            }
        }
        true
    }

    /// Removes writes that may have happened or not, and whose value nobody found. If an answer, or
    /// an effect, depends on there being any value, or another one, they stay, but one stands for all
    /// that do the same.
    fn drop_unread(&self, ops: &[OpOf<Register>], spans: &mut Vec<Span>) {
        let sensitive = |span: &Span| {
            span.must
                && match (span.input(ops), span.output(ops)) {
                    (In::Contains, _)
                    | (In::CompareAndSet { .. }, Some(Out::Flag(false)))
                    | (In::Replace(_), None) => true,
                    (
                        In::Get
                        | In::Put(_)
                        | In::Set(_)
                        | In::PutIfAbsent(_)
                        | In::Replace(_)
                        | In::Remove
                        | In::Delete
                        | In::CompareAndSet { .. }
                        | In::Add(_),
                        _,
                    ) => false,
                }
        };
        let stay = spans.iter().any(sensitive);
        let expected: Vec<Value> = spans.iter().filter_map(|span| expected(span, ops)).collect();
        let mut index = 0;
        let mut standing = [None; 3];
        spans.retain_mut(|span| {
            let read = span.must || self.read[index];
            index += 1;
            let (kind, value) = match *span.input(ops) {
                In::Set(value) | In::Put(value) => (0, value),
                In::PutIfAbsent(value) => (1, value),
                In::Replace(value) => (2, value),
                In::CompareAndSet { new: Some(_), .. } => return read || stay,
                _ => return true,
            };
            if !read && stay && !expected.contains(&value) {
                span.op = *standing[kind].get_or_insert(span.op);
            }
            read || stay
        });
    }
}

/// Whether the operation takes effect for sure, and changes the key.
fn changes(span: &Span, ops: &[OpOf<Register>]) -> bool {
    span.must && !Register::reads(span.input(ops), span.output(ops))
}

/// The value that a compare-and-set needs.
fn expected(span: &Span, ops: &[OpOf<Register>]) -> Option<Value> {
    match *span.input(ops) {
        In::CompareAndSet { expected, .. } => expected,
        _ => None,
    }
}

/// What the operation found, a value or none, as far as its answer tells, or that it had an effect.
fn found(span: &Span, ops: &[OpOf<Register>]) -> Option<Option<Value>> {
    match (span.input(ops), span.output(ops)) {
        (_, Some(Out::Value(value))) => Some(*value),
        (In::Contains, Some(Out::Flag(false))) => Some(None),
        (In::CompareAndSet { expected, .. }, Some(Out::Flag(true))) => Some(*expected),
        (In::CompareAndSet { expected, .. }, None) if span.must => Some(*expected),
        (In::PutIfAbsent(_), None) if span.must => Some(None),
        (
            In::Get
            | In::Contains
            | In::Put(_)
            | In::Set(_)
            | In::PutIfAbsent(_)
            | In::Replace(_)
            | In::Remove
            | In::Delete
            | In::CompareAndSet { .. }
            | In::Add(_),
            _,
        ) => None,
    }
}
