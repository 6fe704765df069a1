//! One node of the control plane, with all that it runs.

use super::bootstrap::Promises;
use super::control_log::ControlLog;
use super::data_dir::{DataDir, Stage};
use super::leader::Leading;
use super::peers::message::{Reply, Request};
use super::peers::{self, Identity, Peers};
use super::quorum::Quorum;
use super::raft::machine::{Applying, Machine, SharedEvents};
use super::raft::network::Network;
use super::raft::store::LogStore;
use super::raft::{self, Raft, Snapshot, Types, Vote};
use super::roster::Roster;
use super::service::Incoming;
use super::timing::Timing;
use super::{Events, Host};
use grid_core::control::{ClusterConfig, Command, ControlState, MemberInfo, Outcome};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, NodeId};
use grid_core::lease::{Beacon, BeaconReply};
use grid_core::wire::hello::Hello;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftMetrics;
use openraft::storage::RaftLogStorage;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// For one attempt at a command that has to succeed.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Name of the cluster.
    pub cluster: String,
    /// What the cluster is formed with, if this node forms it; else compared, the seed left out.
    pub config: ClusterConfig,
    /// Where others reach this member, as `HOST:PORT`.
    pub address: String,
    /// Where it answers HTTP.
    pub http: Option<String>,
    /// Members to join, as `HOST:PORT`; itself may be among them.
    pub join: Vec<String>,
    /// Where the node keeps its identity and the log; none: it is a new node each time.
    pub data_dir: Option<PathBuf>,
    /// Intervals and deadlines.
    pub timing: Timing,
}

/// See [`super`].
pub struct ControlNode {
    pub(super) me: Arc<Identity>,
    pub(super) peers: Arc<Peers>,
    pub(super) timing: Timing,
    pub(super) join: Vec<String>,
    http: Option<String>,
    pub(super) data: DataDir,
    pub(super) store_was_empty: bool,
    pub(super) host: Arc<dyn Host>,
    pub(super) applying: Applying,
    events: SharedEvents,
    pub(super) quorum: Quorum,
    pub(super) promises: Promises,
    pub(super) roster: Roster,
    /// What this node waits for, until it has started.
    pub(super) waiting: Mutex<Option<String>>,
    pub(super) incoming: Mutex<Option<Incoming>>,
    pub(super) leading: Mutex<Option<Leading>>,
    /// Membership changes one at a time.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Somebody waits for the voters to change.
    pub(super) hurry: AtomicBool,
    pub(super) said_two: AtomicBool,
    pub(super) since: Instant,
    raft: RwLock<Raft>,
    group: Arc<AtomicU64>,
    failure: watch::Sender<Option<Arc<str>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl ControlNode {
    /// Opens what the node has, and makes it ready to be asked. It runs on the runtime that this is called
    /// on; connections are to be handed to [`ControlNode::serve`] from now on. [`ControlNode::start`]
    /// follows. What a data directory holds is told to `events` before this returns.
    ///
    /// # Errors
    /// `Io` if the data directory cannot be used, is in use or damaged; `WrongCluster` if it belongs to
    /// another one.
    pub async fn open(
        config: ControlConfig,
        events: Events,
        host: Arc<dyn Host>,
    ) -> Result<Arc<Self>> {
        let data = DataDir::open(config.data_dir.as_deref(), &config.cluster)?;
        let timing = config.timing;
        let me = Arc::new(Identity {
            cluster: config.cluster,
            node: data.node(),
            address: config.address,
            config: config.config,
            member: OnceLock::new(),
        });
        let peers = Arc::new(Peers::new(Arc::clone(&me), timing.clone()));
        let group = Arc::new(AtomicU64::new(0));
        let applying = Applying { state: Arc::default(), applied: Arc::default() };
        let events = Arc::new(Mutex::new(events));
        let failure = watch::Sender::new(None);
        if data.stage() == Stage::New {
            // What an interrupted new beginning left.
            data.clear_log()?;
        }
        let (store, machine) = stores(&data, &applying, &events, &failure)?;
        let store_was_empty = store.is_empty();
        let network = Network { peers: Arc::clone(&peers), group: Arc::clone(&group) };
        let raft = run(&me, &timing, network, store, machine).await?;
        let node = Arc::new(ControlNode {
            quorum: Quorum::new(&timing),
            me,
            peers,
            timing,
            join: config.join,
            http: config.http,
            data,
            store_was_empty,
            host,
            applying,
            events,
            promises: Promises::default(),
            roster: Roster::default(),
            waiting: Mutex::default(),
            incoming: Mutex::default(),
            leading: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            hurry: AtomicBool::new(false),
            said_two: AtomicBool::new(false),
            since: Instant::now(),
            raft: RwLock::new(raft),
            group,
            failure,
            tasks: Mutex::default(),
        });
        node.spawn_tasks();
        Ok(node)
    }

    fn spawn_tasks(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock();
        tasks.spawn(Arc::clone(self).lead());
        tasks.spawn(Arc::clone(self).report());
        tasks.spawn(Arc::clone(self).call_the_roll());
        tasks.spawn(Arc::clone(self).watch_over());
    }

    /// Runs something until it ends, or the node is closed.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(work);
    }

