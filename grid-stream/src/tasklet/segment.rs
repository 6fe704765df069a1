//! The tasklet of a segment: a [`Run`] that emits into a [`Terminal`], one compiled loop.

use super::{Progress, StepCx, Tasklet};
use crate::flow::{Emit, Run};
use crate::plan::{BuildCx, StageCell};
use crate::time::EventTime;
use grid_core::Result;
use std::sync::Arc;
use std::time::Instant;

/// The plan of the end of a segment.
pub(crate) trait TerminalPlan<T>: Send + 'static {
    type Terminal: Terminal<T> + 'static;
    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Terminal>;
}

/// The end of a segment: an edge or a sink.
pub(crate) trait Terminal<T>: Emit<T> + Send {
    /// Tries again what was refused before. Whether it can take more.
    fn ready(&mut self, cx: &mut StepCx<'_>) -> Result<bool>;
    /// A step has ended; `watermark` covers all that was emitted. `flush`: nothing more for now.
    fn advance(&mut self, watermark: EventTime, flush: bool, cx: &mut StepCx<'_>) -> Result<()>;
    /// All was emitted. Whether all of it is delivered.
    fn finish(&mut self, cx: &mut StepCx<'_>) -> Result<bool>;
}

pub(crate) struct Segment<R, T> {
    label: String,
    run: R,
    out: T,
    cell: Arc<StageCell>,
    ended: bool,
}

impl<R: Run, T: Terminal<R::Out>> Segment<R, T> {
    pub(crate) fn new(cx: &BuildCx<'_>, run: R, out: T) -> Self {
        Segment { label: cx.label(), run, out, cell: cx.origin_cell(), ended: false }
    }

    fn advance(&mut self, cx: &mut StepCx<'_>) -> Result<Progress> {
        if !self.out.ready(cx)? {
            return Ok(Progress::None);
        }
        if !self.ended {
            let progress = self.run.step(cx, &mut self.out)?;
            let watermark = self.run.watermark();
            self.cell.set_watermark(watermark);
            self.ended = progress == Progress::Done;
            self.out.advance(watermark, progress != Progress::Made, cx)?;
            if !self.ended {
                return Ok(progress);
            }
            self.cell.set_watermark(crate::time::END);
        }
        Ok(if self.out.finish(cx)? { Progress::Done } else { Progress::None })
    }
}

impl<R: Run, T: Terminal<R::Out>> Tasklet for Segment<R, T> {
    fn step(&mut self, cx: &mut StepCx<'_>) -> Result<Progress> {
        let begin = Instant::now();
        let progress = self.advance(cx);
        if !matches!(progress, Ok(Progress::None)) {
            self.cell.add_busy(begin.elapsed());
        }
        progress
    }

    fn label(&self) -> &str {
        &self.label
    }
}
