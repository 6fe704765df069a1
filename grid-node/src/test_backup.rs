//! A second replica of every partition in the same process, whose acknowledgements a test commands:
//! at once, late, out of order, or never. Operations pass through the same shell as with a backup on
//! another machine: ring, cursor, commit gate, parked replies, wake-ups across threads.

use crate::cell::partition_at;
use crate::shared::Shared;
use grid_core::error::Kind;
use grid_core::ids::{MemberId, PartitionId, Seq};
use grid_core::partition::Partition;
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;

/// Bytes copied from a partition at a time.
const COPY_BYTES: usize = 256 << 10;

/// See the module documentation.
#[derive(Debug)]
pub struct TestBackup {
    member: MemberId,
    primary: OnceLock<Weak<Shared>>,
    replicas: OnceLock<Vec<Mutex<Partition>>>,
    state: Mutex<State>,
    held: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    acks: Acks,
    waiting: Vec<(PartitionId, Seq)>,
}

/// What a test backup does with its acknowledgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// It sends them at once.
    #[default]
    AtOnce,
    /// It keeps them until [`TestBackup::release`].
    Held,
    /// It takes no records and sends nothing, for ever.
    Dead,
}

impl TestBackup {
    /// A backup that begins like this.
    #[must_use]
    pub fn new(acks: Acks) -> Arc<Self> {
        Arc::new(TestBackup {
            member: MemberId(u64::MAX),
            primary: OnceLock::new(),
            replicas: OnceLock::new(),
            state: Mutex::new(State { acks, waiting: Vec::new() }),
            held: Condvar::new(),
            thread: Mutex::default(),
        })
    }

    /// Changes what happens to acknowledgements from now on; those held stay so.
    pub fn set(&self, acks: Acks) {
        self.state.lock().acks = acks;
    }

    /// Waits until at least this many acknowledgements are held.
    pub fn wait_for_held(&self, count: usize) {
        let mut state = self.state.lock();
        while state.waiting.len() < count {
            self.held.wait(&mut state);
        }
    }

    /// Sends the acknowledgements that are held, the newest first: the older ones come late then.
    pub fn release(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        let Some(shared) = self.primary.get().and_then(Weak::upgrade) else { return };
        for (partition, seq) in waiting.into_iter().rev() {
            acknowledge(&shared, self.member, partition, seq);
        }
    }

    /// Partitions in which this replica differs from the primary at an equal `seq`, and how many were
    /// compared.
    #[must_use]
    pub fn differences(&self) -> (Vec<PartitionId>, usize) {
        let (mut different, mut compared) = (Vec::new(), 0);
        let (Some(shared), Some(replicas)) =
            (self.primary.get().and_then(Weak::upgrade), self.replicas.get())
        else {
            return (different, compared);
        };
        for (n, replica) in replicas.iter().enumerate() {
            let Ok(cell) = shared.cell(partition_at(n)) else { continue };
            let replica = replica.lock();
            let (seq, digest) = cell.read(|primary| (primary.last(), primary.digest()));
            if replica.last() == seq {
                compared += 1;
                if replica.digest() != digest {
                    different.push(partition_at(n));
                }
            }
        }
        (different, compared)
    }

    pub(crate) fn attach(self: &Arc<Self>, shared: &Arc<Shared>) {
        let replica = |n| Mutex::new(Partition::new(partition_at(n), shared.env.clone()));
        let replicas = (0..shared.cells().len()).map(replica).collect();
        if self.primary.set(Arc::downgrade(shared)).is_err() || self.replicas.set(replicas).is_err()
        {
            return tracing::error!("a test backup serves one member only");
        }
        shared.links.begin();
        for cell in shared.cells() {
            cell.with(shared, |partition| {
                partition.set_backups(&[(self.member, partition.last())]);
            });
        }
        let (this, shared) = (Arc::clone(self), Arc::clone(shared));
        *self.thread.lock() = Some(std::thread::spawn(move || this.run(&shared)));
    }

    pub(crate) fn detach(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the test backup has panicked");
        }
    }

    fn run(&self, shared: &Shared) {
        let mut told = vec![Seq(0); shared.cells().len()];
        while let Some(partitions) = shared.links.next() {
            for partition in partitions {
                if self.state.lock().acks == Acks::Dead {
                    continue;
                }
                let told = told.get_mut(usize::from(partition.0));
                // A partition may be named again although nothing new came.
                if let (Some(seq), Some(told)) = (self.copy(shared, partition), told)
                    && seq > *told
                {
                    *told = seq;
                    let mut state = self.state.lock();
                    if state.acks == Acks::Held {
                        state.waiting.push((partition, seq));
                        self.held.notify_all();
                    } else {
                        drop(state);
                        acknowledge(shared, self.member, partition, seq);
                    }
                }
            }
        }
    }

    /// Copies what this replica lacks of a partition. Returns what it has then.
    fn copy(&self, shared: &Shared, partition: PartitionId) -> Option<Seq> {
        let mut replica = self.replicas.get()?.get(usize::from(partition.0))?.lock();
        let cell = shared.cell(partition).ok()?;
        loop {
            let have = replica.last();
            let (records, committed) = cell.read(|primary| {
                let records = primary.records_after(have, COPY_BYTES)?.0.to_vec();
                Some((records, primary.committed()))
            })?;
            if records.is_empty() {
                return Some(have);
            }
            while let Err(error) = replica.replicate(&records, committed) {
                let known =
                    error.kind() == Kind::UnknownStructure && declare_all(shared, &mut replica);
                if !known {
                    tracing::error!(%error, %partition, "the test backup cannot go on");
                    return None;
                }
            }
        }
    }
}

/// Makes all structures known to a replica. Returns whether there were new ones.
fn declare_all(shared: &Shared, replica: &mut Partition) -> bool {
    let mut new = false;
    for (id, _) in (0..).map(grid_core::ids::StructureId).zip(shared.control.structures()) {
        if let Some(config) = shared.control.config_for(id, replica.id()) {
            new |= !replica.knows(id);
            replica.declare(id, &config);
        }
    }
    new
}

fn acknowledge(shared: &Shared, from: MemberId, partition: PartitionId, seq: Seq) {
    if let Ok(cell) = shared.cell(partition) {
        cell.acknowledge(shared, from, seq);
    }
}
