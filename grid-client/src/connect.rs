//! Connecting to a member and shaking hands.

use crate::builder::Builder;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, SessionId};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connects and shakes hands. `session`: what to go on with; `table`: index of the table that is known.
pub(crate) async fn connect(
    builder: &Builder,
    address: &str,
    session: Option<(SessionId, u64)>,
    table: Index,
) -> Result<(Welcome, TcpStream)> {
    let hello = Hello {
        cluster: builder.cluster.clone(),
        kind: PeerKind::Client,
        name: builder.name.clone(),
        session,
        table,
    };
    greet(address, &hello).await
}

/// Connects and says this.
pub(crate) async fn greet(address: &str, hello: &Hello) -> Result<(Welcome, TcpStream)> {
    let at = |error: std::io::Error| Error::with(Kind::Disconnected, format!("{address}: {error}"));
    let mut stream = TcpStream::connect(address).await.map_err(at)?;
    stream.set_nodelay(true).map_err(at)?;
    let mut bytes = Vec::new();
    hello::encode(hello, &mut bytes)?;
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

/// The socket once more, for callers who write themselves.
pub(crate) fn duplicate(stream: &TcpStream) -> Result<std::net::TcpStream> {
    use std::os::fd::AsFd;
    let owned = stream.as_fd().try_clone_to_owned();
    let owned = owned.map_err(|error| Error::with(Kind::Io, error.to_string()))?;
    Ok(std::net::TcpStream::from(owned))
}

/// Whether another attempt at the same address would end the same way.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::WrongCluster | Kind::WrongVersion | Kind::Malformed | Kind::Invalid
    )
}
