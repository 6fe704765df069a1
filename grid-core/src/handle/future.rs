//! The future of an operation.

use super::buffers;
use super::invoke::{BoxFuture, Invoke, Token};
use super::named::{Agreed, Named, Options};
use crate::error::{Error, Kind, Result};
use crate::ids::PartitionId;
use crate::op::OpCode;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Turns the bytes of an answer into a value.
pub(super) type Decode<T> = fn(&[u8]) -> Result<T>;

/// An operation that cannot start yet.
pub(super) struct Operation<T> {
    pub(super) code: OpCode,
    pub(super) partition: PartitionId,
    pub(super) body: Vec<u8>,
    pub(super) options: Options,
    pub(super) decode: Decode<T>,
}

/// An operation that has been started. Dropping it stops the waiting, not the operation.
#[must_use = "an operation's outcome is known only to who awaits it"]
pub struct OpFuture<T>(State<T>);

enum State<T> {
    /// The answer was there at once, or has arrived.
    Ready(Option<Result<T>>),
    /// A member, here or elsewhere, will answer.
    Waiting { invoke: Arc<dyn Invoke>, token: Token, decode: Decode<T> },
    /// The name is looked up first.
    Declaring(Box<Declaring<T>>),
}

struct Declaring<T> {
    named: Arc<Named>,
    id: BoxFuture<Result<Agreed>>,
    operation: Operation<T>,
}

impl<T> OpFuture<T> {
    #[inline]
    pub(super) fn ready(result: Result<T>) -> Self {
        OpFuture(State::Ready(Some(result)))
    }

    pub(super) fn waiting(invoke: Arc<dyn Invoke>, token: Token, decode: Decode<T>) -> Self {
        OpFuture(State::Waiting { invoke, token, decode })
    }

    /// Looks the name up first. A member in this process knows it at once, and the operation starts now.
    #[cold]
    pub(super) fn declaring(named: Arc<Named>, operation: Operation<T>) -> Self {
        let id = named.declare(operation.options.timeout);
        let mut future = OpFuture(State::Declaring(Box::new(Declaring { named, id, operation })));
        let mut cx = Context::from_waker(Waker::noop());
        future.advance(&mut cx);
        future
    }

    /// Starts the operation if its name has been looked up.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let State::Declaring(waiting) = &mut self.0
            && let Poll::Ready(id) = waiting.id.as_mut().poll(cx)
        {
            let Operation { code, partition, body, options, decode } = &waiting.operation;
            let start =
                |id| waiting.named.start_known(id, *code, *partition, body, *options, *decode);
            *self = id.map_or_else(|error| OpFuture::ready(Err(error)), start);
        }
    }

    /// Whether the operation was refused because the id of its structure is of another life.
    pub(super) fn met_another_life(&self) -> bool {
        matches!(&self.0, State::Ready(Some(Err(error))) if error.kind() == Kind::UnknownStructure)
    }

    /// Whether the outcome is known already, so that awaiting it will not wait.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(Some(_)))
    }
}

impl<T> Future for OpFuture<T> {
    type Output = Result<T>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.0 {
                State::Ready(result) => {
                    let spent =
                        || Err(Error::with(Kind::Invalid, "the operation was awaited twice"));
                    return Poll::Ready(result.take().unwrap_or_else(spent));
                }
                State::Waiting { invoke, token, decode } => {
                    let mut reply = buffers::answer();
                    let Poll::Ready(result) = invoke.poll(*token, cx, &mut reply) else {
                        buffers::keep_answer(reply);
                        return Poll::Pending;
                    };
                    let result = result.and_then(|()| decode(&reply));
                    buffers::keep_answer(reply);
                    self.0 = State::Ready(None);
                    return Poll::Ready(result);
                }
                State::Declaring(_) => {
                    self.advance(cx);
                    if matches!(self.0, State::Declaring(_)) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<T> Unpin for OpFuture<T> {}

impl<T> Drop for OpFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { invoke, token, .. } = &self.0 {
            invoke.forget(*token);
        }
    }
}

impl<T> std::fmt::Debug for OpFuture<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "OpFuture::Ready",
            State::Waiting { .. } => "OpFuture::Waiting",
            State::Declaring(_) => "OpFuture::Declaring",
        })
    }
}
