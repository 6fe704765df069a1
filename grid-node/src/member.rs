//! A member of the grid in this process.

use crate::config::{Address, Config};
use crate::control::ControlLog;
use crate::cores::{self, Core, stopped};
use crate::local::Local;
use crate::serve::Acceptor;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::status::{Observe, Status};
use crate::test_backup::TestBackup;
use grid_core::control::StructureConfig;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::Grid;
use grid_core::ids::{MemberId, NodeId};
use grid_stream::{JobError, JobHandle, Pipeline};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How often the control thread looks after expiry, sessions and deadlines.
const TICK: Duration = Duration::from_millis(50);

/// Builds a [`Member`].
#[must_use = "a member starts with `start`"]
pub struct Builder {
    config: Config,
    test_backup: Option<Arc<TestBackup>>,
}

/// A member of the grid in this process. It derefs to the [`Grid`] that programs work with. Dropping it
/// stops it at once; [`Member::shutdown`] lets what is under way end first.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    grid: Grid,
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    cores: Vec<Core>,
    control: Option<JoinHandle<()>>,
    /// The control thread says here that a shutdown need not wait any longer.
    drained: oneshot::Receiver<()>,
    test_backup: Option<Arc<TestBackup>>,
}

impl Default for Builder {
    /// For a program with an embedded member: a free loopback port, no HTTP.
    fn default() -> Self {
        let config = Config::default().with("bind", "127.0.0.1:0").with("http", "off");
        Builder { config, test_backup: None }
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

    /// Runs a second replica in this process, under the command of a test.
    pub fn test_backup(mut self, backup: Arc<TestBackup>) -> Self {
        self.test_backup = Some(backup);
        self
    }

    /// Starts the member: it serves when this returns.
    ///
    /// # Errors
    /// `Invalid` for impossible settings, `Io` if the address is taken or no thread can be had,
    /// `OutOfMemory` if the system grants no address space.
    pub async fn start(self) -> Result<Member> {
        self.start_blocking()
    }

    /// As [`Builder::start`], for programs without an executor. It does not wait for anything.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start_blocking(self) -> Result<Member> {
        self.config.check().map_err(|e| Error::with(Kind::Invalid, e.to_string()))?;
        let settings = Settings::of(&self.config);
        let listener = self.config.bind().listen()?;
        let http = self.config.http().map(Address::listen).transpose()?;
        let local = |listener: &TcpListener| {
            listener.local_addr().map_err(|e| Error::with(Kind::Io, e.to_string()))
        };
        let address = local(&listener)?;
        let http_address = http.as_ref().map(local).transpose()?;
        let config = self.config;
        let partitions = settings.partitions;
        let configure = move |kind, name: &str| config.structure_config(kind, name);
        let control = ControlLog::new(partitions, Box::new(configure));
        let member = control.start(NodeId(1), 1)?;
        let shared = Arc::new(Shared::new(settings, control, member, (address, http_address))?);
        if let Some(backup) = &self.test_backup {
            backup.attach(&shared);
        }
        let (stop, stopping) = watch::channel(false);
        let cores = (0..shared.settings.cores).map(|n| cores::start(&shared, n, stopping.clone()));
        let cores = cores.collect::<Result<Vec<_>>>()?;
        let senders = cores.iter().map(|core| core.connections.clone()).collect();
        let (quiet, drained) = oneshot::channel();
        let control =
            control_thread(Arc::clone(&shared), listener, http, senders, stopping, quiet)?;
        let grid = Grid::new(Arc::new(Local::new(Arc::clone(&shared))));
        tracing::info!(cluster = %shared.settings.cluster, %member, %address, "serving");
        let (control, test_backup) = (Some(control), self.test_backup);
        Ok(Member {
            shared,
            grid,
            address,
            http_address,
            stop,
            cores,
            control,
            drained,
            test_backup,
        })
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
        crate::jobs::run(pipeline, self.shared.settings.partitions, &self.cores)
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that answers HTTP, if any does.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Its state, as `grid status` shows it.
    #[must_use]
    pub fn status(&self) -> Status {
        Observe::status(&*self.shared)
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

    /// Ends the sessions of all clients, with what they hold. Their clients open new ones; operations that
    /// were under way fail, and may have been applied.
    pub fn end_all_sessions(&self) {
        for session in self.shared.sessions.all() {
            self.shared.end_session(session);
        }
        self.shared.forget_sessions();
    }

    /// Stops: takes no new connections, answers what has come, then ends. Replies that still wait for a
    /// backup after `operation_timeout` are given up.
    pub async fn shutdown(mut self) {
        self.shared.drain();
        // The control thread tells, or has ended: either way there is nothing to wait for.
        let _ = (&mut self.drained).await;
        self.end();
    }

    fn end(&mut self) {
        self.shared.close();
        self.shared.links.close();
        let _ = self.stop.send(true);
        for core in self.cores.drain(..) {
            core.join();
        }
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread has panicked");
        }
        if let Some(backup) = self.test_backup.take() {
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

/// Accepts connections and keeps time.
fn control_thread(
    shared: Arc<Shared>,
    listener: TcpListener,
    http: Option<TcpListener>,
    cores: Vec<tokio::sync::mpsc::Sender<std::net::TcpStream>>,
    stop: watch::Receiver<bool>,
    drained: oneshot::Sender<()>,
) -> Result<JoinHandle<()>> {
    cores::spawn("grid-control", async move {
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the listener cannot be used"),
        };
        let acceptor = Acceptor { shared: Arc::clone(&shared), listener, cores };
        let http = http.map(|listener| {
            let observe: Arc<dyn Observe> = Arc::clone(&shared) as Arc<dyn Observe>;
            tokio::spawn(crate::http::serve(listener, observe, stopped(stop.clone())))
        });
        tokio::select! {
            () = stopped(stop) => {}
            () = acceptor.run() => {}
            () = keep_time(&shared, drained) => {}
        }
        if let Some(http) = http
            && let Ok(Err(error)) = http.await
        {
            tracing::error!(%error, "HTTP could not be served");
        }
    })
}

async fn keep_time(shared: &Shared, drained: oneshot::Sender<()>) {
    let mut drained = Some(drained);
    let mut silence_due = Instant::now() + shared.silence_interval();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = Instant::now();
        if shared.is_drained(now)
            && let Some(drained) = drained.take()
        {
            let _ = drained.send(());
        }
        shared.slots.expire(now);
        if now >= silence_due {
            silence_due = now + shared.silence_interval();
            shared.close_silent();
        }
        for session in shared.sessions.take_overdue(now) {
            tracing::info!(%session, "session expired");
            shared.end_session(session);
        }
        shared.forget_sessions();
        for cell in shared.cells() {
            while cell.expire(shared) {
                tokio::task::yield_now().await;
            }
        }
    }
}
