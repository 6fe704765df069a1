//! The sending side of a window stage: routes keyed items to the worker of their partition, and
//! combines them before, where that makes them fewer.

use super::spec::Windows;
use super::{Partial, Row, WindowBatch};
use crate::aggregate::Aggregate;
use crate::edge::inbox::Edge;
use crate::edge::outbox::Outbox;
use crate::edge::route::Route;
use crate::flow::Emit;
use crate::key::StreamKey;
use crate::plan::BuildCx;
use crate::state::table::KeyTable;
use crate::tasklet::StepCx;
use crate::tasklet::segment::{Terminal, TerminalPlan};
use crate::time::clock::PartState;
use crate::time::{END, EventTime, NONE};
use grid_core::Result;
use std::marker::PhantomData;

/// Panes that are combined at a time.
const PANES: usize = 4;
/// Keys beyond which the table of a pane no longer fits the cache and all are sent.
const KEYS_MAX: usize = 16_384;
/// Combining has to make at least so many items into one.
const REDUCTION_MIN: u64 = 4;
/// Items sent as they are before combining is tried again.
const BYPASS_ITEMS: u64 = 1 << 20;

/// The plan of the sending side.
pub(crate) struct WindowSend<K, T, KF, A: Aggregate<T>> {
    pub(crate) edge: Edge<WindowBatch<K, T, A::Acc>>,
    pub(crate) key: KF,
    pub(crate) windows: Windows,
    pub(crate) agg: A,
    pub(crate) combining: bool,
}

impl<K, T, KF, A> TerminalPlan<T> for WindowSend<K, T, KF, A>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K + Clone + Send + 'static,
    A: Aggregate<T>,
{
    type Terminal = WindowEnd<K, T, KF, A>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Terminal> {
        let send = Sender {
            outbox: Outbox::all(&self.edge, cx),
            route: Route::new(cx.config.partitions, cx.config.workers),
        };
        let combiner = self.combining.then(|| Combiner::new(self.windows, self.agg.clone()));
        Ok(WindowEnd { key: self.key.clone(), send, combiner, bypass: 0, sent: NONE })
    }
}

struct Sender<K, T, A: Aggregate<T>> {
    outbox: Outbox<WindowBatch<K, T, A::Acc>>,
    route: Route,
}

/// The end of a segment at a window stage.
pub(crate) struct WindowEnd<K, T, KF, A: Aggregate<T>> {
    key: KF,
    send: Sender<K, T, A>,
    combiner: Option<Combiner<K, T, A>>,
    /// Items left to send without combining.
    bypass: u64,
    /// Watermark that was sent last.
    sent: EventTime,
}

impl<K, T, KF, A> Emit<T> for WindowEnd<K, T, KF, A>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K + Clone + Send + 'static,
    A: Aggregate<T>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        let key = (self.key)(&item);
        if let Some(combiner) = &mut self.combiner {
            if self.bypass > 0 {
                self.bypass -= 1;
            } else if combiner.is_here(time) || combiner.go_to(time, self.sent) {
                if combiner.add(key, &item) {
                    self.bypass = combiner.send_all(&mut self.send);
                }
                return;
            } else if combiner.is_open_ended(time, self.sent) {
                // No pane is free: out-of-order input over many panes.
                self.bypass = combiner.send_all(&mut self.send);
            }
        }
        let place = self.send.route.place(&key);
        let to = self.send.route.worker(place);
        self.send.outbox.push(to, |batch| batch.rows.push(Row { key, item, time, place }));
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.send.outbox.is_full()
    }
    fn part(&mut self, _: usize, _: PartState) {}
    fn part_time(&self, _: usize) -> EventTime {
        NONE
    }
}

impl<K, T, KF, A> Terminal<T> for WindowEnd<K, T, KF, A>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K + Clone + Send + 'static,
    A: Aggregate<T>,
{
    fn ready(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        Ok(self.send.outbox.retry())
    }

    fn advance(&mut self, watermark: EventTime, flush: bool, _: &mut StepCx<'_>) -> Result<()> {
        if let Some(combiner) = &mut self.combiner {
            let bypass = combiner.send_ended(watermark, &mut self.send);
            self.bypass = self.bypass.max(bypass);
        }
        self.sent = watermark;
        self.send.outbox.advance(watermark, flush);
        Ok(())
    }

    fn finish(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        if let Some(mut combiner) = self.combiner.take() {
            combiner.send_ended(END, &mut self.send);
        }
        Ok(self.send.outbox.finish())
    }
}

