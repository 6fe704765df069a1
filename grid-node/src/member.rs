//! A member of the grid in this process.

use crate::config::Config;
use crate::cores::Core;
use crate::local::Local;
use crate::shared::Shared;
use crate::start;
use crate::status::{Observe, Status};
use crate::test_backup::TestBackup;
use grid_core::control::{Command, StructureConfig};
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{ClusterEvents, Grid, block_on};
use grid_core::ids::{MemberId, PartitionId};
use grid_stream::{JobError, JobHandle, Pipeline};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// Builds a [`Member`].
#[must_use = "a member starts with `start`"]
pub struct Builder {
    config: Config,
    backup: Option<Arc<TestBackup>>,
}

/// A member of the grid in this process. It derefs to the [`Grid`] that programs work with. Dropping it
/// stops it at once; [`Member::shutdown`] lets what is under way end first.
#[derive(Debug)]
pub struct Member {
    pub(crate) shared: Arc<Shared>,
    pub(crate) local: Arc<Local>,
    pub(crate) grid: Grid,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) cores: Vec<Core>,
    pub(crate) control: Option<JoinHandle<()>>,
    /// The control thread says here that a shutdown need not wait any longer.
    pub(crate) drained: oneshot::Receiver<()>,
    pub(crate) backup: Option<Arc<TestBackup>>,
}

impl Default for Builder {
    /// For a program with an embedded member: a free loopback port, no HTTP.
    fn default() -> Self {
        let config = Config::default().with("bind", "127.0.0.1:0").with("http", "off");
        Builder { config, backup: None }
    }
}

impl Builder {
    /// Takes all settings from a configuration, instead of the defaults and what was set so far.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets any setting of `config/grid.toml` by its key, for instance `memory.budget` to `1GiB`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.config = self.config.with(key, value);
        self
    }

    /// Name of the cluster; clients must ask for the same.
    pub fn cluster(self, name: &str) -> Self {
        self.set("cluster.name", name)
    }

    /// Address that clients connect to. An embedded member takes a free port of the loopback
    /// interface unless told otherwise.
    pub fn bind(self, address: impl ToString) -> Self {
        self.set("bind", address)
    }

    /// Addresses of members of the cluster to join; this member's own may be among them. Without any, the
    /// member forms a cluster of its own. Members that all list each other form one together.
    pub fn join<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        let addresses: Vec<String> = addresses.into_iter().map(|a| a.to_string()).collect();
        self.set("join", addresses.join(","))
    }

    /// Threads that serve connections and run jobs; 0: as many as the process may use.
    pub fn cores(self, count: usize) -> Self {
        self.set("cores", count)
    }

    /// Bytes that all structures of this member may hold; writes beyond are refused.
    pub fn memory_budget(self, bytes: u64) -> Self {
        self.set("memory.budget", bytes)
    }

    /// Configures the structures of its kind whose names fit the pattern.
    pub fn structure(mut self, pattern: &str, config: StructureConfig) -> Self {
        self.config = self.config.with_structure(pattern, config);
        self
    }

    /// Runs a backup of everything in this process, under the command of a test. Nothing is committed
    /// without it.
    pub fn test_backup(mut self, backup: Arc<TestBackup>) -> Self {
        self.config = self.config.with("cluster.min-in-sync", 2);
        self.backup = Some(backup);
        self
    }

    /// Starts the member: it has come to its cluster and serves when this returns. With members to join
    /// that cannot be reached, it waits for them.
    ///
    /// # Errors
    /// `Invalid` for impossible settings, or other ones than those of the members to join, `WrongCluster`,
    /// `Io` if the address is taken, the data directory cannot be used or no thread can be had,
    /// `OutOfMemory` if the system grants no address space.
    pub async fn start(self) -> Result<Member> {
        self.config.check().map_err(|e| Error::with(Kind::Invalid, e.to_string()))?;
        start::start(self.config, self.backup).await
    }

    /// As [`Builder::start`], for programs without an executor.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start_blocking(self) -> Result<Member> {
        block_on(self.start())
    }
}

