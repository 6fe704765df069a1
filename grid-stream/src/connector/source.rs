//! What a source is, and the run that reads its partitions on one worker.

use crate::flow::{Emit, Flow, Run, forward_emit};
use crate::metrics::Malformed;
use crate::plan::{BuildCx, StageCell};
use crate::tasklet::{Progress, StepCx};
use crate::time::align::Aligned;
use crate::time::clock::PartState;
use crate::time::{END, EventTime, NONE};
use grid_core::Result;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Items from outside, in partitions that are read independently.
pub trait Source: Send + 'static {
    /// What it reads.
    type Item: Send + 'static;
    /// A partition of it.
    type Part: SourcePart<Item = Self::Item>;
    /// Name for reports.
    fn name(&self) -> String;
    /// Opens and splits the source over `workers` workers: partition `i` is read on worker
    /// `i % workers`. One that cannot be split returns one partition. Called once, before the job
    /// starts; an error refuses the start.
    fn split(&mut self, workers: usize) -> Result<Vec<Self::Part>>;
}

/// A partition of a source. Items of one partition stay in order.
pub trait SourcePart: Send + 'static {
    /// What it reads.
    type Item: Send + 'static;
    /// Emits at most `cx.budget()` items or so, without waiting for more.
    fn read<E: Emit<Self::Item>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E)
    -> Result<Read>;
    /// How far it is, of how much, in bytes or items; 0 of 0 if that is not known.
    fn position(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There may be more at once.
    More,
    /// Nothing more for now; the waker of [`SourceCx::waker`] will be woken.
    Idle,
    /// Nothing more before this time.
    Until(Instant),
    /// Nothing more ever.
    Done,
}

/// What a source may use while it reads.
pub struct SourceCx<'a, 'b> {
    step: &'a mut StepCx<'b>,
    cell: &'a StageCell,
}

impl SourceCx<'_, '_> {
    /// Items to read, about.
    #[must_use]
    pub fn budget(&self) -> u32 {
        self.step.budget
    }
    /// Wakes the worker when there is something to read again.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        self.step.waker()
    }
    /// Counts a malformed input.
    pub fn malformed(&self, what: impl FnOnce() -> Malformed) {
        self.cell.add_malformed(what);
    }
}

/// The flow that begins at a source.
pub struct SourceFlow<S: Source> {
    source: S,
    /// Partitions of each worker, dealt out at the first build.
    dealt: Vec<Vec<S::Part>>,
}

impl<S: Source> SourceFlow<S> {
    pub(crate) fn new(source: S) -> Self {
        SourceFlow { source, dealt: Vec::new() }
    }
}

impl<S: Source> Flow for SourceFlow<S> {
    type Out = S::Item;
    type Run = SourceRun<S::Part>;

    fn build(&mut self, cx: &mut BuildCx<'_>) -> Result<Self::Run> {
        let cell = cx.source(&self.source.name());
        if cx.worker == 0 {
            self.dealt = (0..cx.config.workers).map(|_| Vec::new()).collect();
            for (at, part) in self.source.split(cx.config.workers)?.into_iter().enumerate() {
                self.dealt[at % cx.config.workers].push(part);
            }
        }
        let parts: Vec<_> = std::mem::take(&mut self.dealt[cx.worker])
            .into_iter()
            .map(|part| Slot {
                part: Some(part),
                position: (0, 0),
                since: None,
                idle: false,
                asked: false,
            })
            .collect();
        let aligned = if parts.is_empty() { None } else { cx.align() };
        let idle_after = cx.config.idle_after;
        Ok(SourceRun { parts, current: usize::MAX, next: 0, cell, aligned, idle_after })
    }
}

struct Slot<P> {
    part: Option<P>,
    position: (u64, u64),
    /// Since when it has had nothing.
    since: Option<Instant>,
    idle: bool,
    /// Whether it was read in this step.
    asked: bool,
}

/// Reads the partitions of a source on one worker, the one that is behind in event time first.
pub struct SourceRun<P> {
    parts: Vec<Slot<P>>,
    current: usize,
    next: usize,
    cell: Arc<StageCell>,
    aligned: Option<Aligned>,
    idle_after: Duration,
}

