//! How items move inside one tasklet: a [`Run`] produces them and pushes each through statically
//! composed [`Emit`]s. `source.map(f).filter(g)` is one type, compiled into one loop.

use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use crate::time::clock::PartState;
use grid_core::Result;

/// Takes items. Implemented by the next operator in the chain or the end of the tasklet.
pub trait Emit<T> {
    /// Takes an item of event time `time` ([`crate::time::NONE`] if it has none).
    fn emit(&mut self, item: T, time: EventTime);
    /// Whether the producer should stop at the next occasion. What it still emits is kept, so
    /// only what it produces without bound needs to ask, and need not ask for each item.
    fn is_full(&self) -> bool;
    /// Partition `part` of the source changes its state; active means that what follows is from it.
    fn part(&mut self, part: usize, state: PartState);
    /// Newest event time seen from partition `part` of the source, or [`crate::time::NONE`].
    fn part_time(&self, part: usize) -> EventTime;
}

/// Forwards everything but `emit` to the next emit.
macro_rules! forward_emit {
    ($next:ident) => {
        #[inline]
        fn is_full(&self) -> bool {
            self.$next.is_full()
        }
        #[inline]
        fn part(&mut self, part: usize, state: $crate::time::clock::PartState) {
            self.$next.part(part, state);
        }
        #[inline]
        fn part_time(&self, part: usize) -> $crate::time::EventTime {
            self.$next.part_time(part)
        }
    };
}
pub(crate) use forward_emit;

/// The plan of a chain: what a [`Stage`](crate::Stage) holds. Builds one [`Run`] per worker.
pub trait Flow: Send + 'static {
    /// Type of the items that come out.
    type Out: Send + 'static;
    /// What runs.
    type Run: Run<Out = Self::Out>;
    /// Builds what runs on the worker of `cx`; called once per worker, in order.
    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run>;
}

/// A running chain on one worker.
pub trait Run: Send + 'static {
    /// Type of the items that come out.
    type Out: Send + 'static;
    /// Emits about `cx.budget` items at most. Never blocks.
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress>;
    /// The watermark after the items that were emitted so far.
    fn watermark(&mut self) -> EventTime;
}
