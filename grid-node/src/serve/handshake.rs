//! The first exchange on a connection.

use crate::sessions::Pass;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A peer that may go on.
pub(super) struct Peer {
    pub(super) session: Pass,
    pub(super) name: String,
    /// Bytes that came behind the hello.
    pub(super) rest: Vec<u8>,
}

/// Reads the hello and answers it, within the configured time.
///
/// # Errors
/// Why the peer was refused; it has been told if it speaks the protocol.
pub(super) async fn welcome(shared: &Shared, stream: &mut TcpStream) -> Result<Peer> {
    let timeout = shared.settings.handshake_timeout;
    match tokio::time::timeout(timeout, exchange(shared, stream)).await {
        Ok(result) => result,
        Err(_) => Err(Error::with(Kind::Timeout, format!("no hello within {timeout:?}"))),
    }
}

async fn exchange(shared: &Shared, stream: &mut TcpStream) -> Result<Peer> {
    let mut bytes = Vec::new();
    let result = loop {
        match hello::decode::<Hello>(&bytes) {
            Ok(Some((hello, used))) => {
                break admit(shared, &hello).map(|session| Peer {
                    session,
                    name: hello.name,
                    rest: bytes.split_off(used),
                });
            }
            Ok(None) => {}
            Err(error) => break Err(error),
        }
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await {
            Ok(0) => return Err(Error::with(Kind::Disconnected, "it left before its hello")),
            Ok(n) => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) => return Err(Error::with(Kind::Io, error.to_string())),
        }
    };
    let answer = match &result {
        Ok(peer) => Answer::Welcome(Welcome {
            cluster_life: shared.life,
            member: shared.member,
            session: peer.session.id(),
            session_timeout_ms: millis(shared.settings.session_timeout),
            partitions: shared.settings.partitions,
            frame_bytes_max: u32::try_from(shared.settings.frame_bytes_max).unwrap_or(u32::MAX),
            applied: shared.control.index(),
        }),
        Err(error) => Answer::Refused {
            kind: error.kind(),
            detail: error.detail().unwrap_or_default().to_owned(),
        },
    };
    let mut out = Vec::new();
    hello::encode(&answer, &mut out)?;
    let sent = stream.write_all(&out).await;
    if result.is_ok() {
        sent.map_err(|error| Error::with(Kind::Io, error.to_string()))?;
    }
    result
}

fn admit(shared: &Shared, hello: &Hello) -> Result<Pass> {
    let own = &shared.settings.cluster;
    if hello.cluster != *own {
        let text = format!("this is cluster '{own}', the caller asked for '{}'", hello.cluster);
        return Err(Error::with(Kind::WrongCluster, text));
    }
    if hello.kind == PeerKind::Member {
        return Err(Error::with(Kind::Invalid, "this member does not take other members in"));
    }
    match hello.session {
        // A session of an earlier life of the data is worth nothing: its client gets a new one.
        Some((session, life)) if life == shared.life => {
            let expired = || Error::with(Kind::SessionExpired, "it was silent for too long");
            shared.sessions.resume(session).ok_or_else(expired)
        }
        _ => Ok(shared.sessions.open(shared.control.open_session()?)),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
