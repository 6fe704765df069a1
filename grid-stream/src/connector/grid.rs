//! The structures of the grid: sinks into maps, queues and topics, and enrichment from maps.
//! Operations are started and polled, a bounded number at a time; where the answer is there at
//! once, nothing waits.

use super::lookup::MapLookup;
use super::sink::{Sink, SinkWriter};
use crate::tasklet::StepCx;
use crate::time::EventTime;
use grid_core::data::Key;
use grid_core::handle::OpFuture;
use grid_core::{GridData, Map, Queue, Result, Topic};
use std::future::{Future, IntoFuture};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

impl<K: Key + GridData, V: GridData> MapLookup<K, V> for Map<K, V> {
    type Lookup = OpFuture<Option<V>>;
    fn look_up(&self, key: &K) -> Self::Lookup {
        self.get(key).into_future()
    }
}

/// Writes to a map in flight per worker.
const MAP_IN_FLIGHT: usize = 256;
/// A full queue is asked again after this long.
const FULL_RETRY: Duration = Duration::from_millis(1);

/// How an operation of a sink ended.
pub enum Done {
    /// It took effect.
    Written,
    /// There was no room; to be tried again.
    Full,
}

/// An operation under way.
pub enum Op {
    /// One without a result.
    Unit(OpFuture<()>),
    /// One that says whether it took effect.
    Taken(OpFuture<bool>),
}

impl Op {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        match self {
            Op::Unit(op) => Pin::new(op).poll(cx).map_ok(|()| Done::Written),
            Op::Taken(op) => {
                Pin::new(op).poll(cx).map_ok(|taken| if taken { Done::Written } else { Done::Full })
            }
        }
    }
}

/// A structure of the grid that items can be written to.
pub trait Target<T>: Clone + Send + 'static {
    /// Kind and name, for reports.
    fn name(&self) -> String;
    /// Items with the same number are written one after the other; none: it does not matter.
    fn lane(&self, item: &T) -> Option<u64>;
    /// Starts to write an item.
    fn start(&self, item: &T) -> Op;
}

/// A sink into a map: `entry` makes key and value of an item. Writes of one key by one worker are
/// done one after the other, those of different keys at the same time.
pub fn map<T, K, V, M>(map: &Map<K, V>, entry: M) -> GridSink<MapTarget<K, V, M>>
where
    K: Key + GridData + Hash,
    V: GridData,
    M: Fn(&T) -> (K, V) + Clone + Send + 'static,
{
    let target = MapTarget { map: map.clone(), entry };
    GridSink { target, in_flight: MAP_IN_FLIGHT }
}

/// A sink into a queue. A full queue holds the job back. Items of one worker are added one after
/// the other, unless [`GridSink::in_flight`] says otherwise.
pub fn queue<T: GridData>(queue: &Queue<T>) -> GridSink<QueueTarget<T>> {
    GridSink { target: QueueTarget { queue: queue.clone() }, in_flight: 1 }
}

/// A sink into a topic. Items of one worker are published one after the other, unless
/// [`GridSink::in_flight`] says otherwise.
pub fn topic<T: GridData>(topic: &Topic<T>) -> GridSink<TopicTarget<T>> {
    GridSink { target: TopicTarget { topic: topic.clone() }, in_flight: 1 }
}

/// A sink into a structure of the grid.
#[derive(Clone, Debug)]
pub struct GridSink<G> {
    target: G,
    in_flight: usize,
}

impl<G> GridSink<G> {
    /// Operations that each worker has under way at most. With more than one, items of a queue or
    /// topic may change places when an operation is repeated.
    #[must_use]
    pub fn in_flight(mut self, operations: usize) -> Self {
        self.in_flight = operations.max(1);
        self
    }
}

/// See [`map`].
#[derive(Debug)]
pub struct MapTarget<K, V, M> {
    map: Map<K, V>,
    entry: M,
}

impl<K, V, M: Clone> Clone for MapTarget<K, V, M> {
    fn clone(&self) -> Self {
        MapTarget { map: self.map.clone(), entry: self.entry.clone() }
    }
}

impl<T, K, V, M> Target<T> for MapTarget<K, V, M>
where
    K: Key + GridData + Hash,
    V: GridData,
    M: Fn(&T) -> (K, V) + Clone + Send + 'static,
{
    fn name(&self) -> String {
        format!("map {}", self.map.name())
    }
    fn lane(&self, item: &T) -> Option<u64> {
        Some(BuildHasherDefault::<DefaultHasher>::default().hash_one((self.entry)(item).0))
    }
    fn start(&self, item: &T) -> Op {
        let (key, value) = (self.entry)(item);
        Op::Unit(self.map.set(&key, &value).into_future())
    }
}

