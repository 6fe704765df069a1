//! A client that speaks the protocol by hand, to do what no good client does.

use grid_core::ids::{Index, PartitionId, RequestId, StructureId};
use grid_core::wire::control::{self, Control};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use grid_core::wire::request::{self, RequestHeader};
use grid_core::wire::{FrameKind, split_frame};
use grid_node::Member;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Raw {
    /// The socket.
    pub stream: TcpStream,
    /// What the member said of itself.
    pub welcome: Welcome,
    bytes: Vec<u8>,
}

impl Raw {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// If the member does not welcome it.
    #[must_use]
    pub fn connect(member: &Member) -> Self {
        let mut stream = TcpStream::connect(member.address()).unwrap_or_else(|e| panic!("{e}"));
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap_or_else(|e| panic!("{e}"));
        let hello = Hello {
            cluster: "dev".into(),
            kind: PeerKind::Client,
            name: "raw".into(),
            session: None,
            table: Index(u64::MAX),
        };
        let mut bytes = Vec::new();
        hello::encode(&hello, &mut bytes).unwrap_or_else(|e| panic!("{e}"));
        stream.write_all(&bytes).unwrap_or_else(|e| panic!("{e}"));
        bytes.clear();
        loop {
            match hello::decode::<Answer>(&bytes) {
                Ok(Some((Answer::Welcome(welcome), used))) => {
                    bytes.drain(..used);
                    return Raw { stream, welcome, bytes };
                }
                Ok(None) => {}
                other => panic!("{other:?}"),
            }
            let mut chunk = [0; 512];
            match stream.read(&mut chunk) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
                other => panic!("no welcome: {other:?}"),
            }
        }
    }

    /// The next frame; none at the end of the stream.
    ///
    /// # Panics
    /// If nothing comes for a long time, or what comes is no frame.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            match split_frame(&self.bytes, 64 << 20) {
                Ok(Some((frame, used))) => {
                    let frame = frame.to_vec();
                    self.bytes.drain(..used);
                    return Some(frame);
                }
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
            let mut chunk = vec![0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.bytes.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither a frame nor the end: {error}"),
            }
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If the member has ended the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Sends a control message and waits for its answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn control(&mut self, message: &Control) {
        let mut bytes = Vec::new();
        control::encode(FrameKind::Control, 1, message, &mut bytes)
            .unwrap_or_else(|e| panic!("{e}"));
        self.send(&bytes);
        while let Some(frame) = self.frame() {
            if frame.first() == Some(&(FrameKind::ControlReply as u8)) {
                return;
            }
        }
        panic!("the connection has ended");
    }
}

/// A request frame.
#[must_use]
pub fn request(id: u64, code: u8, partition: PartitionId, structure: u32, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        code,
        partition,
        structure: StructureId(structure),
        request: RequestId(id),
        floor: RequestId(1),
        attempt: 0,
        read: grid_core::Read::Linearizable,
        applied: Index(0),
    };
    let mut out = Vec::new();
    request::encode(&header, body, &mut out);
    out
}

/// A key as operations carry it, and its partition.
#[must_use]
pub fn key(n: u64) -> (Vec<u8>, PartitionId) {
    use grid_core::data::{Blob, BlobBuf};
    use grid_core::wire::bytes::{KeyRef, put_key};
    let blob = BlobBuf::of(&n).unwrap_or_else(|e| panic!("{e}"));
    let key = KeyRef { blob: Blob { tag: blob.tag, payload: &blob.payload }, affinity: None };
    let mut out = Vec::new();
    put_key(&mut out, key);
    (out, grid_core::partitioning::partition_of(key.partition_hash(), 271))
}

/// Resident bytes of this process.
///
/// # Panics
/// If the system does not tell.
#[must_use]
pub fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_else(|e| panic!("{e}"));
    let pages = text.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or_else(|| panic!("{text}")) * 4096
}
