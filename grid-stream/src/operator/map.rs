//! Turns each item into another.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;

/// Plan of the operator.
pub struct Map<F, M> {
    pub(crate) flow: F,
    pub(crate) map: M,
}

impl<F, M, U> Flow for Map<F, M>
where
    F: Flow,
    M: Fn(F::Out) -> U + Clone + Send + 'static,
    U: Send + 'static,
{
    type Out = U;
    type Run = MapRun<F::Run, M>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        Ok(MapRun { run: self.flow.build(cx)?, map: self.map.clone() })
    }
}

/// What runs.
pub struct MapRun<R, M> {
    run: R,
    map: M,
}

impl<R, M, U> Run for MapRun<R, M>
where
    R: Run,
    M: Fn(R::Out) -> U + Send + 'static,
    U: Send + 'static,
{
    type Out = U;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        self.run.step(cx, &mut MapEmit { map: &self.map, out })
    }

    fn watermark(&mut self) -> EventTime {
        self.run.watermark()
    }
}

struct MapEmit<'a, M, E> {
    map: &'a M,
    out: &'a mut E,
}

impl<T, U, M, E> Emit<T> for MapEmit<'_, M, E>
where
    M: Fn(T) -> U,
    U: Send + 'static,
    E: Emit<U>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        self.out.emit((self.map)(item), time);
    }
    forward_emit!(out);
}

#[cfg(test)]
mod tests {
    use crate::testkit::check;

    #[test]
    fn each_item_is_mapped() {
        check(|s| s.map(|n: i32| n * 10), &[1, 2, 3], &[10, 20, 30]);
    }
}
