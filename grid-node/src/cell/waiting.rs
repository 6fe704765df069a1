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
    reply: Box<[u8]>,
}

impl Parked {
    fn bytes(&self) -> usize {
        size_of::<Parked>() + self.reply.len()
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
    /// In the order of their gates.
    parked: VecDeque<Parked>,
    /// Replies to reads that wait for a barrier of the control log, by its number.
    unproven: VecDeque<(u64, Parked)>,
    /// Bytes that all of them take.
    bytes: usize,
}

impl Waiting {
    /// Whether what need not be answered is better refused.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > PARKED_BYTES_MAX
    }

    /// Whether anything waits for a barrier of the control log.
    pub(super) fn wants_proof(&self) -> bool {
        !self.unproven.is_empty()
    }

    /// Keeps a reply until what it waits for comes, and until those before it have left.
    pub(super) fn park(&mut self, shared: &Shared, wait: Wait, to: ReplyTo, reply: &[u8]) {
        let last = self.parked.back().map_or(Seq(0), |last| last.gate);
        let (gate, proof) = match wait {
            Wait::Commit(gate) => (last.max(gate), None),
            Wait::Proof(number) => (last, Some(number)),
        };
        let parked = Parked { gate, to, reply: reply.into() };
        self.bytes += parked.bytes();
        match proof {
            Some(number) => self.unproven.push_back((number, parked)),
            None => self.parked.push_back(parked),
        }
        shared.counters.parked.add(1);
    }

    /// Lets go the replies whose gate is open.
    pub(super) fn release(
        &mut self,
        shared: &Shared,
        replica: &mut Replica,
        wakers: &mut Vec<Waker>,
    ) {
        let committed = replica.partition().committed();
        while let Some(parked) = self.parked.pop_front_if(|front| front.gate <= committed) {
            self.bytes -= parked.bytes();
            wakers.extend(let_go(shared, parked));
        }
        while let Some((number, _)) = self.unproven.front() {
            let proof = replica.proof(*number);
            if proof == Proof::Waits {
                return;
            }
            let Some((_, parked)) = self.unproven.pop_front() else { return };
            self.bytes -= parked.bytes();
            wakers.extend(if proof == Proof::Proven {
                let_go(shared, parked)
            } else {
                let text = "a backup is silent, and the control log does not show who serves";
                let wait = Duration::from_millis(20);
                refuse(shared, parked, &Error::with(Kind::NotServing, text).retry_in(wait))
            });
        }
    }

    /// Nothing that waits here is answered any more by this member: whoever serves now knows.
    pub(super) fn depose(&mut self, shared: &Shared, wakers: &mut Vec<Waker>) {
        self.bytes = 0;
        let unproven = std::mem::take(&mut self.unproven).into_iter().map(|(_, parked)| parked);
        for parked in std::mem::take(&mut self.parked).into_iter().chain(unproven) {
            let error = Error::with(Kind::NotServing, "another member serves the partition now");
            wakers.extend(refuse(shared, parked, &error));
        }
    }
}

/// Lets a reply go.
fn let_go(shared: &Shared, parked: Parked) -> Option<Waker> {
    shared.counters.parked.add(-1);
    match parked.to {
        ReplyTo::Connection(outbox) => outbox.reply(&parked.reply),
        ReplyTo::Local(token) => shared.slots.complete(token, Ok(parked.reply)),
    }
}

/// Lets an error go instead of a reply.
fn refuse(shared: &Shared, parked: Parked, error: &Error) -> Option<Waker> {
    shared.counters.parked.add(-1);
    match parked.to {
        ReplyTo::Connection(outbox) => outbox.reply(&failed(&parked.reply, error)),
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
