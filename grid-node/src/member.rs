//! A member of the grid in this process.

use crate::control::{Configure, ControlLog};
use crate::cores::{self, Core, stopped};
use crate::local::Local;
use crate::serve::Acceptor;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::test_backup::TestBackup;
use grid_core::control::{MapConfig, QueueConfig, StructureConfig, StructureKind};
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::Grid;
use grid_core::ids::{MemberId, NodeId};
use grid_core::limits;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the control thread looks after expiry, sessions and deadlines.
const TICK: Duration = Duration::from_millis(50);

/// Builds a [`Member`].
#[must_use = "a member starts with `start`"]
pub struct Builder {
    settings: Settings,
    configure: Box<Configure>,
    test_backup: Option<Arc<TestBackup>>,
}

/// A member of the grid in this process. It derefs to the [`Grid`] that programs work with. Dropping it
/// stops it at once; [`Member::shutdown`] lets what is under way end first.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    grid: Grid,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    cores: Vec<Core>,
    control: Option<JoinHandle<()>>,
    test_backup: Option<Arc<TestBackup>>,
}

impl Default for Builder {
    fn default() -> Self {
        let entropy = crate::entropy::random();
        Builder {
            settings: Settings {
                cluster: "dev".into(),
                name: format!("member-{}", std::process::id()),
                bind: SocketAddr::from(([127, 0, 0, 1], 0)),
                partitions: limits::PARTITION_COUNT_DEFAULT,
                cores: 0,
                memory_budget: 4 << 30,
                huge_pages: false,
                frame_bytes_max: limits::FRAME_BYTES_MAX,
                connections_max: 20_000,
                handshake_timeout: Duration::from_secs(5),
                session_timeout: Duration::from_secs(60),
                operation_timeout: Duration::from_secs(10),
                subscriber_bytes_max: 8 << 20,
                hash_seed: entropy.0,
                life: entropy.1,
            },
            configure: Box::new(|kind, _| match kind {
                StructureKind::Map => StructureConfig::Map(MapConfig::default()),
                StructureKind::Queue => StructureConfig::Queue(QueueConfig::default()),
                StructureKind::Topic => StructureConfig::Topic,
            }),
            test_backup: None,
        }
    }
}

impl Builder {
    /// Name of the cluster; clients must ask for the same.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.settings.cluster = name.into();
        self
    }

    /// Address that clients connect to. An embedded member takes a free port of the loopback
    /// interface unless told otherwise.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.settings.bind = address;
        self
    }

    /// Number of partitions, 1 to 16 384.
    pub fn partitions(mut self, count: u16) -> Self {
        self.settings.partitions = count;
        self
    }

    /// Threads that serve connections and run jobs; 0: as many as the machine has.
    pub fn cores(mut self, count: usize) -> Self {
        self.settings.cores = count;
        self
    }

    /// Bytes that all structures of this member may hold; writes beyond are refused.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.settings.memory_budget = bytes;
        self
    }

    /// How structures are configured when their name is first used.
    pub fn configure(
        mut self,
        configure: impl Fn(StructureKind, &str) -> StructureConfig + Send + Sync + 'static,
    ) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// How long a session of a client outlives its last connection.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.session_timeout = timeout;
        self
    }

    /// How long an operation of this process waits for backups, unless it says so itself.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.settings.operation_timeout = timeout;
        self
    }

    /// Largest frame that clients may send, in bytes.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.frame_bytes_max = bytes;
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
    pub fn start_blocking(mut self) -> Result<Member> {
        let max = limits::PARTITION_COUNT_MAX;
        if self.settings.partitions == 0 || self.settings.partitions > max {
            let text = format!("{} partitions; 1 to {max} are possible", self.settings.partitions);
            return Err(Error::with(Kind::Invalid, text));
        }
        if self.settings.cores == 0 {
            self.settings.cores = std::thread::available_parallelism().map_or(1, usize::from);
        }
        let bind = self.settings.bind;
        let listener = listen(bind)?;
        let address = listener.local_addr().map_err(|e| io(&e, bind))?;
        let control = ControlLog::new(self.settings.partitions, self.configure);
        let member = control.start(NodeId(1), 1)?;
        let shared = Arc::new(Shared::new(self.settings, control, member)?);
        if let Some(backup) = &self.test_backup {
            backup.attach(&shared);
        }
        let (stop, stopping) = watch::channel(false);
        let cores = (0..shared.settings.cores).map(|n| cores::start(&shared, n, stopping.clone()));
        let cores = cores.collect::<Result<Vec<_>>>()?;
        let senders = cores.iter().map(|core| core.connections.clone()).collect();
        let control = control_thread(Arc::clone(&shared), listener, senders, stopping)?;
        let grid = Grid::new(Arc::new(Local::new(Arc::clone(&shared))));
        tracing::info!(cluster = %shared.settings.cluster, %member, %address, "serving");
        Ok(Member { shared, grid, address, stop, cores, control: Some(control), test_backup: self.test_backup })
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

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Stops: takes no new connections, answers what has come, then ends. Replies that still wait for a
    /// backup after `operation_timeout` are given up.
    pub async fn shutdown(mut self) {
        self.shared.drain();
        let deadline = Instant::now() + self.shared.settings.operation_timeout;
        let busy = |shared: &Shared| {
            shared.counters.parked.get() > 0 || shared.counters.connections.get() > 0
        };
        while busy(&self.shared) && Instant::now() < deadline {
            Pause::new(Duration::from_millis(5)).await;
        }
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

fn io(error: &std::io::Error, address: SocketAddr) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another process serves there, choose another port with --bind",
        _ => "",
    };
    Error::with(Kind::Io, format!("cannot listen on {address}: {error}{hint}"))
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|e| io(&e, address))?;
    listener.set_nonblocking(true).map_err(|e| io(&e, address))?;
    Ok(listener)
}

/// Accepts connections and keeps time.
fn control_thread(
    shared: Arc<Shared>,
    listener: TcpListener,
    cores: Vec<tokio::sync::mpsc::Sender<std::net::TcpStream>>,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    cores::spawn("grid-control".into(), async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the listener cannot be used"),
        };
        let acceptor = Acceptor { shared: Arc::clone(&shared), listener, cores };
        tokio::select! {
            () = stopped(stop) => {}
            () = acceptor.run() => {}
            () = keep_time(&shared) => {}
        }
    })
}

async fn keep_time(shared: &Shared) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = Instant::now();
        shared.slots.expire(Some(now));
        for session in shared.sessions.overdue(now) {
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

/// A pause that needs no runtime of the caller's.
struct Pause(Option<Duration>);

impl Pause {
    fn new(pause: Duration) -> Self {
        Pause(Some(pause))
    }
}

impl std::future::Future for Pause {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let Some(pause) = self.0.take() else { return std::task::Poll::Ready(()) };
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            waker.wake();
        });
        std::task::Poll::Pending
    }
}
