//! A partition behind its lock, with the replies that wait for it: [`Cell::submit`] is the only door for
//! operations.
//!
//! Locks: one cell at a time, a cell before an outbox or a slot, none over an await, and no user
//! code under it. What was let go is woken after the lock.

use crate::outbox::Outbox;
use crate::shared::Shared;
use grid_core::data::{Blob, BlobBuf};
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{Mailbox, RawEvent, Token};
use grid_core::ids::{MemberId, PartitionId, Seq, SessionId, StructureId};
use grid_core::limits::PARKED_BYTES_MAX;
use grid_core::partition::{Outcome, Partition, Request};
use grid_core::wire::event::Event;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// See the module documentation. Aligned so that neighbours do not share cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cell {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    partition: Partition,
    /// Replies in the order of their gates.
    parked: VecDeque<Parked>,
    /// Bytes that they take.
    parked_bytes: usize,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Parked {
    gate: Seq,
    to: ReplyTo,
    reply: Box<[u8]>,
}

impl Parked {
    fn bytes(&self) -> usize {
        size_of::<Parked>() + self.reply.len()
    }
}

/// Where a reply goes once its gate opens.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// A whole frame to a connection.
    Connection(Arc<Outbox>),
    /// An answer to a caller in this process.
    Local(Token),
}

#[derive(Debug)]
struct Subscriber {
    structure: StructureId,
    target: Target,
}

/// Who receives the items of a topic.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A connection, under the number that it chose.
    Connection(Arc<Outbox>, u64),
    /// A subscriber in this process.
    Local(Arc<Mailbox>),
}

impl Target {
    fn is(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Connection(a, m), Target::Connection(b, n)) => Arc::ptr_eq(a, b) && m == n,
            (Target::Local(a), Target::Local(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// How a submitted operation went.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// The reply is complete and may leave.
    Answered,
    /// The reply was taken and leaves when its gate opens.
    Parked,
    /// Nothing was applied.
    Refused(Error),
}

/// Where an operation writes its reply, and what becomes of it if it has to wait.
pub(crate) struct Reply<'r, F> {
    /// The buffer; the reply is what stands behind `at`.
    pub(crate) out: &'r mut Vec<u8>,
    /// Where it begins.
    pub(crate) at: usize,
    /// Completes the reply and says where it goes if it has to wait.
    pub(crate) seal: F,
}

impl Cell {
    pub(crate) fn new(partition: Partition) -> Self {
        Cell {
            state: Mutex::new(State {
                partition,
                parked: VecDeque::new(),
                parked_bytes: 0,
                subscribers: Vec::new(),
            }),
        }
    }

    /// Executes an operation. `alive` is asked under the lock: an operation of a session is not executed
    /// after the end of the session was logged here.
    #[inline]
    pub(crate) fn submit<F>(
        &self,
        shared: &Shared,
        request: &Request<'_>,
        alive: impl Fn() -> bool,
        mut reply: Reply<'_, F>,
    ) -> Submitted
    where
        F: FnMut(&mut Vec<u8>, usize, bool) -> Option<ReplyTo>,
    {
        let mut state = self.state.lock();
        let last = state.partition.last();
        let gate = loop {
            if !alive() {
                return Submitted::Refused(session_expired());
            }
            match state.partition.step(&shared.clock, request, reply.out) {
                Outcome::Answered(gate) => break gate,
                Outcome::Again => MutexGuard::bump(&mut state),
                Outcome::Refused(error) => {
                    let unknown = error.kind() == Kind::UnknownStructure;
                    if !unknown || !declare(shared, &mut state.partition, request.structure) {
                        return Submitted::Refused(error);
                    }
                }
            }
        };
        let waits = gate > state.partition.committed();
        // The replies of operations that were applied just now are bounded by the room of the ring.
        if waits && state.parked_bytes > PARKED_BYTES_MAX && state.partition.last() == last {
            return Submitted::Refused(too_many_wait(request));
        }
        let to = (reply.seal)(reply.out, reply.at, waits);
        let submitted = match to {
            Some(to) if waits => {
                let gate = state.parked.back().map_or(gate, |last| last.gate.max(gate));
                let bytes = reply.out.get(reply.at..).unwrap_or_default().into();
                state.park(Parked { gate, to, reply: bytes });
                reply.out.truncate(reply.at);
                shared.counters.parked.add(1);
                Submitted::Parked
            }
            _ => Submitted::Answered,
        };
        let mut wakers = Vec::new();
        if !state.subscribers.is_empty() {
            state.publish(&mut wakers);
        }
        leave(shared, state, wakers);
        submitted
    }