/// See [`queue`].
#[derive(Debug)]
pub struct QueueTarget<T> {
    queue: Queue<T>,
}

impl<T> Clone for QueueTarget<T> {
    fn clone(&self) -> Self {
        QueueTarget { queue: self.queue.clone() }
    }
}

impl<T: GridData> Target<T> for QueueTarget<T> {
    fn name(&self) -> String {
        format!("queue {}", self.queue.name())
    }
    fn lane(&self, _: &T) -> Option<u64> {
        None
    }
    fn start(&self, item: &T) -> Op {
        Op::Taken(self.queue.offer(item).into_future())
    }
}

/// See [`topic`].
#[derive(Debug)]
pub struct TopicTarget<T> {
    topic: Topic<T>,
}

impl<T> Clone for TopicTarget<T> {
    fn clone(&self) -> Self {
        TopicTarget { topic: self.topic.clone() }
    }
}

impl<T: GridData> Target<T> for TopicTarget<T> {
    fn name(&self) -> String {
        format!("topic {}", self.topic.name())
    }
    fn lane(&self, _: &T) -> Option<u64> {
        None
    }
    fn start(&self, item: &T) -> Op {
        Op::Unit(self.topic.publish(item).into_future())
    }
}

impl<T: Send + 'static, G: Target<T>> Sink<T> for GridSink<G> {
    type Writer = GridWriter<T, G>;

    fn name(&self) -> String {
        self.target.name()
    }

    fn open(&mut self, _: usize) -> Result<GridWriter<T, G>> {
        Ok(GridWriter {
            target: self.target.clone(),
            in_flight_max: self.in_flight,
            in_flight: Vec::new(),
            held: None,
        })
    }
}

/// Writes on one worker.
pub struct GridWriter<T, G> {
    target: G,
    in_flight_max: usize,
    in_flight: Vec<Pending<T>>,
    /// An item that has to wait for one that is in flight.
    held: Option<T>,
}

struct Pending<T> {
    item: T,
    lane: Option<u64>,
    op: Op,
    /// When to start it again, if there was no room.
    again: Option<Instant>,
}

impl<T, G: Target<T>> GridWriter<T, G> {
    fn begin(&mut self, item: T) -> Result<()> {
        let mut op = self.target.start(&item);
        let again = match op.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Done::Written)) => return Ok(()),
            Poll::Ready(Ok(Done::Full)) => Some(Instant::now() + FULL_RETRY),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => None,
        };
        let lane = self.target.lane(&item);
        self.in_flight.push(Pending { item, lane, op, again });
        Ok(())
    }

    /// Polls one operation. Whether it took effect.
    fn drive(target: &G, pending: &mut Pending<T>, cx: &mut StepCx<'_>) -> Result<bool> {
        if let Some(at) = pending.again {
            if Instant::now() < at {
                cx.wake_at(at);
                return Ok(false);
            }
            pending.again = None;
            pending.op = target.start(&pending.item);
        }
        match pending.op.poll(&mut Context::from_waker(cx.waker())) {
            Poll::Ready(Ok(Done::Written)) => Ok(true),
            Poll::Ready(Ok(Done::Full)) => {
                let at = Instant::now() + FULL_RETRY;
                pending.again = Some(at);
                cx.wake_at(at);
                Ok(false)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(false),
        }
    }
}

impl<T: Send + 'static, G: Target<T>> SinkWriter<T> for GridWriter<T, G> {
    fn has_room(&self) -> bool {
        self.held.is_none() && self.in_flight.len() < self.in_flight_max
    }

    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        if !self.in_flight.is_empty() {
            let lane = self.target.lane(&item);
            if lane.is_some() && self.in_flight.iter().any(|pending| pending.lane == lane) {
                self.held = Some(item);
                return Ok(());
            }
        }
        self.begin(item)
    }

    fn poll(&mut self, cx: &mut StepCx<'_>) -> Result<bool> {
        loop {
            let mut at = 0;
            while let Some(pending) = self.in_flight.get_mut(at) {
                if Self::drive(&self.target, pending, cx)? {
                    self.in_flight.swap_remove(at);
                } else {
                    at += 1;
                }
            }
            let Some(item) = self.held.take() else { return Ok(self.in_flight.is_empty()) };
            self.write(item, crate::time::NONE)?;
            if self.held.is_some() {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
