//! A connection as one task: read what is there with one call, run all of it, write all answers with one
//! call. Buffers belong to the core's thread; a connection that is idle holds none.

use super::batch::{self, Ran};
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
/// Batches after which a connection lets the others of its core have a turn.
const BATCHES_MAX: usize = 4;

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
    /// What has come and was not run: the beginning of a frame whose end has not come, or behind answers
    /// that fill a batch (`backlog`) any number of frames.
    rest: Vec<u8>,
    backlog: bool,
    /// Answers that the socket has not taken yet, and how many of their bytes it has.
    pending: Vec<u8>,
    written: usize,
}

/// Serves the connection of a client until it ends. `rest` is what came behind the hello.
pub(super) async fn serve(
    shared: Arc<Shared>,
    session: Pass,
    name: &str,
    stream: TcpStream,
    rest: Vec<u8>,
) {
    let from = stream.peer_addr().map_or_else(|_| String::from("?"), |address| address.to_string());
    tracing::debug!(%from, %name, session = %session.id(), "client connected");
    let mut connection = Connection::new(Arc::clone(&shared), session, stream, rest);
    if let Err(error) = poll_fn(|cx| connection.poll(cx)).await {
        shared.counters.offenders.add(1);
        tracing::warn!(%from, %error, "client disconnected for its fault");
    }
}

impl Connection {
    fn new(shared: Arc<Shared>, session: Pass, stream: TcpStream, rest: Vec<u8>) -> Self {
        let outbox = Arc::new(Outbox::new(shared.settings.subscriber_bytes_max));
        let number = shared.register(&outbox);
        Connection {
            number,
            session,
            outbox,
            subscribed: Vec::new(),
            stream,
            // What came with the hello has not been looked at.
            backlog: !rest.is_empty(),
            rest,
            pending: Vec::new(),
            written: 0,
            shared,
        }
    }

    /// Where the other side has reached this member.
    pub(super) fn reached(&self) -> Option<std::net::SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Ready when the connection has ended; an error if that is the other side's fault.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        for _ in 0..BATCHES_MAX {
            let parked = self.outbox.has_parked(); // before `take`, which then has what came of them
            let room = self.has_room();
            self.outbox.take(cx.waker(), room.then_some(&mut self.pending));
            if self.outbox.is_closed() || !self.session.is_valid() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_flush(cx).is_pending() && !self.has_room() {
                return Poll::Pending;
            }
            if !room {
                continue; // the outbox was left alone
            }
            match self.poll_batch(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(end) => return Poll::Ready(end.map(|_| ())),
                Poll::Pending => {
                    let idle = !parked && self.pending.is_empty() && self.rest.is_empty();
                    let ends = idle && self.shared.is_draining();
                    return if ends { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the other side reads its answers fast enough to be given more.
    fn has_room(&self) -> bool {
        self.pending.len() - self.written <= PENDING_BYTES_MAX
    }

    /// Reads once, unless something is left to run, and runs it. False at the end of the stream.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        BUFFERS.with(|buffers| {
            let Ok(mut buffers) = buffers.try_borrow_mut() else {
                return Poll::Ready(Err(Error::new(Kind::Internal)));
            };
            let Buffers { input, out } = &mut *buffers;
            let mut read = ReadBuf::new(input);
            if !self.backlog {
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                    Ok(()) if read.filled().is_empty() => return Poll::Ready(Ok(false)),
                    Ok(()) => {}
                    // A reset is how clients are killed; it is nobody's fault.
                    Err(_) => return Poll::Ready(Ok(false)),
                }
                self.outbox.heard();
                self.shared.counters.received.add(read.filled().len() as u64);
            }
            let mut result = self.feed(read.filled(), out).map(|()| true);
            self.shared.counters.sent.add(out.len() as u64);
            let mut taken = 0;
            if self.pending.is_empty() && !out.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, out) {
                    Poll::Ready(Ok(n)) => taken = n,
                    Poll::Ready(Err(_)) => result = Ok(false),
                    Poll::Pending => {}
                }
            }
            self.pending.extend_from_slice(out.get(taken..).unwrap_or_default());
            out.clear();
            out.shrink_to(OUT_BYTES_KEPT);
            Poll::Ready(result)
        })
    }

    /// Runs the whole frames among what has come and keeps the rest.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.rest.is_empty() {
            let Ran { used, full } = batch::run(self, bytes, out)?;
            self.rest.extend_from_slice(bytes.get(used..).unwrap_or_default());
            self.backlog = full;
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        let Ran { used, full } = batch::run(self, &whole, out)?;
        self.backlog = full;
        if used == 0 {
            self.rest = whole; // a large frame grows in place
        } else if used < whole.len() {
            // Not in place: the buffer may have held a large frame.
            self.rest.extend_from_slice(whole.get(used..).unwrap_or_default());
        }
        Ok(())
    }

    /// Writes what is pending.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.written < self.pending.len() {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(n)) if n > 0 => self.written += n,
                Poll::Ready(_) => {
                    self.outbox.close();
                    break;
                }
                Poll::Pending => {
                    // For a reader that is always a bit behind, `pending` is never empty.
                    if self.written > self.pending.len() / 2 {
                        self.pending.drain(..self.written);
                        self.written = 0;
                    }
                    return Poll::Pending;
                }
            }
        }
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.outbox.close();
        self.shared.connections.lock().remove(&self.number);
        let mut partitions: Vec<_> = self.subscribed.iter().map(|(_, at)| *at).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            if let Ok(cell) = self.shared.cell(partition) {
                cell.forget_connection(&self.outbox);
            }
        }
    }
}
