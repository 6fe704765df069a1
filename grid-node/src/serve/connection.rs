//! A connection as one task: read what is there with one call, run all of it, write all answers with one
//! call. Buffers belong to the core's thread; a connection that is idle holds none.

use super::batch;
use super::handshake::{self, Peer};
use crate::outbox::Outbox;
use crate::sessions::Pass;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::PartitionId;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read with one call.
const READ_BYTES: usize = 256 << 10;
/// Bytes of answers that wait for a slow reader before the connection stops reading requests.
const PENDING_BYTES_MAX: usize = 1 << 20;
/// Capacity that the core's output buffer keeps.
const OUT_BYTES_KEPT: usize = 1 << 20;

struct Buffers {
    input: Box<[u8]>,
    out: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { input: vec![0; READ_BYTES].into(), out: Vec::new() });
}

/// What a connection keeps between two batches.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Pass,
    pub(super) outbox: Arc<Outbox>,
    /// Partitions in which this connection has subscribed.
    pub(super) subscribed: Vec<(u64, PartitionId)>,
    /// Number of this connection among those of the member.
    number: u64,
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// Answers that the socket has not taken yet, and how many of their bytes it has.
    pending: Vec<u8>,
    written: usize,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let from = stream.peer_addr().map_or_else(|_| String::from("?"), |address| address.to_string());
    match handshake::welcome(&shared, &mut stream).await {
        Ok(peer) => {
            tracing::debug!(%from, name = %peer.name, session = %peer.session.id(), "client connected");
            let session = peer.session.id();
            let mut connection = Connection::new(Arc::clone(&shared), peer, stream);
            if let Err(error) = poll_fn(|cx| connection.poll(cx)).await {
                shared.counters.offenders.add(1);
                tracing::warn!(%from, %error, "client disconnected for its fault");
            }
            drop(connection);
            shared.sessions.leave(session);
        }
        Err(error) => {
            shared.counters.offenders.add(1);
            tracing::warn!(%from, %error, "connection refused");
        }
    }
    shared.counters.connections.add(-1);
}

impl Connection {
    fn new(shared: Arc<Shared>, peer: Peer, stream: TcpStream) -> Self {
        let outbox = Arc::new(Outbox::new(shared.settings.subscriber_bytes_max));
        let number = shared.register(&outbox);
        Connection {
            number,
            session: peer.session,
            outbox,
            subscribed: Vec::new(),
            stream,
            partial: peer.rest,
            pending: Vec::new(),
            written: 0,
            shared,
        }
    }

    /// Ready when the connection has ended; an error if that is the other side's fault.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.partial.is_empty() && self.partial.capacity() <= 512 {
            // What came with the hello has not been looked at.
            let rest = std::mem::take(&mut self.partial);
            self.run_batch(&rest)?;
        }
        loop {
            self.outbox.take(cx.waker(), &mut self.pending);
            if self.outbox.is_closed() || !self.session.is_valid() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_flush(cx)?.is_pending()
                && self.pending.len() - self.written > PENDING_BYTES_MAX
            {
                return Poll::Pending;
            }
            match ready!(self.poll_batch(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.shared.is_draining() && self.pending.is_empty() && self.partial.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once and runs what came. False at the end of the stream.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        BUFFERS.with(|buffers| {
            let Ok(mut buffers) = buffers.try_borrow_mut() else {
                return Poll::Ready(Err(Error::new(Kind::Internal)));
            };
            let Buffers { input, out } = &mut *buffers;
            let mut read = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => return Poll::Ready(Ok(false)),
                Ok(()) => {}
                // A reset is how clients are killed; it is nobody's fault.
                Err(_) => return Poll::Ready(Ok(false)),
            }
            self.shared.counters.received.add(read.filled().len() as u64);
            let mut result = self.feed(read.filled(), out);
            self.shared.counters.sent.add(out.len() as u64);
            if self.pending.is_empty() && !out.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, out) {
                    Poll::Ready(Ok(n)) if n == out.len() => out.clear(),
                    Poll::Ready(Ok(n)) => {
                        out.drain(..n);
                    }
                    Poll::Ready(Err(_)) => result = Ok(false),
                    Poll::Pending => {}
                }
            }
            self.pending.extend_from_slice(out);
            out.clear();
            out.shrink_to(OUT_BYTES_KEPT);
            Poll::Ready(result)
        })
    }

    /// Runs the whole frames among what has come and keeps the rest.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        if self.partial.is_empty() {
            let used = batch::run(self, bytes, out)?;
            self.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(true);
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let used = batch::run(self, &whole, out)?;
        if used < whole.len() {
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(true)
    }

    fn run_batch(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = std::mem::take(&mut self.pending);
        let result = self.feed(bytes, &mut out);
        self.pending = out;
        result.map(|_| ())
    }

    /// Writes what is pending.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.pending.len() {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(n) if n > 0 => self.written += n,
                _ => {
                    self.outbox.close();
                    break;
                }
            }
        }
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.outbox.close();
        self.shared.connections.lock().remove(&self.number);
        for (_, partition) in &self.subscribed {
            if let Ok(cell) = self.shared.cell(*partition) {
                cell.forget_connection(&self.outbox);
            }
        }
    }
}