impl<P: SourcePart> SourceRun<P> {
    /// The partition to read next: one that was idle, else the oldest in event time; they take
    /// turns as long as none has a time.
    fn choose<E: Emit<P::Item>>(&self, out: &E) -> Option<usize> {
        let count = self.parts.len();
        (0..count)
            .map(|i| (self.next + i) % count)
            .filter(|at| self.parts[*at].part.is_some() && !self.parts[*at].asked)
            .min_by_key(|at| if self.parts[*at].idle { NONE } else { out.part_time(*at) })
    }

    /// Reads one partition. Whether that came to anything.
    fn read_part<E: Emit<P::Item>>(
        &mut self,
        at: usize,
        cx: &mut StepCx<'_>,
        out: &mut E,
    ) -> Result<bool> {
        let slot = &mut self.parts[at];
        slot.asked = true;
        if self.current != at {
            self.current = at;
            out.part(at, PartState::Active);
        }
        let Some(part) = &mut slot.part else { return Ok(false) };
        let mut counted = Counted { out, count: 0 };
        let read = part.read(&mut SourceCx { step: cx, cell: &self.cell }, &mut counted)?;
        let count = counted.count;
        slot.position = part.position();
        self.cell.add_in(count);
        self.cell.add_out(count);
        if count > 0 {
            (slot.idle, slot.since) = (false, None);
        }
        match read {
            Read::More => return Ok(true),
            Read::Idle | Read::Until(_) if count > 0 => {}
            Read::Idle => self.rest(at, cx, out),
            Read::Until(when) => {
                cx.wake_at(when);
                self.rest(at, cx, out);
            }
            Read::Done => {
                slot.part = None;
                self.current = usize::MAX;
                out.part(at, PartState::Ended);
                return Ok(true);
            }
        }
        Ok(count > 0)
    }

    /// A partition had nothing. After a while it is idle.
    fn rest<E: Emit<P::Item>>(&mut self, at: usize, cx: &mut StepCx<'_>, out: &mut E) {
        let now = Instant::now();
        let slot = &mut self.parts[at];
        let idle_at = *slot.since.get_or_insert(now) + self.idle_after;
        slot.idle = slot.idle || now >= idle_at;
        if slot.idle {
            self.current = usize::MAX;
            out.part(at, PartState::Idle);
        } else {
            cx.wake_at(idle_at);
        }
    }

    fn publish<E: Emit<P::Item>>(&mut self, out: &E) {
        let (mut position, mut total) = (0, 0);
        for slot in &self.parts {
            position += slot.position.0;
            total += slot.position.1;
        }
        self.cell.set_position(position, total);
        let Some(aligned) = &mut self.aligned else { return };
        let live = (0..self.parts.len()).filter(|at| self.parts[*at].part.is_some());
        aligned.publish(live.map(|at| out.part_time(at)).min().unwrap_or(END));
    }
}

impl<P: SourcePart> Run for SourceRun<P> {
    type Out = P::Item;

    #[inline]
    fn step<E: Emit<P::Item>>(&mut self, cx: &mut StepCx<'_>, out: &mut E) -> Result<Progress> {
        if self.aligned.as_mut().is_some_and(Aligned::must_wait) {
            return Ok(Progress::None);
        }
        self.parts.iter_mut().for_each(|slot| slot.asked = false);
        let mut made = false;
        while !made && let Some(at) = self.choose(out) {
            self.next = (at + 1) % self.parts.len();
            made = self.read_part(at, cx, out)?;
        }
        self.publish(out);
        let live = self.parts.iter().any(|slot| slot.part.is_some());
        Ok(if live { Progress::of(made) } else { Progress::Done })
    }

    fn watermark(&mut self) -> EventTime {
        NONE
    }
}

struct Counted<'a, E> {
    out: &'a mut E,
    count: usize,
}

impl<T, E: Emit<T>> Emit<T> for Counted<'_, E> {
    #[inline]
    fn emit(&mut self, item: T, time: EventTime) {
        self.count += 1;
        self.out.emit(item, time);
    }
    forward_emit!(out);
}
