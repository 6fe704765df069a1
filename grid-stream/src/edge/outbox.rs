//! The sending end of an edge on one worker: a batch in the making per receiver, and those that
//! were refused.

use super::inbox::Edge;
use super::lane::Lane;
use super::{Batch, Envelope};
use crate::plan::BuildCx;
use crate::time::{END, EventTime, NONE};
use std::collections::VecDeque;
use std::sync::Arc;

/// A batch that is not full is shipped at the latest after this many steps.
const HELD_STEPS_MAX: u32 = 8;

#[derive(Debug)]
pub(crate) struct Outbox<B> {
    lanes: Vec<OutLane<B>>,
    batch_max: usize,
    watermark: EventTime,
    refused: usize,
    ended: bool,
}

#[derive(Debug)]
struct OutLane<B> {
    lane: Arc<Lane<B>>,
    current: B,
    refused: VecDeque<Envelope<B>>,
    sent: EventTime,
    held_steps: u32,
}

impl<B: Batch> Outbox<B> {
    /// To the same worker only.
    pub(crate) fn local(edge: &Edge<B>, cx: &mut BuildCx<'_>) -> Self {
        let worker = cx.worker;
        Self::to(edge, cx, [worker])
    }

    /// To every worker.
    pub(crate) fn all(edge: &Edge<B>, cx: &mut BuildCx<'_>) -> Self {
        let workers = cx.config.workers;
        Self::to(edge, cx, 0..workers)
    }

    fn to(edge: &Edge<B>, cx: &mut BuildCx<'_>, workers: impl IntoIterator<Item = usize>) -> Self {
        cx.sends_to(edge.received());
        let lanes = workers
            .into_iter()
            .map(|to| {
                let lane = Lane::new(cx.config.queue_batches, cx.notify(cx.worker), cx.notify(to));
                let lane = Arc::new(lane);
                edge.connect(to, lane.clone());
                OutLane {
                    lane,
                    current: B::default(),
                    refused: VecDeque::new(),
                    sent: NONE,
                    held_steps: 0,
                }
            })
            .collect();
        let batch_max = cx.config.batch.max(1);
        Outbox { lanes, batch_max, watermark: NONE, refused: 0, ended: false }
    }

    /// Adds to the batch for receiver `to` and ships it if it is full.
    #[inline]
    pub(crate) fn push(&mut self, to: usize, add: impl FnOnce(&mut B)) {
        let current = &mut self.lanes[to].current;
        add(current);
        if current.len() >= self.batch_max {
            self.ship(to, self.watermark);
        }
    }

    #[cold]
    fn ship(&mut self, to: usize, watermark: EventTime) {
        let lane = &mut self.lanes[to];
        let batch = std::mem::take(&mut lane.current);
        lane.sent = watermark;
        lane.held_steps = 0;
        let envelope = Envelope { batch, watermark };
        if !lane.refused.is_empty() {
            lane.refused.push_back(envelope);
            self.refused += 1;
            return;
        }
        match lane.lane.push(envelope) {
            Ok(empty) => lane.current = empty,
            Err(envelope) => {
                lane.refused.push_back(envelope);
                self.refused += 1;
            }
        }
    }

    /// Tries again what was refused. Whether nothing is left.
    pub(crate) fn retry(&mut self) -> bool {
        if self.refused == 0 {
            return true;
        }
        for lane in &mut self.lanes {
            while let Some(envelope) = lane.refused.pop_front() {
                match lane.lane.push(envelope) {
                    Ok(empty) => {
                        self.refused -= 1;
                        if lane.current.is_empty() {
                            lane.current = empty;
                        } else {
                            lane.lane.recycle(empty);
                        }
                    }
                    Err(envelope) => {
                        lane.refused.push_front(envelope);
                        break;
                    }
                }
            }
        }
        self.refused == 0
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.refused > 0
    }

    /// A step has ended, everything so far is covered by `watermark`. Ships what is worth it, or
    /// all if the sender has nothing more for now (`flush`).
    pub(crate) fn advance(&mut self, watermark: EventTime, flush: bool) {
        if watermark == END {
            return; // Said once, by `finish`.
        }
        self.watermark = watermark;
        for to in 0..self.lanes.len() {
            let lane = &mut self.lanes[to];
            let rows = lane.current.len();
            if rows == 0 && lane.sent == watermark {
                continue;
            }
            lane.held_steps += 1;
            if flush || rows >= self.batch_max / 2 || lane.held_steps >= HELD_STEPS_MAX {
                self.ship(to, watermark);
            }
        }
    }

    /// Ships the rest and the end. Whether all was taken.
    pub(crate) fn finish(&mut self) -> bool {
        if !self.ended {
            self.ended = true;
            for to in 0..self.lanes.len() {
                self.ship(to, END);
            }
        }
        self.retry()
    }
}
