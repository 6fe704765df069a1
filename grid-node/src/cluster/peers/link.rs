//! The asking side of a connection.

use super::message::{Reply, Request};
use super::{Call, Connected, FRAME_BYTES_MAX, Identity};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::NodeId;
use grid_core::wire::hello::{self, MemberAnswer};
use grid_core::wire::{FrameKind, control, split_frame};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// A connection on which nothing comes back for this long after a question is given up.
const SILENCE: Duration = Duration::from_secs(2);
/// First and longest pause after a failed attempt to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Unanswered questions of a connection before those that nobody waits for are forgotten.
const WAITING_MAX: usize = 1024;

/// Keeps a connection to one node while there are questions.
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) me: Arc<Identity>,
    pub(super) book: Arc<Mutex<HashMap<NodeId, String>>>,
    pub(super) connect: Duration,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Reply>>>;

/// What both directions of a connection know.
#[derive(Default)]
struct Shared {
    waiting: Waiting,
    /// When the first question after the last answer was sent.
    unanswered: Option<Instant>,
    closed: bool,
}

impl Link {
    /// Runs until nobody asks any more.
    pub(super) async fn run(self, mut calls: mpsc::Receiver<Call>) {
        let mut pause = PAUSE.0;
        let mut said = false;
        while let Some(first) = calls.recv().await {
            match self.open().await {
                Ok(connected) => {
                    (pause, said) = (PAUSE.0, false);
                    if !self.talk(connected, first, &mut calls).await {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::info!(node = %self.node, %error, "a member is out of reach");
                    }
                    let _ = first.reply.send(Err(error.clone()));
                    refuse(&mut calls, &error, pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    async fn open(&self) -> Result<Connected> {
        let address = self.book.lock().get(&self.node).cloned();
        let unknown =
            || Error::with(Kind::Disconnected, format!("no address of node {}", self.node));
        let address = address.ok_or_else(unknown)?;
        let connected = tokio::time::timeout(self.connect, connect(&address, &self.me)).await;
        let late = |_| Error::with(Kind::Disconnected, format!("{address} does not answer"));
        let connected = connected.map_err(late)??;
        if connected.node != self.node {
            let text = format!("at {address} is node {}, not {}", connected.node, self.node);
            return Err(Error::with(Kind::Disconnected, text));
        }
        Ok(connected)
    }

    /// Asks and waits for answers until the connection ends. Returns whether there may be more questions.
    async fn talk(&self, mut on: Connected, first: Call, calls: &mut mpsc::Receiver<Call>) -> bool {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (read, mut write) = on.stream.into_split();
        let reader = Reader { read, bytes: std::mem::take(&mut on.rest), node: self.node };
        let mut reader = tokio::spawn(reader.run(Arc::clone(&shared)));
        let mut next = Some(first);
        let mut number = 0u64;
        let more = loop {
            let call = match next.take() {
                Some(call) => call,
                None => tokio::select! {
                    _ = &mut reader => break true,
                    call = calls.recv() => match call {
                        Some(call) => call,
                        None => break false,
                    },
                },
            };
            let mut out = Vec::new();
            let mut queued = Some(call);
            while let Some(call) = queued {
                number += 1;
                enqueue(&shared, number, call, &mut out);
                queued = if out.len() < 1 << 20 { calls.try_recv().ok() } else { None };
            }
            let silent =
                |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > SILENCE);
            if silent(shared.lock().unanswered) || !send(&mut write, &out).await {
                break true;
            }
        };
        reader.abort();
        let mut shared = shared.lock();
        shared.closed = true;
        fail(&mut shared.waiting, self.node);
        more
    }
}

/// Gives a question its number and writes it down.
fn enqueue(shared: &Mutex<Shared>, number: u64, call: Call, out: &mut Vec<u8>) {
    if call.reply.is_closed() {
        return;
    }
    let at = out.len();
    if let Err(error) = encode(number, &call.request, out) {
        out.truncate(at);
        let _ = call.reply.send(Err(error));
        return;
    }
    let mut shared = shared.lock();
    if shared.waiting.len() >= WAITING_MAX {
        shared.waiting.retain(|_, reply| !reply.is_closed());
    }
    shared.waiting.insert(number, call.reply);
    shared.unanswered.get_or_insert_with(Instant::now);
}

/// Answers what comes in the next `pause` with an error.
async fn refuse(calls: &mut mpsc::Receiver<Call>, error: &Error, pause: Duration) {
    let until = tokio::time::Instant::now() + pause;
    // An error of the time-out: the pause is over. None: nobody asks, which the caller sees too.
    while let Ok(Some(call)) = tokio::time::timeout_at(until, calls.recv()).await {
        let _ = call.reply.send(Err(error.clone()));
    }
}

async fn send(write: &mut OwnedWriteHalf, out: &[u8]) -> bool {
    matches!(tokio::time::timeout(SILENCE, write.write_all(out)).await, Ok(Ok(())))
}

fn fail(waiting: &mut Waiting, node: NodeId) {
    for (_, reply) in waiting.drain() {
        let lost = Error::with(Kind::Disconnected, format!("the connection to node {node} ended"));
        let _ = reply.send(Err(lost.maybe_applied()));
    }
}

struct Reader {
    read: OwnedReadHalf,
    bytes: Vec<u8>,
    node: NodeId,
}

impl Reader {
    async fn run(mut self, shared: Arc<Mutex<Shared>>) {
        loop {
            let frame = match next_frame(&mut self.read, &mut self.bytes).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(node = %self.node, %error, "a control connection is closed");
                    return;
                }
            };
            let (number, reply) = match control::decode::<Reply>(&frame) {
                Ok(decoded) => decoded,
                Err(error) => {
                    tracing::warn!(node = %self.node, %error, "a control connection is closed");
                    return;
                }
            };
            let mut shared = shared.lock();
            shared.unanswered = (shared.waiting.len() > 1).then(Instant::now);
            // Nobody waits: it came too late.
            if let Some(waiting) = shared.waiting.remove(&number) {
                let _ = waiting.send(Ok(reply));
            }
        }
    }
}

/// Reads the next whole frame. None: the other side has closed. It may be dropped between two calls only.
pub(super) async fn next_frame(
    read: &mut (impl AsyncReadExt + Unpin),
    bytes: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some((frame, used)) = split_frame(bytes, FRAME_BYTES_MAX)? {
            let frame = frame.to_vec();
            bytes.drain(..used);
            return Ok(Some(frame));
        }
        let io = |e: std::io::Error| Error::with(Kind::Disconnected, e.to_string());
        if read.read_buf(bytes).await.map_err(io)? == 0 {
            return Ok(None);
        }
    }
}

/// Appends a question.
pub(super) fn encode(number: u64, request: &Request, out: &mut Vec<u8>) -> Result<()> {
    let at = out.len();
    control::encode(FrameKind::Control, number, request, out)?;
    if out.len() - at > FRAME_BYTES_MAX {
        return Err(Error::with(Kind::TooLarge, format!("a message of {} bytes", out.len() - at)));
    }
    Ok(())
}

/// Connects and says hello.
pub(super) async fn connect(address: &str, me: &Identity) -> Result<Connected> {
    let io = |e: std::io::Error| Error::with(Kind::Disconnected, format!("{address}: {e}"));
    let mut stream = TcpStream::connect(address).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let mut out = Vec::new();
    hello::encode(&me.hello(), &mut out)?;
    stream.write_all(&out).await.map_err(io)?;
    let mut bytes = Vec::new();
    loop {
        if let Some((answer, used)) = hello::decode::<MemberAnswer>(&bytes)? {
            let rest = bytes.split_off(used);
            return match answer {
                MemberAnswer::Welcome(welcome) => {
                    Ok(Connected { stream, node: welcome.node, rest })
                }
                MemberAnswer::Refused { kind, detail } => Err(Error::with(kind, detail)),
            };
        }
        if stream.read_buf(&mut bytes).await.map_err(io)? == 0 {
            let text = format!("{address} closed the connection instead of answering");
            return Err(Error::with(Kind::Disconnected, text));
        }
    }
}

/// One question and its answer.
pub(super) async fn exchange(on: &mut Connected, out: &[u8]) -> Result<Reply> {
    let lost = || Error::with(Kind::Disconnected, "the connection ended").maybe_applied();
    on.stream.write_all(out).await.map_err(|_| lost())?;
    let frame = next_frame(&mut on.stream, &mut on.rest).await?.ok_or_else(lost)?;
    Ok(control::decode::<Reply>(&frame)?.1)
}
