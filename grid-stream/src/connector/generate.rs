//! Items computed from their number: unbounded or bounded, as fast as possible or at a rate.

use super::source::{Read, Source, SourceCx, SourcePart};
use crate::flow::Emit;
use crate::time::NONE;
use grid_core::{Error, Kind, Result};
use std::time::{Duration, Instant};

/// A source of `item(0)`, `item(1)`, … without end, dealt out to all workers in turn.
pub fn generate<T, G>(item: G) -> Generate<G>
where
    T: Send + 'static,
    G: Fn(u64) -> T + Clone + Send + 'static,
{
    Generate { item, count: u64::MAX, per_second: None }
}

/// See [`generate`].
#[derive(Clone, Debug)]
pub struct Generate<G> {
    item: G,
    count: u64,
    per_second: Option<f64>,
}

impl<G> Generate<G> {
    /// Ends after `count` items.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Gives out `per_second` items per second over all workers, evenly.
    #[must_use]
    pub fn rate(mut self, per_second: f64) -> Self {
        self.per_second = Some(per_second);
        self
    }
}

impl<T, G> Source for Generate<G>
where
    T: Send + 'static,
    G: Fn(u64) -> T + Clone + Send + 'static,
{
    type Item = T;
    type Part = GeneratePart<G>;

    fn name(&self) -> String {
        "generate".into()
    }

    fn split(&mut self, workers: usize) -> Result<Vec<GeneratePart<G>>> {
        if let Some(rate) = self.per_second
            && !(rate > 0.0 && rate.is_finite())
        {
            return Err(Error::with(Kind::Invalid, "a rate must be positive"));
        }
        let stride = workers as u64;
        let part = |first| GeneratePart {
            item: self.item.clone(),
            next: first,
            stride,
            count: self.count,
            per_second: self.per_second,
            started: None,
        };
        Ok((0..stride).map(part).collect())
    }
}

/// A partition of [`Generate`]: every n-th item.
#[derive(Clone, Debug)]
pub struct GeneratePart<G> {
    item: G,
    next: u64,
    stride: u64,
    count: u64,
    per_second: Option<f64>,
    started: Option<Instant>,
}

impl<G> GeneratePart<G> {
    /// End of the items that are due by now, and when the one after is due.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn due(&mut self, per_second: f64) -> (u64, Instant) {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        let due = (now.duration_since(started).as_secs_f64() * per_second) as u64 + 1;
        let wait = Duration::from_secs_f64(self.next.max(due) as f64 / per_second);
        (due, started + wait)
    }
}

impl<T, G> SourcePart for GeneratePart<G>
where
    T: Send + 'static,
    G: Fn(u64) -> T + Clone + Send + 'static,
{
    type Item = T;

    #[inline]
    fn read<E: Emit<T>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E) -> Result<Read> {
        let budget = u64::from(cx.budget()).saturating_mul(self.stride);
        let mut end = self.next.saturating_add(budget).min(self.count);
        let mut wait = None;
        if let Some(per_second) = self.per_second {
            let (due, next_at) = self.due(per_second);
            if due < end {
                end = due;
                wait = Some(next_at);
            }
        }
        let mut next = self.next;
        while next < end {
            out.emit((self.item)(next), NONE);
            next += self.stride;
        }
        self.next = next;
        Ok(match wait {
            _ if next >= self.count => Read::Done,
            Some(at) => Read::Until(at),
            None => Read::More,
        })
    }

    fn position(&self) -> (u64, u64) {
        let bounded = self.count < u64::MAX;
        if bounded { (self.next / self.stride, self.count / self.stride) } else { (0, 0) }
    }
}
