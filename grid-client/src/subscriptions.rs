//! Subscriptions of a client: they outlive the connection that they were made on.

use grid_core::control::StructureKind;
use grid_core::handle::{Mailbox, RawEvent};
use grid_core::ids::{PartitionId, StructureId};
use grid_core::wire::control::Control;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    next: u64,
    running: BTreeMap<u64, Running>,
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) structure: StructureId,
    pub(crate) partition: PartitionId,
    pub(crate) name: (String, StructureKind),
    mailbox: Arc<Mailbox>,
}

impl Subscriptions {
    /// Adds one; returns its number.
    pub(crate) fn add(
        &mut self,
        structure: StructureId,
        partition: PartitionId,
        name: (String, StructureKind),
        mailbox: Arc<Mailbox>,
    ) -> u64 {
        self.next += 1;
        self.running.insert(self.next, Running { structure, partition, name, mailbox });
        self.next
    }

    /// Removes one.
    pub(crate) fn remove(&mut self, number: u64) -> bool {
        self.running.remove(&number).is_some()
    }

    /// Delivers an event; nobody's events are passed over. Returns whom to wake once no lock is held.
    #[must_use]
    pub(crate) fn deliver(&self, number: u64, event: RawEvent) -> Option<Waker> {
        self.running.get(&number)?.mailbox.deliver(event)
    }

    /// The messages that make the running subscriptions anew on another connection. Their subscribers are
    /// told that they have missed something.
    pub(crate) fn renew(&self, wakers: &mut Vec<Waker>) -> Vec<Control> {
        let renew = |(number, running): (&u64, &Running)| {
            wakers.extend(running.mailbox.deliver(RawEvent::Gap { missed: None }));
            Control::Subscribe {
                structure: running.structure,
                partition: running.partition,
                subscription: *number,
            }
        };
        self.running.iter().map(renew).collect()
    }

    /// The running subscriptions, to give them new ids.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        self.running.values_mut()
    }

    /// Ends all; returns their mailboxes, to be closed without a lock.
    pub(crate) fn take(&mut self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.running).into_values().map(|running| running.mailbox).collect()
    }
}
