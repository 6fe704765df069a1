//! The window stage in the plan and on a worker.

use super::fire::WindowState;
use super::spec::Windows;
use super::{Row, WindowBatch, WindowResult};
use crate::aggregate::Aggregate;
use crate::edge::inbox::{Edge, Received, Receiver};
use crate::edge::local::Timed;
use crate::edge::outbox::Outbox;
use crate::flow::{Emit, Flow, Run};
use crate::key::StreamKey;
use crate::plan::{BuildCx, StageCell};
use crate::tasklet::{Progress, StepCx};
use crate::time::{EventTime, NONE};
use grid_core::Result;
use std::sync::Arc;

/// The flow that begins at a window stage.
pub struct WindowFlow<K, T, A: Aggregate<T>> {
    pub(crate) name: String,
    pub(crate) edge: Edge<WindowBatch<K, T, A::Acc>>,
    pub(crate) windows: Windows,
    pub(crate) agg: A,
    pub(crate) late: Option<Edge<Vec<Timed<T>>>>,
}

impl<K, T, A> Flow for WindowFlow<K, T, A>
where
    K: StreamKey,
    T: Send + 'static,
    A: Aggregate<T>,
{
    type Out = WindowResult<K, A::Out>;
    type Run = WindowRun<K, T, A>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        let cell = cx.stateful(&self.name);
        self.windows.check()?;
        Ok(WindowRun {
            receiver: self.edge.receiver(cx.worker),
            state: WindowState::new(self.windows, self.agg.clone(), cx.config.partitions),
            late: self.late.as_ref().map(|edge| Outbox::local(edge, cx)),
            late_rows: Vec::new(),
            reached: NONE,
            fired: NONE,
            cell,
        })
    }
}

/// What runs for [`WindowFlow`].
pub struct WindowRun<K, T, A: Aggregate<T>> {
    receiver: Receiver<WindowBatch<K, T, A::Acc>>,
    state: WindowState<K, T, A>,
    late: Option<Outbox<Vec<Timed<T>>>>,
    /// Late rows of the batch that is being added.
    late_rows: Vec<usize>,
    /// Watermark of the input.
    reached: EventTime,
    /// Watermark up to which windows have fired.
    fired: EventTime,
    cell: Arc<StageCell>,
}

impl<K, T, A> WindowRun<K, T, A>
where
    K: StreamKey,
    T: Send + 'static,
    A: Aggregate<T>,
{
    fn take(&mut self, received: &mut Received<WindowBatch<K, T, A::Acc>>) -> Result<usize> {
        let (rows, partials) = (&mut received.batch.rows, &mut received.batch.partials);
        let count = rows.len() + partials.len();
        self.cell.add_in(count);
        self.state.add(rows, &mut self.late_rows)?;
        if self.late_rows.is_empty() {
            rows.clear();
        } else {
            self.put_aside(rows);
        }
        for partial in partials.drain(..) {
            if !self.state.add_partial(&partial)? {
                self.cell.add_late();
            }
        }
        Ok(count)
    }

    /// Counts the late rows and gives them out, if that is asked for.
    #[cold]
    fn put_aside(&mut self, rows: &mut Vec<Row<K, T>>) {
        let mut late = self.late_rows.drain(..).peekable();
        for (at, row) in rows.drain(..).enumerate() {
            if late.next_if_eq(&at).is_none() {
                continue;
            }
            self.cell.add_late();
            if let Some(outbox) = &mut self.late {
                outbox.push(0, |batch| batch.push((row.item, row.time)));
            }
        }
    }

    fn fire<E: Emit<WindowResult<K, A::Out>>>(&mut self, out: &mut E) -> bool {
        let mut count = 0;
        let done = self.state.fire(self.reached, out, &mut count);
        self.cell.add_out(count);
        if done {
            self.fired = self.reached;
        }
        done
    }
}

impl<K, T, A> Run for WindowRun<K, T, A>
where
    K: StreamKey,
    T: Send + 'static,
    A: Aggregate<T>,
{
    type Out = WindowResult<K, A::Out>;

    fn step<E: Emit<Self::Out>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        if self.late.as_mut().is_some_and(|late| !late.retry()) {
            return Ok(Progress::None);
        }
        if self.fired != self.reached && !self.fire(out) {
            return Ok(Progress::Made);
        }
        let mut taken = 0;
        while taken < cx.budget as usize && !out.is_full() {
            let Some(mut received) = self.receiver.next() else { break };
            taken += 1 + self.take(&mut received)?;
            if let Some(watermark) = self.receiver.done(received) {
                self.reached = watermark;
                if !self.fire(out) {
                    return Ok(Progress::Made);
                }
            }
        }
        self.cell.set_queued(self.receiver.queued());
        if let Some(late) = &mut self.late {
            late.advance(self.fired, taken == 0);
        }
        if taken > 0 || !self.receiver.is_ended() {
            return Ok(Progress::of(taken > 0));
        }
        let done = self.late.as_mut().is_none_or(Outbox::finish);
        Ok(if done { Progress::Done } else { Progress::None })
    }

    fn watermark(&mut self) -> EventTime {
        self.fired
    }
}