impl Member {
    /// A member with the default settings: cluster `dev`, a free loopback port, 271 partitions.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The grid, to be cloned and kept.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid.clone()
    }

    /// Runs a pipeline on all cores of this member, beside its connections. The job ends by itself
    /// when its sources end, or with the member.
    ///
    /// # Errors
    /// If the pipeline cannot be planned: a source that cannot be opened, for instance.
    pub fn run(&self, pipeline: Pipeline) -> Result<JobHandle, JobError> {
        crate::jobs::run(pipeline, self.shared.cluster.partitions, &self.cores)
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.addresses.0
    }

    /// The address that answers HTTP, if any does.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.shared.addresses.1
    }

    /// Its state, as `grid status` shows it.
    #[must_use]
    pub fn status(&self) -> Status {
        Observe::status(&*self.shared)
    }

    /// What happens to the cluster from now on: who joins and leaves, which data is lost. The members that are
    /// there come first.
    ///
    /// ```
    /// use grid_core::{ClusterEvent, block_on};
    /// use grid_node::Member;
    ///
    /// let first = Member::builder().start_blocking()?;
    /// let mut events = first.listen();
    /// let second = Member::builder().set("join", first.address()).start_blocking()?;
    /// let mut joined = Vec::new();
    /// while joined.len() < 2 {
    ///     match block_on(events.next()) {
    ///         Some(ClusterEvent::Joined { member, .. }) => joined.push(member),
    ///         Some(other) => println!("{other:?}"),
    ///         None => break, // the member was shut down
    ///     }
    /// }
    /// assert_eq!(joined, [first.id(), second.id()]);
    /// # Ok::<(), grid_core::Error>(())
    /// ```
    #[must_use]
    pub fn listen(&self) -> ClusterEvents {
        self.shared.feed.listen(None)
    }

    /// Its id: the position of its start in the control log.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.shared.member
    }

    /// Bytes that all structures hold now.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.shared.env.ledger.used()
    }

    /// Ends the sessions of all clients of the cluster, with what they hold. Their clients open new ones;
    /// operations that were under way fail, and may have been applied.
    ///
    /// # Errors
    /// If the cluster cannot agree on it now.
    pub async fn end_all_sessions(&self) -> Result<()> {
        let all = self.shared.agreed.read(|state| state.sessions().iter().copied().collect());
        let within = self.shared.settings.operation_timeout;
        self.shared.agreed.propose(Command::ExpireSessions(all), within).await?;
        Ok(())
    }

    /// Waits until this member cannot go on, and says why: its control log cannot be written. It has
    /// stopped serving then; others take over.
    pub async fn failed(&self) -> String {
        let mut failure = self.shared.agreed.node.failure();
        let why = failure.wait_for(Option::is_some).await;
        let why = why.ok().and_then(|why| why.as_deref().map(ToOwned::to_owned));
        why.unwrap_or_else(|| "the control log has ended".to_owned())
    }

    /// Stops: hands its partitions to others, takes no new connections, answers what has come, then ends.
    ///
    /// What only this member has in sync is copied to another one first, for at most
    /// `limits.leave-timeout`. Then the others take over at once, instead of after a lease. Replies that still
    /// wait for a backup after `limits.operation-timeout` are given up.
    ///
    /// Returns the partitions whose data has ended with this member although there were others: none had them in
    /// time. The data of a cluster ends with its last member.
    pub async fn shutdown(mut self) -> Vec<PartitionId> {
        let lost = match &self.backup {
            Some(_) => Vec::new(), // a test decides for itself who holds what
            None => crate::leave::leave(&self.shared).await,
        };
        self.shared.drain();
        // The control thread tells, or has ended: either way there is nothing to wait for.
        let _ = (&mut self.drained).await;
        self.end();
        lost
    }

    fn end(&mut self) {
        self.shared.close();
        self.shared.links.close();
        self.local.close();
        let _ = self.stop.send(true);
        for core in self.cores.drain(..) {
            core.join();
        }
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread has panicked");
        }
        if let Some(backup) = self.backup.take() {
            backup.detach();
        }
    }
}

impl std::ops::Deref for Member {
    type Target = Grid;

    fn deref(&self) -> &Grid {
        &self.grid
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.control.is_some() {
            self.end();
        }
    }
}
