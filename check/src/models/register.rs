//! One key of a map: a value or none.

mod facts;
mod text;
mod zones;

pub(crate) use self::text::Maybe;
use crate::Value;
use crate::history::OpOf;
use crate::model::{Decision, Model};
use crate::span::Span;

/// One key of a map. The state is its value, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {}

/// An operation on a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterIn {
    /// The value: [`RegisterOut::Value`].
    Get,
    /// Whether there is a value: [`RegisterOut::Flag`].
    Contains,
    /// Writes and returns the old value: [`RegisterOut::Value`].
    Put(Value),
    /// Writes: [`RegisterOut::Done`].
    Set(Value),
    /// Writes if there is no value, and returns the one that is there: [`RegisterOut::Value`].
    PutIfAbsent(Value),
    /// Writes if there is a value, and returns the old one: [`RegisterOut::Value`].
    Replace(Value),
    /// Removes and returns the old value: [`RegisterOut::Value`].
    Remove,
    /// Removes: [`RegisterOut::Done`].
    Delete,
    /// Changes `expected`, a value or none, to `new`, a value or none, if it is there; returns
    /// whether it was: [`RegisterOut::Flag`].
    CompareAndSet {
        /// What must be there.
        expected: Option<Value>,
        /// What is there afterwards.
        new: Option<Value>,
    },
    /// Adds to the value, which counts as 0 if there is none, and returns the sum, which wraps
    /// around: [`RegisterOut::Value`].
    Add(i64),
}

/// An answer of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterOut {
    /// It is done; there is nothing to tell.
    Done,
    /// A value or none.
    Value(Option<Value>),
    /// Yes or no.
    Flag(bool),
}

use RegisterIn as In;
use RegisterOut as Out;

impl Model for Register {
    type State = Option<Value>;
    type In = RegisterIn;
    type Out = RegisterOut;

    fn init() -> Option<Value> {
        None
    }

    #[inline]
    fn step(state: &Option<Value>, input: &In, output: Option<&Out>) -> Option<Option<Value>> {
        let state = *state;
        let (answer, next) = match *input {
            In::Get => (Out::Value(state), state),
            In::Contains => (Out::Flag(state.is_some()), state),
            In::Put(value) => (Out::Value(state), Some(value)),
            In::Set(value) => (Out::Done, Some(value)),
            In::PutIfAbsent(value) => (Out::Value(state), state.or(Some(value))),
            In::Replace(value) => (Out::Value(state), state.and(Some(value))),
            In::Remove => (Out::Value(state), None),
            In::Delete => (Out::Done, None),
            In::CompareAndSet { expected, new } => {
                let same = state == expected;
                (Out::Flag(same), if same { new } else { state })
            }
            In::Add(delta) => {
                let sum = state.unwrap_or(0).wrapping_add_signed(delta);
                (Out::Value(Some(sum)), Some(sum))
            }
        };
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    #[inline]
    fn reads(input: &In, output: Option<&Out>) -> bool {
        match (input, output) {
            (In::Get | In::Contains, _)
            | (In::PutIfAbsent(_), Some(Out::Value(Some(_))))
            | (In::Replace(_) | In::Remove, Some(Out::Value(None)))
            | (In::CompareAndSet { .. }, Some(Out::Flag(false))) => true,
            (
                In::Put(_)
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
    }

    fn narrow(initial: &mut Self::State, ops: &[OpOf<Self>], spans: &mut Vec<Span>) -> Decision {
        facts::narrow(*initial, ops, spans)
    }
}
