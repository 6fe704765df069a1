//! The handles of an embedded member: operations run on the caller's thread, under the partition's
//! lock, without a hop. Only what waits for a backup gets a slot and a waker.

use crate::cell::{Reply, ReplyTo, Submitted, Target};
use crate::elsewhere::{Elsewhere, Sent};
use crate::shared::Shared;
use grid_core::control::StructureKind;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{BoxFuture, Call, Invoke, Mailbox, Started, Token};
use grid_core::ids::{PartitionId, StructureId};
use grid_core::limits::OUTSTANDING_MAX;
use grid_core::op::Op;
use grid_core::partition::Request;
use grid_core::store::hash64;
use grid_core::time::Nanos;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Operations of this process that wait for their gate.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    /// The member was shut down: nothing will be completed any more.
    closed: bool,
    next: u64,
    slots: HashMap<Token, Slot>,
}

#[derive(Debug)]
struct Slot {
    deadline: Instant,
    writes: bool,
    waker: Option<Waker>,
    done: Option<Result<Box<[u8]>>>,
}

impl Slots {
    fn is_full(&self) -> bool {
        self.state.lock().slots.len() >= OUTSTANDING_MAX
    }

    pub(crate) fn open(&self, deadline: Instant, writes: bool) -> Token {
        let mut state = self.state.lock();
        state.next += 1;
        let token = Token(state.next);
        let mut slot = Slot { deadline, writes, waker: None, done: None };
        if state.closed {
            slot.fail(closed());
        }
        state.slots.insert(token, slot);
        token
    }

    /// Hands an operation its answer. Returns whom to wake once no lock is held.
    #[must_use]
    pub(crate) fn complete(&self, token: Token, answer: Result<Box<[u8]>>) -> Option<Waker> {
        let mut state = self.state.lock();
        let slot = state.slots.get_mut(&token)?;
        slot.done.get_or_insert(answer);
        slot.waker.take()
    }

    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>> {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.get_mut(&token) else {
            return Poll::Ready(Err(Error::with(
                Kind::Invalid,
                "an operation that is not waiting",
            )));
        };
        let Some(done) = slot.done.take() else {
            slot.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.slots.remove(&token);
        Poll::Ready(done.map(|answer| reply.extend_from_slice(&answer)))
    }

    fn forget(&self, token: Token) {
        self.state.lock().slots.remove(&token);
    }

    /// Ends the waiting of operations whose deadline is over.
    pub(crate) fn expire(&self, now: Instant) {
        let error = || Error::with(Kind::Timeout, "a backup has not acknowledged in time");
        self.fail(self.state.lock(), |slot| slot.deadline <= now, error);
    }

    /// Ends the waiting of all operations, and of those that come later.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.fail(state, |_| true, closed);
    }

    fn fail(
        &self,
        mut state: MutexGuard<'_, SlotState>,
        which: impl Fn(&Slot) -> bool,
        error: impl Fn() -> Error,
    ) {
        let failing = state.slots.values_mut().filter(|slot| slot.done.is_none() && which(slot));
        let wakers: Vec<Waker> = failing.filter_map(|slot| slot.fail(error())).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Slot {
    /// A write whose gate has not opened may have been applied for good.
    fn fail(&mut self, error: Error) -> Option<Waker> {
        self.done = Some(Err(if self.writes { error.maybe_applied() } else { error }));
        self.waker.take()
    }
}

fn closed() -> Error {
    Error::with(Kind::Closed, "the member was shut down")
}

/// Tokens of operations that other members carry out.
const ELSEWHERE: u64 = 1 << 63;

/// The way from handles into the member of this process.
#[derive(Debug)]
pub(crate) struct Local {
    shared: Arc<Shared>,
    elsewhere: Elsewhere,
}

impl Local {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Local { elsewhere: Elsewhere::new(&shared), shared }
    }

    /// Ends what it has with other members.
    pub(crate) fn close(&self) {
        self.elsewhere.close();
    }

    #[inline]
    fn run(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Result<Option<Token>> {
        let shared = &*self.shared;
        shared.check_open()?;
        let op = Op::decode(call.code as u8, call.body)?;
        let cell = shared.cell(call.partition)?;
        if shared.links.any() && shared.slots.is_full() {
            return Err(Error::with(
                Kind::Overloaded,
                "too many operations of this process wait for backups",
            ));
        }
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, shared.env.seed));
        let structure = call.structure;
        let request = Request { structure, op, stamp: None, hash, again: false };
        let now = if shared.links.any() { shared.now() } else { Nanos(0) };
        let mut token = None;
        let seal = |_: &mut Vec<u8>, _: usize, waits: bool| {
            waits.then(|| {
                let deadline =
                    Instant::now() + call.timeout.unwrap_or(shared.settings.operation_timeout);
                ReplyTo::Local(*token.insert(shared.slots.open(deadline, call.code.writes())))
            })
        };
        let at = reply.len();
        let sealed = Reply { out: reply, at, writes: call.code.writes(), seal };
        match cell.submit(shared, now, (&request, call.read), || true, sealed) {
            Submitted::Answered => Ok(None),
            Submitted::Parked => Ok(token),
            Submitted::Refused(error) if error.kind() == Kind::NotServing => {
                Ok(match self.elsewhere.start(call, reply)? {
                    Sent::Done => None,
                    Sent::There(token) => Some(Token(token.0 | ELSEWHERE)),
                    Sent::Here(token) => Some(token),
                })
            }
            Submitted::Refused(error) => {
                shared.counters.refuse(error.kind());
                Err(error)
            }
        }
    }
}

