//! What can be done per key.

use super::stage::Stage;
use crate::aggregate::{self, Aggregate};
use crate::edge::exchange::KeyedSend;
use crate::edge::inbox::Edge;
use crate::edge::local::Joined;
use crate::flow::Flow;
use crate::key::StreamKey;
use crate::operator::process::{ProcessCx, ProcessFlow};
use crate::operator::window::WindowResult;
use crate::operator::window::combine::WindowSend;
use crate::operator::window::run::WindowFlow;
use crate::operator::window::spec::Windows;
use std::marker::PhantomData;

/// A stream of `T` keyed by `K`.
#[must_use = "keyed items need a stage: `window`, `aggregate` or `process`"]
pub struct Keyed<K, T, F, KF> {
    stage: Stage<T, F>,
    key: KF,
    types: PhantomData<fn() -> K>,
}

impl<K, T, F, KF> Keyed<K, T, F, KF>
where
    K: StreamKey,
    T: Send + 'static,
    F: Flow<Out = T>,
    KF: Fn(&T) -> K + Clone + Send + 'static,
{
    pub(crate) fn new(stage: Stage<T, F>, key: KF) -> Self {
        Keyed { stage, key, types: PhantomData }
    }

    /// Cuts the stream of each key into windows of event time: [`Tumbling`](crate::Tumbling) or
    /// [`Sliding`](crate::Sliding).
    pub fn window(self, windows: impl Into<Windows>) -> Windowed<K, T, F, KF> {
        Windowed { keyed: self, windows: windows.into() }
    }

    /// One result per key over the whole input, when it ends.
    pub fn aggregate<A: Aggregate<T>>(self, agg: A) -> UnnamedWindow<K, T, F, KF, A> {
        self.window(Windows::GLOBAL).aggregate(agg)
    }

    /// The number of items of each key, when the input ends.
    pub fn count(self) -> UnnamedWindow<K, T, F, KF, aggregate::Count> {
        self.aggregate(aggregate::count())
    }

    /// The items of each key merged two by two, when the input ends.
    pub fn reduce<M>(self, merge: M) -> UnnamedWindow<K, T, F, KF, aggregate::Reduce<M>>
    where
        T: Clone,
        M: Fn(&T, &T) -> T + Clone + Send + 'static,
    {
        self.aggregate(aggregate::reduce(merge))
    }

    /// Calls `process` with each item and the state of its key, which begins as the default.
    /// Items of one key from one partition of the source come in order.
    pub fn process<S, U, P>(self, process: P) -> UnnamedProcess<S, K, T, U, F, KF, P>
    where
        S: Default + Send + 'static,
        U: Send + 'static,
        P: Fn(&mut S, &K, T, &mut ProcessCx<'_, U>) + Clone + Send + 'static,
    {
        UnnamedProcess { keyed: self, process, types: PhantomData }
    }
}

/// A keyed stream cut into windows.
#[must_use = "windows need an aggregate"]
pub struct Windowed<K, T, F, KF> {
    keyed: Keyed<K, T, F, KF>,
    windows: Windows,
}

impl<K, T, F, KF> Windowed<K, T, F, KF>
where
    K: StreamKey,
    T: Send + 'static,
    F: Flow<Out = T>,
    KF: Fn(&T) -> K + Clone + Send + 'static,
{
    /// Reduces the items of each key and window.
    pub fn aggregate<A: Aggregate<T>>(self, agg: A) -> UnnamedWindow<K, T, F, KF, A> {
        UnnamedWindow { windowed: self, agg, combining: true }
    }

    /// The number of items of each key and window.
    pub fn count(self) -> UnnamedWindow<K, T, F, KF, aggregate::Count> {
        self.aggregate(aggregate::count())
    }

    /// The items of each key and window merged two by two.
    pub fn reduce<M>(self, merge: M) -> UnnamedWindow<K, T, F, KF, aggregate::Reduce<M>>
    where
        T: Clone,
        M: Fn(&T, &T) -> T + Clone + Send + 'static,
    {
        self.aggregate(aggregate::reduce(merge))
    }
}

/// A window stage that is complete but for its name, by which its state is known.
///
/// ```compile_fail
/// # use grid_stream::{Pipeline, sinks, sources};
/// let p = Pipeline::new();
/// let (sink, _) = sinks::collect();
/// p.read(sources::items(vec![1u64])).key_by(|n| *n).count().write(sink);
/// ```
#[must_use = "a stateful stage needs a name: `.named(\"..\")`"]
pub struct UnnamedWindow<K, T, F, KF, A> {
    windowed: Windowed<K, T, F, KF>,
    agg: A,
    combining: bool,
}

impl<K, T, F, KF, A> UnnamedWindow<K, T, F, KF, A>
where
    K: StreamKey,
    T: Send + 'static,
    F: Flow<Out = T>,
    KF: Fn(&T) -> K + Clone + Send + 'static,
    A: Aggregate<T>,
{
    /// Whether senders combine items before they send them, where that makes them fewer; on
    /// unless said otherwise. Late items are never combined.
    pub fn combining(mut self, combining: bool) -> Self {
        self.combining = combining;
        self
    }

    /// Names the stage; the name identifies its state and must not be used twice in a pipeline.
    pub fn named(self, name: &str) -> Stage<WindowResult<K, A::Out>, WindowFlow<K, T, A>> {
        let Windowed { keyed, windows } = self.windowed;
        let (edge, agg, combining) = (Edge::new(), self.agg, self.combining);
        let send =
            WindowSend { edge: edge.clone(), key: keyed.key, windows, agg: agg.clone(), combining };
        let (graph, group) = keyed.stage.end(send);
        Stage::new(WindowFlow { name: name.into(), edge, windows, agg, late: None }, graph, group)
    }
}

impl<K, T, A> Stage<WindowResult<K, A::Out>, WindowFlow<K, T, A>>
where
    K: StreamKey,
    T: Send + 'static,
    A: Aggregate<T>,
{
    /// The items that came when all their windows had fired. They are counted in any case.
    /// Replaces what an earlier call returned.
    pub fn late(&mut self) -> Stage<T> {
        let edge = Edge::new();
        self.flow.late = Some(edge.clone());
        self.beside(Joined { edge })
    }
}

/// A process stage that is complete but for its name, by which its state is known.
#[must_use = "a stateful stage needs a name: `.named(\"..\")`"]
pub struct UnnamedProcess<S, K, T, U, F, KF, P> {
    keyed: Keyed<K, T, F, KF>,
    process: P,
    types: PhantomData<fn() -> (S, U)>,
}

impl<S, K, T, U, F, KF, P> UnnamedProcess<S, K, T, U, F, KF, P>
where
    S: Default + Send + 'static,
    K: StreamKey,
    T: Send + 'static,
    U: Send + 'static,
    F: Flow<Out = T>,
    KF: Fn(&T) -> K + Clone + Send + 'static,
    P: Fn(&mut S, &K, T, &mut ProcessCx<'_, U>) + Clone + Send + 'static,
{
    /// Names the stage; the name identifies its state and must not be used twice in a pipeline.
    pub fn named(self, name: &str) -> Stage<U, ProcessFlow<S, K, T, U, P>> {
        let Keyed { stage, key, .. } = self.keyed;
        let edge = Edge::new();
        let (graph, group) = stage.end(KeyedSend { edge: edge.clone(), key });
        let process = self.process;
        let flow = ProcessFlow { name: name.into(), edge, process, types: PhantomData };
        Stage::new(flow, graph, group)
    }
}
