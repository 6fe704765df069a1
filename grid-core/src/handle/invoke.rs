//! The seam between the handles and what carries out their operations: a member in this process, or
//! a client's connections.

use super::mailbox::Mailbox;
use crate::control::StructureKind;
use crate::error::Result;
use crate::ids::{PartitionId, StructureId};
use crate::op::OpCode;
use crate::read::Read;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A future on the heap, for what is rare.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One operation on one partition.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What to do.
    pub code: OpCode,
    /// Where.
    pub partition: PartitionId,
    /// With which structure.
    pub structure: StructureId,
    /// The [`Invoke::life`] in which that id was agreed. In any other it may be another structure: the
    /// call must be refused as `UnknownStructure`, by whoever knows for certain which life it reaches.
    pub life: u32,
    /// Operands, as [`crate::op`] encodes them.
    pub body: &'a [u8],
    /// How long the caller waits; none: as configured.
    pub timeout: Option<Duration>,
    /// What a read may return; writes are always linearizable.
    pub read: Read,
}

/// Names a started operation that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// How starting an operation went.
#[derive(Debug)]
pub enum Started {
    /// It has ended; an answer is in the reply buffer.
    Ready(Result<()>),
    /// It goes on; poll with this token.
    Waiting(Token),
}

/// Carries out operations.
pub trait Invoke: Send + Sync + 'static {
    /// Number of partitions of the cluster.
    fn partitions(&self) -> u16;

    /// Counts the lives of the cluster's data that this side has seen: ids of structures are valid
    /// within one.
    fn life(&self) -> u32;

    /// Starts an operation. An answer that is there at once is appended to `reply`.
    fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Started;

    /// Asks for the answer of a started operation; it is appended to `reply`. The token is void once
    /// this returned `Ready`.
    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>>;

    /// Nobody waits for this operation any more. It is not taken back.
    fn forget(&self, token: Token);

    /// The id of a name, agreed now if this is its first use. `timeout` as for a [`Call`].
    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>>;

    /// Delivers the items published to a topic from now on into a mailbox that holds at most
    /// `items_max`. Dropping the mailbox ends the subscription. `life` as in a [`Call`].
    fn subscribe(
        &self,
        structure: StructureId,
        life: u32,
        partition: PartitionId,
        items_max: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>>;
}
