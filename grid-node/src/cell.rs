//! A partition behind its lock, with the replies that wait for it: [`Cell::submit`] is the only door for
//! operations.
//!
//! Locks: one cell at a time, a cell before an outbox or a slot, none over an await, and no user
//! code under it. What was let go is woken after the lock.

mod audience;
mod waiting;

pub(crate) use audience::Target;
pub(crate) use waiting::ReplyTo;

use crate::links::Link;
use crate::outbox::Outbox;
use crate::shared::Shared;
use audience::Audience;
use grid_core::Read;
use grid_core::control::{Change, Record};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, MemberId, PartitionId, Seq, SessionId, StructureId, Term, Version};
use grid_core::partition::{Partition, Request};
use grid_core::replica::{Answer, Context, Done, Replica};
use grid_core::time::Nanos;
use grid_core::wire::link::Message;
use grid_core::wire::{begin_frame, end_frame};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use waiting::{Wait, Waiting};

/// See the module documentation. Aligned so that neighbours do not share cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cell {
    state: Mutex<State>,
    /// How many replies wait here.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    replica: Replica,
    /// The ways to those who follow this replica.
    links: Vec<Arc<Link>>,
    /// What has come was not acknowledged yet.
    ack_due: Option<Term>,
    /// Whether it served when somebody looked last.
    served: bool,
    waiting: Waiting,
    audience: Audience,
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
    /// Whether the operation can change anything. What is logged for a read only proves who leads.
    pub(crate) writes: bool,
    /// Completes the reply and says where it goes if it has to wait.
    pub(crate) seal: F,
}

impl Cell {
    pub(crate) fn new(replica: Replica) -> Self {
        let waiting = Waiting::default();
        Cell {
            waiting: waiting.count(),
            state: Mutex::new(State {
                replica,
                links: Vec::new(),
                ack_due: None,
                served: false,
                waiting,
                audience: Audience::default(),
            }),
        }
    }

