//! The connection to one member: writes what partitions have for it, reads what it acknowledges.

use super::Link;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{self, Hello, MemberAnswer, MemberHello, PeerKind, Plane};
use grid_core::wire::link::Message;
use grid_core::wire::split_frame;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Pauses between attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// For one attempt.
const CONNECTING: Duration = Duration::from_secs(2);
/// Bytes written with one call.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes of records in one message.
const MESSAGE_BYTES: usize = 128 << 10;
/// Bytes read with one call.
const READ_BYTES: usize = 64 << 10;

/// Keeps a connection to the member until it is gone, or this one.
pub(super) async fn run(shared: Weak<Shared>, link: Arc<Link>) {
    let mut pause = PAUSE.0;
    while !link.is_closed() {
        let Some(strong) = shared.upgrade() else { return };
        let connecting = tokio::time::timeout(CONNECTING, connect(&strong, &link)).await;
        match connecting {
            Ok(Ok(stream)) => {
                pause = PAUSE.0;
                tracing::debug!(member = %link.member, "data connection");
                link.connected.store(true, Ordering::Relaxed);
                let ended = exchange(&strong, &link, stream).await;
                link.connected.store(false, Ordering::Relaxed);
                if let Err(error) = ended
                    && !link.is_closed()
                {
                    tracing::info!(member = %link.member, %error, "the data connection ended");
                }
            }
            Ok(Err(error)) => tracing::debug!(member = %link.member, %error, "not connected"),
            Err(_) => tracing::debug!(member = %link.member, "not connected: no answer"),
        }
        drop(strong);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn connect(shared: &Shared, link: &Link) -> Result<TcpStream> {
    let io = |error: std::io::Error| Error::with(Kind::Io, error.to_string());
    let address = shared
        .agreed
        .read(|state| state.members().get(&link.member).map(|info| info.address.clone()));
    let gone = || Error::with(Kind::Disconnected, "the member is gone");
    let mut stream = TcpStream::connect(address.ok_or_else(gone)?).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let member = MemberHello {
        node: shared.agreed.node.node(),
        member: Some(shared.member),
        address: shared.addresses.0.to_string(),
        plane: Plane::Data,
        config: shared.cluster.clone(),
    };
    let hello = Hello {
        cluster: shared.settings.cluster.clone(),
        kind: PeerKind::Member(member),
        name: shared.settings.name.clone(),
        session: None,
        table: grid_core::Index(u64::MAX),
    };
    let mut out = Vec::new();
    hello::encode(&hello, &mut out)?;
    stream.write_all(&out).await.map_err(io)?;
    let mut bytes = Vec::new();
    loop {
        match hello::decode::<MemberAnswer>(&bytes)? {
            Some((MemberAnswer::Welcome(welcome), _)) if welcome.member == Some(link.member) => {
                return Ok(stream);
            }
            Some((MemberAnswer::Welcome(_), _)) => return Err(gone()),
            Some((MemberAnswer::Refused { kind, detail }, _)) => {
                return Err(Error::with(kind, detail));
            }
            None => {}
        }
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await.map_err(io)? {
            0 => return Err(Error::with(Kind::Disconnected, "closed during the handshake")),
            n => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

async fn exchange(shared: &Arc<Shared>, link: &Arc<Link>, stream: TcpStream) -> Result<()> {
    for cell in shared.cells() {
        cell.rewind(shared, link.member);
    }
    let (read, write) = stream.into_split();
    tokio::select! {
        result = send(shared, link, write) => result,
        result = receive(shared, link, read) => result,
    }
}

async fn send(shared: &Shared, link: &Link, mut stream: OwnedWriteHalf) -> Result<()> {
    let mut out = Vec::with_capacity(WRITE_BYTES * 2);
    loop {
        let partitions = link.take(&mut out);
        if partitions.is_empty() && out.is_empty() {
            if link.is_closed() {
                return Ok(());
            }
            link.wake.notified().await;
            // What else is ready on this core gathers into the same call.
            tokio::task::yield_now().await;
            continue;
        }
        let now = shared.now();
        for partition in partitions {
            let Ok(cell) = shared.cell(partition) else { continue };
            if cell.pull(link, MESSAGE_BYTES, now, &mut out) {
                link.ready(partition); // there is more
            }
            if out.len() >= WRITE_BYTES {
                write(link, &mut stream, &mut out).await?;
            }
        }
        write(link, &mut stream, &mut out).await?;
    }
}

async fn write(link: &Link, stream: &mut OwnedWriteHalf, out: &mut Vec<u8>) -> Result<()> {
    let result = stream.write_all(out).await;
    link.sent.add(out.len() as u64);
    out.clear();
    out.shrink_to(WRITE_BYTES * 4);
    result.map_err(|error| Error::with(Kind::Io, error.to_string()))
}

async fn receive(shared: &Arc<Shared>, link: &Link, mut stream: OwnedReadHalf) -> Result<()> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        bytes.reserve(READ_BYTES);
        let n = stream.read_buf(&mut bytes).await;
        let n = n.map_err(|error| Error::with(Kind::Io, error.to_string()))?;
        if n == 0 {
            return Err(Error::with(Kind::Disconnected, "the member closed it"));
        }
        link.received.add(n as u64);
        let now = shared.now();
        let mut used = 0;
        while let Some((frame, len)) =
            split_frame(bytes.get(used..).unwrap_or_default(), super::receiver::FRAME_BYTES_MAX)?
        {
            used += len;
            let message = Message::read(frame)?;
            shared.cell(message.partition)?.handle(shared, link.member, &message, now, None);
        }
        bytes.drain(..used);
    }
}
