//! What a sink is, and the end of a segment that writes to it.

use crate::flow::Emit;
use crate::plan::{BuildCx, StageCell};
use crate::tasklet::StepCx;
use crate::tasklet::segment::{Terminal, TerminalPlan};
use crate::time::clock::PartState;
use crate::time::{EventTime, NONE};
use grid_core::Result;
use std::collections::VecDeque;
use std::sync::Arc;

/// A place that items are written to, by one writer per worker.
pub trait Sink<T>: Send + 'static {
    /// What writes on one worker.
    type Writer: SinkWriter<T>;
    /// Name for reports and errors.
    fn name(&self) -> String;
    /// Opens the writer of `worker`. Called for all workers before the job starts; an error
    /// refuses the start.
    fn open(&mut self, worker: usize) -> Result<Self::Writer>;
}

/// Writes items, at once or in operations that are started and polled; never blocks on either.
pub trait SinkWriter<T>: Send + 'static {
    /// Whether another item can be written now. Bounds what is in flight.
    fn has_room(&self) -> bool {
        true
    }
    /// Writes or begins to write an item; only called if there is room.
    fn write(&mut self, item: T, time: EventTime) -> Result<()>;
    /// Drives what is in flight. Whether none is left; if some is, `cx` has been told when to step
    /// again.
    fn poll(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        let _ = cx;
        Ok(true)
    }
    /// Nothing follows for now: what was written should become visible.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The end of a segment at a sink.
pub(crate) struct SinkPlan<S> {
    sink: S,
}

impl<S> SinkPlan<S> {
    pub(crate) fn new(sink: S) -> Self {
        SinkPlan { sink }
    }
}

impl<T: Send + 'static, S: Sink<T>> TerminalPlan<T> for SinkPlan<S> {
    type Terminal = SinkEnd<T, S::Writer>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Terminal> {
        let cell = cx.sink(&self.sink.name());
        let writer = self.sink.open(cx.worker)?;
        Ok(SinkEnd {
            writer,
            waiting: VecDeque::new(),
            failure: None,
            cell,
            count: 0,
            dirty: false,
        })
    }
}

pub(crate) struct SinkEnd<T, W> {
    writer: W,
    /// Emitted while the writer had no room: at most what one step emits.
    waiting: VecDeque<(T, EventTime)>,
    failure: Option<grid_core::Error>,
    cell: Arc<StageCell>,
    count: usize,
    /// Whether something was written since the last flush.
    dirty: bool,
}

impl<T, W: SinkWriter<T>> SinkEnd<T, W> {
    fn drive(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        // Ends behind a poll, so that whatever is in flight has our waker.
        loop {
            let idle = self.writer.poll(cx)?;
            if self.waiting.is_empty() || !self.writer.has_room() {
                return Ok(idle);
            }
            while self.writer.has_room()
                && let Some((item, time)) = self.waiting.pop_front()
            {
                self.writer.write(item, time)?;
            }
        }
    }
}

impl<T: Send, W: SinkWriter<T>> Emit<T> for SinkEnd<T, W> {
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        self.count += 1;
        if self.waiting.is_empty() && self.writer.has_room() {
            if let Err(failure) = self.writer.write(item, time) {
                self.failure.get_or_insert(failure);
            }
        } else {
            self.waiting.push_back((item, time));
        }
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.failure.is_some() || !self.waiting.is_empty()
    }
    fn part(&mut self, _: usize, _: PartState) {}
    fn part_time(&self, _: usize) -> EventTime {
        NONE
    }
}

impl<T: Send, W: SinkWriter<T>> Terminal<T> for SinkEnd<T, W> {
    fn ready(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        self.drive(cx)?;
        Ok(self.waiting.is_empty())
    }

    fn advance(&mut self, watermark: EventTime, flush: bool, cx: &mut StepCx<'_>) -> Result<()> {
        self.drive(cx)?;
        self.cell.add_in(self.count);
        self.cell.add_out(self.count);
        self.cell.set_watermark(watermark);
        self.dirty |= self.count > 0;
        self.count = 0;
        if flush && self.dirty {
            self.dirty = false;
            self.writer.flush()?;
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        let done = self.drive(cx)? && self.waiting.is_empty();
        if done {
            self.writer.flush()?;
            self.cell.set_watermark(crate::time::END);
        }
        Ok(done)
    }
}
