//! A TCP proxy in the path of a link, which can hold up, slow down, swallow, garble and reset what goes through
//! it. Each direction has its own [`Trouble`], changed at run time through a [`Handle`]; what waits in the
//! proxy follows the new one at once.
//!
//! A proxy cannot lose packets, since TCP would send them again; for that there are [`crate::net`]'s rules. What
//! the kernel here has no queueing discipline for (delay, jitter) is what the proxy is for.

mod nature;
mod pace;
mod pipe;
#[cfg(test)]
mod tests;
mod trouble;

pub use trouble::{Direction, Latency, Trouble};

use crate::rng::Rng;
use nature::Nature;
use pipe::{End, Pipe};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Connections at once through one proxy; more are reset.
const CONNECTIONS_MAX: usize = 4096;

/// What all connections of a proxy follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    troubles: [Trouble; 2],
    /// How often [`Handle::reset`] was called.
    resets: u64,
}

impl Settings {
    pub(crate) fn of(&self, direction: Direction) -> &Trouble {
        &self.troubles[direction as usize]
    }
}

/// What a proxy did so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that it took.
    pub connections: AtomicU64,
    /// Connections that it reset.
    pub resets: AtomicU64,
    /// Bytes that it passed on, both directions.
    pub passed: AtomicU64,
    /// Bytes that it threw away.
    pub swallowed: AtomicU64,
    /// Bytes that it changed.
    pub flipped: AtomicU64,
}

/// Controls a proxy from anywhere. Cloning is cheap; it is of no effect once the proxy has gone.
#[derive(Clone, Debug)]
pub struct Handle {
    settings: Arc<watch::Sender<Settings>>,
    counters: Arc<Counters>,
}

impl Handle {
    /// Gives one direction this trouble instead of what it had.
    pub fn set(&self, direction: Direction, trouble: Trouble) {
        self.settings.send_if_modified(|settings| {
            let known = &mut settings.troubles[direction as usize];
            let differs = *known != trouble;
            *known = trouble;
            differs
        });
    }

    /// Resets all connections. New ones are served.
    pub fn reset(&self) {
        self.settings.send_modify(|settings| settings.resets += 1);
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// A running proxy; it and its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Serves a listener: each connection gets one to `to`. Runs on the runtime of the caller.
    #[must_use]
    pub fn start(listener: TcpListener, to: SocketAddr, rng: Rng) -> Self {
        let settings = Arc::new(watch::Sender::new(Settings::default()));
        let handle = Handle { settings, counters: Arc::default() };
        let task = tokio::spawn(serve(listener, to, handle.clone(), rng));
        Proxy { handle, task }
    }

    /// What controls it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, handle: Handle, mut rng: Rng) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                handle.counters.connections.fetch_add(1, Relaxed);
                connections.spawn(connection(stream, to, handle.clone(), rng.fork()));
            }
            Ok((stream, _)) => reset(&stream, &handle.counters),
            // No file descriptors, for instance: others must end first.
            Err(_) => drop(connections.join_next().await),
        }
    }
}

/// Serves one connection until both directions have ended, or one is broken.
async fn connection(mut client: TcpStream, to: SocketAddr, handle: Handle, rng: Rng) {
    let mut settings = handle.settings.subscribe();
    let resets = settings.borrow_and_update().resets;
    // The sender lives in `handle`, so the wait never fails.
    let mut was_reset = pin!(settings.wait_for(|settings| settings.resets != resets));
    let connected = tokio::select! {
        biased;
        _ = &mut was_reset => None,
        connected = TcpStream::connect(to) => connected.ok(),
    };
    let Some(mut server) = connected else { return reset(&client, &handle.counters) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = tokio::select! {
        biased;
        _ = &mut was_reset => Err(End::Broken),
        ended = exchange(&mut client, &mut server, &handle, rng) => ended,
    };
    if ended.is_err() {
        reset(&client, &handle.counters);
        let _ = server.set_zero_linger();
    }
}

async fn exchange(
    client: &mut TcpStream,
    server: &mut TcpStream,
    handle: &Handle,
    mut rng: Rng,
) -> Result<(), End> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let nature = Nature::default();
    let pipe = |direction| Pipe { direction, handle, nature: &nature };
    let (up, down) = (pipe(Direction::ToServer), pipe(Direction::ToClient));
    let up = up.run(from_client, to_server, rng.fork());
    let down = down.run(from_server, to_client, rng);
    tokio::try_join!(up, down).map(drop)
}

/// The stream is reset as soon as it is dropped.
fn reset(stream: &TcpStream, counters: &Counters) {
    counters.resets.fetch_add(1, Relaxed);
    let _ = stream.set_zero_linger();
}
