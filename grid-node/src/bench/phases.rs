//! The threads of a generator and the phases that they go through together: connect, fill, warm up,
//! measure.

use super::generator::Load;
use super::process;
use super::report::{Measured, Tally};
use grid_core::error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A server that answers nothing for this long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often that is looked at.
const WATCH: Duration = Duration::from_millis(250);
/// From the end of the preparations to the start, so that all threads start together.
const LEAD: Duration = Duration::from_millis(20);
/// Requests that are due closer together than this are announced together.
const PACE_MIN: Duration = Duration::from_micros(50);

/// What sends requests one after the other: a connection, or a task with a handle.
pub(super) trait Party: Send + 'static {
    /// Its number among all.
    fn number(&self) -> usize;

    /// Writes its share of the keys.
    fn fill(&mut self, run: &Run) -> impl Future<Output = Result<()>> + Send;

    /// Sends requests until the end.
    fn measure(&mut self, run: &Run) -> impl Future<Output = Result<()>> + Send;
}

/// One phase, as a party sees it.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) load: Arc<Load>,
    pub(super) parties: usize,
    pub(super) tally: Arc<Mutex<Tally>>,
    start: Instant,
    /// When requests begin and cease to count, in nanoseconds from `start`.
    from_ns: u64,
    pub(super) until_ns: u64,
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    /// Announces that a request of this party is due.
    pub(super) due: Arc<Notify>,
}

impl Run {
    /// Nanoseconds since the start; 0 before it.
    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// Whether what happens now counts.
    #[inline]
    pub(super) fn counts(&self, now_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&now_ns)
    }

    /// Whether the phase is over.
    #[inline]
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns || self.stop.load(Relaxed)
    }

    /// Tells that the server is alive.
    #[inline]
    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Relaxed);
    }

    /// With a rate: when the first request of a party is due, and how far apart they are.
    pub(super) fn schedule(&self, number: usize) -> Option<(u64, u64)> {
        let gap_ns = 1e9 / self.load.rate?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a time within the run
        Some(((gap_ns * number as f64) as u64, ((gap_ns * self.parties as f64) as u64).max(1)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// From a thread to the coordinator: it has ended its preparations, then the measurement.
type Event = Result<()>;

/// Runs all phases. `open` makes the parties of a thread.
pub(super) fn run<P, F, Opening>(load: &Load, parties: usize, open: F) -> Result<Measured>
where
    P: Party,
    F: Fn(Arc<Load>, usize) -> Opening + Sync,
    Opening: Future<Output = Result<Vec<P>>>,
{
    let load = Arc::new(load.clone());
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (events, inbox) = channel();
        let mut threads = Vec::new();
        for thread in 0..load.threads {
            let (go, starting) = channel();
            let tally = Arc::new(Mutex::new(Tally::new()?));
            let run = Run {
                load: Arc::clone(&load),
                parties,
                tally: Arc::clone(&tally),
                start: Instant::now(),
                from_ns: 0,
                until_ns: u64::MAX,
                stop: Arc::clone(&stop),
                progress: Arc::default(),
                due: Arc::default(),
            };
            let (open, events) = (&open, events.clone());
            let handle = std::thread::Builder::new()
                .name(format!("bench-{thread}"))
                .spawn_scoped(scope, move || worker(open, thread, run, &starting, &events))
                .map_err(|e| Error::with(Kind::Io, format!("no thread to be had: {e}")))?;
            threads.push(Worker { go, tally, handle });
        }
        drop(events);
        let measured = coordinate(&load, &inbox, &threads);
        stop.store(true, Relaxed);
        let tallies = threads.into_iter().map(Worker::join).collect::<Result<Vec<_>>>();
        let mut measured = measured?;
        tallies?.iter().try_for_each(|tally| measured.add(&mut tally.lock()))?;
        Ok(measured)
    })
}

struct Worker<'scope> {
    go: Sender<Instant>,
    tally: Arc<Mutex<Tally>>,
    handle: ScopedJoinHandle<'scope, ()>,
}

impl Worker<'_> {
    fn join(self) -> Result<Arc<Mutex<Tally>>> {
        drop(self.go);
        match self.handle.join() {
            Ok(()) => Ok(self.tally),
            Err(_) => Err(Error::with(Kind::Internal, "a thread of the generator has panicked")),
        }
    }
}

/// Leads the threads through the phases and reads the clocks of CPU time.
fn coordinate(load: &Load, inbox: &Receiver<Event>, threads: &[Worker<'_>]) -> Result<Measured> {
    let filling = Instant::now();
    for _ in threads {
        await_event(inbox, None)?;
    }
    let mut ended = 0;
    let fill_time = load.fill.then(|| filling.elapsed());
    let mut servers: Vec<u32> =
        load.addresses.iter().filter_map(|a| process::listener(*a)).collect();
    servers.sort_unstable();
    servers.dedup();
    servers.retain(|pid| *pid != std::process::id());
    let start = Instant::now() + LEAD;
    for thread in threads {
        // A thread that has ended has told why.
        let _ = thread.go.send(start);
    }
    let from = start + load.warmup;
    ended += events_until(inbox, from)?;
    let before = Clocks::read(&servers);
    ended += events_until(inbox, from + load.measure)?;
    let used = Clocks::read(&servers).since(&before);
    while ended < threads.len() {
        await_event(inbox, None)?;
        ended += 1;
    }
    Measured::new(load, fill_time, used.server, used.own, &servers)
}

/// Waits for the next event of a thread, or until a time. Returns whether there was one.
fn await_event(inbox: &Receiver<Event>, until: Option<Instant>) -> Result<bool> {
    let event = match until {
        None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(until) => inbox.recv_timeout(until.saturating_duration_since(Instant::now())),
    };
    match event {
        Ok(result) => result.map(|()| true),
        Err(RecvTimeoutError::Timeout) => Ok(false),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Error::with(Kind::Internal, "a thread of the generator has ended early"))
        }
    }
}

