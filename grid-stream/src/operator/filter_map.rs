//! Turns each item into another or drops it.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;

/// Plan of the operator.
pub struct FilterMap<F, M> {
    pub(crate) flow: F,
    pub(crate) map: M,
}

impl<F, M, U> Flow for FilterMap<F, M>
where
    F: Flow,
    M: Fn(F::Out) -> Option<U> + Clone + Send + 'static,
    U: Send + 'static,
{
    type Out = U;
    type Run = FilterMapRun<F::Run, M>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        Ok(FilterMapRun { run: self.flow.build(cx)?, map: self.map.clone() })
    }
}

/// What runs.
pub struct FilterMapRun<R, M> {
    run: R,
    map: M,
}

impl<R, M, U> Run for FilterMapRun<R, M>
where
    R: Run,
    M: Fn(R::Out) -> Option<U> + Send + 'static,
    U: Send + 'static,
{
    type Out = U;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        self.run.step(cx, &mut FilterMapEmit { map: &self.map, out })
    }

    fn watermark(&mut self) -> EventTime {
        self.run.watermark()
    }
}

struct FilterMapEmit<'a, M, E> {
    map: &'a M,
    out: &'a mut E,
}

impl<T, U, M, E> Emit<T> for FilterMapEmit<'_, M, E>
where
    M: Fn(T) -> Option<U>,
    U: Send + 'static,
    E: Emit<U>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        if let Some(item) = (self.map)(item) {
            self.out.emit(item, time);
        }
    }
    forward_emit!(out);
}

#[cfg(test)]
mod tests {
    use crate::testkit::check;

    #[test]
    fn what_is_none_is_dropped() {
        let half = |n: i32| (n % 2 == 0).then_some(n / 2);
        check(|s| s.filter_map(half), &[1, 2, 3, 4], &[1, 2]);
    }
}