/// Combines items per key and pane in tables of the sender.
struct Combiner<K, T, A: Aggregate<T>> {
    windows: Windows,
    agg: A,
    /// Of each open pane.
    tables: [KeyTable<K, A::Acc>; PANES],
    open: [Option<i64>; PANES],
    here: usize,
    here_start: EventTime,
    here_end: EventTime,
    /// Items since the last measurement, and what was sent for them.
    items: u64,
    sent: u64,
    types: PhantomData<fn(T)>,
}

impl<K: StreamKey, T: Send + 'static, A: Aggregate<T>> Combiner<K, T, A> {
    fn new(windows: Windows, agg: A) -> Self {
        Combiner {
            windows,
            agg,
            tables: std::array::from_fn(|_| KeyTable::new()),
            open: [None; PANES],
            here: 0,
            here_start: 0,
            here_end: 0,
            items: 0,
            sent: 0,
            types: PhantomData,
        }
    }

    #[inline]
    fn is_here(&self, time: EventTime) -> bool {
        time >= self.here_start && time < self.here_end
    }

    /// Whether the pane of `time` is not complete as far as the receiver was told.
    fn is_open_ended(&self, time: EventTime, sent: EventTime) -> bool {
        let pane = self.windows.pane_of(time);
        // An item without time is for the receiver to complain about.
        (time > NONE || self.windows.is_global())
            && self.windows.has(pane)
            && pane >= self.windows.ended_before(sent)
    }

    /// Turns to the pane of `time`, if that can be combined and there is room for it.
    #[cold]
    #[inline(never)]
    fn go_to(&mut self, time: EventTime, sent: EventTime) -> bool {
        if !self.is_open_ended(time, sent) {
            return false;
        }
        let pane = self.windows.pane_of(time);
        let found = self.open.iter().position(|open| *open == Some(pane));
        let Some(at) = found.or_else(|| self.open.iter().position(Option::is_none)) else {
            return false;
        };
        self.open[at] = Some(pane);
        self.here = at;
        self.here_start = self.windows.start_of(pane);
        self.here_end = self.windows.start_of(pane.saturating_add(1));
        true
    }

    /// Adds an item of the pane that it is at. Whether the table is to be sent.
    #[inline]
    fn add(&mut self, key: K, item: &T) -> bool {
        self.items += 1;
        let hash = key.table_hash();
        if let Some(acc) = self.tables[self.here].find_value(hash, &key) {
            self.agg.accumulate(acc, item);
            return false;
        }
        self.insert(hash, key, item)
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u64, key: K, item: &T) -> bool {
        let table = &mut self.tables[self.here];
        if table.is_full() {
            table.rebuild(|_, _| true);
        }
        let slot = table.slot(hash, key);
        if let Some((_, acc)) = table.entry(slot) {
            self.agg.accumulate(acc, item);
        }
        table.len() > KEYS_MAX
    }

    /// Sends the panes that are complete at `watermark`. Returns how long to bypass combining.
    fn send_ended(&mut self, watermark: EventTime, send: &mut Sender<K, T, A>) -> u64 {
        let ended = self.windows.ended_before(watermark);
        let mut any = false;
        for at in 0..PANES {
            if self.open[at].is_some_and(|pane| pane < ended) {
                self.send_pane(at, send);
                any = true;
            }
        }
        if any { self.measure() } else { 0 }
    }

    /// Sends everything.
    #[cold]
    fn send_all(&mut self, send: &mut Sender<K, T, A>) -> u64 {
        for at in 0..PANES {
            self.send_pane(at, send);
        }
        self.measure()
    }

    fn measure(&mut self) -> u64 {
        let worth = self.items >= self.sent * REDUCTION_MIN;
        (self.items, self.sent) = (0, 0);
        if worth { 0 } else { BYPASS_ITEMS }
    }

    fn send_pane(&mut self, at: usize, send: &mut Sender<K, T, A>) {
        let Some(pane) = self.open[at].take() else { return };
        self.here_end = self.here_start;
        for (key, acc) in self.tables[at].drain() {
            let place = send.route.place(&key);
            let to = send.route.worker(place);
            let partial = Partial { key, pane, acc, place };
            send.outbox.push(to, |batch| batch.partials.push(partial));
            self.sent += 1;
        }
    }
}