    /// Prefetches for an operation on a key, if nobody holds the cell just now.
    #[inline]
    pub(crate) fn prefetch(&self, structure: StructureId, hash: u64, index: bool) {
        if let Some(state) = self.state.try_lock() {
            state.partition.prefetch(structure, hash, index);
        }
    }

    /// A backup has everything up to `seq`: lets go what waited for it.
    pub(crate) fn acknowledge(&self, shared: &Shared, from: MemberId, seq: Seq) {
        let mut state = self.state.lock();
        if state.partition.acknowledge(from, seq) {
            let wakers = state.settle(shared);
            leave(shared, state, wakers);
        }
    }

    /// Number of subscribers of topics that live here.
    pub(crate) fn subscribers(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    /// Looks at the partition.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Partition) -> T) -> T {
        f(&self.state.lock().partition)
    }

    /// Runs `f` with the partition, and lets go what that has committed.
    pub(crate) fn with<T>(&self, shared: &Shared, f: impl FnOnce(&mut Partition) -> T) -> T {
        let mut state = self.state.lock();
        let result = f(&mut state.partition);
        let wakers = state.settle(shared);
        leave(shared, state, wakers);
        result
    }

    /// Removes expired entries, a bounded number at a time. Returns whether there is more to do.
    pub(crate) fn expire(&self, shared: &Shared) -> bool {
        self.with(shared, |partition| partition.expire(&shared.clock))
    }

    /// Logs the end of a session. Returns whether that was possible now.
    pub(crate) fn expire_session(&self, shared: &Shared, session: SessionId) -> bool {
        self.with(shared, |partition| partition.expire_session(&shared.clock, session).is_ok())
    }

    /// Adds a subscriber of a topic; items committed from now on go to it.
    pub(crate) fn subscribe(
        &self,
        shared: &Shared,
        structure: StructureId,
        target: Target,
    ) -> Result<()> {
        let mut state = self.state.lock();
        // Under the lock that [`Cell::close`] takes too: a subscriber is refused or closed.
        shared.check_open()?;
        if !state.partition.knows(structure) && !declare(shared, &mut state.partition, structure) {
            return Err(Error::with(Kind::UnknownStructure, format!("structure {structure}")));
        }
        state.subscribers.push(Subscriber { structure, target });
        state.count_subscribers(structure)
    }

    /// Removes a subscriber, if it is there.
    pub(crate) fn unsubscribe(&self, target: &Target) {
        self.drop_subscribers(|subscriber| !subscriber.target.is(target));
    }

    /// Removes all subscribers of a connection.
    pub(crate) fn forget_connection(&self, outbox: &Arc<Outbox>) {
        self.drop_subscribers(|subscriber| match &subscriber.target {
            Target::Connection(known, _) => !Arc::ptr_eq(known, outbox),
            Target::Local(_) => true,
        });
    }

