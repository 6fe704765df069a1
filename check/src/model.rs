//! What a history is checked against: a sequential specification.

use crate::history::OpOf;
use crate::span::Span;
use std::fmt::Debug;
use std::hash::Hash;

/// A sequential object: what each operation may answer in each state, and what it leaves behind.
///
/// Only [`init`](Model::init) and [`step`](Model::step) are needed. [`reads`](Model::reads) and
/// [`narrow`](Model::narrow) make checks faster and must not change any verdict.
///
/// ```
/// use grid_check::{History, Model, check};
///
/// /// A lock: `true` takes it, `false` gives it back; answers say whether that was possible.
/// struct Lock;
/// impl Model for Lock {
///     type State = bool;
///     type In = bool;
///     type Out = bool;
///     fn init() -> bool { false }
///     fn step(held: &bool, take: &bool, done: Option<&bool>) -> Option<bool> {
///         let can = held != take;
///         done.is_none_or(|done| *done == can).then_some(*take)
///     }
/// }
///
/// let mut history = History::<Lock>::new();
/// let (a, b) = (history.invoke(1, true, 10), history.invoke(2, true, 11));
/// history.ret(a, true, 20);
/// history.ret(b, true, 21);
/// assert!(check(&history).is_violation()); // both got it
/// ```
pub trait Model {
    /// The state between two operations.
    type State: Clone + Eq + Hash + Debug;
    /// An operation and its arguments. Its `Debug` form is what counterexamples print.
    type In: Clone + Eq + Debug;
    /// An answer. Its `Debug` form is what counterexamples print.
    type Out: Clone + Debug;

    /// Whether to narrow every search at once, because most would be hard.
    const NARROW_FIRST: bool = false;

    /// The state in the beginning; [`History::starting_at`](crate::History::starting_at) has others.
    fn init() -> Self::State;

    /// The state after `input` was applied to `state` and answered with `output`; none if that
    /// answer is impossible in this state. Without an output the answer is unknown and any will do.
    fn step(
        state: &Self::State,
        input: &Self::In,
        output: Option<&Self::Out>,
    ) -> Option<Self::State>;

    /// Whether `input`, answered with `output`, leaves every state as it is in which that answer is
    /// possible: reads, but also a compare-and-set that missed. Such operations take effect as soon
    /// as they can (no other order could be better), and unanswered ones tell nothing.
    #[must_use]
    fn reads(input: &Self::In, output: Option<&Self::Out>) -> bool {
        let _ = (input, output);
        false
    }

    /// Narrows a search that turned out to be hard, by facts that hold in every linearization:
    /// raises `from`, lowers `until`, says that something unanswered must have taken effect, or
    /// removes spans without which the verdict is the same. May decide the whole question.
    ///
    /// `initial` may be given what the narrowed search shall know, if states stay equal to what they
    /// would be without. `spans` are in no particular order; each names its operation in `ops`. An answer counts only
    /// if the span says so ([`Span::output`]).
    fn narrow(initial: &mut Self::State, ops: &[OpOf<Self>], spans: &mut Vec<Span>) -> Decision {
        let _ = (initial, ops, spans);
        Decision::Open
    }
}

/// What is known about a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Open,
    /// There is a linearization.
    Linearizable,
    /// There is none.
    Violation,
}