    /// Replies that wait here, without the lock.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Executes an operation that arrived before `now`. `alive` is asked under the lock: an operation of a
    /// session is not executed after the end of the session was logged here.
    #[inline]
    pub(crate) fn submit<F>(
        &self,
        shared: &Shared,
        now: Nanos,
        (request, read): (&Request<'_>, Read),
        alive: impl Fn() -> bool,
        mut reply: Reply<'_, F>,
    ) -> Submitted
    where
        F: FnMut(&mut Vec<u8>, usize, bool) -> Option<ReplyTo>,
    {
        let cx = shared.context(now);
        let mut state = self.state.lock();
        let last = state.replica.last();
        let wait = loop {
            if !alive() {
                return Submitted::Refused(session_expired());
            }
            match state.replica.submit(&cx, request, read, reply.out) {
                Done::Answered(gate) => break Wait::Commit(gate),
                Done::Unproven(number) => break Wait::Proof(number),
                Done::Again => MutexGuard::bump(&mut state),
                Done::Refused(error) => {
                    let unknown = error.kind() == Kind::UnknownStructure;
                    if !unknown || !declare(&cx, &mut state.replica, request.structure) {
                        return Submitted::Refused(error);
                    }
                }
            }
        };
        let waits = match wait {
            Wait::Commit(gate) => gate > state.replica.partition().committed(),
            Wait::Proof(_) => true,
        };
        // The replies of operations that were applied just now are bounded by the room of the ring.
        let applied = reply.writes && state.replica.last() > last;
        if waits && state.waiting.is_full() && !applied {
            return Submitted::Refused(too_many_wait(request));
        }
        let to = (reply.seal)(reply.out, reply.at, waits);
        let submitted = match to {
            Some(to) if waits => {
                let bytes = reply.out.get(reply.at..).unwrap_or_default();
                state.waiting.park(wait, to, bytes);
                reply.out.truncate(reply.at);
                Submitted::Parked
            }
            _ => Submitted::Answered,
        };
        let mut wakers = Vec::new();
        if !state.audience.is_empty() {
            let State { replica, audience, .. } = &mut *state;
            audience.publish(replica.partition_mut(), &mut wakers);
        }
        leave(state, last, wakers);
        submitted
    }

    /// Prefetches for an operation on a key, if nobody holds the cell just now.
    #[inline]
    pub(crate) fn prefetch(&self, structure: StructureId, hash: u64, index: bool) {
        if let Some(state) = self.state.try_lock() {
            state.replica.partition().prefetch(structure, hash, index);
        }
    }

    /// As [`Cell::prefetch`] of an index, for a write of a session.
    #[inline]
    pub(crate) fn prefetch_write(&self, structure: StructureId, hash: u64, session: SessionId) {
        if let Some(state) = self.state.try_lock() {
            let partition = state.replica.partition();
            partition.prefetch_session(session);
            partition.prefetch(structure, hash, true);
        }
    }

    /// Prefetches for records that are to be applied, if nobody holds the cell just now; first what finds
    /// their entries, which are added to `entries`.
    #[inline]
    pub(crate) fn prefetch_records(&self, records: &[u8], entries: &mut Vec<(StructureId, u64)>) {
        if let Some(state) = self.state.try_lock() {
            state.replica.partition().prefetch_records(records, entries);
        }
    }

    /// Then the entries themselves.
    #[inline]
    pub(crate) fn prefetch_entries(&self, entries: &[(StructureId, u64)]) {
        if let Some(state) = self.state.try_lock() {
            state.replica.partition().prefetch_entries(entries);
        }
    }

    /// Takes a message of another member. An answer that cannot wait is appended to `out`; returns whether an
    /// acknowledgement is due.
    pub(crate) fn handle(
        &self,
        shared: &Shared,
        from: MemberId,
        message: &Message<'_>,
        now: Nanos,
        out: Option<&mut Vec<u8>>,
    ) -> bool {
        let cx = shared.context(now);
        let mut state = self.state.lock();
        let last = state.replica.last();
        let answer = match state.replica.handle(from, message, &cx) {
            Ok(answer) => answer,
            Err(error) => {
                let partition = message.partition;
                tracing::warn!(%partition, %from, %error, "what another member sent cannot be used");
                Answer::Nothing
            }
        };
        let collected = matches!(message.body, grid_core::wire::link::Body::Collected { .. });
        if collected || answer == Answer::Committed {
            // A takeover may be complete, a handover may have nothing left to wait for.
            let _ = state.replica.tick(&cx, &mut shared.leases.lock(), &mut |to, bytes| {
                shared.post(to, bytes);
            });
        }
        let mut due = false;
        match (answer, out) {
            (Answer::Ack(term), Some(_)) => {
                state.ack_due = Some(term);
                due = true;
            }
            (Answer::Restart(_) | Answer::Collected(..), Some(out)) => {
                let at = begin_frame(out);
                state.replica.write_answer(answer, &cx, out);
                end_frame(out, at);
            }
            _ => {}
        }
        let wakers = state.settle(shared, &cx);
        leave(state, last, wakers);
        due
    }

    /// Appends the acknowledgement that is due.
    pub(crate) fn acknowledge(&self, shared: &Shared, now: Nanos, out: &mut Vec<u8>) {
        let mut state = self.state.lock();
        if let Some(term) = state.ack_due.take() {
            let at = begin_frame(out);
            state.replica.write_answer(Answer::Ack(term), &shared.context(now), out);
            end_frame(out, at);
        }
    }

    /// Appends the next message for a follower. Returns whether there is more.
    pub(crate) fn pull(&self, link: &Link, bytes: usize, now: Nanos, out: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        let at = begin_frame(out);
        let begin = &mut || link.begin_copy();
        let more = state.replica.pull(link.member, bytes, now, begin, out);
        if more {
            end_frame(out, at);
        } else {
            out.truncate(at);
        }
        more
    }

    /// The connection to a member is a new one: what it has not acknowledged is sent again.
    pub(crate) fn rewind(&self, shared: &Shared, to: MemberId) {
        let mut state = self.state.lock();
        state.replica.rewind(to);
        state.relink(shared);
        state.name();
    }

    /// Follows the table.
    pub(crate) fn learn(&self, shared: &Shared, record: &Record, now: Nanos) {
        let cx = shared.context(now);
        let mut state = self.state.lock();
        state.replica.learn(record, &cx, &mut shared.leases.lock());
        let wakers = state.settle(shared, &cx);
        state.name();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Does what is due by the clock. Returns what to propose.
    pub(crate) fn tick(&self, shared: &Shared, now: Nanos) -> Option<(Version, Change)> {
        let cx = shared.context(now);
        let mut state = self.state.lock();
        let change = state.replica.tick(&cx, &mut shared.leases.lock(), &mut |to, bytes| {
            shared.post(to, bytes);
        });
        let wakers = state.settle(shared, &cx);
        state.name();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        change
    }

    /// The barrier of the control log that reads wait for: to be begun now.
    pub(crate) fn begin_barrier(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.waiting.wants_proof() { state.replica.begin_barrier() } else { None }
    }

    /// It has ended, with this record of the table, or in vain.
    pub(crate) fn barrier_done(&self, shared: &Shared, number: u64, record: Option<&Record>) {
        let cx = shared.context(shared.now());
        let mut state = self.state.lock();
        state.replica.barrier_done(number, record);
        let wakers = state.settle(shared, &cx);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Members that are being copied to.
    pub(crate) fn copying(&self, mut found: impl FnMut(MemberId)) {
        let state = self.state.lock();
        state.replica.followers().iter().filter(|f| f.is_copying()).for_each(|f| found(f.member));
    }

    /// Looks at the replica.
    pub(crate) fn look<T>(&self, f: impl FnOnce(&Replica) -> T) -> T {
        f(&self.state.lock().replica)
    }

    /// Number of subscribers of topics that live here.
    pub(crate) fn subscribers(&self) -> usize {
        self.state.lock().audience.len()
    }

    /// Looks at the partition.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Partition) -> T) -> T {
        f(self.state.lock().replica.partition())
    }

    /// Runs `f` with the partition, if it is served here, and lets go what that has committed.
    fn with<T>(&self, shared: &Shared, f: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        let mut state = self.state.lock();
        if !state.replica.serves() {
            return None;
        }
        let last = state.replica.last();
        let result = f(state.replica.partition_mut());
        let wakers = state.settle(shared, &shared.context(shared.now()));
        leave(state, last, wakers);
        Some(result)
    }

    /// Removes expired entries, a bounded number at a time. Returns whether there is more to do.
    pub(crate) fn expire(&self, shared: &Shared) -> bool {
        self.with(shared, |partition| partition.expire(&shared.clock)) == Some(true)
    }

    /// Logs the end of a session, if the partition is served here. Returns whether that was possible now.
    pub(crate) fn expire_session(&self, shared: &Shared, session: SessionId, index: Index) -> bool {
        let log = |p: &mut Partition| p.expire_session(&shared.clock, session, index).is_ok();
        self.with(shared, log) != Some(false)
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
        if !state.replica.serves() {
            return Err(Error::with(Kind::NotServing, "another member serves the partition"));
        }
        let cx = shared.context(Nanos(0));
        if !state.replica.partition().knows(structure)
            && !declare(&cx, &mut state.replica, structure)
        {
            return Err(Error::with(Kind::UnknownStructure, format!("structure {structure}")));
        }
        let State { replica, audience, .. } = &mut *state;
        audience.add(replica.partition_mut(), structure, target)
    }

    /// Removes a subscriber, if it is there.
    pub(crate) fn unsubscribe(&self, target: &Target) {
        self.dismiss(|known| known.is(target));
    }

    /// Removes all subscribers of a connection.
    pub(crate) fn forget_connection(&self, outbox: &Arc<Outbox>) {
        self.dismiss(|known| known.is_on(outbox));
    }

    fn dismiss(&self, gone: impl Fn(&Target) -> bool) {
        let State { replica, audience, .. } = &mut *self.state.lock();
        audience.remove(replica.partition_mut(), gone);
    }

    /// No item will come any more for the subscribers in this process.
    pub(crate) fn close(&self) {
        let wakers = self.state.lock().audience.close();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Makes a structure known to a partition if the cluster has agreed on it and it belongs there.
#[cold]
fn declare(cx: &Context<'_>, replica: &mut Replica, id: StructureId) -> bool {
    let Some(config) = cx.structures.config(id, replica.partition().id()) else { return false };
    replica.partition_mut().declare(id, &config);
    true
}

/// Ends the work in a cell: has the links look if there is something new for them, and wakes who was let
/// go.
#[inline]
fn leave(state: MutexGuard<'_, State>, last: Seq, wakers: Vec<Waker>) {
    if state.replica.last() > last {
        state.name();
    }
    drop(state);
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
    /// Names the partition to those who follow it.
    #[inline]
    fn name(&self) {
        for link in &self.links {
            link.ready(self.replica.partition().id());
        }
    }

    /// Takes notice of who follows.
    fn relink(&mut self, shared: &Shared) {
        let followers = self.replica.followers();
        let same = followers.len() == self.links.len()
            && followers.iter().zip(&self.links).all(|(f, link)| f.member == link.member);
        if !same {
            self.links = followers.iter().filter_map(|f| shared.links.get(f.member)).collect();
        }
    }

    /// Lets go what is committed by now: replies and published items. If this replica serves no longer,
    /// what waits is told so. Returns whom to wake.
    fn settle(&mut self, shared: &Shared, cx: &Context<'_>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let serves = self.replica.is_serving();
        if serves != self.served {
            self.served = serves;
            if serves {
                self.begin_to_serve(shared, cx);
            } else {
                self.waiting.depose(shared, &mut wakers);
                self.audience.dismiss(&mut wakers);
            }
        }
        self.relink(shared);
        self.waiting.release(shared, &mut self.replica, &mut wakers);
        self.audience.publish(self.replica.partition_mut(), &mut wakers);
        wakers
    }

    /// A new primary looks which of the sessions that are remembered here have ended.
    fn begin_to_serve(&mut self, shared: &Shared, cx: &Context<'_>) {
        let ended: Vec<SessionId> = shared.agreed.read(|state| {
            let known = self.replica.partition().sessions();
            known.filter(|id| id.0 <= cx.applied.0 && !state.has_session(*id)).collect()
        });
        let partition = self.replica.partition().id();
        for session in ended {
            shared.sessions.to_forget.lock().push((partition, session, cx.applied));
        }
    }
}

/// The partition that a cell index stands for.
#[allow(clippy::cast_possible_truncation)] // there are at most PARTITION_COUNT_MAX cells
pub(crate) fn partition_at(index: usize) -> PartitionId {
    PartitionId(index as u16)
}
