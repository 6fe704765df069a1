//! A structure by name: its id, once known, and how to start an operation on it.

use super::buffers;
use super::future::{Decode, OpFuture, Operation};
use super::invoke::{BoxFuture, Call, Invoke, Started};
use crate::control::{StructureKind, check_name};
use crate::error::{Error, Result};
use crate::ids::{PartitionId, StructureId};
use crate::op::OpCode;
use crate::partitioning::partition_of_name;
use crate::read::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An id of a structure and the life of the cluster's data in which it was agreed.
#[derive(Clone, Copy)]
pub(super) struct Agreed {
    pub(super) structure: StructureId,
    pub(super) life: u32,
}

/// What the caller may choose for an operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    /// How long to wait; none: as configured.
    pub(super) timeout: Option<Duration>,
    pub(super) read: Read,
}

/// What the handles of one structure share.
pub(super) struct Named {
    pub(super) invoke: Arc<dyn Invoke>,
    name: Box<str>,
    kind: StructureKind,
    /// Partition of structures that live in one.
    pub(super) partition: PartitionId,
    /// Life of the cluster's data (high half, from 1) and the id in it (low half); 0: not known.
    known: AtomicU64,
}

impl Named {
    pub(super) fn new(invoke: &Arc<dyn Invoke>, name: &str, kind: StructureKind) -> Arc<Self> {
        Arc::new(Named {
            invoke: Arc::clone(invoke),
            name: name.into(),
            kind,
            partition: partition_of_name(name, invoke.partitions()),
            known: AtomicU64::new(0),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The id, if it is known in the present life of the cluster's data.
    #[inline]
    pub(super) fn id(&self) -> Option<Agreed> {
        let known = self.known.load(Ordering::Acquire);
        let life = self.invoke.life();
        #[allow(clippy::cast_possible_truncation)] // the low half
        let structure = StructureId(known as u32);
        (known >> 32 == u64::from(life) + 1).then_some(Agreed { structure, life })
    }

    fn learn(&self, Agreed { structure, life }: Agreed) {
        self.known.store((u64::from(life) + 1) << 32 | u64::from(structure.0), Ordering::Release);
    }

    /// Asks for the id and remembers it.
    pub(super) fn declare(
        self: &Arc<Self>,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Agreed>> {
        let this = Arc::clone(self);
        Box::pin(async move {
            check_name(&this.name)?;
            let life = this.invoke.life();
            let structure = this.invoke.declare(&this.name, this.kind, timeout).await?;
            let agreed = Agreed { structure, life };
            this.learn(agreed);
            Ok(agreed)
        })
    }

    /// Makes the id known, so that operations that are started together go out together.
    pub(super) async fn known(self: &Arc<Self>) -> Result<()> {
        if self.id().is_none() {
            self.declare(None).await?;
        }
        Ok(())
    }

    /// Starts an operation with these operands.
    #[inline(always)]
    pub(super) fn start<T>(
        self: &Arc<Self>,
        code: OpCode,
        partition: PartitionId,
        body: Result<Vec<u8>>,
        options: Options,
        decode: Decode<T>,
    ) -> OpFuture<T> {
        let body = match body {
            Ok(body) => body,
            Err(error) => return OpFuture::ready(Err(error)),
        };
        let Some(agreed) = self.id() else {
            let operation = Operation { code, partition, body, options, decode };
            return OpFuture::declaring(Arc::clone(self), operation);
        };
        let future = self.start_known(agreed, code, partition, &body, options, decode);
        if future.met_another_life() && self.id().is_none() {
            let operation = Operation { code, partition, body, options, decode };
            return OpFuture::declaring(Arc::clone(self), operation);
        }
        buffers::keep_operands(body);
        future
    }

    #[inline(always)]
    pub(super) fn start_known<T>(
        &self,
        Agreed { structure, life }: Agreed,
        code: OpCode,
        partition: PartitionId,
        body: &[u8],
        options: Options,
        decode: Decode<T>,
    ) -> OpFuture<T> {
        let Options { timeout, read } = options;
        let call = Call { code, partition, structure, life, body, timeout, read };
        let mut reply = buffers::answer();
        match self.invoke.start(&call, &mut reply) {
            Started::Ready(result) => {
                let result = result.and_then(|()| decode(&reply));
                buffers::keep_answer(reply);
                OpFuture::ready(result)
            }
            Started::Waiting(token) => {
                buffers::keep_answer(reply);
                OpFuture::waiting(Arc::clone(&self.invoke), token, decode)
            }
        }
    }

    pub(super) fn invalid<T>(error: Error) -> OpFuture<T> {
        OpFuture::ready(Err(error))
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
