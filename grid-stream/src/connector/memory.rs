//! Items that are at hand: a vector (split over the workers) or an iterator (on one worker).

use super::source::{Read, Source, SourceCx, SourcePart};
use crate::flow::Emit;
use crate::time::NONE;
use grid_core::Result;
use std::marker::PhantomData;

/// A bounded source of these items, split into as many runs as there are workers.
pub fn items<T: Send + 'static>(items: Vec<T>) -> Items<T> {
    Items { items, parts: None }
}

/// See [`items`].
#[derive(Clone, Debug)]
pub struct Items<T> {
    items: Vec<T>,
    parts: Option<usize>,
}

impl<T> Items<T> {
    /// Reads all items in order, on one worker.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.parts = Some(1);
        self
    }
}

impl<T: Send + 'static> Source for Items<T> {
    type Item = T;
    type Part = ItemsPart<T>;

    fn name(&self) -> String {
        "items".into()
    }

    fn split(&mut self, workers: usize) -> Result<Vec<ItemsPart<T>>> {
        let mut rest = std::mem::take(&mut self.items);
        let parts = self.parts.unwrap_or(workers);
        let run = rest.len().div_ceil(parts.max(1)).max(1);
        let mut split = Vec::with_capacity(parts);
        while rest.len() > run {
            let after = rest.split_off(run);
            split.push(std::mem::replace(&mut rest, after));
        }
        split.push(rest);
        let part = |items: Vec<T>| ItemsPart { total: items.len() as u64, rest: items.into_iter() };
        Ok(split.into_iter().map(part).collect())
    }
}

/// A partition of [`Items`].
pub struct ItemsPart<T> {
    total: u64,
    rest: std::vec::IntoIter<T>,
}

impl<T: Send + 'static> SourcePart for ItemsPart<T> {
    type Item = T;

    fn read<E: Emit<T>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E) -> Result<Read> {
        for item in self.rest.by_ref().take(cx.budget() as usize) {
            out.emit(item, NONE);
        }
        Ok(if self.rest.len() == 0 { Read::Done } else { Read::More })
    }

    fn position(&self) -> (u64, u64) {
        (self.total - self.rest.len() as u64, self.total)
    }
}

/// A source that makes an iterator when the job is planned and reads it on one worker.
pub fn iterator<I, M>(make: M) -> Iter<I, M>
where
    I: Iterator<Item: Send + 'static> + Send + 'static,
    M: FnMut() -> I + Send + 'static,
{
    Iter { make, iter: PhantomData }
}

/// See [`iterator`].
pub struct Iter<I, M> {
    make: M,
    iter: PhantomData<fn() -> I>,
}

impl<I, M> Source for Iter<I, M>
where
    I: Iterator<Item: Send + 'static> + Send + 'static,
    M: FnMut() -> I + Send + 'static,
{
    type Item = I::Item;
    type Part = IterPart<I>;

    fn name(&self) -> String {
        "iterator".into()
    }

    fn split(&mut self, _: usize) -> Result<Vec<IterPart<I>>> {
        Ok(vec![IterPart { iter: (self.make)() }])
    }
}

/// The one partition of [`Iter`].
pub struct IterPart<I> {
    iter: I,
}

impl<I: Iterator<Item: Send + 'static> + Send + 'static> SourcePart for IterPart<I> {
    type Item = I::Item;

    fn read<E: Emit<I::Item>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E) -> Result<Read> {
        for _ in 0..cx.budget() {
            let Some(item) = self.iter.next() else { return Ok(Read::Done) };
            out.emit(item, NONE);
        }
        Ok(Read::More)
    }
}
