//! A plain edge to the same worker: what `union` and `fork` put between two tasklets, and its
//! two ends.

use super::inbox::{Edge, Receiver};
use super::outbox::Outbox;
use crate::flow::{Emit, Flow, Run};
use crate::plan::{BuildCx, StageCell};
use crate::tasklet::segment::{Terminal, TerminalPlan};
use crate::tasklet::{Progress, StepCx};
use crate::time::clock::PartState;
use crate::time::{EventTime, NONE};
use grid_core::Result;
use std::sync::Arc;

/// An item and its event time.
pub(crate) type Timed<T> = (T, EventTime);

/// Copies an item for one more consumer.
pub(crate) type CopyFn<T> = fn(&T) -> T;

/// The flow that begins at an edge.
#[derive(Debug)]
pub struct Joined<T> {
    pub(crate) edge: Edge<Vec<Timed<T>>>,
}

impl<T: Send + 'static> Flow for Joined<T> {
    type Out = T;
    type Run = JoinedRun<T>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<JoinedRun<T>> {
        let cell = cx.origin("edge");
        Ok(JoinedRun { receiver: self.edge.receiver(cx.worker), watermark: NONE, cell })
    }
}

/// What runs for [`Joined`].
#[derive(Debug)]
pub struct JoinedRun<T> {
    receiver: Receiver<Vec<Timed<T>>>,
    watermark: EventTime,
    cell: Arc<StageCell>,
}

impl<T: Send + 'static> Run for JoinedRun<T> {
    type Out = T;

    fn step<E: Emit<T>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        let mut taken = 0;
        while taken < cx.budget && !out.is_full() {
            let Some(mut received) = self.receiver.next() else { break };
            taken += 1 + u32::try_from(received.batch.len()).unwrap_or(u32::MAX);
            self.cell.add_in(received.batch.len());
            for (item, time) in received.batch.drain(..) {
                out.emit(item, time);
            }
            if let Some(watermark) = self.receiver.done(received) {
                self.watermark = watermark;
            }
        }
        self.cell.set_queued(self.receiver.queued());
        let ended = taken == 0 && self.receiver.is_ended();
        Ok(if ended { Progress::Done } else { Progress::of(taken > 0) })
    }

    fn watermark(&mut self) -> EventTime {
        self.watermark
    }
}

/// The end of a tasklet at one or more local edges; all but the last get copies.
pub(crate) struct LocalPlan<T> {
    pub(crate) edges: Vec<Edge<Vec<Timed<T>>>>,
    /// Present if there can be more than one edge.
    pub(crate) copy: Option<CopyFn<T>>,
}

impl<T: Send + 'static> TerminalPlan<T> for LocalPlan<T> {
    type Terminal = LocalEnd<T>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<LocalEnd<T>> {
        let outboxes = self.edges.iter().map(|edge| Outbox::local(edge, cx)).collect();
        Ok(LocalEnd { outboxes, copy: self.copy })
    }
}

pub(crate) struct LocalEnd<T> {
    outboxes: Vec<Outbox<Vec<Timed<T>>>>,
    copy: Option<CopyFn<T>>,
}

impl<T: Send + 'static> Emit<T> for LocalEnd<T> {
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        let Some((last, others)) = self.outboxes.split_last_mut() else { return };
        if let Some(copy) = self.copy {
            for outbox in others {
                outbox.push(0, |batch| batch.push((copy(&item), time)));
            }
        }
        last.push(0, |batch| batch.push((item, time)));
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.outboxes.iter().any(Outbox::is_full)
    }
    fn part(&mut self, _: usize, _: PartState) {}
    fn part_time(&self, _: usize) -> EventTime {
        NONE
    }
}

impl<T: Send + 'static> Terminal<T> for LocalEnd<T> {
    fn ready(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        Ok(self.outboxes.iter_mut().fold(true, |ready, outbox| outbox.retry() & ready))
    }
    fn advance(&mut self, watermark: EventTime, flush: bool, _: &mut StepCx<'_>) -> Result<()> {
        self.outboxes.iter_mut().for_each(|outbox| outbox.advance(watermark, flush));
        Ok(())
    }
    fn finish(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        Ok(self.outboxes.iter_mut().fold(true, |done, outbox| outbox.finish() & done))
    }
}
