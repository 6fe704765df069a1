//! The client's own thread: connects, sends, receives, keeps deadlines.

use crate::backoff::Backoff;
use crate::builder::Builder;
use crate::client::Ready;
use crate::link::{Link, Waiting};
use grid_core::data::BlobBuf;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::RawEvent;
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::event::{self, Event};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use grid_core::wire::{FrameKind, reply, split_frame};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const READ_BYTES: usize = 256 << 10;
/// How often deadlines and heartbeats are looked after.
const TICK: Duration = Duration::from_millis(20);

/// See the module documentation.
pub(crate) struct Io {
    builder: Builder,
    link: Arc<Link>,
    backoff: Backoff,
    next_address: usize,
}

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
            Ok((mut io, stream)) => {
                let link = Arc::clone(&io.link);
                if ready.send(Ok(Arc::clone(&link))).is_ok() {
                    tokio::select! {
                        () = io.serve(stream) => {}
                        () = keep_deadlines(&link) => {}
                        () = link.end.notified() => {}
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
async fn first(builder: Builder) -> Result<(Io, TcpStream)> {
    let deadline = Instant::now() + builder.connect_timeout;
    let mut backoff = Backoff::new(builder.backoff.0, builder.backoff.1);
    let share =
        builder.connect_timeout / u32::try_from(builder.addresses.len()).unwrap_or(u32::MAX);
    let mut last = Error::with(Kind::Timeout, "it accepts connections but does not answer");
    for attempt in 0usize.. {
        let address = &builder.addresses[attempt % builder.addresses.len()];
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = last.detail().unwrap_or("no answer");
            let text = format!("no member answered within {:?}: {why}", builder.connect_timeout);
            return Err(Error::with(Kind::Timeout, text));
        }
        let hello = connect(&builder, address, None);
        match tokio::time::timeout(left.min(share), hello).await {
            Ok(Ok((welcome, stream))) => {
                let link = Arc::new(Link::new(welcome.partitions, builder.operation_timeout));
                let io = Io { builder, link, backoff, next_address: attempt };
                io.adopt(&welcome, &stream)?;
                return Ok((io, stream));
            }
            Ok(Err(error)) if is_final(&error) && builder.addresses.len() == 1 => {
                return Err(error);
            }
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
        tokio::time::sleep(backoff.next().min(left)).await;
    }
    Err(last)
}

/// Whether another attempt at the same address would end the same way.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::WrongCluster | Kind::WrongVersion | Kind::Malformed | Kind::Invalid
    )
}

/// Connects and shakes hands.
async fn connect(
    builder: &Builder,
    address: &str,
    session: Option<(grid_core::ids::SessionId, u64)>,
) -> Result<(Welcome, TcpStream)> {
    let at = |error: std::io::Error| Error::with(Kind::Disconnected, format!("{address}: {error}"));
    let mut stream = TcpStream::connect(address).await.map_err(at)?;
    stream.set_nodelay(true).map_err(at)?;
    let hello = Hello {
        cluster: builder.cluster.clone(),
        kind: PeerKind::Client,
        name: builder.name.clone(),
        session,
    };
    let mut bytes = Vec::new();
    hello::encode(&hello, &mut bytes)?;
    stream.write_all(&bytes).await.map_err(at)?;
    bytes.clear();
    loop {
        // Nothing follows the answer before a request was sent, so nothing is read beyond it.
        if let Some((answer, _)) = hello::decode::<Answer>(&bytes)? {
            return match answer {
                Answer::Welcome(welcome) => Ok((welcome, stream)),
                Answer::Refused { kind, detail } => {
                    Err(Error::with(kind, format!("{address}: {detail}")))
                }
            };
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await.map_err(at)? {
            0 => {
                return Err(Error::with(
                    Kind::Disconnected,
                    format!("{address} closed the connection"),
                ));
            }
            n => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

impl Io {
    /// Runs until the future is dropped.
    async fn serve(&mut self, mut stream: TcpStream) {
        loop {
            let error = self.exchange(stream).await;
            tracing::info!(%error, "the connection to the member was lost");
            {
                let mut state = self.link.state.lock();
                (state.socket, state.trouble) = (None, Some(error));
            }
            stream = self.reconnect().await;
        }
    }

    /// Tries all addresses until one welcomes the client.
    async fn reconnect(&mut self) -> TcpStream {
        loop {
            tokio::time::sleep(self.backoff.next()).await;
            let address =
                self.builder.addresses[self.next_address % self.builder.addresses.len()].clone();
            self.next_address = self.next_address.wrapping_add(1);
            let session = {
                let state = self.link.state.lock();
                state.session.zip(state.cluster_life)
            };
            let attempt = connect(&self.builder, &address, session);
            let error = match tokio::time::timeout(self.builder.connect_timeout, attempt).await {
                Ok(Ok((welcome, stream))) => match self.adopt(&welcome, &stream) {
                    Ok(()) => {
                        self.backoff.reset();
                        return stream;
                    }
                    Err(error) => error,
                },
                Ok(Err(error)) => error,
                Err(_) => Error::with(Kind::Timeout, format!("{address} does not answer")),
            };
            tracing::debug!(%error, "no connection");
            if error.kind() == Kind::SessionExpired {
                self.lose_session(&error);
            }
            self.link.state.lock().trouble = Some(error);
        }
    }

    /// The member has ended the session: what was sent in it cannot be sent again.
    fn lose_session(&self, error: &Error) {
        let mut wakers = Vec::new();
        {
            let mut state = self.link.state.lock();
            state.session = None;
            state.window.fail(error, |_, sent| sent, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes a new connection into use: what has no answer is to be sent on it.
    fn adopt(&self, welcome: &Welcome, stream: &TcpStream) -> Result<()> {
        if welcome.partitions != self.link.partitions {
            let text =
                format!("{} partitions now, {} before", welcome.partitions, self.link.partitions);
            return Err(Error::with(Kind::Invalid, text));
        }
        let socket = duplicate(stream).map_err(|error| Error::with(Kind::Io, error.to_string()))?;
        let (mut wakers, mut answers) = (Vec::new(), Vec::new());
        {
            let mut state = self.link.state.lock();
            let known = state.cluster_life.replace(welcome.cluster_life);
            let fresh_life = known.is_some_and(|life| life != welcome.cluster_life);
            if fresh_life {
                let error = Error::with(Kind::Disconnected, "the cluster was restarted empty");
                state.window.fail(&error, |_, _| true, &mut wakers);
                self.link.life.fetch_add(1, Ordering::AcqRel);
                state.names.clear();
                // They name structures by ids that mean others now.
                let stale = |_: &u64, waiting: &mut Waiting| waiting.names_structure();
                let stale: Vec<_> = state.controls.extract_if(stale).collect();
                answers.extend(stale.into_iter().map(|(_, waiting)| (waiting, Err(error.clone()))));
            }
            state.session = Some(welcome.session);
            state.session_timeout = Duration::from_millis(welcome.session_timeout_ms);
            state.applied = welcome.applied;
            state.frame_bytes_max =
                usize::try_from(welcome.frame_bytes_max).unwrap_or(FRAME_BYTES_MAX);
            state.socket = Some(socket);
            state.sending = false;
            state.window.resend();
            state.resend_controls();
            if known.is_some() && !fresh_life {
                for message in state.subscriptions.renew(&mut wakers) {
                    state.send_quietly(&message);
                }
            }
            if fresh_life && state.subscriptions.iter_mut().next().is_some() {
                let link = Arc::clone(&self.link);
                tokio::spawn(async move { resubscribe(&link).await });
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        answer(&mut answers);
        self.link.kick.notify_one();
        Ok(())
    }

    /// Sends and receives until the connection ends; returns why.
    async fn exchange(&self, stream: TcpStream) -> Error {
        let (read, write) = stream.into_split();
        tokio::select! {
            biased;
            error = self.receive(read) => error,
            error = self.send(write) => error,
            error = self.watch() => error,
        }
    }

    async fn send(&self, mut write: OwnedWriteHalf) -> Error {
        let mut out = Vec::new();
        loop {
            out.clear();
            {
                let mut state = self.link.state.lock();
                let bytes = state.window.unsent();
                let count = bytes.len();
                out.extend_from_slice(bytes);
                state.window.mark_sent(count);
                out.append(&mut state.control_out);
                state.sending = !out.is_empty();
            }
            if out.is_empty() {
                self.link.kick.notified().await;
                // What is ready to run on other threads joins this batch.
                tokio::task::yield_now().await;
            } else if let Err(error) = write.write_all(&out).await {
                return Error::with(Kind::Disconnected, error.to_string());
            }
            out.shrink_to(1 << 20);
        }
    }

    async fn receive(&self, mut read: OwnedReadHalf) -> Error {
        let mut bytes: Vec<u8> = Vec::with_capacity(READ_BYTES);
        let (mut wakers, mut answers) = (Vec::new(), Vec::new());
        loop {
            match read.read_buf(&mut bytes).await {
                Ok(0) => {
                    return Error::with(Kind::Disconnected, "the member closed the connection");
                }
                Ok(_) => {}
                Err(error) => return Error::with(Kind::Disconnected, error.to_string()),
            }
            let used = match self.take_frames(&bytes, &mut wakers, &mut answers) {
                Ok(used) => used,
                Err(error) => return error,
            };
            wakers.drain(..).for_each(Waker::wake);
            answer(&mut answers);
            bytes.drain(..used);
            if bytes.is_empty() {
                bytes.shrink_to(READ_BYTES); // after a large value
            }
            bytes.reserve(READ_BYTES / 4);
        }
    }

    fn take_frames(
        &self,
        bytes: &[u8],
        wakers: &mut Vec<Waker>,
        answers: &mut Vec<Answered>,
    ) -> Result<usize> {
        let mut state = self.link.state.lock();
        let mut used = 0;
        while let Some((frame, len)) =
            split_frame(bytes.get(used..).unwrap_or_default(), FRAME_BYTES_MAX)?
        {
            used += len;
            match frame.first().copied().and_then(FrameKind::from_code) {
                Some(FrameKind::Reply) => {
                    let (header, body) = reply::decode(frame)?;
                    state.applied = state.applied.max(header.applied);
                    let answer = if header.failed { Err(reply::error(body)) } else { Ok(body) };
                    wakers.extend(state.window.complete(header.request, answer));
                }
                Some(FrameKind::Event) => {
                    let (number, event) = event::decode(frame)?;
                    let event = match event {
                        Event::Item { seq, item } => {
                            RawEvent::Item { seq, item: BlobBuf::from(item) }
                        }
                        Event::Gap { missed } => RawEvent::Gap { missed: Some(missed) },
                    };
                    wakers.extend(state.subscriptions.deliver(number, event));
                }
                Some(FrameKind::ControlReply) => {
                    let (call, answer) = control::decode::<ControlReply>(frame)?;
                    answers.extend(state.controls.remove(&call).map(|w| (w, Ok(answer))));
                }
                _ => return Err(Error::with(Kind::Malformed, "a frame of an unknown kind")),
            }
        }
        state.last_heard = Instant::now();
        Ok(used)
    }

    /// Keeps the session alive; ends when the member is silent for too long. Heartbeats go out whatever
    /// else comes and goes: a client that only listens must not look dead to the member.
    async fn watch(&self) -> Error {
        let timeout = self.builder.heartbeat_timeout;
        let mut asked = Instant::now();
        let every = {
            let mut state = self.link.state.lock();
            state.last_heard = asked;
            timeout.min(state.session_timeout) / 4
        };
        loop {
            tokio::time::sleep(TICK).await;
            let now = Instant::now();
            let mut state = self.link.state.lock();
            let silent = now.saturating_duration_since(state.last_heard);
            if silent > timeout {
                return Error::with(
                    Kind::Disconnected,
                    format!("the member was silent for {silent:?}"),
                );
            }
            if now.saturating_duration_since(asked) > every {
                asked = now;
                state.send_quietly(&Control::Heartbeat);
                drop(state);
                self.link.kick.notify_one();
            }
        }
    }
}

/// Fails what has waited for too long, whatever the connection is doing.
async fn keep_deadlines(link: &Link) {
    loop {
        tokio::time::sleep(TICK).await;
        link.expire(Instant::now());
    }
}

/// A control message and its answer, to be handed over without a lock.
type Answered = (Waiting, Result<ControlReply>);

fn answer(answers: &mut Vec<Answered>) {
    for (waiting, answer) in answers.drain(..) {
        let _ = waiting.answer.send(answer);
    }
}

/// The socket once more, for callers who write themselves.
fn duplicate(stream: &TcpStream) -> std::io::Result<std::net::TcpStream> {
    use std::os::fd::AsFd;
    Ok(std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?))
}

/// Gives the running subscriptions the ids of the cluster's new life.
async fn resubscribe(link: &Arc<Link>) {
    let names: Vec<_> = {
        let mut state = link.state.lock();
        state.subscriptions.iter_mut().map(|running| running.name.clone()).collect()
    };
    for (name, kind) in names {
        match link.call(Control::Declare { name: name.clone(), kind }).await {
            Ok(ControlReply::Declared { structure, .. }) => {
                let mut state = link.state.lock();
                state.names.insert(structure, (name.clone(), kind));
                for running in
                    state.subscriptions.iter_mut().filter(|running| running.name.0 == name)
                {
                    running.structure = structure;
                }
            }
            Ok(_) => {}
            Err(error) => {
                return tracing::warn!(%error, %name, "a subscription could not be renewed");
            }
        }
    }
    let mut wakers = Vec::new();
    let mut state = link.state.lock();
    for message in state.subscriptions.renew(&mut wakers) {
        state.send_quietly(&message);
    }
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
    link.kick.notify_one();
}
