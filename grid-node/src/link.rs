//! Which partitions have records that a backup has not acknowledged. A link visits them and copies
//! from its cursor; being named once is enough, however many operations came.

use grid_core::ids::PartitionId;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Links {
    /// Whether there is any backup; without one nothing below is touched.
    any: AtomicBool,
    named: Box<[AtomicBool]>,
    ready: Mutex<Ready>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Ready {
    partitions: Vec<PartitionId>,
    closed: bool,
}

impl Links {
    pub(crate) fn new(partitions: u16) -> Self {
        Links {
            any: AtomicBool::new(false),
            named: (0..partitions).map(|_| AtomicBool::new(false)).collect(),
            ready: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Whether there is any backup.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// There is a backup from now on.
    pub(crate) fn begin(&self) {
        self.any.store(true, Ordering::Release);
    }

    /// Names a partition that has something to send.
    #[inline]
    pub(crate) fn ready(&self, partition: PartitionId) {
        if !self.any() {
            return;
        }
        let Some(named) = self.named.get(usize::from(partition.0)) else { return };
        if !named.swap(true, Ordering::AcqRel) {
            self.ready.lock().partitions.push(partition);
            self.wake.notify_one();
        }
    }

    /// The partitions named since the last call; waits for one. `None` once closed.
    pub(crate) fn next(&self) -> Option<Vec<PartitionId>> {
        let mut ready = self.ready.lock();
        while ready.partitions.is_empty() {
            if ready.closed {
                return None;
            }
            self.wake.wait(&mut ready);
        }
        let partitions = std::mem::take(&mut ready.partitions);
        drop(ready);
        for partition in &partitions {
            if let Some(named) = self.named.get(usize::from(partition.0)) {
                named.store(false, Ordering::Release);
            }
        }
        Some(partitions)
    }

    /// Ends the waiting of [`Links::next`].
    pub(crate) fn close(&self) {
        self.ready.lock().closed = true;
        self.wake.notify_all();
    }
}
