//! The replies of a partition that wait for their gates.

use crate::outbox::Outbox;
use crate::shared::Shared;
use grid_core::error::{Error, Kind};
use grid_core::handle::Token;
use grid_core::ids::Seq;
use grid_core::limits::PARKED_BYTES_MAX;
use grid_core::wire::reply;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

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

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// In the order of their gates.
    parked: VecDeque<Parked>,
    bytes: usize,
}

impl Waiting {
    /// Whether what need not be answered is better refused.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > PARKED_BYTES_MAX
    }

    /// Keeps a reply until its gate opens, and until those before it have left.
    pub(super) fn park(&mut self, shared: &Shared, gate: Seq, to: ReplyTo, reply: &[u8]) {
        let gate = self.parked.back().map_or(gate, |last| last.gate.max(gate));
        let parked = Parked { gate, to, reply: reply.into() };
        self.bytes += parked.bytes();
        self.parked.push_back(parked);
        shared.counters.parked.add(1);
    }

    /// Lets go the replies whose gate is open.
    pub(super) fn release(&mut self, shared: &Shared, committed: Seq, wakers: &mut Vec<Waker>) {
        while let Some(parked) = self.parked.pop_front_if(|front| front.gate <= committed) {
            self.bytes -= parked.bytes();
            shared.counters.parked.add(-1);
            wakers.extend(match parked.to {
                ReplyTo::Connection(outbox) => outbox.reply(&parked.reply),
                ReplyTo::Local(token) => shared.slots.complete(token, Ok(parked.reply)),
            });
        }
    }

    /// Nothing that waits here is answered any more by this member: whoever serves now knows.
    pub(super) fn depose(&mut self, shared: &Shared, wakers: &mut Vec<Waker>) {
        self.bytes = 0;
        for parked in std::mem::take(&mut self.parked) {
            shared.counters.parked.add(-1);
            let error = Error::with(Kind::NotServing, "another member serves the partition now");
            wakers.extend(match parked.to {
                ReplyTo::Connection(outbox) => outbox.reply(&failed(&parked.reply, &error)),
                ReplyTo::Local(token) => shared.slots.complete(token, Err(error.maybe_applied())),
            });
        }
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
