//! Concurrent clients that read and write a few names and many, and note every operation.
//!
//! Names are used up: a key gets at most [`ENTRY_OPERATIONS_MAX`] operations, a queue
//! [`QUEUE_OPERATIONS_MAX`], then a new one takes its place; so histories stay short enough to be audited.
//! Values are unique in the run, except those of counters. At the end every key is read once more and every
//! queue is emptied, so that nothing that was acknowledged can be missing unnoticed.

mod caller;
mod closing;
mod spaces;
mod worker;

pub use spaces::{ENTRY_OPERATIONS_MAX, QUEUE_OPERATIONS_MAX};

use crate::error::{Error, Result};
use crate::history::{Clock, Operation, Target};
use crate::net::Namespace;
use crate::rng::Rng;
use caller::Caller;
use grid_client::Client;
use spaces::Spaces;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;

/// How many clients do what.
#[derive(Clone, Debug)]
pub struct Config {
    /// Members to connect to.
    pub addresses: Vec<SocketAddr>,
    /// Clients, each with a connection and a thread of its own.
    pub clients: usize,
    /// Tasks of a client, each with one operation at a time.
    pub tasks: usize,
    /// Operations per second of all together; 0: as fast as they can.
    pub rate: u32,
    /// Deadline of an operation.
    pub timeout: Duration,
    /// Whether maps and queues stay the same, and are used once by every client before anything else: while
    /// members cannot agree on anything, there are no new ones.
    pub steady: bool,
    /// How long the closing reads may take in all.
    pub closing: Duration,
    /// What is chosen at random follows from it.
    pub seed: u64,
}

/// What clients did and saw in a run.
#[derive(Debug, Default)]
pub struct History {
    /// All operations, those of a process in their order.
    pub operations: Vec<Operation>,
    /// How often operations failed, by error and whether it may have been applied.
    pub errors: BTreeMap<String, u64>,
    /// Errors that no fault excuses, and operations that never returned; a few of them.
    pub odd: Vec<String>,
    /// What could not be read at the end, and why.
    pub unread: Vec<(Target, String)>,
}

/// What happens while it happens.
#[derive(Debug, Default)]
pub struct Progress {
    /// Operations that were done.
    pub done: AtomicU64,
    /// Operations that failed without effect.
    pub not_applied: AtomicU64,
    /// Operations that failed and may have taken effect.
    pub maybe: AtomicU64,
}

#[derive(Debug, Default)]
struct Stop {
    flag: AtomicBool,
    changed: Notify,
}

impl Stop {
    fn is_set(&self) -> bool {
        self.flag.load(Relaxed)
    }

    /// Waits this long, or until it is set.
    async fn sleep(&self, duration: Duration) {
        let changed = self.changed.notified();
        if !self.is_set() {
            let _ = tokio::time::timeout(duration, changed).await;
        }
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Workload {
    thread: JoinHandle<Result<History>>,
    stop: Arc<Stop>,
    progress: Arc<Progress>,
}

impl Workload {
    /// Starts the clients, in this namespace if there is one.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(config: Config, clock: Clock, namespace: Option<&Namespace>) -> Result<Self> {
        let (stop, progress) = (Arc::new(Stop::default()), Arc::new(Progress::default()));
        let context = (Arc::clone(&stop), Arc::clone(&progress));
        let work = move || run(&config, clock, &context.0, &context.1);
        let spawn = || std::thread::Builder::new().name("workload".into()).spawn(work);
        let thread = match namespace {
            Some(namespace) => namespace.within(spawn)?,
            None => spawn(),
        };
        let thread = thread.map_err(|error| Error::failed("starting the clients", error))?;
        Ok(Workload { thread, stop, progress })
    }

    /// What happened so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the clients have given up: [`Workload::finish`] tells why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops the load, reads everything once more, and returns what was seen.
    ///
    /// # Errors
    /// If a client could not connect when it was started.
    pub fn finish(self) -> Result<History> {
        self.stop.flag.store(true, Relaxed);
        self.stop.changed.notify_waiters();
        let failed = |_| Error::failed("the clients", "their thread has panicked");
        self.thread.join().map_err(failed)?
    }
}

fn run(
    config: &Config,
    clock: Clock,
    stop: &Arc<Stop>,
    progress: &Arc<Progress>,
) -> Result<History> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed("the clients' runtime", error))?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for number in 0..config.clients {
            clients.push(connect(config, number).await?);
        }
        let mut history = History::default();
        let callers = load(config, clock, stop, progress, &clients, &mut history).await;
        closing::read_all(config, callers, &mut history).await;
        for client in clients {
            client.shutdown().await;
        }
        Ok(history)
    })
}

async fn connect(config: &Config, number: usize) -> Result<Client> {
    let mut builder = Client::builder()
        .name(format!("faults-{number}"))
        .operation_timeout(config.timeout)
        .connect_timeout(Duration::from_secs(20))
        .heartbeat_timeout(Duration::from_secs(2));
    // Each client begins with another member.
    let from = number % config.addresses.len().max(1);
    for address in config.addresses.iter().cycle().skip(from).take(config.addresses.len()) {
        builder = builder.address(address.to_string());
    }
    let connected = builder.connect().await;
    connected.map_err(|error| Error::failed(format!("connecting client {number}"), error))
}

/// Runs the load until it is stopped; returns the callers, whose operations are in the history.
async fn load(
    config: &Config,
    clock: Clock,
    stop: &Arc<Stop>,
    progress: &Arc<Progress>,
    clients: &[Client],
    history: &mut History,
) -> Vec<Caller> {
    let spaces = Arc::new(Spaces::new(config.steady));
    let mut rng = Rng::new(config.seed);
    let mut workers = tokio::task::JoinSet::new();
    let mut process = 0;
    for client in clients {
        for _ in 0..config.tasks {
            process += 1;
            let caller = Caller::new(client.grid(), process, clock, config.timeout, progress);
            let pause = worker::pause(config);
            let (rng, spaces, stop) = (rng.fork(), Arc::clone(&spaces), Arc::clone(stop));
            workers.spawn(worker::work(caller, rng, spaces, pause, stop));
        }
    }
    let mut callers = Vec::new();
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(mut caller) => {
                caller.hand_over(history);
                callers.push(caller);
            }
            Err(error) => history.odd.push(format!("a task of a client has ended: {error}")),
        }
    }
    callers
}
