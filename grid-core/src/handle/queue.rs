//! Queues.

use super::buffers;
use super::map::{ValueOf, boolean, count, option, unit};
use super::named::Named;
use super::op::{Prepared, Query, Update, encode_value};
use crate::data::GridData;
use crate::error::Result;
use crate::ids::PartitionId;
use crate::op::OpCode;
use std::marker::PhantomData;
use std::sync::Arc;

/// A queue: strictly first in, first out, in the partition of its name. `poll` takes an item when it
/// answers: an item whose answer is lost on the way is found again by the retry that the grid makes
/// until the deadline, and lost to the caller after it.
pub struct Queue<T> {
    named: Arc<Named>,
    types: PhantomData<fn(T) -> T>,
}

impl<T: GridData> Queue<T> {
    pub(super) fn new(named: Arc<Named>) -> Self {
        Queue { named, types: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.named.name()
    }

    fn op<A>(
        &self,
        code: OpCode,
        body: Result<Vec<u8>>,
        decode: fn(&[u8]) -> Result<A>,
    ) -> Prepared<'_, A> {
        let partition: PartitionId = self.named.partition;
        Prepared::new(&self.named, code, body.map(|body| (partition, body)), decode)
    }

    /// Adds an item at the tail. Returns false, and adds nothing, if the queue is full.
    pub fn offer<W: ValueOf<T> + ?Sized>(&self, item: &W) -> Update<'_, bool> {
        let mut body = buffers::operands();
        let encoded = encode_value(item, &mut body);
        Update(self.op(OpCode::QueueOffer, encoded.map(|()| body), boolean))
    }

    /// Takes the item at the head; none if the queue is empty.
    pub fn poll(&self) -> Update<'_, Option<T>> {
        Update(self.op(OpCode::QueuePoll, Ok(buffers::operands()), option::<T>))
    }

    /// Shows the item at the head; none if the queue is empty.
    pub fn peek(&self) -> Query<'_, Option<T>> {
        Query(self.op(OpCode::QueuePeek, Ok(buffers::operands()), option::<T>))
    }

    /// Number of items.
    pub fn size(&self) -> Query<'_, u64> {
        Query(self.op(OpCode::QueueSize, Ok(buffers::operands()), count))
    }

    /// Removes all items.
    pub fn clear(&self) -> Update<'_, ()> {
        Update(self.op(OpCode::QueueClear, Ok(buffers::operands()), unit))
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { named: Arc::clone(&self.named), types: PhantomData }
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(&self.named.name()).finish()
    }
}
