//! The control log of a cluster of one member: commands are applied at once, by the state machine that
//! a replicated log will feed later.

use grid_core::control::{
    ClusterConfig, Command, ControlState, MemberInfo, Outcome, Structure, StructureConfig,
    StructureKind,
};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, MemberId, NodeId, PartitionId, SessionId, StructureId};
use grid_core::partitioning::partition_of_name;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chooses the configuration of a name that is used for the first time.
pub(crate) type Configure = dyn Fn(StructureKind, &str) -> StructureConfig + Send + Sync;

/// See the module documentation.
pub(crate) struct ControlLog {
    state: RwLock<ControlState>,
    index: AtomicU64,
    configure: Box<Configure>,
    partitions: u16,
}

impl ControlLog {
    pub(crate) fn new(partitions: u16, configure: Box<Configure>) -> Self {
        let log = ControlLog {
            state: RwLock::default(),
            index: AtomicU64::new(0),
            configure,
            partitions,
        };
        let config = ClusterConfig {
            partitions,
            sync_backups: 0,
            async_backups: 0,
            min_in_sync: 1,
            lease_ms: 400,
            hash_seed: 0,
        };
        log.propose(Command::Form(config, 0));
        log
    }

    fn propose(&self, command: Command) -> Outcome {
        let mut state = self.state.write();
        let index = Index(state.index().0 + 1);
        let applied = state.apply(index, command);
        self.index.store(index.0, Ordering::Release);
        applied.outcome
    }

    /// Position of the last applied command.
    #[inline]
    pub(crate) fn index(&self) -> Index {
        Index(self.index.load(Ordering::Acquire))
    }

    /// Begins the life of this process.
    pub(crate) fn start(&self, node: NodeId, boot: u64) -> Result<MemberId> {
        let member = MemberInfo { node, address: String::new(), http: None };
        match self.propose(Command::Start { boot, member }) {
            Outcome::Started(member) => Ok(member),
            other => Err(unexpected(other)),
        }
    }

    /// Opens a session.
    pub(crate) fn open_session(&self) -> Result<SessionId> {
        match self.propose(Command::OpenSession) {
            Outcome::SessionOpened(session) => Ok(session),
            other => Err(unexpected(other)),
        }
    }

    /// Ends a session. Returns whether there was one.
    pub(crate) fn expire_session(&self, session: SessionId) -> bool {
        self.propose(Command::ExpireSessions(vec![session])) == Outcome::Taken(1)
    }

    /// The id and configuration of a name, agreed now if this is its first use.
    pub(crate) fn declare(
        &self,
        name: &str,
        kind: StructureKind,
    ) -> Result<(StructureId, StructureConfig)> {
        if let Some((id, config)) = self.state.read().structure_named(name)
            && config.kind() == kind
        {
            return Ok((id, config.clone()));
        }
        let config = (self.configure)(kind, name);
        match self.propose(Command::Declare { name: name.to_owned(), config }) {
            Outcome::Declared(id, config) => Ok((id, config)),
            other => Err(unexpected(other)),
        }
    }

    /// The configuration of a structure if it has a part in this partition.
    pub(crate) fn config_for(
        &self,
        id: StructureId,
        partition: PartitionId,
    ) -> Option<StructureConfig> {
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

    /// All structures in the order of their ids.
    pub(crate) fn structures(&self) -> Vec<Structure> {
        self.state.read().structures().to_vec()
    }

    /// Number of open sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.state.read().sessions().len()
    }
}

impl std::fmt::Debug for ControlLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlLog").field("index", &self.index()).finish_non_exhaustive()
    }
}

fn unexpected(outcome: Outcome) -> Error {
    match outcome {
        Outcome::Refused(kind, detail) => Error::with(kind, detail),
        other => Error::with(Kind::Internal, format!("the control log answered {other:?}")),
    }
}
