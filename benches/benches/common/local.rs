//! The least that can stand behind the handles: partitions behind locks in this process. The floor
//! for what an embedded member costs.
#![allow(unreachable_pub)]

use grid_core::control::{MapConfig, QueueConfig, StructureConfig, StructureKind};
use grid_core::handle::{BoxFuture, Call, Invoke, Mailbox, Started, Token};
use grid_core::op::Op;
use grid_core::partition::{Env, Outcome, Partition, Request};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::{ManualClock, Millis};
use grid_core::{Error, Kind, PartitionId, Result, StructureId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

const PARTITIONS: u16 = 271;
const SEED: u64 = 42;

/// Partitions behind locks.
pub struct Local {
    cells: Vec<Mutex<Partition>>,
    names: Mutex<Vec<String>>,
    clock: ManualClock,
}

impl Local {
    /// Empty partitions, whose entries are in huge pages or not.
    pub fn new(huge_pages: bool) -> Arc<Self> {
        let ledger = Arc::new(Ledger::new(u64::MAX));
        let config = PoolConfig { huge_pages, ..PoolConfig::default() };
        let pool = Pool::new(&config, Arc::clone(&ledger)).unwrap();
        let env = Env { pool, ledger, seed: SEED };
        let cell = |id| Mutex::new(Partition::new(PartitionId(id), env.clone()));
        Arc::new(Local {
            cells: (0..PARTITIONS).map(cell).collect(),
            names: Mutex::default(),
            clock: ManualClock::at(Millis(1)),
        })
    }
}

impl Invoke for Local {
    fn partitions(&self) -> u16 {
        PARTITIONS
    }

    fn life(&self) -> u32 {
        0
    }

    #[inline]
    fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Started {
        let op = match Op::decode(call.code as u8, call.body) {
            Ok(op) => op,
            Err(error) => return Started::Ready(Err(error)),
        };
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure: call.structure, op, stamp: None, hash, again: false };
        let Some(cell) = self.cells.get(usize::from(call.partition.0)) else {
            return Started::Ready(Err(Error::new(Kind::NotServing)));
        };
        let mut partition = cell.lock();
        loop {
            match partition.step(&self.clock, &request, reply) {
                Outcome::Answered(_) => return Started::Ready(Ok(())),
                Outcome::Refused(error) => return Started::Ready(Err(error)),
                Outcome::Again => {}
            }
        }
    }

    fn poll(&self, _: Token, _: &mut Context<'_>, _: &mut Vec<u8>) -> Poll<Result<()>> {
        Poll::Ready(Err(Error::new(Kind::Internal)))
    }

    fn forget(&self, _: Token) {}

    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        _timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>> {
        let mut names = self.names.lock();
        let slot = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        let id = StructureId(u32::try_from(slot).unwrap());
        let config = match kind {
            StructureKind::Map => StructureConfig::Map(MapConfig::default()),
            StructureKind::Queue => StructureConfig::Queue(QueueConfig::default()),
            StructureKind::Topic => StructureConfig::Topic,
        };
        self.cells.iter().for_each(|cell| cell.lock().declare(id, &config));
        Box::pin(std::future::ready(Ok(id)))
    }

    fn subscribe(
        &self,
        _: StructureId,
        _: u32,
        _: PartitionId,
        _: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        Box::pin(std::future::ready(Err(Error::new(Kind::Invalid))))
    }
}
