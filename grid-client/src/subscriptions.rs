//! Subscriptions of a client: they outlive the connections that they are made on.

use grid_core::control::StructureKind;
use grid_core::handle::{Mailbox, RawEvent};
use grid_core::ids::{PartitionId, StructureId};
use grid_core::wire::control::Control;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// A connection: its lane and its number.
pub(crate) type Place = (usize, u64);

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    next: u64,
    all: BTreeMap<u64, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    /// Its id in the present life; none until it is declared anew.
    structure: Option<StructureId>,
    partition: PartitionId,
    name: (String, StructureKind),
    mailbox: Arc<Mailbox>,
    /// The connection that it was made on, or is being made on.
    at: Option<Place>,
    /// It has been made once, so that a later pause is a gap.
    begun: bool,
    /// The subscriber knows of the gap, and nothing has come since.
    gap_told: bool,
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
        let structure = Some(structure);
        let (at, begun, gap_told) = (None, false, false);
        let subscription =
            Subscription { structure, partition, name, mailbox, at, begun, gap_told };
        self.all.insert(self.next, subscription);
        self.next
    }

    /// Removes one; returns the connection that has to be told.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Place> {
        self.all.remove(&number)?.at
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether a subscription lives in one of these partitions' lane.
    pub(crate) fn any_in(&self, mut lane_of: impl FnMut(PartitionId) -> bool) -> bool {
        self.all.values().any(|subscription| lane_of(subscription.partition))
    }

    /// A subscription is being made on this connection.
    pub(crate) fn asked(&mut self, number: u64, at: Place) {
        if let Some(subscription) = self.all.get_mut(&number) {
            subscription.at = Some(at);
        }
    }

    /// A subscription was made on this connection. If it has left it meanwhile, it has missed something
    /// already. Returns whom to wake once no lock is held.
    #[must_use]
    pub(crate) fn made(&mut self, number: u64, at: Place) -> Option<Waker> {
        let subscription = self.all.get_mut(&number)?;
        subscription.begun = true;
        if subscription.at == Some(at) || std::mem::replace(&mut subscription.gap_told, true) {
            return None;
        }
        subscription.mailbox.deliver(RawEvent::Gap { missed: None })
    }

    /// A subscription could not be made on this connection.
    pub(crate) fn refused(&mut self, number: u64, at: Place) {
        if let Some(subscription) = self.all.get_mut(&number).filter(|s| s.at == Some(at)) {
            subscription.at = None;
        }
    }

    /// Delivers an event that came on this connection; nobody's events are passed over. Returns whom to wake
    /// once no lock is held.
    #[must_use]
    pub(crate) fn deliver(&mut self, number: u64, from: Place, event: RawEvent) -> Option<Waker> {
        let subscription = self.all.get_mut(&number).filter(|s| s.at == Some(from))?;
        subscription.gap_told = false;
        subscription.mailbox.deliver(event)
    }

    /// Takes subscriptions from their connections: all for which `leaves` says so. Their subscribers are told
    /// that they will miss something. Returns what they have left.
    pub(crate) fn detach(
        &mut self,
        leaves: impl Fn(PartitionId, Place) -> bool,
        wakers: &mut Vec<Waker>,
    ) -> Vec<(u64, Place)> {
        let mut left = Vec::new();
        for (number, subscription) in &mut self.all {
            let Some(at) = subscription.at.filter(|at| leaves(subscription.partition, *at)) else {
                continue;
            };
            subscription.at = None;
            left.push((*number, at));
            if subscription.begun && !std::mem::replace(&mut subscription.gap_told, true) {
                wakers.extend(subscription.mailbox.deliver(RawEvent::Gap { missed: None }));
            }
        }
        left
    }

    /// What makes the begun subscriptions that have no connection anew.
    pub(crate) fn to_renew(&self) -> Vec<(u64, Control)> {
        let message = |(number, subscription): (&u64, &Subscription)| {
            let begun = subscription.begun && subscription.at.is_none();
            let structure = subscription.structure.filter(|_| begun)?;
            let (partition, subscription) = (subscription.partition, *number);
            Some((*number, Control::Subscribe { structure, partition, subscription }))
        };
        self.all.iter().filter_map(message).collect()
    }

    /// The structures' ids are void. Returns the names to be declared anew; what was not begun is dropped.
    pub(crate) fn forget_ids(&mut self) -> Vec<(String, StructureKind)> {
        self.all.retain(|_, subscription| subscription.begun);
        let mut names: Vec<_> = self.all.values().map(|s| s.name.clone()).collect();
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        names.dedup();
        self.all.values_mut().for_each(|subscription| subscription.structure = None);
        names
    }

    /// A name has this id now.
    pub(crate) fn learn(&mut self, name: &str, structure: StructureId) {
        for subscription in self.all.values_mut().filter(|s| s.name.0 == name) {
            subscription.structure = Some(structure);
        }
    }

    /// Ends all; returns their mailboxes, to be closed without a lock.
    pub(crate) fn take(&mut self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.all).into_values().map(|running| running.mailbox).collect()
    }
}
