//! The user's own function with state per key.

use super::window::Row;
use crate::edge::inbox::{Edge, Receiver};
use crate::flow::{Emit, Flow, Run};
use crate::key::StreamKey;
use crate::plan::{BuildCx, StageCell};
use crate::state::table::KeyTable;
use crate::tasklet::{Progress, StepCx};
use crate::time::{EventTime, NONE, is_time};
use grid_core::Result;
use std::marker::PhantomData;
use std::sync::Arc;

/// What a process function may use beside its state.
#[derive(Debug)]
pub struct ProcessCx<'a, U> {
    out: &'a mut Vec<(U, EventTime)>,
    time: EventTime,
    watermark: EventTime,
    forget: bool,
}

impl<U> ProcessCx<'_, U> {
    /// Gives out an item, with the event time of the one that is processed.
    pub fn emit(&mut self, item: U) {
        self.out.push((item, self.time));
    }

    /// Event time of the item, in milliseconds, if it has one.
    #[must_use]
    pub fn timestamp(&self) -> Option<EventTime> {
        (self.time != NONE).then_some(self.time)
    }

    /// Event time up to which the stage has everything, if there is one.
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        is_time(self.watermark).then_some(self.watermark)
    }

    /// Forgets the state of this key after this item: the next one finds the default.
    pub fn forget(&mut self) {
        self.forget = true;
    }
}

/// The flow that begins at a process stage.
pub struct ProcessFlow<S, K, T, U, P> {
    pub(crate) name: String,
    pub(crate) edge: Edge<Vec<Row<K, T>>>,
    pub(crate) process: P,
    pub(crate) types: PhantomData<fn() -> (S, U)>,
}

impl<S, K, T, U, P> Flow for ProcessFlow<S, K, T, U, P>
where
    S: Default + Send + 'static,
    K: StreamKey,
    T: Send + 'static,
    U: Send + 'static,
    P: Fn(&mut S, &K, T, &mut ProcessCx<'_, U>) + Clone + Send + 'static,
{
    type Out = U;
    type Run = ProcessRun<S, K, T, U, P>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        let cell = cx.stateful(&self.name);
        Ok(ProcessRun {
            receiver: self.edge.receiver(cx.worker),
            process: self.process.clone(),
            parts: (0..cx.config.partitions).map(|_| Keys::new()).collect(),
            out: Vec::new(),
            watermark: NONE,
            cell,
        })
    }
}

/// What runs for [`ProcessFlow`].
pub struct ProcessRun<S, K, T, U, P> {
    receiver: Receiver<Vec<Row<K, T>>>,
    process: P,
    parts: Vec<Keys<K, S>>,
    out: Vec<(U, EventTime)>,
    watermark: EventTime,
    cell: Arc<StageCell>,
}

/// The keys of a partition and their states; `None` if that was forgotten.
type Keys<K, S> = KeyTable<K, Option<S>>;

/// The slot of a key, a new one if it has none.
#[inline]
fn slot_of<K: Eq, S>(keys: &mut Keys<K, S>, hash: u64, key: K) -> usize {
    if let Some(slot) = keys.find(hash, &key) {
        return slot;
    }
    if keys.is_full() {
        keys.rebuild(|_, state| state.is_some());
    }
    keys.slot(hash, key)
}

impl<S, K, T, U, P> Run for ProcessRun<S, K, T, U, P>
where
    S: Default + Send + 'static,
    K: StreamKey,
    T: Send + 'static,
    U: Send + 'static,
    P: Fn(&mut S, &K, T, &mut ProcessCx<'_, U>) + Send + 'static,
{
    type Out = U;

    fn step<E: Emit<U>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        let mut taken = 0;
        while taken < cx.budget as usize && !out.is_full() {
            let Some(mut received) = self.receiver.next() else { break };
            taken += 1 + received.batch.len();
            self.cell.add_in(received.batch.len());
            for Row { key, item, time, place } in received.batch.drain(..) {
                let keys = &mut self.parts[usize::from(place.partition)];
                let slot = slot_of(keys, place.table_hash(), key);
                let Some((key, state)) = keys.entry(slot) else { continue };
                let (watermark, forget) = (self.watermark, false);
                let mut cx = ProcessCx { out: &mut self.out, time, watermark, forget };
                (self.process)(state.get_or_insert_default(), key, item, &mut cx);
                if cx.forget {
                    *state = None;
                }
            }
            self.cell.add_out(self.out.len());
            for (item, time) in self.out.drain(..) {
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
