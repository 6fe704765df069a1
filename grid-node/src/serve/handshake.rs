//! The first exchange on a connection.

use crate::sessions::Pass;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{self, Hello};
use serde::Serialize;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that has said who it is.
pub(super) struct Stranger {
    pub(super) stream: TcpStream,
    pub(super) hello: Hello,
    /// Bytes that came behind the hello.
    pub(super) rest: Vec<u8>,
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn io(error: std::io::Error) -> Error {
    Error::with(Kind::Io, error.to_string())
}

/// Reads the hello. Who does not speak the protocol is told so, if that can help.
///
/// # Errors
/// Why it could not be read.
pub(super) async fn read(mut stream: TcpStream) -> Result<Stranger> {
    let mut bytes = Vec::new();
    loop {
        match hello::decode::<Hello>(&bytes) {
            Ok(Some((hello, used))) => {
                let rest = bytes.split_off(used);
                return Ok(Stranger { stream, hello, rest });
            }
            Ok(None) => {}
            Err(error) => {
                let detail = error.detail().unwrap_or_default().to_owned();
                let mut out = Vec::new();
                hello::encode(&hello::Answer::Refused { kind: error.kind(), detail }, &mut out)?;
                stream.write_all(&out).await.map_err(io)?;
                return Err(error);
            }
        }
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await.map_err(io)? {
            0 => return Err(Error::with(Kind::Disconnected, "it left before its hello")),
            n => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

impl Stranger {
    /// Answers the hello.
    pub(super) async fn answer(&mut self, answer: &impl Serialize) -> Result<()> {
        let mut out = Vec::new();
        hello::encode(answer, &mut out)?;
        self.stream.write_all(&out).await.map_err(io)
    }

    /// Where the other side has reached this member.
    pub(super) fn reached(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// For another thread.
    pub(super) fn into_std(self) -> Result<(std::net::TcpStream, Vec<u8>)> {
        Ok((self.stream.into_std().map_err(io)?, self.rest))
    }
}

/// Lets a client in, with the session that it has or a new one.
///
/// # Errors
/// `NotServing` if this member has not heard of the session yet, `SessionExpired`, and what opening a
/// session can meet.
pub(super) async fn admit(shared: &Shared, hello: &Hello) -> Result<Pass> {
    let life = shared.life();
    if let Some((session, of)) = hello.session
        && of == life
    {
        let (known, applied) =
            shared.agreed.read(|state| (state.has_session(session), state.index()));
        if known {
            return Ok(shared.sessions.enter(session));
        }
        if session.0 > applied.0 {
            let text = "this member has not heard of the session yet";
            return Err(Error::with(Kind::NotServing, text));
        }
        return Err(Error::with(Kind::SessionExpired, "it was silent for too long"));
    }
    // A session of an earlier life of the data is worth nothing: its client gets a new one.
    let within = shared.settings.operation_timeout;
    let id = shared.agreed.open_session(within).await?;
    shared.agreed.wait_for(grid_core::Index(id.0), within).await?;
    Ok(shared.sessions.enter(id))
}
