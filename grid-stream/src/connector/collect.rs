//! A sink into memory, for tests and small results.

use super::sink::{Sink, SinkWriter};
use crate::time::EventTime;
use grid_core::Result;
use parking_lot::Mutex;
use std::sync::Arc;

/// A sink and the place where its items are found. Holds all of them in memory.
#[must_use]
pub fn collect<T: Send + 'static>() -> (Collect<T>, Collected<T>) {
    let items = Collected { items: Arc::default() };
    (Collect { items: items.items.clone() }, items)
}

/// See [`collect`].
#[derive(Debug)]
pub struct Collect<T> {
    items: Arc<Mutex<Vec<T>>>,
}

/// What was collected so far.
#[derive(Clone, Debug)]
pub struct Collected<T> {
    items: Arc<Mutex<Vec<T>>>,
}

impl<T> Collected<T> {
    /// Takes the items. In the order of the stream if the job has one worker.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.items.lock())
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Ord> Collected<T> {
    /// Takes the items, sorted: the same whatever the number of workers.
    #[must_use]
    pub fn take_sorted(&self) -> Vec<T> {
        let mut items = self.take();
        items.sort();
        items
    }
}

impl<T: Send + 'static> Sink<T> for Collect<T> {
    type Writer = Collect<T>;

    fn name(&self) -> String {
        "collect".into()
    }
    fn open(&mut self, _: usize) -> Result<Collect<T>> {
        Ok(Collect { items: self.items.clone() })
    }
}

impl<T: Send + 'static> SinkWriter<T> for Collect<T> {
    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        self.items.lock().push(item);
        Ok(())
    }
}