    /// Comes to a cluster, however long that takes, and begins the life of this process in it.
    ///
    /// # Errors
    /// What cannot get better by waiting: a member of the list belongs to another cluster or is configured
    /// otherwise, the data directory fails, the node was closed.
    pub async fn start(self: &Arc<Self>) -> Result<MemberId> {
        let mut failure = self.failure.subscribe();
        let begin = async {
            self.find_cluster().await?;
            self.begin_life().await
        };
        tokio::select! {
            result = begin => result,
            Ok(text) = failure.wait_for(Option::is_some) => {
                Err(Error::with(Kind::Io, text.as_deref().unwrap_or_default()))
            }
        }
    }

    async fn begin_life(&self) -> Result<MemberId> {
        let boot = self.data.boot();
        let node = self.me.node;
        let (address, http) = (self.me.address.clone(), self.http.clone());
        let member = MemberInfo { node, address, http };
        let ours = |state: &ControlState| {
            state.boot(node).filter(|(of, _)| *of == boot).map(|(_, member)| member)
        };
        let life = || self.applying.state.read().life();
        let before = life();
        self.insist(Command::Start { boot, member }, |state| ours(state).is_some()).await?;
        if before != 0 && before != life() {
            tracing::warn!(
                "all members had ended: what they held is lost, the cluster starts empty"
            );
        }
        let member = ours(&self.applying.state.read());
        let unknown = || Error::with(Kind::Internal, "the start of this member was not agreed on");
        let member = member.ok_or_else(unknown)?;
        // Only this sets it.
        let _ = self.me.member.set(member);
        *self.waiting.lock() = None;
        tracing::info!(%member, %node, boot, "this member has started");
        Ok(member)
    }

    /// Proposes a command until the state shows that it has happened.
    pub(super) async fn insist(
        &self,
        command: Command,
        happened: impl Fn(&ControlState) -> bool,
    ) -> Result<()> {
        let mut line = self.line();
        loop {
            let result = self.propose(command.clone(), ATTEMPT).await;
            if let Ok(Outcome::Refused(kind, detail)) = &result
                && !happened(&self.applying.state.read())
                && self.barrier(ATTEMPT).await.is_ok()
                && !happened(&self.applying.state.read())
            {
                return Err(Error::with(*kind, detail.as_str()));
            }
            if result.is_ok()
                && self.barrier(ATTEMPT).await.is_ok()
                && happened(&self.applying.state.read())
            {
                return Ok(());
            }
            if let Err(error) = result {
                if error.kind() == Kind::Closed {
                    return Err(error);
                }
                line.say(&format!("the cluster to agree that this member starts ({error})"));
            }
            tokio::time::sleep(self.timing.probe).await;
        }
    }

