//! Replies that wait in a cell, and how they leave.

use crate::outbox::Outbox;
use crate::shared::Shared;
use grid_core::error::Error;
use grid_core::handle::Token;
use grid_core::ids::Seq;
use grid_core::wire::reply;
use std::sync::Arc;
use std::task::Waker;

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) gate: Seq,
    pub(super) to: ReplyTo,
    pub(super) reply: Box<[u8]>,
}

impl Parked {
    pub(super) fn bytes(&self) -> usize {
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

/// Where a reply goes once its gate opens.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// A whole frame to a connection.
    Connection(Arc<Outbox>),
    /// An answer to a caller in this process.
    Local(Token),
}

/// Lets a reply go.
pub(super) fn let_go(shared: &Shared, parked: Parked) -> Option<Waker> {
    shared.counters.parked.add(-1);
    match parked.to {
        ReplyTo::Connection(outbox) => outbox.reply(&parked.reply),
        ReplyTo::Local(token) => shared.slots.complete(token, Ok(parked.reply)),
    }
}

/// Lets an error go instead of a reply.
pub(super) fn refuse(shared: &Shared, parked: Parked, error: Error) -> Option<Waker> {
    shared.counters.parked.add(-1);
    match parked.to {
        ReplyTo::Connection(outbox) => outbox.reply(&failed(&parked.reply, &error)),
        ReplyTo::Local(token) => shared.slots.complete(token, Err(error.maybe_applied())),
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
