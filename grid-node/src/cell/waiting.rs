//! The replies of a partition that wait for their gates.

use crate::outbox::Outbox;
use crate::shared::Shared;
use grid_core::error::{Error, Kind};
use grid_core::handle::Token;
use grid_core::ids::Seq;
use grid_core::limits::PARKED_BYTES_MAX;
use grid_core::replica::{Proof, Replica};
use grid_core::wire::reply;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

/// Where a reply goes once its gate opens.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// A whole frame to a connection.
    Connection(Arc<Outbox>),
    /// An answer to a caller in this process.
    Local(Token),
}

#[derive(Debug)]
struct Parked {
    gate: Seq,
    to: ReplyTo,
    /// Bytes of the reply.
    len: usize,
}

/// Replies in the order in which they are to leave, their bytes one behind the other: what one thread parks
/// another one lets go, and memory that changes hands is dear.
#[derive(Debug, Default)]
struct Line {
    parked: VecDeque<Parked>,
    bytes: Vec<u8>,
    /// So many of the bytes have left.
    left: usize,
}

/// Bytes that have left are dropped when there are this many, and more than those that are there.
const LEFT_MAX: usize = 16 << 10;

impl Line {
    fn push(&mut self, gate: Seq, to: ReplyTo, reply: &[u8]) {
        self.bytes.extend_from_slice(reply);
        self.parked.push_back(Parked { gate, to, len: reply.len() });
    }

    /// Takes out the first one, if its gate is not above this.
    fn pop(&mut self, committed: Seq) -> Option<(ReplyTo, &[u8])> {
        self.tidy();
        let parked = self.parked.pop_front_if(|front| front.gate <= committed)?;
        let start = self.left;
        self.left += parked.len;
        Some((parked.to, self.bytes.get(start..self.left).unwrap_or_default()))
    }

    fn tidy(&mut self) {
        if self.parked.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(LEFT_MAX);
            self.left = 0;
        } else if self.left > LEFT_MAX && self.left > self.bytes.len() / 2 {
            self.bytes.drain(..self.left);
            self.left = 0;
        }
    }

    fn cost(&self) -> usize {
        self.bytes.len() - self.left + self.parked.len() * size_of::<Parked>()
    }
}

/// What a reply waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Until this is committed.
    Commit(Seq),
    /// For the end of this barrier of the control log.
    Proof(u64),
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// For what they saw to be committed.
    line: Line,
    /// Replies to reads that wait for a barrier of the control log: its number stands for the gate.
    unproven: Line,
    /// How many there are of both, for those who look without the cell's lock.
    count: Arc<AtomicUsize>,
}

impl Waiting {
    /// Whether what need not be answered is better refused.
    pub(super) fn is_full(&self) -> bool {
        self.line.cost() + self.unproven.cost() > PARKED_BYTES_MAX
    }

    /// Whether anything waits for a barrier of the control log.
    pub(super) fn wants_proof(&self) -> bool {
        !self.unproven.parked.is_empty()
    }

    /// Keeps a reply until what it waits for comes, and until those before it have left.
    pub(super) fn park(&mut self, wait: Wait, to: ReplyTo, reply: &[u8]) {
        let (line, gate) = match wait {
            Wait::Commit(gate) => (&mut self.line, gate),
            Wait::Proof(number) => (&mut self.unproven, Seq(number)),
        };
        let last = line.parked.back().map_or(Seq(0), |last| last.gate);
        line.push(last.max(gate), to, reply);
        self.tell();
    }

    /// Follows how many there are.
    pub(super) fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// Only who has the cell's lock writes: no other thread's count is in the way.
    fn tell(&self) {
        let count = self.line.parked.len() + self.unproven.parked.len();
        self.count.store(count, Ordering::Release);
    }

    /// Lets go the replies whose gate is open.
    pub(super) fn release(
        &mut self,
        shared: &Shared,
        replica: &mut Replica,
        wakers: &mut Vec<Waker>,
    ) {
        let committed = replica.partition().committed();
        while let Some((to, reply)) = self.line.pop(committed) {
            wakers.extend(let_go(shared, to, reply));
        }
        while let Some(number) = self.unproven.parked.front().map(|front| front.gate) {
            let proof = replica.proof(number.0);
            if proof == Proof::Waits {
                break;
            }
            let Some((to, reply)) = self.unproven.pop(number) else { break };
            wakers.extend(if proof == Proof::Proven {
                let_go(shared, to, reply)
            } else {
                let text = "a backup is silent, and the control log does not show who serves";
                let wait = Duration::from_millis(20);
                refuse(shared, to, reply, &Error::with(Kind::NotServing, text).retry_in(wait))
            });
        }
        self.tell();
    }

    /// Nothing that waits here is answered any more by this member: whoever serves now knows.
    pub(super) fn depose(&mut self, shared: &Shared, wakers: &mut Vec<Waker>) {
        for line in [&mut self.line, &mut self.unproven] {
            while let Some((to, reply)) = line.pop(Seq(u64::MAX)) {
                let text = "another member serves the partition now";
                let error = Error::with(Kind::NotServing, text);
                wakers.extend(refuse(shared, to, reply, &error));
            }
        }
        self.tell();
    }
}

/// Lets a reply go.
fn let_go(shared: &Shared, to: ReplyTo, reply: &[u8]) -> Option<Waker> {
    match to {
        ReplyTo::Connection(outbox) => outbox.reply(reply),
        ReplyTo::Local(token) => shared.slots.complete(token, Ok(reply.into())),
    }
}

/// Lets an error go instead of a reply.
fn refuse(shared: &Shared, to: ReplyTo, reply: &[u8], error: &Error) -> Option<Waker> {
    match to {
        ReplyTo::Connection(outbox) => outbox.reply(&failed(reply, error)),
        ReplyTo::Local(token) => shared.slots.complete(token, Err(error.clone().maybe_applied())),
    }
}

/// The reply that says the error, instead of a whole reply to the same request.
fn failed(frame: &[u8], error: &Error) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(Ok((header, _))) = frame.get(grid_core::wire::LEN_BYTES..).map(reply::decode) {
        let at = reply::begin(header.request, header.attempt, header.applied, &mut out);
        reply::fail(&error.clone().maybe_applied(), at, &mut out);
    }
    out
}
