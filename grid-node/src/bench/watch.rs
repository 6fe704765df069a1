//! The cluster's table as one member tells it, asked again and again over a connection without a session.

use crate::status::Status;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::Index;
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use grid_core::wire::table::TableView;
use grid_core::wire::{FrameKind, split_frame};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For connecting and for every answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module documentation.
#[derive(Debug)]
pub struct Watch {
    stream: TcpStream,
    bytes: Vec<u8>,
    calls: u64,
    /// Length of a lease, in milliseconds.
    pub lease_ms: u32,
    /// The newest table that was told.
    pub table: TableView,
}

impl Watch {
    /// Connects, and learns the table.
    ///
    /// # Errors
    /// `Io` if nobody answers there, and what the member refuses.
    pub fn open(address: SocketAddr, cluster: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        let stream = stream.and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let mut stream = stream
            .map_err(|e| Error::with(Kind::Io, format!("cannot connect to {address}: {e}")))?;
        let hello = Hello {
            cluster: cluster.to_owned(),
            kind: PeerKind::Operator,
            name: format!("bench-{}", std::process::id()),
            session: None,
            table: Index(0),
        };
        let mut out = Vec::new();
        hello::encode(&hello, &mut out)?;
        stream.write_all(&out).map_err(lost)?;
        let mut bytes = Vec::new();
        let answer = loop {
            if let Some((answer, used)) = hello::decode::<Answer>(&bytes)? {
                bytes.drain(..used);
                break answer;
            }
            receive(&mut stream, &mut bytes)?;
        };
        let Welcome { lease_ms, table, .. } = match answer {
            Answer::Welcome(welcome) => welcome,
            Answer::Refused { kind, detail } => return Err(Error::with(kind, detail)),
        };
        let none = || Error::with(Kind::Malformed, "the member has no table");
        Ok(Watch { stream, bytes, calls: 0, lease_ms, table: table.ok_or_else(none)? })
    }

    /// Asks once more. Returns whether the table has changed.
    ///
    /// # Errors
    /// `Disconnected` if the member does not answer, and what it refuses.
    pub fn ask(&mut self) -> Result<bool> {
        match self.call(&Control::Table { known: self.table.index() })? {
            ControlReply::Table(table) => {
                self.table = table;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What the member tells of itself and its cluster.
    ///
    /// # Errors
    /// `Disconnected` if the member does not answer, and what it refuses.
    pub fn status(&mut self) -> Result<Status> {
        let odd = |e: String| Error::with(Kind::Malformed, format!("no status: {e}"));
        match self.call(&Control::Status)? {
            ControlReply::Status(json) => {
                serde_json::from_str(&json).map_err(|e| odd(e.to_string()))
            }
            other => Err(odd(format!("{other:?}"))),
        }
    }

    fn call(&mut self, message: &Control) -> Result<ControlReply> {
        self.calls += 1;
        let mut out = Vec::new();
        control::encode(FrameKind::Control, self.calls, message, &mut out)?;
        self.stream.write_all(&out).map_err(lost)?;
        loop {
            if let Some((frame, used)) = split_frame(&self.bytes, FRAME_BYTES_MAX)? {
                let (_, reply) = control::decode::<ControlReply>(frame)?;
                self.bytes.drain(..used);
                return reply.accepted();
            }
            receive(&mut self.stream, &mut self.bytes)?;
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn lost(error: std::io::Error) -> Error {
    Error::with(Kind::Disconnected, error.to_string())
}

fn receive(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk).map_err(lost)? {
        0 => Err(Error::with(Kind::Disconnected, "the member has closed the connection")),
        n => {
            bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
            Ok(())
        }
    }
}
