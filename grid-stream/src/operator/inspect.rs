//! Looks at each item.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;

/// Plan of the operator.
pub struct Inspect<F, L> {
    pub(crate) flow: F,
    pub(crate) look: L,
}

impl<F, L> Flow for Inspect<F, L>
where
    F: Flow,
    L: Fn(&F::Out) + Clone + Send + 'static,
{
    type Out = F::Out;
    type Run = InspectRun<F::Run, L>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        Ok(InspectRun { run: self.flow.build(cx)?, look: self.look.clone() })
    }
}

/// What runs.
pub struct InspectRun<R, L> {
    run: R,
    look: L,
}

impl<R, L> Run for InspectRun<R, L>
where
    R: Run,
    L: Fn(&R::Out) + Send + 'static,
{
    type Out = R::Out;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        self.run.step(cx, &mut InspectEmit { look: &self.look, out })
    }

    fn watermark(&mut self) -> EventTime {
        self.run.watermark()
    }
}

struct InspectEmit<'a, L, E> {
    look: &'a L,
    out: &'a mut E,
}

impl<T, L, E> Emit<T> for InspectEmit<'_, L, E>
where
    L: Fn(&T),
    E: Emit<T>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        (self.look)(&item);
        self.out.emit(item, time);
    }
    forward_emit!(out);
}

#[cfg(test)]
mod tests {
    use crate::testkit::check;

    #[test]
    fn every_item_is_seen_and_passed_on() {
        check(|s| s.inspect(|n: &i32| assert!(*n < 4)), &[1, 2, 3], &[1, 2, 3]);
    }
}
