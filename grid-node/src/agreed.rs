//! What the cluster has agreed on, as the data plane needs it: cheap to read under a cell's lock, and a
//! way to have more agreed on from any executor.

use crate::cluster::{ControlLog, ControlNode};
use grid_core::control::{
    Command, ControlState, Outcome, Structure, StructureConfig, StructureKind,
};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, PartitionId, SessionId, StructureId};
use grid_core::partitioning::partition_of_name;
use grid_core::replica::Structures;
use parking_lot::RwLock;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// Chooses the configuration of a name that is used for the first time.
pub(crate) type Configure = dyn Fn(StructureKind, &str) -> StructureConfig + Send + Sync;

/// See the module documentation.
pub(crate) struct Agreed {
    pub(crate) node: Arc<ControlNode>,
    state: Arc<RwLock<ControlState>>,
    /// Position that all cells have followed.
    stepped: AtomicU64,
    configure: Box<Configure>,
    partitions: u16,
    /// The control thread, where consensus runs.
    runtime: Handle,
}

impl Agreed {
    /// On the control thread.
    pub(crate) fn new(node: Arc<ControlNode>, configure: Box<Configure>) -> Self {
        let state = node.state();
        let partitions = state.read().config().map_or(0, |config| config.partitions);
        let stepped = AtomicU64::new(0);
        Agreed { node, state, stepped, configure, partitions, runtime: Handle::current() }
    }

    /// Looks at the state. No cell may be locked by the caller's `f`.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&ControlState) -> T) -> T {
        f(&self.state.read())
    }

    /// Position up to which every cell has followed the log.
    #[inline]
    pub(crate) fn index(&self) -> Index {
        Index(self.stepped.load(Ordering::Acquire))
    }

    /// Every cell has followed the log up to here.
    pub(crate) fn stepped(&self, index: Index) {
        self.stepped.fetch_max(index.0, Ordering::AcqRel);
    }

    /// Runs what needs the control thread, from any executor.
    pub(crate) async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.runtime.spawn(work).await {
            Ok(result) => result,
            Err(_) => Err(Error::with(Kind::Closed, "the member was shut down").maybe_applied()),
        }
    }

    /// Runs something on the control thread.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Has a command agreed on.
    ///
    /// # Errors
    /// As [`ControlLog::propose`], and what the cluster refused.
    pub(crate) async fn propose(&self, command: Command, within: Duration) -> Result<Outcome> {
        let node = Arc::clone(&self.node);
        let work = async move { node.propose(command, within).await };
        match self.on_control(work).await? {
            Outcome::Refused(kind, detail) => Err(Error::with(kind, detail)),
            outcome => Ok(outcome),
        }
    }

    /// Opens a session.
    pub(crate) async fn open_session(&self, within: Duration) -> Result<SessionId> {
        match self.propose(Command::OpenSession, within).await? {
            Outcome::SessionOpened(session) => Ok(session),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until this member has applied the log up to a position.
    pub(crate) async fn wait_for(&self, index: Index, within: Duration) -> Result<()> {
        let mut applied = self.node.applied();
        let wait = async move { applied.wait_for(|applied| *applied >= index).await.map(|_| ()) };
        match tokio::time::timeout(within, wait).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::with(Kind::Timeout, "this member is behind the control log")),
        }
    }

    /// The id and configuration of a name, agreed now if this is its first use.
    pub(crate) async fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        within: Duration,
    ) -> Result<(StructureId, StructureConfig)> {
        let known = |state: &ControlState| {
            let (id, config) = state.structure_named(name)?;
            (config.kind() == kind).then(|| (id, config.clone()))
        };
        if let Some(known) = self.read(known) {
            return Ok(known);
        }
        let config = (self.configure)(kind, name);
        let command = Command::Declare { name: name.to_owned(), config };
        let declared = match self.propose(command, within).await? {
            Outcome::Declared(id, config) => (id, config),
            other => return Err(unexpected(&other)),
        };
        // The leader has applied it; this member may yet have to.
        let (state, mut applied, id) = (Arc::clone(&self.state), self.node.applied(), declared.0);
        let here = async move {
            let known = applied.wait_for(|_| state.read().structure(id).is_some());
            match tokio::time::timeout(within, known).await {
                Ok(Ok(_)) => Ok(()),
                _ => Err(Error::with(Kind::Timeout, "this member is behind the control log")),
            }
        };
        self.on_control(here).await.map(|()| declared)
    }

    /// All structures in the order of their ids.
    pub(crate) fn structures(&self) -> Vec<Structure> {
        self.read(|state| state.structures().to_vec())
    }
}

impl Structures for Agreed {
    fn config(&self, id: StructureId, partition: PartitionId) -> Option<StructureConfig> {
        let state = self.state.read();
        let structure = state.structure(id)?;
        let here = match structure.config.kind() {
            StructureKind::Map => true,
            StructureKind::Queue | StructureKind::Topic => {
                partition_of_name(&structure.name, self.partitions) == partition
            }
        };
        here.then(|| structure.config.clone())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.state.read().structures().len()).unwrap_or(u32::MAX)
    }

    fn since(&self, id: StructureId) -> Index {
        self.state.read().structure(id).map_or(Index(0), |structure| structure.since)
    }
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agreed").field("index", &self.index()).finish_non_exhaustive()
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::with(Kind::Internal, format!("the control log answered {outcome:?}"))
}
