//! One raw connection of a generator.

use super::generator::{Answer, Connect, Load, Protocol, Request};
use super::keys::{self, Random, key};
use super::phases::{Party, Run};
use super::window::Window;
use grid_core::error::{Error, Kind, Result};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long connecting and shaking hands may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Most requests and bytes in flight while keys are written.
const FILL_REQUESTS: usize = 64;
const FILL_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;

/// See the module documentation.
pub(super) struct Connection<P> {
    number: usize,
    stream: TcpStream,
    protocol: P,
    window: Window,
    random: Random,
    value: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of `out` that are sent.
    sent: usize,
    /// Received bytes are at `0..filled`.
    input: Vec<u8>,
    filled: usize,
}

impl<P: Protocol> Connection<P> {
    /// Connects and shakes hands.
    pub(super) async fn open<C>(load: &Load, number: usize, connect: &C) -> Result<Self>
    where
        C: Connect<Protocol = P>,
    {
        let address = load.addresses[number % load.addresses.len()];
        let opening = async {
            let mut stream = TcpStream::connect(address)
                .await
                .map_err(|e| Error::with(Kind::Io, format!("cannot connect to {address}: {e}")))?;
            stream.set_nodelay(true).map_err(lost)?;
            let protocol = connect.handshake(&mut stream).await?;
            Ok::<_, Error>((stream, protocol))
        };
        let (stream, protocol) = match tokio::time::timeout(CONNECT_MAX, opening).await {
            Ok(opened) => opened?,
            Err(_) => {
                let secs = CONNECT_MAX.as_secs();
                let text = format!("{address} has not accepted a connection within {secs} s");
                return Err(Error::with(Kind::Timeout, text));
            }
        };
        Ok(Connection {
            number,
            stream,
            protocol,
            window: Window::new(load.pipeline.max(FILL_REQUESTS)),
            random: Random::new(number as u64),
            value: vec![b'x'; load.value_bytes],
            out: Vec::new(),
            sent: 0,
            input: vec![0; READ_BYTES],
            filled: 0,
        })
    }

    #[inline]
    fn push(&mut self, due_ns: u64, n: u64, read: bool) {
        let id = self.window.push(due_ns, n, read);
        if !read {
            keys::mark(&mut self.value, n);
        }
        let value = if read { None } else { Some(self.value.as_slice()) };
        let request = Request { id, floor: self.window.floor(), key: &key(n), value };
        self.protocol.request(&request, &mut self.out);
    }

    #[inline]
    fn push_random(&mut self, due_ns: u64, load: &Load) {
        let read = match load.reads_percent {
            100 => true,
            0 => false,
            percent => self.random.below(100) < u64::from(percent),
        };
        let n = loop {
            let n = self.random.below(load.keys);
            if !P::ROUTED || self.protocol.takes(&key(n)) {
                break n;
            }
        };
        self.push(due_ns, n, read);
    }

    /// The keys that this connection writes at first: every key is one connection's.
    fn share(&self, run: &Run) -> impl Iterator<Item = u64> + use<P> {
        let (number, parties, servers) = (self.number, run.parties, run.load.addresses.len());
        // Those of a server are shared out among its connections.
        let (first, step) = match P::ROUTED {
            true => (number / servers, (parties - number % servers).div_ceil(servers)),
            false => (number, parties),
        };
        (first as u64..run.load.keys).step_by(step)
    }

