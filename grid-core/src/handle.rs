//! The handles that programs hold: [`Grid`], [`Map`], [`Queue`], [`Topic`]. They are the same for an
//! embedded member and for a thin client; what differs is behind [`Invoke`].
//!
//! An operation encodes its key and value at the call and borrows nothing afterwards. It is started
//! when it is turned into a future (`.await` does that), and its future is a plain enum: where the
//! answer is there at once, nothing is allocated and nobody waits. The first operations on a name wait
//! for its look-up, which a client makes when they are polled: they can be overtaken by later ones.

mod blocking;
mod buffers;
mod future;
mod invoke;
mod listen;
mod mailbox;
mod many;
mod map;
mod named;
mod op;
mod queue;
mod scan;
mod topic;

pub use blocking::block_on;
pub use future::OpFuture;
pub use invoke::{BoxFuture, Call, Invoke, Started, Token};
pub use listen::{ClusterEvent, ClusterEvents, ClusterView, Feed};
pub use mailbox::{Mailbox, RawEvent};
pub use many::{GetAll, IsEmpty, Size};
pub use map::{EntryView, Map};
pub use op::{Query, Update, Write};
pub use queue::Queue;
pub use scan::Scan;
pub use topic::{Message, Subscription, Topic};

use crate::control::StructureKind;
use crate::data::{GridData, Key};
pub use crate::read::Read;
use named::Named;
use std::sync::Arc;

/// The way into a grid, through a member in this process or through a client. Cloning is cheap.
#[derive(Clone)]
pub struct Grid {
    invoke: Arc<dyn Invoke>,
}

impl Grid {
    /// A grid behind this invoker.
    #[must_use]
    pub fn new(invoke: Arc<dyn Invoke>) -> Self {
        Grid { invoke }
    }

    /// The map of this name. No I/O: the name is looked up at the first operation, and the map
    /// exists from then on.
    #[must_use]
    pub fn map<K: Key + GridData, V: GridData>(&self, name: &str) -> Map<K, V> {
        Map::new(Named::new(&self.invoke, name, StructureKind::Map))
    }

    /// The queue of this name. No I/O, as for [`Grid::map`].
    #[must_use]
    pub fn queue<T: GridData>(&self, name: &str) -> Queue<T> {
        Queue::new(Named::new(&self.invoke, name, StructureKind::Queue))
    }

    /// The topic of this name. No I/O, as for [`Grid::map`].
    #[must_use]
    pub fn topic<T: GridData>(&self, name: &str) -> Topic<T> {
        Topic::new(Named::new(&self.invoke, name, StructureKind::Topic))
    }

    /// Number of partitions of the cluster.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.invoke.partitions()
    }

    /// What the handles of this grid call.
    #[must_use]
    pub fn invoke(&self) -> &Arc<dyn Invoke> {
        &self.invoke
    }
}

impl std::fmt::Debug for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grid").field("partitions", &self.partitions()).finish_non_exhaustive()
    }
}
