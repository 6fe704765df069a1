//! What all threads of a member share.

use crate::agreed::Agreed;
use crate::cell::{Cell, partition_at};
use crate::clock::{self, WallClock};
use crate::counters::Counters;
use crate::links::Links;
use crate::local::Slots;
use crate::outbox::Outbox;
use crate::sessions::Sessions;
use crate::settings::Settings;
use grid_core::control::ClusterConfig;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::Feed;
use grid_core::ids::{Index, MemberId, PartitionId, SessionId};
use grid_core::lease::Leases;
use grid_core::partition::Env;
use grid_core::replica::{Context, Replica, Rules};
use grid_core::store::{Ledger, Pool, PoolConfig};
use grid_core::time::Nanos;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often within the session timeout connections are asked whether something came.
const SILENT_CHECKS: u32 = 4;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) env: Env,
    pub(crate) clock: WallClock,
    pub(crate) agreed: Agreed,
    /// What the cluster was formed with.
    pub(crate) cluster: ClusterConfig,
    pub(crate) member: MemberId,
    /// Locked inside a cell's lock, or alone.
    pub(crate) leases: Mutex<Leases>,
    /// What its replicas go by.
    pub(crate) rules: Rules,
    /// Where clients connect, and where HTTP is answered.
    pub(crate) addresses: (SocketAddr, Option<SocketAddr>),
    pub(crate) started: Instant,
    pub(crate) sessions: Sessions,
    pub(crate) links: Links,
    pub(crate) slots: Slots,
    pub(crate) counters: Counters,
    /// Who listens to what happens to the cluster.
    pub(crate) feed: Feed,
    /// Outboxes of the open connections, by a number of their own.
    pub(crate) connections: Mutex<HashMap<u64, Arc<Outbox>>>,
    next_connection: AtomicU64,
    cells: Box<[Cell]>,
    closed: AtomicBool,
    /// The member has asked to leave the cluster.
    pub(crate) leaves: AtomicBool,
    /// Since the shutdown has begun: when what is under way is given up.
    draining: OnceLock<Instant>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        agreed: Agreed,
        member: MemberId,
        addresses: (SocketAddr, Option<SocketAddr>),
        links: Links,
    ) -> Result<Self> {
        let formed = || Error::with(Kind::Internal, "the cluster is not formed");
        let cluster = agreed.read(|state| state.config().cloned()).ok_or_else(formed)?;
        let leases = Leases::new(member, cluster.partitions, cluster.lease_ms);
        let lease = leases.length();
        let rules = Rules {
            me: member,
            min_in_sync: cluster.min_in_sync.into(),
            lease,
            patience: Nanos(lease.0 / 4 * 5),
            resend: Nanos(lease.0 / 2),
            rejoin: (Nanos::from_millis(1_000), Nanos::from_millis(60_000)),
        };
        let ledger = Arc::new(Ledger::new(settings.memory_budget));
        let envs = reserve(&settings, cluster.hash_seed, &ledger)?;
        let env = |n: usize| envs.get(n % envs.len()).cloned();
        let none = || Error::with(Kind::Internal, "no pool");
        let cell = |n| {
            let env = env(n).ok_or_else(none)?;
            Ok(Cell::new(Replica::new(rules, partition_at(n), env)))
        };
        let cells = (0..usize::from(cluster.partitions)).map(cell).collect::<Result<_>>()?;
        let env = env(0).ok_or_else(none)?;
        Ok(Shared {
            sessions: Sessions::new(settings.session_timeout),
            env,
            clock: WallClock,
            agreed,
            cluster,
            member,
            leases: Mutex::new(leases),
            rules,
            addresses,
            started: Instant::now(),
            links,
            slots: Slots::default(),
            counters: Counters::default(),
            feed: Feed::default(),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            cells,
            closed: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            draining: OnceLock::new(),
            settings,
        })
    }

    /// The monotonic clock, now.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        clock::monotonic()
    }

    /// The surroundings of a replica, for something that arrived before `now`.
    #[inline]
    pub(crate) fn context(&self, now: Nanos) -> Context<'_> {
        Context { now, clock: &self.clock, structures: &self.agreed, applied: self.agreed.index() }
    }

    /// Tells one life of the cluster's data from others.
    pub(crate) fn life(&self) -> u64 {
        self.agreed.read(grid_core::control::ControlState::life)
    }

    /// Has a message sent to a member that does not come from a cursor.
    pub(crate) fn post(&self, to: MemberId, message: &[u8]) {
        if let Some(link) = self.links.get(to) {
            link.post(message);
        }
    }

    /// The cell of a partition.
    #[inline]
    pub(crate) fn cell(&self, partition: PartitionId) -> Result<&Cell> {
        self.cells.get(usize::from(partition.0)).ok_or_else(|| {
            let text = format!("partition {partition} of {}", self.cells.len());
            Error::with(Kind::Malformed, text)
        })
    }

    /// All cells in the order of their partitions.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Refuses what comes after the shutdown.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::with(Kind::Closed, "the member was shut down"));
        }
        Ok(())
    }

    /// Takes no new connections; those that are there end once nothing of theirs is under way.
    pub(crate) fn drain(&self) {
        self.draining.get_or_init(|| Instant::now() + self.settings.operation_timeout);
        for outbox in self.connections.lock().values() {
            outbox.nudge();
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Replies that wait for a backup.
    pub(crate) fn parked(&self) -> usize {
        self.cells.iter().map(Cell::waiting).sum()
    }

    /// Whether the member drains and has nothing under way any more, or has waited for it long enough.
    pub(crate) fn is_drained(&self, now: Instant) -> bool {
        let idle = || self.parked() == 0 && self.counters.connections.get() == 0;
        self.draining.get().is_some_and(|deadline| now >= *deadline || idle())
    }

    /// Closes connections on which nothing has come for as long as a session may be silent: the other side
    /// is gone without a word, or does not read. To be called four times within that time.
    pub(crate) fn close_silent(&self) {
        for outbox in self.connections.lock().values() {
            if outbox.silence() > SILENT_CHECKS {
                outbox.close();
            }
        }
    }

    /// How often [`Shared::close_silent`] is due.
    pub(crate) fn silence_interval(&self) -> Duration {
        self.settings.session_timeout / SILENT_CHECKS
    }

    /// Gives a connection its number.
    pub(crate) fn register(&self, outbox: &Arc<Outbox>) -> u64 {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(number, Arc::clone(outbox));
        number
    }

    /// Ends everything that still waits.
    pub(crate) fn close(&self) {
        self.drain();
        self.closed.store(true, Ordering::Release);
        self.slots.close();
        self.feed.close().into_iter().for_each(std::task::Waker::wake);
        self.cells.iter().for_each(Cell::close);
    }

    /// Sessions have ended: nobody can use them from now on, and every partition forgets them.
    pub(crate) fn sessions_ended(&self, sessions: &[SessionId], index: Index) {
        for session in sessions {
            self.sessions.remove(*session);
            let all = (0..self.cells.len()).map(partition_at).map(|p| (p, *session, index));
            self.sessions.to_forget.lock().extend(all);
        }
        // Connections of the sessions see that they have ended.
        for outbox in self.connections.lock().values() {
            outbox.nudge();
        }
    }

    /// Has the partitions forget ended sessions; what has no room in a ring now is tried again.
    pub(crate) fn forget_sessions(&self) {
        let todo = std::mem::take(&mut *self.sessions.to_forget.lock());
        let left = todo.into_iter().filter(|(partition, session, index)| {
            self.cell(*partition).is_ok_and(|cell| !cell.expire_session(self, *session, *index))
        });
        let left: Vec<_> = left.collect();
        self.sessions.to_forget.lock().extend(left);
    }
}

/// Address space for entries: it costs nothing, and twice the budget leaves room for what is not full
/// yet. One pool spans 32 GiB at most, so the partitions share out as many as it takes.
fn reserve(settings: &Settings, seed: u64, ledger: &Arc<Ledger>) -> Result<Vec<Env>> {
    const POOL_BYTES_MAX: u64 = 32 << 30;
    let wanted = settings.memory_budget.saturating_mul(2).max(1 << 30);
    let pools = wanted.div_ceil(POOL_BYTES_MAX).min(settings.partitions.into());
    let reserve_bytes = (wanted / pools).min(POOL_BYTES_MAX);
    let config =
        PoolConfig { reserve_bytes, huge_pages: settings.huge_pages, ..PoolConfig::default() };
    let pool = || {
        let pool = Pool::new(&config, Arc::clone(ledger));
        let pool = pool.map_err(|e| Error::with(Kind::OutOfMemory, e.to_string()))?;
        Ok(Env { pool, ledger: Arc::clone(ledger), seed })
    };
    (0..pools).map(|_| pool()).collect()
}
