//! The client's own thread: it connects, and looks at the clock.

use crate::backoff::Backoff;
use crate::builder::Builder;
use crate::client::Ready;
use crate::connect::{connect, duplicate, is_final};
use crate::exchange::Exchange;
use crate::shared::Shared;
use grid_core::control::StructureKind;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::Index;
use grid_core::wire::control::{Control, ControlReply};
use grid_core::wire::hello::Welcome;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How often deadlines are looked after at least.
const TICK: Duration = Duration::from_millis(20);
/// For how long members that have no quorum are asked again.
const QUORUM_WAIT: Duration = Duration::from_secs(1);
/// How often at most.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Pause of who cannot connect because another one is about to open a session, or to connect there.
const TURN: Duration = Duration::from_millis(2);

/// Runs until the client is shut down.
pub(crate) fn run(builder: Builder, ready: Ready) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(Error::with(Kind::Io, error.to_string())))),
    };
    runtime.block_on(async move {
        let mut ready = ready;
        let first = tokio::select! {
            first = first(builder) => first,
            () = ready.closed() => return,
        };
        match first {
            Ok(shared) => {
                if ready.send(Ok(Arc::clone(&shared))).is_ok() {
                    tokio::select! {
                        () = keep_time(&shared) => {}
                        () = find_anybody(&shared) => {}
                        () = shared.end.notified() => {}
                    }
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    // The look-up of a name may still be under way, and cannot be stopped.
    runtime.shutdown_background();
}

/// The first connection decides whether there is a client at all.
async fn first(builder: Builder) -> Result<Arc<Shared>> {
    let deadline = Instant::now() + builder.connect_timeout;
    let mut backoff = Backoff::new(builder.backoff.0, builder.backoff.1);
    let share =
        builder.connect_timeout / u32::try_from(builder.addresses.len()).unwrap_or(u32::MAX);
    let mut last = Error::with(Kind::Timeout, "it accepts connections but does not answer");
    for attempt in 0usize.. {
        let address = builder.addresses[attempt % builder.addresses.len()].clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = builder.connect_timeout.saturating_sub(left);
        if last.kind() == Kind::NoQuorum && waited >= QUORUM_WAIT.min(builder.connect_timeout) {
            return Err(last);
        }
        if left.is_zero() {
            let why = last.detail().unwrap_or("no answer");
            let text = format!("no member answered within {:?}: {why}", builder.connect_timeout);
            return Err(Error::with(Kind::Timeout, text));
        }
        let hello = connect(&builder, &address, None, Index(0));
        match tokio::time::timeout(left.min(share), hello).await {
            Ok(Ok((welcome, stream))) => {
                let shared = Arc::new(Shared::new(welcome.partitions, builder));
                adopt(&shared, &address, &welcome, stream)?;
                return Ok(shared);
            }
            Ok(Err(error)) if is_final(&error) && builder.addresses.len() == 1 => {
                return Err(error);
            }
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
        // The other addresses may do better at once; a pause follows when all were tried.
        if (attempt + 1) % builder.addresses.len() == 0 {
            tokio::time::sleep(backoff.next().min(left)).await;
        }
    }
    Err(last)
}

/// Takes a connection into use.
fn adopt(shared: &Arc<Shared>, address: &str, welcome: &Welcome, stream: TcpStream) -> Result<()> {
    let socket = duplicate(&stream)?;
    let (at, number) = shared.change(|state, fx| state.adopt(address, welcome, socket, fx))?;
    tokio::spawn(Exchange { shared: Arc::clone(shared), at, number }.run(stream));
    Ok(())
}

/// Tells the state what is due when it is.
async fn keep_time(shared: &Arc<Shared>) {
    loop {
        let now = Instant::now();
        let next = shared.change(|state, fx| state.tick(now, fx));
        let next = next.map_or(now + TICK, |next| next.clamp(now + PAUSE_MIN, now + TICK));
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = shared.alarm.notified() => {}
        }
    }
}

/// How an attempt to connect went.
enum Dialled {
    Connected,
    /// It was not tried: somebody else has to be waited for.
    NotNow,
    Failed,
}

/// Connects to an address, in the client's session; opens one if there is none.
async fn dial(shared: &Arc<Shared>, address: &str, lane: Option<usize>) -> Dialled {
    let (session, known) = {
        let mut state = shared.state.lock();
        if state.dialing.contains(address) {
            return Dialled::NotNow;
        }
        let Some(session) = state.session.greet() else { return Dialled::NotNow };
        state.dialing.insert(address.to_owned());
        (session, state.session.known(state.route.index()))
    };
    let attempt = connect(&shared.builder, address, session, known);
    let result = tokio::time::timeout(shared.builder.connect_timeout, attempt).await;
    {
        let mut state = shared.state.lock();
        state.dialing.remove(address);
        if session.is_none() {
            state.session.greeted();
        }
    }
    let result = match result {
        Ok(Ok((welcome, stream))) => adopt(shared, address, &welcome, stream),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::with(Kind::Timeout, format!("{address} does not answer"))),
    };
    let Err(error) = result else { return Dialled::Connected };
    tracing::debug!(%error, "no connection");
    shared.change(|state, fx| {
        if let (Kind::SessionExpired, Some((id, _))) = (error.kind(), session) {
            state.lose_session(id, &error, fx);
        }
        if let Some(lane) = lane.and_then(|at| state.lanes.get_mut(at)) {
            (lane.trouble, lane.wished) = (Some(error.clone()), false);
        }
        state.trouble = Some(error);
    });
    Dialled::Failed
}

/// Keeps a lane connected while it is of use, until it is retired.
pub(crate) async fn keep_connected(shared: Arc<Shared>, at: usize) {
    let (first, most) = shared.builder.backoff;
    let mut backoff = Backoff::new(first, most);
    let mut rested = true;
    loop {
        let (bell, address) = {
            let mut state = shared.state.lock();
            let wanted = state.wants(at);
            let Some(lane) = state.lanes.get_mut(at) else { return };
            if lane.retired {
                lane.vacant = true;
                return;
            }
            (Arc::clone(&lane.dial), lane.address().filter(|_| wanted).cloned())
        };
        let Some(address) = address else {
            bell.notified().await;
            continue;
        };
        if !rested {
            tokio::time::sleep(backoff.next()).await;
            rested = true;
            continue;
        }
        match dial(&shared, &address, Some(at)).await {
            Dialled::NotNow => tokio::time::sleep(TURN).await,
            Dialled::Failed => rested = false,
            Dialled::Connected => {
                rested = false;
                backoff.reset();
                let mut state = shared.state.lock();
                // Another member is there now.
                if let Some(lane) = state.lanes.get_mut(at).filter(|lane| lane.up.is_none()) {
                    lane.reached = None;
                }
            }
        }
    }
}

/// While no member is connected: tries all addresses that are known, in turn.
async fn find_anybody(shared: &Arc<Shared>) {
    let (first, most) = shared.builder.backoff;
    let mut backoff = Backoff::new(first, most);
    for turn in 0usize.. {
        let addresses = {
            let state = shared.state.lock();
            if state.is_connected() {
                Vec::new()
            } else {
                let known = state.lanes.iter().filter(|lane| !lane.retired);
                let mut all: Vec<String> = shared.builder.addresses.clone();
                all.extend(known.filter_map(|lane| lane.address().cloned()));
                all
            }
        };
        if addresses.is_empty() {
            backoff.reset();
            shared.alone.notified().await;
        }
        tokio::time::sleep(backoff.next()).await;
        if shared.state.lock().is_connected() {
            continue;
        }
        if let Some(address) = addresses.get(turn % addresses.len().max(1)) {
            dial(shared, address, None).await;
        }
    }
}

/// Gives the running subscriptions the ids of the cluster's new life.
pub(crate) async fn declare_anew(shared: Arc<Shared>, names: Vec<(String, StructureKind)>) {
    let life = shared.life();
    let mut backoff = Backoff::new(shared.builder.backoff.0, shared.builder.backoff.1);
    for (name, kind) in names {
        loop {
            let declare = Control::Declare { name: name.clone(), kind };
            let declared = shared.call(declare, None).await;
            if learn(&shared, life, &name, kind, declared) {
                break;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// Takes note of the new id of a name. Returns whether there is nothing more to do for it in this life.
fn learn(
    shared: &Shared,
    life: u32,
    name: &str,
    kind: StructureKind,
    declared: Result<ControlReply>,
) -> bool {
    let mut state = shared.state.lock();
    match declared {
        _ if shared.check(&state, life).is_err() => true,
        Ok(ControlReply::Declared { structure, since, .. }) => {
            state.applied = state.applied.max(since);
            state.names.insert(structure, (name.to_owned(), kind));
            state.subscriptions.learn(name, structure);
            true
        }
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, %name, "a subscription is not renewed yet");
            false
        }
    }
}
