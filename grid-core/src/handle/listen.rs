//! What happens to a cluster, as its members and clients learn of it: who joins and leaves, which data is
//! lost. Events come from comparing what is agreed now with what was agreed before, so that nothing is told
//! twice and nothing that lasts is left out.

use crate::control::ControlState;
use crate::ids::{MemberId, PartitionId};
use crate::wire::table::TableView;
use futures_core::Stream;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// Events that wait for a listener, unless it says otherwise.
const EVENTS_MAX: usize = 1024;

/// Something has happened to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A member is there.
    Joined {
        /// Its id, that of one process life.
        member: MemberId,
        /// Where it is reached, as `HOST:PORT`.
        address: String,
    },
    /// A member's process has ended, as the cluster has agreed: it was replaced by a newer life of its node,
    /// has left, or was removed. One that is only silent has not left.
    Left {
        /// Its id.
        member: MemberId,
        /// Where it was reached.
        address: String,
    },
    /// No replica of these partitions is left: operations on them are refused as `Lost`.
    PartitionsLost(Vec<PartitionId>),
    /// These partitions, lost before, have an owner again.
    PartitionsRecovered(Vec<PartitionId>),
    /// Nothing was left of any partition, and the data has begun anew, empty.
    BegunAnew,
    /// The listener was too slow and has missed so many events; what follows goes on behind them.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// What events are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    life: u64,
    members: BTreeMap<MemberId, String>,
    lost: BTreeSet<PartitionId>,
}

impl ClusterView {
    /// As a member knows it.
    #[must_use]
    pub fn of_state(state: &ControlState) -> Self {
        let members = state.members().iter().map(|(id, info)| (*id, info.address.clone()));
        let records = state.table().iter().zip((0..).map(PartitionId));
        ClusterView {
            life: state.life(),
            members: members.collect(),
            lost: records.filter(|(r, _)| r.lost).map(|(_, partition)| partition).collect(),
        }
    }

    /// As a client knows it.
    #[must_use]
    pub fn of_table(table: &TableView) -> Self {
        let members = table.members().iter().map(|known| (known.member, known.address.clone()));
        let partitions = (0..table.partitions()).map(PartitionId);
        ClusterView {
            life: table.life(),
            members: members.collect(),
            lost: partitions.filter(|partition| table.primary(*partition).is_none()).collect(),
        }
    }

    /// What has led from `before` to this.
    fn since(&self, before: &Self) -> Vec<ClusterEvent> {
        let mut events = Vec::new();
        for (member, address) in
            before.members.iter().filter(|(m, _)| !self.members.contains_key(m))
        {
            events.push(ClusterEvent::Left { member: *member, address: address.clone() });
        }
        for (member, address) in
            self.members.iter().filter(|(m, _)| !before.members.contains_key(m))
        {
            events.push(ClusterEvent::Joined { member: *member, address: address.clone() });
        }
        if self.life != before.life && before.life != 0 {
            events.push(ClusterEvent::BegunAnew);
        }
        let lost: Vec<_> = self.lost.difference(&before.lost).copied().collect();
        let recovered: Vec<_> = before.lost.difference(&self.lost).copied().collect();
        if !lost.is_empty() {
            events.push(ClusterEvent::PartitionsLost(lost));
        }
        if !recovered.is_empty() {
            events.push(ClusterEvent::PartitionsRecovered(recovered));
        }
        events
    }
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<ClusterEvent>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

#[derive(Debug)]
struct Listener {
    events_max: usize,
    inbox: Mutex<Inbox>,
}

impl Listener {
    fn deliver(&self, events: &[ClusterEvent]) -> Option<Waker> {
        let mut inbox = self.inbox.lock();
        for event in events {
            // Once something is missed, so is all that follows until the listener has caught up.
            if inbox.missed > 0 || inbox.events.len() >= self.events_max {
                inbox.missed += 1;
            } else {
                inbox.events.push_back(event.clone());
            }
        }
        if events.is_empty() { None } else { inbox.waker.take() }
    }

    fn take(inbox: &mut Inbox) -> Option<ClusterEvent> {
        inbox.events.pop_front().or_else(|| {
            let missed = std::mem::take(&mut inbox.missed);
            (missed > 0).then_some(ClusterEvent::Gap { missed })
        })
    }
}

/// What a member or a client has to tell its listeners.
#[derive(Debug, Default)]
pub struct Feed(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    view: ClusterView,
    listeners: Vec<Weak<Listener>>,
    closed: bool,
}

impl Feed {
    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.lock().listeners.iter().any(|listener| listener.strong_count() > 0)
    }

