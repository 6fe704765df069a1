//! Joins items with what is looked up for them: in order, several lookups under way at a time,
//! and at once without a queue when the answer is at hand.

use crate::connector::lookup::MapLookup;
use crate::flow::{Emit, Flow, Run};
use crate::plan::BuildCx;
use crate::tasklet::{Progress, StepCx};
use crate::time::clock::PartState;
use crate::time::{END, EventTime, NONE};
use grid_core::{Error, Result};
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Lookups under way per tasklet beyond which the input waits; one step can exceed it.
const IN_FLIGHT_MAX: usize = 1024;

/// Plan of the operator.
pub struct Enrich<F, L, KF, M, V> {
    flow: F,
    lookup: L,
    key: KF,
    join: M,
    value: PhantomData<fn() -> V>,
}

impl<F, L, KF, M, V> Enrich<F, L, KF, M, V> {
    pub(crate) fn new(flow: F, lookup: L, key: KF, join: M) -> Self {
        Enrich { flow, lookup, key, join, value: PhantomData }
    }
}

impl<F, L, K, KF, M, V, U> Flow for Enrich<F, L, KF, M, V>
where
    F: Flow,
    L: MapLookup<K, V>,
    K: Send + 'static,
    V: Send + 'static,
    U: Send + 'static,
    KF: Fn(&F::Out) -> K + Clone + Send + 'static,
    M: Fn(F::Out, Option<V>) -> U + Clone + Send + 'static,
{
    type Out = U;
    type Run = EnrichRun<F::Run, L, Found<L::Lookup, V>, KF, M, F::Out, (K, V)>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        let run = self.flow.build(cx)?;
        let (lookup, key, join) = (self.lookup.clone(), self.key.clone(), self.join.clone());
        let state = State { lookup, key, join, pending: VecDeque::new(), failure: None, begun: 0 };
        let (marks, value) = (VecDeque::new(), PhantomData);
        Ok(EnrichRun { run, state, marks, ended: false, watermark: NONE, value })
    }
}

/// What runs.
pub struct EnrichRun<R, L, P, KF, M, T, KV> {
    run: R,
    state: State<L, P, KF, M, T>,
    /// Watermarks and the lookups that were begun before them.
    marks: VecDeque<(u64, EventTime)>,
    ended: bool,
    watermark: EventTime,
    value: PhantomData<fn() -> KV>,
}

struct State<L, P, KF, M, T> {
    lookup: L,
    key: KF,
    join: M,
    pending: VecDeque<(T, EventTime, P)>,
    failure: Option<Error>,
    begun: u64,
}

impl<L, P, KF, M, T> State<L, P, KF, M, T> {
    /// Emits what has been found, in order. Whether anything was.
    fn drive<V, U, E>(&mut self, waker: &Waker, out: &mut E) -> Result<bool>
    where
        P: Future<Output = Result<Option<V>>> + Unpin,
        M: Fn(T, Option<V>) -> U,
        E: Emit<U>,
    {
        let mut cx = Context::from_waker(waker);
        let mut made = false;
        while !out.is_full()
            && let Some((_, _, lookup)) = self.pending.front_mut()
            && let Poll::Ready(found) = Pin::new(lookup).poll(&mut cx)
        {
            let found = found?;
            if let Some((item, time, _)) = self.pending.pop_front() {
                out.emit((self.join)(item, found), time);
            }
            made = true;
        }
        Ok(made)
    }
}

impl<R, L, K, KF, M, V, U> Run for EnrichRun<R, L, Found<L::Lookup, V>, KF, M, R::Out, (K, V)>
where
    R: Run,
    L: MapLookup<K, V>,
    K: Send + 'static,
    V: Send + 'static,
    U: Send + 'static,
    KF: Fn(&R::Out) -> K + Send + 'static,
    M: Fn(R::Out, Option<V>) -> U + Send + 'static,
{
    type Out = U;

    fn step<E: Emit<U>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        let waker = cx.waker().clone();
        let mut made = self.state.drive(&waker, out)?;
        if !self.ended && self.state.pending.len() < IN_FLIGHT_MAX && !out.is_full() {
            let state = &mut self.state;
            let mut emit = EnrichEmit { state, waker: &waker, out, types: PhantomData };
            let progress = self.run.step(cx, &mut emit)?;
            if let Some(failure) = self.state.failure.take() {
                return Err(failure);
            }
            self.ended = progress == Progress::Done;
            made |= progress == Progress::Made;
            let watermark = if self.ended { END } else { self.run.watermark() };
            if self.marks.back().is_none_or(|(_, last)| *last != watermark) {
                self.marks.push_back((self.state.begun, watermark));
            }
        }
        let found = self.state.begun - self.state.pending.len() as u64;
        while let Some((begun, watermark)) = self.marks.front()
            && *begun <= found
        {
            self.watermark = *watermark;
            self.marks.pop_front();
        }
        let done = self.ended && self.state.pending.is_empty();
        Ok(if done { Progress::Done } else { Progress::of(made) })
    }

    fn watermark(&mut self) -> EventTime {
        self.watermark
    }
}

struct EnrichEmit<'a, L, P, KF, M, T, E, KV> {
    state: &'a mut State<L, P, KF, M, T>,
    waker: &'a Waker,
    out: &'a mut E,
    types: PhantomData<fn() -> KV>,
}

impl<L, K, KF, M, T, V, U, E> Emit<T>
    for EnrichEmit<'_, L, Found<L::Lookup, V>, KF, M, T, E, (K, V, U)>
where
    L: MapLookup<K, V>,
    KF: Fn(&T) -> K,
    M: Fn(T, Option<V>) -> U,
    E: Emit<U>,
{
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        let mut lookup = self.state.lookup.look_up(&(self.state.key)(&item));
        self.state.begun += 1;
        // Polled in any case, so that it is under way.
        let found = Pin::new(&mut lookup).poll(&mut Context::from_waker(self.waker));
        match found {
            Poll::Ready(Err(failure)) => {
                self.state.failure.get_or_insert(failure);
            }
            Poll::Ready(Ok(found)) if self.state.pending.is_empty() => {
                self.out.emit((self.state.join)(item, found), time);
            }
            Poll::Ready(Ok(found)) => {
                self.state.pending.push_back((item, time, Found::Ready(found)));
            }
            Poll::Pending => self.state.pending.push_back((item, time, Found::Pending(lookup))),
        }
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.out.is_full() || self.state.pending.len() >= IN_FLIGHT_MAX
    }
    fn part(&mut self, part: usize, state: PartState) {
        self.out.part(part, state);
    }
    fn part_time(&self, part: usize) -> EventTime {
        self.out.part_time(part)
    }
}

/// A lookup in the queue: under way, or done and waiting for its turn.
pub enum Found<P, V> {
    /// Done.
    Ready(Option<V>),
    /// Under way.
    Pending(P),
}

impl<P: Unpin, V> Unpin for Found<P, V> {}

impl<V, P: Future<Output = Result<Option<V>>> + Unpin> Future for Found<P, V> {
    type Output = Result<Option<V>>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Found::Ready(found) => Poll::Ready(Ok(found.take())),
            Found::Pending(lookup) => Pin::new(lookup).poll(cx),
        }
    }
}
