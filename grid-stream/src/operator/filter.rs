//! Keeps some of the items.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::EventTime;
use grid_core::Result;

/// Plan of the operator.
pub struct Filter<F, P> {
    pub(crate) flow: F,
    pub(crate) keep: P,
}

impl<F, P> Flow for Filter<F, P>
where
    F: Flow,
    P: Fn(&F::Out) -> bool + Clone + Send + 'static,
{
    type Out = F::Out;
    type Run = FilterRun<F::Run, P>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        Ok(FilterRun { run: self.flow.build(cx)?, keep: self.keep.clone() })
    }
}

/// What runs.
pub struct FilterRun<R, P> {
    run: R,
    keep: P,
}

impl<R, P> Run for FilterRun<R, P>
where
    R: Run,
    P: Fn(&R::Out) -> bool + Send + 'static,
{
    type Out = R::Out;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        self.run.step(cx, &mut FilterEmit { keep: &self.keep, out })
    }

    fn watermark(&mut self) -> EventTime {
        self.run.watermark()
    }
}

struct FilterEmit<'a, P, E> {
    keep: &'a P,
    out: &'a mut E,
}

impl<T, P, E> Emit<T> for FilterEmit<'_, P, E>
where
    P: Fn(&T) -> bool,
    E: Emit<T>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        if (self.keep)(&item) {
            self.out.emit(item, time);
        }
    }
    forward_emit!(out);
}

#[cfg(test)]
mod tests {
    use crate::testkit::check;

    #[test]
    fn only_what_passes_is_kept() {
        check(|s| s.filter(|n: &i32| n % 2 == 0), &[1, 2, 3, 4], &[2, 4]);
    }
}