impl Invoke for Local {
    fn partitions(&self) -> u16 {
        self.shared.cluster.partitions
    }

    fn life(&self) -> u32 {
        1
    }

    #[inline]
    fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Started {
        match self.run(call, reply) {
            Ok(None) => Started::Ready(Ok(())),
            Ok(Some(token)) => Started::Waiting(token),
            Err(error) => Started::Ready(Err(error)),
        }
    }

    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>> {
        if token.0 & ELSEWHERE != 0 {
            return self.elsewhere.poll(Token(token.0 & !ELSEWHERE), cx, reply);
        }
        self.shared.slots.poll(token, cx, reply)
    }

    fn forget(&self, token: Token) {
        if token.0 & ELSEWHERE != 0 {
            return self.elsewhere.forget(Token(token.0 & !ELSEWHERE));
        }
        self.shared.slots.forget(token);
    }

    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        Box::pin(async move {
            shared.check_open()?;
            let within = timeout.unwrap_or(shared.settings.operation_timeout);
            let (id, _) = shared.agreed.declare(&name, kind, within).await?;
            Ok(id)
        })
    }

    fn subscribe(
        &self,
        structure: StructureId,
        _life: u32,
        partition: PartitionId,
        items_max: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        let mailbox = Arc::new(Mailbox::new(items_max));
        let subscribe = || -> Result<Arc<Mailbox>> {
            let target = Target::Local(Arc::clone(&mailbox));
            self.shared.cell(partition)?.subscribe(&self.shared, structure, target)?;
            let (shared, weak) = (Arc::downgrade(&self.shared), Arc::downgrade(&mailbox));
            mailbox.on_leave(move || leave(&shared, &weak, partition));
            Ok(mailbox)
        };
        match subscribe() {
            Err(error) if error.kind() == Kind::NotServing => {
                self.elsewhere.subscribe(structure, partition, items_max)
            }
            result => Box::pin(std::future::ready(result)),
        }
    }
}

fn leave(shared: &Weak<Shared>, mailbox: &Weak<Mailbox>, partition: PartitionId) {
    if let (Some(shared), Some(mailbox)) = (shared.upgrade(), mailbox.upgrade())
        && let Ok(cell) = shared.cell(partition)
    {
        cell.unsubscribe(&Target::Local(mailbox));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::Applied;

    #[test]
    fn an_operation_that_is_parked_during_the_shutdown_does_not_wait_for_ever() {
        let slots = Slots::default();
        let deadline = Instant::now() + std::time::Duration::from_secs(600);
        let mut cx = Context::from_waker(Waker::noop());
        let before = slots.open(deadline, true);
        assert!(slots.poll(before, &mut cx, &mut Vec::new()).is_pending());
        slots.close();
        // The member was open when this one was looked at, and is closed when it is parked.
        let after = slots.open(deadline, false);
        for (token, applied) in [(before, Applied::Maybe), (after, Applied::No)] {
            match slots.poll(token, &mut cx, &mut Vec::new()) {
                Poll::Ready(Err(error)) => {
                    assert_eq!((error.kind(), error.applied()), (Kind::Closed, applied));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