    /// This is how the cluster is now. Returns whom to wake once no lock is held.
    #[must_use = "the listeners are to be woken"]
    pub fn see(&self, view: ClusterView) -> Vec<Waker> {
        let mut told = self.0.lock();
        let events = view.since(&told.view);
        told.view = view;
        told.listeners.retain(|listener| listener.strong_count() > 0);
        let listeners = told.listeners.iter().filter_map(Weak::upgrade);
        listeners.filter_map(|listener| listener.deliver(&events)).collect()
    }

    /// Nothing will be told any more. Returns whom to wake once no lock is held.
    #[must_use = "the listeners are to be woken"]
    pub fn close(&self) -> Vec<Waker> {
        let mut told = self.0.lock();
        told.closed = true;
        let listeners = told.listeners.iter().filter_map(Weak::upgrade);
        let close = |listener: Arc<Listener>| {
            let mut inbox = listener.inbox.lock();
            inbox.closed = true;
            inbox.waker.take()
        };
        listeners.filter_map(close).collect()
    }

    /// A new listener, for which at most this many events wait (1024 if none is given). It is told first how
    /// the cluster is now: all members as [`ClusterEvent::Joined`], and what is lost.
    #[must_use]
    pub fn listen(&self, events_max: Option<usize>) -> ClusterEvents {
        let mut told = self.0.lock();
        let now = told.view.since(&ClusterView::default());
        let inbox = Inbox { events: now.into(), closed: told.closed, ..Inbox::default() };
        let events_max = events_max.unwrap_or(EVENTS_MAX).max(1);
        let listener = Arc::new(Listener { events_max, inbox: Mutex::new(inbox) });
        told.listeners.push(Arc::downgrade(&listener));
        ClusterEvents { listener }
    }
}

/// A stream of [`ClusterEvent`]s. It ends with the member or client that it is from.
#[derive(Debug)]
pub struct ClusterEvents {
    listener: Arc<Listener>,
}

impl ClusterEvents {
    /// The next event; none after the member or client was shut down.
    pub async fn next(&mut self) -> Option<ClusterEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<ClusterEvent> {
        Listener::take(&mut self.listener.inbox.lock())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<ClusterEvent>> {
        let mut inbox = self.listener.inbox.lock();
        match Listener::take(&mut inbox) {
            Some(event) => Poll::Ready(Some(event)),
            None if inbox.closed => Poll::Ready(None),
            None => {
                inbox.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for ClusterEvents {
    type Item = ClusterEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(members: &[u64], lost: &[u16]) -> ClusterView {
        ClusterView {
            life: 1,
            members: members.iter().map(|id| (MemberId(*id), format!("h:{id}"))).collect(),
            lost: lost.iter().map(|p| PartitionId(*p)).collect(),
        }
    }

    fn joined(id: u64) -> ClusterEvent {
        ClusterEvent::Joined { member: MemberId(id), address: format!("h:{id}") }
    }

    fn left(id: u64) -> ClusterEvent {
        ClusterEvent::Left { member: MemberId(id), address: format!("h:{id}") }
    }

    fn all(events: &mut ClusterEvents) -> Vec<ClusterEvent> {
        std::iter::from_fn(|| events.try_next()).collect()
    }

    #[test]
    fn a_listener_is_told_how_it_is_and_then_what_changes() {
        let feed = Feed::default();
        assert!(!feed.is_heard());
        assert!(feed.see(view(&[1, 2], &[5])).is_empty());
        let mut events = feed.listen(None);
        let five = || vec![PartitionId(5)];
        assert_eq!(all(&mut events), [joined(1), joined(2), ClusterEvent::PartitionsLost(five())]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(events.poll_event(&mut cx).is_pending());
        assert_eq!(feed.see(view(&[1, 3], &[])).len(), 1, "somebody waits");
        let recovered = ClusterEvent::PartitionsRecovered(five());
        assert_eq!(all(&mut events), [left(2), joined(3), recovered]);
        assert!(feed.see(view(&[1, 3], &[])).is_empty());
        assert_eq!(all(&mut events), []);
        drop(feed.see(ClusterView { life: 2, ..view(&[1, 3], &[]) }));
        assert_eq!(all(&mut events), [ClusterEvent::BegunAnew]);
        drop(feed.close());
        assert_eq!(events.poll_event(&mut cx), Poll::Ready(None));
        drop(events);
        assert!(!feed.is_heard());
    }

    #[test]
    fn a_slow_listener_is_told_how_many_it_misses() {
        let feed = Feed::default();
        let mut events = feed.listen(Some(2));
        for n in 1..=5 {
            drop(feed.see(view(&[n], &[])));
        }
        let gap = ClusterEvent::Gap { missed: 7 };
        assert_eq!(all(&mut events), [joined(1), left(1), gap]);
        drop(feed.see(view(&[], &[])));
        assert_eq!(all(&mut events), [left(5)], "and then goes on");
    }
}
