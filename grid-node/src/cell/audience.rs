//! Who receives the items of the topics of a partition.

use crate::outbox::Outbox;
use grid_core::data::{Blob, BlobBuf};
use grid_core::error::Result;
use grid_core::handle::{Mailbox, RawEvent};
use grid_core::ids::StructureId;
use grid_core::partition::Partition;
use grid_core::wire::event::Event;
use std::sync::Arc;
use std::task::Waker;

/// Who receives the items of a topic.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A connection, under the number that it chose.
    Connection(Arc<Outbox>, u64),
    /// A subscriber in this process.
    Local(Arc<Mailbox>),
}

impl Target {
    pub(super) fn is(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Connection(a, m), Target::Connection(b, n)) => Arc::ptr_eq(a, b) && m == n,
            (Target::Local(a), Target::Local(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether it is a subscription of this connection.
    pub(super) fn is_on(&self, outbox: &Arc<Outbox>) -> bool {
        matches!(self, Target::Connection(known, _) if Arc::ptr_eq(known, outbox))
    }
}

#[derive(Debug)]
struct Subscriber {
    structure: StructureId,
    target: Target,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Audience(Vec<Subscriber>);

impl Audience {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a subscriber of a topic that the partition knows.
    ///
    /// # Errors
    /// If it is no topic: nobody subscribes to it then.
    pub(super) fn add(
        &mut self,
        partition: &mut Partition,
        structure: StructureId,
        target: Target,
    ) -> Result<()> {
        self.0.push(Subscriber { structure, target });
        let counted = self.count(partition, structure);
        if counted.is_err() {
            self.0.retain(|s| s.structure != structure);
        }
        counted
    }

    /// Removes subscribers.
    pub(super) fn remove(&mut self, partition: &mut Partition, gone: impl Fn(&Target) -> bool) {
        let mut structures: Vec<StructureId> =
            self.0.extract_if(.., |s| gone(&s.target)).map(|s| s.structure).collect();
        structures.sort_unstable();
        structures.dedup();
        for structure in structures {
            // The topic was known when its subscriber came.
            let _ = self.count(partition, structure);
        }
    }

    fn count(&self, partition: &mut Partition, structure: StructureId) -> Result<()> {
        let count = self.0.iter().filter(|s| s.structure == structure).count();
        partition.set_subscribers(structure, count)
    }

    /// Delivers published items that are committed.
    pub(super) fn publish(&self, partition: &mut Partition, wakers: &mut Vec<Waker>) {
        while let Some(published) = partition.next_published() {
            let item = Blob { tag: published.tag, payload: &published.payload };
            let seq = published.seq.0;
            let theirs = self.0.iter().filter(|s| s.structure == published.structure);
            wakers.extend(theirs.filter_map(|subscriber| match &subscriber.target {
                Target::Connection(outbox, number) => {
                    outbox.event(*number, Event::Item { seq, item })
                }
                Target::Local(mailbox) => {
                    mailbox.deliver(RawEvent::Item { seq, item: BlobBuf::from(item) })
                }
            }));
        }
    }

    /// The items come from another member now.
    pub(super) fn dismiss(&mut self, wakers: &mut Vec<Waker>) {
        for subscriber in std::mem::take(&mut self.0) {
            match subscriber.target {
                Target::Connection(outbox, number) => {
                    wakers.extend(outbox.event(number, Event::Gap { missed: 0 }));
                }
                Target::Local(mailbox) => wakers.extend(mailbox.close()),
            }
        }
    }

    /// No item will come any more for the subscribers in this process.
    pub(super) fn close(&self) -> Vec<Waker> {
        let close = |subscriber: &Subscriber| match &subscriber.target {
            Target::Local(mailbox) => mailbox.close(),
            Target::Connection(..) => None,
        };
        self.0.iter().filter_map(close).collect()
    }
}
