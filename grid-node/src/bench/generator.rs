//! A load of keyed gets and sets against a server, over raw connections: requests are encoded in bulk,
//! every reply is matched to its request and checked.
//!
//! Closed loop: each connection sends a batch of `pipeline` requests and the next one when all are
//! answered; a latency is that of one request, from the batch's sending to its own reply. Open loop
//! (with a rate): requests are due at fixed times, whatever the server does, and latencies count from
//! then, so that a stall of the server is not hidden by requests that were never sent.

use super::connection::Connection;
use super::phases;
use super::report::Measured;
use grid_core::error::{Error, Kind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// A request to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its number, ascending from 1 on each connection.
    pub id: u64,
    /// All requests below this number are answered.
    pub floor: u64,
    /// The key.
    pub key: &'a [u8; super::keys::KEY_BYTES],
    /// The value to write; none: read.
    pub value: Option<&'a [u8]>,
}

/// What a reply says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The write was done.
    Written,
    /// The value of the key.
    Value(&'a [u8]),
    /// The key has no value.
    Missing,
    /// The request failed: what kind of error it was.
    Failed(String),
}

/// One connection's side of a protocol.
pub trait Protocol: Send + Sized + 'static {
    /// Whether keys belong to servers: then every connection has requests for those of its own only, and
    /// there must be connections to all servers.
    const ROUTED: bool = false;

    /// Whether requests for the key belong on this connection.
    #[inline]
    fn takes(&self, _key: &[u8; super::keys::KEY_BYTES]) -> bool {
        true
    }

    /// Appends a request.
    fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>);

    /// Splits the first whole reply off: the number of its request, what it says, and its bytes.
    ///
    /// # Errors
    /// Bytes that are no reply.
    fn reply<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(u64, Answer<'a>, usize)>>;
}

/// Makes connections ready for requests.
pub trait Connect: Send + Sync + 'static {
    /// What it speaks.
    type Protocol: Protocol;

    /// Shakes hands on a new connection.
    fn handshake(&self, stream: &mut TcpStream) -> impl Future<Output = Result<Self::Protocol>>;
}

/// What to do to the server. [`Load::check`] it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it listens; connections are spread over the addresses.
    pub addresses: Vec<SocketAddr>,
    /// Connections over all threads.
    pub connections: usize,
    /// Requests in flight on each connection at most.
    pub pipeline: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Distinct keys, chosen uniformly.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Gets among 100 requests; the rest are sets.
    pub reads_percent: u8,
    /// How long to measure.
    pub measure: Duration,
    /// How long to run before that.
    pub warmup: Duration,
    /// Whether to write all keys first.
    pub fill: bool,
    /// Requests per second over all connections; none: as fast as replies come.
    pub rate: Option<f64>,
    /// Whether the value of a reply must be that of its key.
    pub verify: bool,
}

impl Load {
    /// Refuses what cannot be done.
    ///
    /// # Errors
    /// `Invalid`, with the limit.
    pub fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::with(Kind::Invalid, text));
        if self.addresses.is_empty() {
            return invalid("no address".into());
        }
        if self.threads == 0 || self.connections < self.threads || self.connections > 10_000 {
            return invalid(format!(
                "{} connections on {} threads; there must be one thread, one connection for each, and at most 10000",
                self.connections, self.threads
            ));
        }
        if self.pipeline == 0 || self.pipeline > 65_536 {
            return invalid(format!("a pipeline of {}; 1 to 65536 are possible", self.pipeline));
        }
        if self.keys == 0 || self.keys > super::keys::KEYS_MAX {
            return invalid(format!(
                "{} keys; 1 to {} are possible",
                self.keys,
                super::keys::KEYS_MAX
            ));
        }
        let value_max = grid_core::limits::VALUE_BYTES_MAX;
        if self.value_bytes > value_max {
            return invalid(format!(
                "values of {} bytes; at most {value_max} are possible",
                self.value_bytes
            ));
        }
        if self.reads_percent > 100 {
            return invalid(format!("{} percent reads", self.reads_percent));
        }
        if self.measure.is_zero() {
            return invalid("no time to measure".into());
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return invalid("the rate must be above 0".into());
        }
        Ok(())
    }
}

/// Runs a load and waits for its end.
///
/// # Errors
/// `Invalid` for an impossible load; what kept a connection from being made or ended it; `Timeout` if
/// the server stops answering. Errors of single requests are counted, not returned, except while the
/// keys are written.
pub fn run<C: Connect>(load: &Load, connect: C) -> Result<Measured> {
    load.check()?;
    let connect = Arc::new(connect);
    phases::run(load, load.connections, move |load: Arc<Load>, thread| {
        let connect = Arc::clone(&connect);
        async move {
            let mut connections = Vec::new();
            for number in (thread..load.connections).step_by(load.threads) {
                connections.push(Connection::open(&load, number, &*connect).await?);
            }
            Ok(connections)
        }
    })
}