    /// No item will come any more for the subscribers in this process.
    pub(crate) fn close(&self) {
        let wakers: Vec<Waker> = {
            let state = self.state.lock();
            let local =
                state.subscribers.iter().filter_map(|subscriber| match &subscriber.target {
                    Target::Local(mailbox) => mailbox.close(),
                    Target::Connection(..) => None,
                });
            local.collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn drop_subscribers(&self, keep: impl Fn(&Subscriber) -> bool) {
        let mut state = self.state.lock();
        let mut gone: Vec<StructureId> =
            state.subscribers.iter().filter(|s| !keep(s)).map(|s| s.structure).collect();
        gone.sort_unstable();
        gone.dedup();
        state.subscribers.retain(keep);
        for structure in gone {
            // The topic was known when its subscriber came.
            let _ = state.count_subscribers(structure);
        }
    }
}

/// Makes a structure known to a partition if the cluster has agreed on it and it belongs there.
#[cold]
fn declare(shared: &Shared, partition: &mut Partition, id: StructureId) -> bool {
    let Some(config) = shared.control.config_for(id, partition.id()) else { return false };
    partition.declare(id, &config);
    true
}

/// Ends the work in a cell: has the links look if there is something for them, and wakes who was let go.
#[inline]
fn leave(shared: &Shared, state: MutexGuard<'_, State>, wakers: Vec<Waker>) {
    let unacknowledged = state.partition.last() > state.partition.committed();
    let partition = state.partition.id();
    drop(state);
    if unacknowledged {
        shared.links.ready(partition);
    }
    wakers.into_iter().for_each(Waker::wake);
}

#[cold]
fn too_many_wait(request: &Request<'_>) -> Error {
    let text = "a backup is behind and too many answers of the partition wait for it";
    let error = Error::with(Kind::Overloaded, text).retry_in(std::time::Duration::from_millis(20));
    // It may be the repetition of a request that has taken effect.
    if request.stamp.is_some() { error.maybe_applied() } else { error }
}

#[cold]
pub(crate) fn session_expired() -> Error {
    Error::with(Kind::SessionExpired, "the member has ended it")
}

impl State {
    fn park(&mut self, parked: Parked) {
        self.parked_bytes += parked.bytes();
        self.parked.push_back(parked);
    }

    /// Lets go what is committed by now: replies and published items. Returns whom to wake.
    fn settle(&mut self, shared: &Shared) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.release(shared, &mut wakers);
        self.publish(&mut wakers);
        wakers
    }

    /// Lets go the replies whose gate is open.
    fn release(&mut self, shared: &Shared, wakers: &mut Vec<Waker>) {
        let committed = self.partition.committed();
        while self.parked.front().is_some_and(|front| front.gate <= committed) {
            let Some(parked) = self.parked.pop_front() else { return };
            self.parked_bytes -= parked.bytes();
            shared.counters.parked.add(-1);
            wakers.extend(match parked.to {
                ReplyTo::Connection(outbox) => outbox.reply(&parked.reply),
                ReplyTo::Local(token) => shared.slots.complete(token, Ok(parked.reply)),
            });
        }
    }

    /// Delivers published items that are committed.
    fn publish(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(published) = self.partition.next_published() {
            let item = Blob { tag: published.tag, payload: &published.payload };
            for subscriber in &self.subscribers {
                if subscriber.structure != published.structure {
                    continue;
                }
                let seq = published.seq.0;
                wakers.extend(match &subscriber.target {
                    Target::Connection(outbox, number) => {
                        outbox.event(*number, Event::Item { seq, item })
                    }
                    Target::Local(mailbox) => {
                        mailbox.deliver(RawEvent::Item { seq, item: BlobBuf::from(item) })
                    }
                });
            }
        }
    }

    fn count_subscribers(&mut self, structure: StructureId) -> Result<()> {
        let count = self.subscribers.iter().filter(|s| s.structure == structure).count();
        let result = self.partition.set_subscribers(structure, count);
        if result.is_err() {
            self.subscribers.retain(|s| s.structure != structure);
        }
        result
    }
}

/// The partition that a cell index stands for.
#[allow(clippy::cast_possible_truncation)] // there are at most PARTITION_COUNT_MAX cells
pub(crate) fn partition_at(index: usize) -> PartitionId {
    PartitionId(index as u16)
}
