//! Turns each item into any number of others.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;

/// Plan of the operator.
pub struct FlatMap<F, M> {
    pub(crate) flow: F,
    pub(crate) map: M,
}

impl<F, M, I> Flow for FlatMap<F, M>
where
    F: Flow,
    M: Fn(F::Out) -> I + Clone + Send + 'static,
    I: IntoIterator<Item: Send + 'static>,
{
    type Out = I::Item;
    type Run = FlatMapRun<F::Run, M>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        Ok(FlatMapRun { run: self.flow.build(cx)?, map: self.map.clone() })
    }
}

/// What runs.
pub struct FlatMapRun<R, M> {
    run: R,
    map: M,
}

impl<R, M, I> Run for FlatMapRun<R, M>
where
    R: Run,
    M: Fn(R::Out) -> I + Send + 'static,
    I: IntoIterator<Item: Send + 'static>,
{
    type Out = I::Item;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        self.run.step(cx, &mut FlatMapEmit { map: &self.map, out })
    }

    fn watermark(&mut self) -> EventTime {
        self.run.watermark()
    }
}

struct FlatMapEmit<'a, M, E> {
    map: &'a M,
    out: &'a mut E,
}

impl<T, I, M, E> Emit<T> for FlatMapEmit<'_, M, E>
where
    M: Fn(T) -> I,
    I: IntoIterator<Item: Send + 'static>,
    E: Emit<I::Item>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        for item in (self.map)(item) {
            self.out.emit(item, time);
        }
    }
    forward_emit!(out);
}

#[cfg(test)]
mod tests {
    use crate::testkit::check;

    #[test]
    fn all_that_an_item_turns_into_comes_out_in_order() {
        check(|s| s.flat_map(|n: u32| 0..n), &[0, 1, 3], &[0, 0, 1, 2]);
    }
}