/// Waits until a time. Returns how many threads have ended by then: the last moment may be over for them
/// a little earlier.
fn events_until(inbox: &Receiver<Event>, until: Instant) -> Result<usize> {
    let mut events = 0;
    while Instant::now() < until {
        events += usize::from(await_event(inbox, Some(until))?);
    }
    Ok(events)
}

/// CPU times.
struct Clocks {
    own: Option<Duration>,
    server: Option<Duration>,
}

impl Clocks {
    fn read(servers: &[u32]) -> Self {
        let times: Option<Vec<Duration>> =
            servers.iter().map(|pid| process::cpu_time(*pid)).collect();
        Clocks {
            own: process::cpu_time(std::process::id()),
            server: times.filter(|times| !times.is_empty()).map(|times| times.iter().sum()),
        }
    }

    fn since(&self, before: &Clocks) -> Clocks {
        let used =
            |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Clocks { own: used(self.own, before.own), server: used(self.server, before.server) }
    }
}

/// A thread of the generator.
fn worker<P, F, Opening>(
    open: &F,
    thread: usize,
    mut run: Run,
    starting: &Receiver<Instant>,
    events: &Sender<Event>,
) where
    P: Party,
    F: Fn(Arc<Load>, usize) -> Opening,
    Opening: Future<Output = Result<Vec<P>>>,
{
    let prepared = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::with(Kind::Io, format!("no runtime to be had: {e}")))
        .and_then(|runtime| {
            let parties = runtime.block_on(async {
                let parties = open(Arc::clone(&run.load), thread).await?;
                if run.load.fill { phase(parties, &run, true).await } else { Ok(parties) }
            })?;
            Ok((runtime, parties))
        });
    let (runtime, parties) = match prepared {
        Ok(prepared) => {
            let _ = events.send(Ok(()));
            prepared
        }
        Err(error) => {
            let _ = events.send(Err(error));
            return;
        }
    };
    let Ok(start) = starting.recv() else { return };
    run.start = start;
    run.from_ns = nanos(run.load.warmup);
    run.until_ns = run.from_ns + nanos(run.load.measure);
    std::thread::sleep(start.saturating_duration_since(Instant::now()));
    let ended = runtime.block_on(phase(parties, &run, false)).map(drop);
    let _ = events.send(ended);
}

/// Lets all parties of a thread go through a phase.
async fn phase<P: Party>(parties: Vec<P>, run: &Run, fill: bool) -> Result<Vec<P>> {
    let mut tasks = JoinSet::new();
    let mut lanes = Vec::new();
    for mut party in parties {
        let run = Run { due: Arc::default(), ..run.clone() };
        lanes.push((party.number(), Arc::clone(&run.due)));
        tasks.spawn(async move {
            match fill {
                true => party.fill(&run).await?,
                false => party.measure(&run).await?,
            }
            Ok(party)
        });
    }
    let paced = run.load.rate.is_some() && !fill;
    let pacer = paced.then(|| pace(run.clone(), lanes));
    let mut parties = Vec::new();
    let watch = watch(run);
    tokio::pin!(watch);
    let result = loop {
        tokio::select! {
            joined = tasks.join_next() => match joined {
                None => break Ok(parties),
                Some(Ok(Ok(party))) => parties.push(party),
                Some(Ok(Err(error))) => break Err(error),
                Some(Err(error)) => break Err(Error::with(Kind::Internal, error.to_string())),
            },
            error = &mut watch => break Err(error),
        }
    };
    if result.is_err() {
        run.stop.store(true, Relaxed);
    }
    if let Some(Ok(pacer)) = pacer {
        let _ = pacer.join();
    }
    result
}

/// Ends when the server has been silent for too long, or another thread has failed.
async fn watch(run: &Run) -> Error {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(WATCH).await;
        let progress = run.progress.load(Relaxed);
        if progress != seen {
            (seen, since) = (progress, Instant::now());
        }
        let idle = run.load.rate.is_some_and(|rate| rate < 1.0);
        if since.elapsed() > SILENCE_MAX && !idle {
            let secs = SILENCE_MAX.as_secs();
            return Error::with(
                Kind::Timeout,
                format!("the server has answered nothing for {secs} s"),
            );
        }
        if run.stop.load(Relaxed) {
            return Error::with(Kind::Closed, "another thread of the generator has failed");
        }
    }
}

/// Wakes the parties when their requests are due: timers of the runtime are too coarse for that.
fn pace(
    run: Run,
    lanes: Vec<(usize, Arc<Notify>)>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("bench-pace".into()).spawn(move || {
        let mut lanes: Vec<(u64, u64, Arc<Notify>)> = lanes
            .into_iter()
            .filter_map(|(number, due)| run.schedule(number).map(|(first, gap)| (first, gap, due)))
            .collect();
        while !run.is_over(run.now_ns()) {
            let now = run.now_ns();
            let mut next = run.until_ns;
            for (at, gap, due) in &mut lanes {
                if *at <= now {
                    *at += (now - *at) / *gap * *gap + *gap;
                    due.notify_one();
                }
                next = next.min(*at);
            }
            let pause = Duration::from_nanos(next.saturating_sub(run.now_ns()));
            std::thread::sleep(pause.clamp(PACE_MIN, WATCH));
        }
        lanes.iter().for_each(|(_, _, due)| due.notify_one());
    })
}