    /// Serves a control connection of another member whose hello has been read; `rest` is what came behind
    /// the hello. Returns when it ends.
    ///
    /// # Errors
    /// Why the member was refused or the connection given up; for the log.
    pub async fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        hello: Hello,
        rest: Vec<u8>,
    ) -> Result<()> {
        peers::serve(Arc::clone(self), &self.me, stream, hello, rest).await
    }

    /// Checks that another member is of this cluster, and configured alike.
    ///
    /// # Errors
    /// `WrongCluster` or `Invalid`, with every difference.
    pub fn admit_member(&self, cluster: &str, theirs: &ClusterConfig) -> Result<()> {
        self.me.admit(cluster, theirs)
    }

    /// Asks an in-sync replica to prolong the lease of this member.
    ///
    /// # Errors
    /// `Disconnected` or `Timeout`: there was no answer, or none of that process.
    pub async fn beacon(
        &self,
        to: MemberId,
        beacon: Beacon,
        within: Duration,
    ) -> Result<BeaconReply> {
        let unknown = || Error::with(Kind::Disconnected, format!("member {to} is not there"));
        let node = self.applying.state.read().members().get(&to).map(|info| info.node);
        let from = self.member().ok_or_else(unknown)?;
        let request = Request::Beacon { from, to, beacon };
        match self.peers.call(node.ok_or_else(unknown)?, request, within).await? {
            Reply::Beacon(reply) => Ok(reply),
            other => Err(other.unexpected()),
        }
    }

    /// The agreed state.
    #[must_use]
    pub fn state(&self) -> Arc<RwLock<ControlState>> {
        Arc::clone(&self.applying.state)
    }

    /// What the cluster was configured with here.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.me.config
    }

    /// When this node was opened.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.me.node
    }

    /// This process, once it has started.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.me.member.get().copied()
    }

    /// Follows whether the cluster has a quorum, as far as this node can tell.
    #[must_use]
    pub fn quorum(&self) -> watch::Receiver<bool> {
        self.quorum.watch()
    }

    /// Why the control log has stopped, once it has: the process must end then.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failure.subscribe()
    }

    /// Ends the log from this side; only the first reason counts.
    pub(crate) fn fail(&self, why: &str) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.into());
            first
        });
    }

    /// The life of the log that this node belongs to; 0: none yet.
    pub(super) fn group(&self) -> u64 {
        self.group.load(Ordering::Acquire)
    }

    pub(super) fn set_group(&self, group: u64) {
        self.group.store(group, Ordering::Release);
    }

    pub(super) fn raft(&self) -> Raft {
        self.raft.read().clone()
    }

    /// Begins with another log: an empty one, or one that goes on from a snapshot and a vote. Nothing of the
    /// present one is left.
    pub(super) async fn replace_log(&self, begin: Option<(Snapshot, Vote)>) -> Result<()> {
        self.set_group(0);
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "the control log did not stop in order");
        }
        self.data.idle().await;
        self.data.clear_log()?;
        let (mut store, machine) = stores(&self.data, &self.applying, &self.events, &self.failure)?;
        if let Some((snapshot, vote)) = begin {
            let failed = |e: std::io::Error| Error::with(Kind::Io, e.to_string());
            machine.begin_with(snapshot).map_err(failed)?;
            store.save_vote(&vote).await.map_err(failed)?;
        }
        let network = Network { peers: Arc::clone(&self.peers), group: Arc::clone(&self.group) };
        let raft = run(&self.me, &self.timing, network, store, machine).await?;
        *self.raft.write() = raft;
        Ok(())
    }

    pub(super) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft().metrics().borrow_watched().clone()
    }

    /// Gives the vote and the lead to others and has this node sent nothing more. Without others there is
    /// nothing to do. The member's own `Leave` is the caller's business, and comes first.
    ///
    /// # Errors
    /// `Timeout`: the others will find out by themselves.
    pub async fn leave(&self, within: Duration) -> Result<()> {
        let late = |_| Error::with(Kind::Timeout, "the others did not take over in time");
        let work = async {
            loop {
                let membership = self.metrics().membership_config;
                if membership.nodes().all(|(node, _)| *node == self.me.node.0) {
                    return;
                }
                let gone = match self.leader() {
                    Some(leader) if leader == self.me.node => {
                        matches!(self.let_go(leader), Reply::Done)
                    }
                    Some(leader) => {
                        let request = Request::Leave { group: self.group(), node: self.me.node };
                        let reply = self.peers.call(leader, request, ATTEMPT).await;
                        matches!(reply, Ok(Reply::Done))
                    }
                    None => false,
                };
                if gone {
                    return;
                }
                tokio::time::sleep(self.timing.control).await;
            }
        };
        tokio::time::timeout(within, work).await.map_err(late)
    }

    /// Stops everything; the data directory is free afterwards.
    pub async fn close(&self) {
        self.tasks.lock().abort_all();
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "the control log did not stop in order");
        }
        self.peers.keep(|_| false);
        self.data.release().await;
    }

    /// Looks whether the log still runs and whether there is a quorum.
    async fn watch_over(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.timing.heartbeat);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let metrics = self.metrics();
            self.quorum.look(&metrics);
            // Without a life, the log is being replaced.
            if let Err(error) = metrics.running_state
                && self.group() != 0
                && self.failure.borrow().is_none()
            {
                tracing::error!(%error, "the control log has stopped: this member must stop");
                self.failure
                    .send_replace(Some(format!("the control log has stopped: {error}").into()));
            }
        }
    }
}

fn stores(
    data: &DataDir,
    applying: &Applying,
    events: &SharedEvents,
    failure: &watch::Sender<Option<Arc<str>>>,
) -> Result<(LogStore, Machine)> {
    let store = match data.log() {
        Some((dir, lock)) => LogStore::open(dir, failure.clone(), lock)?,
        None => LogStore::in_memory(),
    };
    let dir = data.log().map(|(dir, _)| dir.to_owned());
    Ok((store, Machine::open(applying.clone(), Arc::clone(events), dir)?))
}

async fn run(
    me: &Identity,
    timing: &Timing,
    network: Network,
    store: LogStore,
    machine: Machine,
) -> Result<Raft> {
    let settings = raft::settings(&me.cluster, timing)
        .map_err(|e| Error::with(Kind::Invalid, format!("timing of the control log: {e}")))?;
    let raft = Raft::new(me.node.0, settings, network, store, machine).await;
    raft.map_err(|e| Error::with(Kind::Io, format!("the control log cannot start: {e}")))
}

impl std::fmt::Debug for ControlNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlNode").field("node", &self.me.node).finish_non_exhaustive()
    }
}