    /// Sends what is to be sent; ready when something was received. Can be dropped at any time.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.sent < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(n)) if n > 0 => self.sent += n,
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(closed())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(error))),
                Poll::Pending => break,
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        if self.filled == self.input.len() {
            self.input.resize(2 * self.input.len(), 0);
        }
        let mut buffer = ReadBuf::new(&mut self.input[self.filled..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(closed())),
            Poll::Ready(Ok(())) => {
                self.filled += buffer.filled().len();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes the replies that have come.
    fn settle(&mut self, run: &Run, strict: bool) -> Result<()> {
        let now_ns = run.now_ns();
        let counts = run.counts(now_ns) && !strict;
        let mut used = 0;
        let mut tally = run.tally.lock();
        while let Some((id, answer, len)) = self.protocol.reply(&self.input[used..self.filled])? {
            used += len;
            let waiting = self.window.take(id)?;
            let outcome = match (&answer, waiting.read) {
                (Answer::Written, false) | (Answer::Missing, true) => Ok(()),
                (Answer::Value(value), true) => {
                    if run.load.verify
                        && !keys::is_value_of(value, waiting.key, run.load.value_bytes)
                    {
                        Err("wrong value".to_owned())
                    } else {
                        Ok(())
                    }
                }
                (Answer::Failed(error), _) => Err(error.clone()),
                _ => {
                    return Err(Error::with(Kind::Malformed, "a reply to another kind of request"));
                }
            };
            match outcome {
                Ok(()) if counts => {
                    tally.record(waiting.read, now_ns.saturating_sub(waiting.due_ns));
                    tally.missing += u64::from(answer == Answer::Missing);
                }
                Ok(()) => {}
                Err(error) if strict => {
                    return Err(Error::with(
                        Kind::Invalid,
                        format!("the keys cannot be written: {error}"),
                    ));
                }
                Err(error) if counts => tally.fail(error),
                Err(_) => {}
            }
        }
        drop(tally);
        if used > 0 {
            run.progress();
            self.input.copy_within(used..self.filled, 0);
            self.filled -= used;
        }
        Ok(())
    }

    async fn drain(&mut self, run: &Run, strict: bool) -> Result<()> {
        while self.window.open() > 0 {
            poll_fn(|cx| self.poll_exchange(cx)).await?;
            self.settle(run, strict)?;
        }
        Ok(())
    }

    async fn closed_loop(&mut self, run: &Run) -> Result<()> {
        loop {
            let now_ns = run.now_ns();
            if run.is_over(now_ns) {
                return Ok(());
            }
            (0..run.load.pipeline).for_each(|_| self.push_random(now_ns, &run.load));
            self.drain(run, false).await?;
        }
    }

    async fn open_loop(&mut self, run: &Run, first_ns: u64, gap_ns: u64) -> Result<()> {
        let mut next_ns = first_ns;
        loop {
            let now_ns = run.now_ns();
            if run.is_over(now_ns) {
                break;
            }
            let room = |window: &Window| window.open() < run.load.pipeline && !window.is_full();
            while next_ns <= now_ns && room(&self.window) {
                self.push_random(next_ns, &run.load);
                next_ns += gap_ns;
            }
            let room = room(&self.window);
            tokio::select! {
                received = poll_fn(|cx| self.poll_exchange(cx)) => {
                    received?;
                    self.settle(run, false)?;
                }
                () = run.due.notified(), if room => {}
            }
        }
        run.tally.lock().unsent += run.until_ns.saturating_sub(next_ns).div_ceil(gap_ns);
        self.drain(run, false).await
    }
}

impl<P: Protocol> Party for Connection<P> {
    fn number(&self) -> usize {
        self.number
    }

    async fn fill(&mut self, run: &Run) -> Result<()> {
        let batch = (FILL_BYTES / run.load.value_bytes.max(1)).clamp(1, FILL_REQUESTS);
        let mut written = 0;
        for n in self.share(run) {
            if !P::ROUTED || self.protocol.takes(&key(n)) {
                self.push(0, n, false);
                written += 1;
            }
            if written == batch {
                written = 0;
                self.drain(run, true).await?;
            }
        }
        self.drain(run, true).await
    }

    async fn measure(&mut self, run: &Run) -> Result<()> {
        match run.schedule(self.number) {
            None => self.closed_loop(run).await,
            Some((first_ns, gap_ns)) => self.open_loop(run, first_ns, gap_ns).await,
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn lost(error: std::io::Error) -> Error {
    Error::with(Kind::Disconnected, error.to_string())
}

fn closed() -> Error {
    Error::with(Kind::Disconnected, "the server has closed the connection")
}
