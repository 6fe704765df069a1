//! A stage of a pipeline and the stateless operators on it.

use super::SharedGraph;
use super::graph::SegmentPlan;
use super::keyed::Keyed;
use crate::connector::lookup::MapLookup;
use crate::connector::sink::{Sink, SinkPlan};
use crate::edge::inbox::Edge;
use crate::edge::local::{Joined, LocalPlan};
use crate::flow::Flow;
use crate::key::StreamKey;
use crate::operator::{Enrich, Filter, FilterMap, FlatMap, Inspect, Map, Timestamps};
use crate::tasklet::segment::{Segment, TerminalPlan};
use std::marker::PhantomData;
use std::time::Duration;

/// A stream of `T` in a pipeline, made by the chain of operators `F`.
///
/// Chained operators compile into one loop, like iterator adaptors; to name the type, write
/// `Stage<T, impl Flow<Out = T>>`, or `Stage<T>` after [`Stage::detach`].
///
/// Functions given to operators are cloned per worker and must not keep state between items; state
/// belongs into [`Keyed::process`].
#[must_use = "a stage without a sink does nothing: end it with `write`"]
pub struct Stage<T, F = Joined<T>> {
    pub(crate) flow: F,
    graph: SharedGraph,
    group: usize,
    item: PhantomData<fn() -> T>,
}

impl<T: Send + 'static, F: Flow<Out = T>> Stage<T, F> {
    pub(crate) fn new(flow: F, graph: SharedGraph, group: usize) -> Self {
        Stage { flow, graph, group, item: PhantomData }
    }

    /// The same place in the pipeline with more behind it.
    fn chain<G: Flow>(self, wrap: impl FnOnce(F) -> G) -> Stage<G::Out, G> {
        Stage::new(wrap(self.flow), self.graph, self.group)
    }

    /// Another stage of the same group.
    pub(crate) fn beside<G: Flow>(&self, flow: G) -> Stage<G::Out, G> {
        Stage::new(flow, self.graph.clone(), self.group)
    }

    /// Ends the tasklet here.
    pub(crate) fn end<P: TerminalPlan<T>>(self, mut terminal: P) -> (SharedGraph, usize) {
        let mut flow = self.flow;
        let build = move |cx: &mut crate::plan::BuildCx<'_>| {
            let run = flow.build(cx)?;
            let out = terminal.build(cx)?;
            let tasklet: Box<dyn crate::tasklet::Tasklet> = Box::new(Segment::new(cx, run, out));
            Ok(tasklet)
        };
        let segment = SegmentPlan { group: self.group, build: Box::new(build) };
        self.graph.lock().segments.push(segment);
        (self.graph, self.group)
    }

    /// Turns each item into another.
    pub fn map<U, M>(self, map: M) -> Stage<U, Map<F, M>>
    where
        U: Send + 'static,
        M: Fn(T) -> U + Clone + Send + 'static,
    {
        self.chain(|flow| Map { flow, map })
    }

    /// Keeps the items for which `keep` is true.
    pub fn filter<P>(self, keep: P) -> Stage<T, Filter<F, P>>
    where
        P: Fn(&T) -> bool + Clone + Send + 'static,
    {
        self.chain(|flow| Filter { flow, keep })
    }

    /// Turns each item into another or drops it.
    pub fn filter_map<U, M>(self, map: M) -> Stage<U, FilterMap<F, M>>
    where
        U: Send + 'static,
        M: Fn(T) -> Option<U> + Clone + Send + 'static,
    {
        self.chain(|flow| FilterMap { flow, map })
    }

    /// Turns each item into any number of others.
    pub fn flat_map<I, M>(self, map: M) -> Stage<I::Item, FlatMap<F, M>>
    where
        I: IntoIterator<Item: Send + 'static>,
        M: Fn(T) -> I + Clone + Send + 'static,
    {
        self.chain(|flow| FlatMap { flow, map })
    }

    /// Looks at each item.
    pub fn inspect<L>(self, look: L) -> Stage<T, Inspect<F, L>>
    where
        L: Fn(&T) + Clone + Send + 'static,
    {
        self.chain(|flow| Inspect { flow, look })
    }

    /// Gives each item its event time, in milliseconds since the Unix epoch. Items may be out of
    /// order by up to `lag` within a partition of the source: that long a window waits for them.
    pub fn with_timestamps<M>(self, time: M, lag: Duration) -> Stage<T, Timestamps<F, M>>
    where
        M: Fn(&T) -> i64 + Clone + Send + 'static,
    {
        self.chain(|flow| Timestamps { flow, time, lag })
    }

    /// Looks up `key` of each item and joins the item with what is found. The items stay in order;
    /// a bounded number of lookups is under way at a time.
    pub fn enrich<L, K, V, U, KF, M>(
        self,
        lookup: L,
        key: KF,
        join: M,
    ) -> Stage<U, Enrich<F, L, KF, M, V>>
    where
        L: MapLookup<K, V>,
        K: Send + 'static,
        V: Send + 'static,
        U: Send + 'static,
        KF: Fn(&T) -> K + Clone + Send + 'static,
        M: Fn(T, Option<V>) -> U + Clone + Send + 'static,
    {
        self.chain(|flow| Enrich::new(flow, lookup, key, join))
    }

    /// The same stream with a plain type: behind a queue, in a tasklet of its own.
    pub fn detach(self) -> Stage<T> {
        let edge = Edge::new();
        let (graph, group) = self.end(LocalPlan { edges: vec![edge.clone()], copy: None });
        Stage::new(Joined { edge }, graph, group)
    }

    /// The stream several times, each with all items:
    /// `let [to_file, to_map] = stage.fork();`
    pub fn fork<const N: usize>(self) -> [Stage<T>; N]
    where
        T: Clone,
    {
        let edges: [Edge<_>; N] = std::array::from_fn(|_| Edge::new());
        let (graph, group) = self.end(LocalPlan { edges: edges.to_vec(), copy: Some(T::clone) });
        edges.map(|edge| Stage::new(Joined { edge }, graph.clone(), group))
    }

    /// The items of both streams; event time is that of the slower one.
    pub fn union<G: Flow<Out = T>>(self, other: Stage<T, G>) -> Stage<T> {
        let edge = Edge::new();
        let plan = || LocalPlan { edges: vec![edge.clone()], copy: None };
        let (graph, group) = self.end(plan());
        let (_, merged) = other.end(plan());
        graph.lock().merge(group, merged);
        Stage::new(Joined { edge }, graph, group)
    }

    /// Keys the items: what follows works per key, in the partition of the key.
    pub fn key_by<K, KF>(self, key: KF) -> Keyed<K, T, F, KF>
    where
        K: StreamKey,
        KF: Fn(&T) -> K + Clone + Send + 'static,
    {
        Keyed::new(self, key)
    }

    /// Writes the items to `sink`.
    pub fn write<S: Sink<T>>(self, sink: S) {
        self.end(SinkPlan::new(sink));
    }
}
