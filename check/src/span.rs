//! Spans: operations as the search sees them, between which times each takes effect.

use crate::history::{Op, OpOf, Outcome};
use crate::model::Model;

/// The end of a span that never ends. Histories have earlier times only ([`TIME_MAX`]).
pub const NEVER: u64 = u64::MAX;

/// The latest time in a history.
pub const TIME_MAX: u64 = u64::MAX / 2;

/// The [`Span::order`] of spans that have none.
pub const UNORDERED: (u64, u64) = (0, NEVER);

/// The [`Span::block`] of the beginning.
pub const BLOCK_INITIAL: u32 = 1;

/// One operation in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the operation in its history.
    pub op: usize,
    /// It takes effect at this time or later.
    pub from: u64,
    /// It takes effect at this time or earlier; [`NEVER`] if there is no end.
    pub until: u64,
    /// Whether it takes effect for sure.
    pub must: bool,
    /// Whether the answer in the history counts; otherwise any answer will do.
    pub answered: bool,
    /// A second precedence among all spans that have one: one whose pair ends before another's
    /// begins takes effect before it. [`UNORDERED`] has none. (Offers to a queue take effect in the
    /// order of the polls that return their items.) It is for what is no read, and for what may
    /// happen or not it says only what comes before.
    pub order: (u64, u64),
    /// The block that it belongs to, or 0. All that takes effect for sure and belongs to a block must
    /// have done so before anything that is no read takes effect, except the last of them.
    pub block: u32,
    /// The block that begins when it takes effect, or 0. The first is [`BLOCK_INITIAL`].
    pub begins: u32,
    /// [`Model::reads`] of the operation and the answer that counts.
    pub(crate) reads: bool,
}

impl Span {
    /// The span of an operation as it is in the history; none if it cannot matter.
    pub(crate) fn of<M: Model + ?Sized>(index: usize, op: &OpOf<M>) -> Option<Span> {
        let (until, must) = match op.outcome() {
            Outcome::Answered { at, .. } => (*at, true),
            Outcome::Unanswered => (NEVER, false),
            Outcome::NotApplied => return None,
        };
        let reads = M::reads(op.input(), op.output());
        let from = op.invoked();
        let span = Span { until, must, answered: must, reads, ..Span::maybe(index, from) };
        (must || !reads).then_some(span)
    }

    /// An operation that may happen at `from` or later, or never.
    pub(crate) fn maybe(op: usize, from: u64) -> Span {
        let (until, order) = (NEVER, UNORDERED);
        let (block, begins) = (0, 0);
        Span { op, from, until, must: false, answered: false, order, block, begins, reads: false }
    }

    /// This span, if its operation might have happened at any time or never. It explains whatever
    /// the operation can explain at all.
    pub(crate) fn ghost(self) -> Span {
        Span::maybe(self.op, 0)
    }

    /// The input of the operation.
    #[must_use]
    #[inline]
    pub fn input<'a, I, O>(&self, ops: &'a [Op<I, O>]) -> &'a I {
        ops[self.op].input()
    }

    /// The answer of the operation, if it counts.
    #[must_use]
    #[inline]
    pub fn output<'a, I, O>(&self, ops: &'a [Op<I, O>]) -> Option<&'a O> {
        if self.answered { ops[self.op].output() } else { None }
    }

    /// The state after this operation; none if its answer is impossible.
    #[inline]
    pub(crate) fn step<M: Model + ?Sized>(
        &self,
        ops: &[OpOf<M>],
        state: &M::State,
    ) -> Option<M::State> {
        M::step(state, self.input(ops), self.output(ops))
    }
}
