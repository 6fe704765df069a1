//! The sending side of a keyed stage without aggregation: routes each item to the worker of its
//! key's partition.

use super::inbox::Edge;
use super::outbox::Outbox;
use super::route::Route;
use crate::flow::Emit;
use crate::key::StreamKey;
use crate::operator::window::Row;
use crate::plan::BuildCx;
use crate::tasklet::StepCx;
use crate::tasklet::segment::{Terminal, TerminalPlan};
use crate::time::clock::PartState;
use crate::time::{EventTime, NONE};
use grid_core::Result;

/// The plan of the sending side.
pub(crate) struct KeyedSend<K, T, KF> {
    pub(crate) edge: Edge<Vec<Row<K, T>>>,
    pub(crate) key: KF,
}

impl<K, T, KF> TerminalPlan<T> for KeyedSend<K, T, KF>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K + Clone + Send + 'static,
{
    type Terminal = KeyedEnd<K, T, KF>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Terminal> {
        Ok(KeyedEnd {
            key: self.key.clone(),
            outbox: Outbox::all(&self.edge, cx),
            route: Route::new(cx.config.partitions, cx.config.workers),
        })
    }
}

/// The end of a segment at a keyed stage.
pub(crate) struct KeyedEnd<K, T, KF> {
    key: KF,
    outbox: Outbox<Vec<Row<K, T>>>,
    route: Route,
}

impl<K, T, KF> Emit<T> for KeyedEnd<K, T, KF>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        let key = (self.key)(&item);
        let place = self.route.place(&key);
        let to = self.route.worker(place);
        self.outbox.push(to, |batch| batch.push(Row { key, item, time, place }));
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.outbox.is_full()
    }
    fn part(&mut self, _: usize, _: PartState) {}
    fn part_time(&self, _: usize) -> EventTime {
        NONE
    }
}

impl<K, T, KF> Terminal<T> for KeyedEnd<K, T, KF>
where
    K: StreamKey,
    T: Send + 'static,
    KF: Fn(&T) -> K + Send,
{
    fn ready(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        Ok(self.outbox.retry())
    }
    fn advance(&mut self, watermark: EventTime, flush: bool, _: &mut StepCx<'_>) -> Result<()> {
        self.outbox.advance(watermark, flush);
        Ok(())
    }
    fn finish(&mut self, _: &mut StepCx<'_>) -> Result<bool> {
        Ok(self.outbox.finish())
    }
}
