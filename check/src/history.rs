//! Histories: what was asked when, and what was answered when.

use crate::model::Model;
use crate::span::TIME_MAX;
use std::fmt;

/// An operation of a history, by its place in the order of invocations as they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(usize);

/// An operation of a history of `M`.
pub type OpOf<M> = Op<<M as Model>::In, <M as Model>::Out>;

/// One operation: who asked what, when, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op<I, O> {
    process: u32,
    invoked: u64,
    input: I,
    outcome: Outcome<O>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered: it took effect between its invocation and then.
    Answered {
        /// The time of the answer.
        at: u64,
        /// The answer.
        output: O,
    },
    /// Indeterminate: it takes effect at any time after its invocation, or never.
    Unanswered,
    /// It is known to have had no effect, and never to have one.
    NotApplied,
}

impl<I, O> Op<I, O> {
    /// Who asked.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// When it was asked.
    #[must_use]
    #[inline]
    pub fn invoked(&self) -> u64 {
        self.invoked
    }

    /// When it was answered, if it was.
    #[must_use]
    pub fn returned(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Answered { at, .. } => Some(at),
            Outcome::Unanswered | Outcome::NotApplied => None,
        }
    }

    /// What was asked.
    #[must_use]
    #[inline]
    pub fn input(&self) -> &I {
        &self.input
    }

    /// What was answered, if anything was.
    #[must_use]
    #[inline]
    pub fn output(&self) -> Option<&O> {
        match &self.outcome {
            Outcome::Answered { output, .. } => Some(output),
            Outcome::Unanswered | Outcome::NotApplied => None,
        }
    }

    /// How it ended.
    #[must_use]
    #[inline]
    pub fn outcome(&self) -> &Outcome<O> {
        &self.outcome
    }
}

/// Operations of concurrent processes on one object.
///
/// Times are any clock that all processes share: nanoseconds, or the number of the event. An
/// operation precedes another only if it was answered *before* the other was invoked; at equal
/// times they overlap. So a simulator, which knows the order of all events, should number them.
///
/// Processes are there for the reader: one may have several operations under way.
pub struct History<M: Model> {
    initial: M::State,
    ops: Vec<OpOf<M>>,
}

impl<M: Model> History<M> {
    /// An empty history of an object in its initial state.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(M::init())
    }

    /// An empty history of an object in this state.
    #[must_use]
    pub fn starting_at(initial: M::State) -> Self {
        History { initial, ops: Vec::new() }
    }

    /// Records that `process` invokes an operation at time `t`. Until something else is recorded
    /// the operation is indeterminate.
    ///
    /// # Panics
    /// If `t` is over [`TIME_MAX`].
    pub fn invoke(&mut self, process: u32, input: M::In, t: u64) -> OpId {
        assert!(t <= TIME_MAX, "time {t} is over the latest, {TIME_MAX}");
        self.ops.push(Op { process, invoked: t, input, outcome: Outcome::Unanswered });
        OpId(self.ops.len() - 1)
    }

    /// Records that the operation was answered at time `t`.
    ///
    /// # Panics
    /// If it already was, or is known not to be applied, or was invoked after `t`.
    pub fn ret(&mut self, id: OpId, output: M::Out, t: u64) {
        let op = &mut self.ops[id.0];
        assert!(matches!(op.outcome, Outcome::Unanswered), "{op:?} has ended before {t}");
        assert!((op.invoked..=TIME_MAX).contains(&t), "{op:?} cannot return at {t}");
        op.outcome = Outcome::Answered { at: t, output };
    }

    /// Records that the operation is indeterminate: it may take effect at any time after its
    /// invocation, or never. A late answer may still be recorded.
    ///
    /// # Panics
    /// If the operation was answered, or is known not to be applied.
    pub fn maybe(&mut self, id: OpId) {
        let op = &self.ops[id.0];
        assert!(matches!(op.outcome, Outcome::Unanswered), "{op:?} has ended");
    }

    /// Records that the operation is known to have had no effect, and never to have one.
    ///
    /// # Panics
    /// If the operation was answered.
    pub fn never(&mut self, id: OpId) {
        let op = &mut self.ops[id.0];
        assert!(op.output().is_none(), "{op:?} has ended");
        op.outcome = Outcome::NotApplied;
    }

    /// Appends an operation that is complete.
    pub(crate) fn push(&mut self, op: OpOf<M>) {
        self.ops.push(op);
    }

    /// The state before the first operation.
    #[must_use]
    pub fn initial(&self) -> &M::State {
        &self.initial
    }

    /// The operations, in the order in which their invocations were recorded.
    #[must_use]
    pub fn ops(&self) -> &[OpOf<M>] {
        &self.ops
    }

    /// An operation.
    #[must_use]
    pub fn op(&self, id: OpId) -> &OpOf<M> {
        &self.ops[id.0]
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Forgets the operations, but keeps their memory and the initial state.
    pub fn clear(&mut self) {
        self.ops.clear();
    }
}

impl OpId {
    pub(crate) fn new(index: usize) -> Self {
        OpId(index)
    }

    /// The place of the operation in [`History::ops`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

impl<I, O> Op<I, O> {
    pub(crate) fn new(process: u32, invoked: u64, input: I, outcome: Outcome<O>) -> Self {
        Op { process, invoked, input, outcome }
    }

    /// This operation, as long as it was under way.
    pub(crate) fn unanswered(self) -> Self {
        Op { outcome: Outcome::Unanswered, ..self }
    }
}

impl<M: Model> Default for History<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Model> Clone for History<M> {
    fn clone(&self) -> Self {
        History { initial: self.initial.clone(), ops: self.ops.clone() }
    }
}

impl<M: Model> fmt::Debug for History<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("initial", &self.initial).field("ops", &self.ops).finish()
    }
}
