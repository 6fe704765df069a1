//! Gives items their event time and the stream its watermarks.

use crate::flow::{Emit, Flow, Run};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::clock::{PartClock, PartState};
use crate::time::{END, EventTime, IDLE};
use grid_core::Result;
use std::time::Duration;

/// Plan of the operator.
pub struct Timestamps<F, M> {
    pub(crate) flow: F,
    pub(crate) time: M,
    pub(crate) lag: Duration,
}

impl<F, M> Flow for Timestamps<F, M>
where
    F: Flow,
    M: Fn(&F::Out) -> i64 + Clone + Send + 'static,
{
    type Out = F::Out;
    type Run = TimestampsRun<F::Run, M>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        let lag = i64::try_from(self.lag.as_millis()).unwrap_or(i64::MAX);
        let (run, time) = (self.flow.build(cx)?, self.time.clone());
        Ok(TimestampsRun { run, time, clock: PartClock::new(lag) })
    }
}

/// What runs.
pub struct TimestampsRun<R, M> {
    run: R,
    time: M,
    clock: PartClock,
}

impl<R, M> Run for TimestampsRun<R, M>
where
    R: Run,
    M: Fn(&R::Out) -> i64 + Send + 'static,
{
    type Out = R::Out;

    #[inline]
    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        let TimestampsRun { run, time, clock } = self;
        run.step(cx, &mut TimestampsEmit { time, clock, out })
    }

    fn watermark(&mut self) -> EventTime {
        match self.run.watermark() {
            special @ (END | IDLE) => special,
            _ => self.clock.watermark(),
        }
    }
}

struct TimestampsEmit<'a, M, E> {
    time: &'a M,
    clock: &'a mut PartClock,
    out: &'a mut E,
}

impl<T, M: Fn(&T) -> i64, E: Emit<T>> Emit<T> for TimestampsEmit<'_, M, E> {
    #[inline]
    fn emit(&mut self, item: T, _: EventTime) {
        // The extreme values have meanings of their own.
        let time = (self.time)(&item).clamp(i64::MIN + 1, IDLE - 1);
        self.clock.observe(time);
        self.out.emit(item, time);
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.out.is_full()
    }
    fn part(&mut self, part: usize, state: PartState) {
        self.clock.part(part, state);
        self.out.part(part, state);
    }
    fn part_time(&self, part: usize) -> EventTime {
        self.clock.newest_of(part)
    }
}
