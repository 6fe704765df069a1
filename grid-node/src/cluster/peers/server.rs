//! The answering side of a connection.

use super::link::next_frame;
use super::message::{Reply, Request};
use super::{FRAME_BYTES_MAX, Identity};
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{self, Hello, MemberAnswer, MemberHello, MemberWelcome, PeerKind};
use grid_core::wire::{FrameKind, control};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};

/// Questions of one connection that are answered at the same time; further ones wait in the socket.
const CONCURRENT_MAX: usize = 256;
/// A peer that does not take its answers for this long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers questions.
pub(in crate::cluster) trait Service: Send + Sync + 'static {
    /// Answers at once what needs no waiting.
    fn answer_now(&self, from: &MemberHello, request: Request) -> Result<Reply, Request>;

    /// Answers.
    fn answer(
        self: Arc<Self>,
        from: Arc<MemberHello>,
        request: Request,
    ) -> impl Future<Output = Reply> + Send;
}

/// Serves a connection whose hello has been read; `rest` is what came behind it. Returns when it ends.
///
/// # Errors
/// Why the peer was refused, or the connection ended.
pub(in crate::cluster) async fn serve<S: Service>(
    service: Arc<S>,
    me: &Identity,
    mut stream: TcpStream,
    hello: Hello,
    rest: Vec<u8>,
) -> Result<()> {
    let io = |e: std::io::Error| Error::with(Kind::Disconnected, e.to_string());
    let PeerKind::Member(from) = hello.kind else {
        return Err(Error::with(Kind::Invalid, "not a member"));
    };
    let admitted = me.admit(&hello.cluster, &from.config);
    let answer = match &admitted {
        Ok(()) => {
            MemberAnswer::Welcome(MemberWelcome { node: me.node, member: me.member.get().copied() })
        }
        Err(error) => MemberAnswer::Refused {
            kind: error.kind(),
            detail: error.detail().unwrap_or_default().to_owned(),
        },
    };
    let mut out = Vec::new();
    hello::encode(&answer, &mut out)?;
    stream.set_nodelay(true).map_err(io)?;
    stream.write_all(&out).await.map_err(io)?;
    admitted?;
    let from = Arc::new(from);
    let (mut read, write) = stream.into_split();
    let (replies, queue) = mpsc::channel(CONCURRENT_MAX);
    let writer = tokio::spawn(write_replies(write, queue));
    let room = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut bytes = rest;
    let result = loop {
        let frame = match next_frame(&mut read, &mut bytes).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (number, request) = match control::decode::<Request>(&frame) {
            Ok(decoded) => decoded,
            Err(error) => break Err(error),
        };
        let request = match service.answer_now(&from, request) {
            Ok(reply) => {
                if replies.send((number, reply)).await.is_err() {
                    break Ok(());
                }
                continue;
            }
            Err(request) => request,
        };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break Ok(()) };
        let (service, from, replies) = (Arc::clone(&service), Arc::clone(&from), replies.clone());
        tokio::spawn(async move {
            let reply = service.answer(from, request).await;
            // An error means that the connection has ended.
            let _ = replies.send((number, reply)).await;
            drop(permit);
        });
    };
    writer.abort();
    result
}

async fn write_replies(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<(u64, Reply)>) {
    while let Some(first) = queue.recv().await {
        let mut out = Vec::new();
        let mut next = Some(first);
        while let Some((number, reply)) = next {
            encode(number, &reply, &mut out);
            next = if out.len() < 1 << 20 { queue.try_recv().ok() } else { None };
        }
        let sent = tokio::time::timeout(WRITE_TIMEOUT, write.write_all(&out)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn encode(number: u64, reply: &Reply, out: &mut Vec<u8>) {
    let at = out.len();
    let encoded = control::encode(FrameKind::ControlReply, number, reply, out);
    let len = out.len() - at;
    let error = match encoded {
        Ok(()) if len <= FRAME_BYTES_MAX => return,
        Ok(()) => Error::with(Kind::TooLarge, format!("an answer of {len} bytes")),
        Err(error) => error,
    };
    out.truncate(at);
    let reply = Reply::from(error);
    if control::encode(FrameKind::ControlReply, number, &reply, out).is_err() {
        out.truncate(at);
    }
}
