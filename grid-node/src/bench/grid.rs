//! The grid's own protocol, spoken by hand: handshake, declaration of the map, frames.

use super::generator::{Answer, Connect, Protocol, Request};
use super::keys::KEY_BYTES;
use grid_core::Read;
use grid_core::control::StructureKind;
use grid_core::data::{Blob, TypeTag};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, PartitionId, RequestId, StructureId};
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::op::{self, Life, Op};
use grid_core::partition::value_of;
use grid_core::partitioning::{partition_hash, partition_of};
use grid_core::wire::bytes::KeyRef;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::hello::{self, Hello, PeerKind, Welcome};
use grid_core::wire::request::{self, RequestHeader};
use grid_core::wire::{FrameKind, reply, split_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Which map of which cluster.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) cluster: String,
    pub(super) map: String,
}

/// A connection whose map has an id.
#[derive(Debug)]
pub(super) struct Grid {
    structure: StructureId,
    partitions: u16,
    /// Whether the member leads each partition.
    leads: Box<[bool]>,
    applied: Index,
    body: Vec<u8>,
}

impl Connect for Target {
    type Protocol = Grid;

    async fn handshake(&self, stream: &mut TcpStream) -> Result<Grid> {
        let hello = Hello {
            cluster: self.cluster.clone(),
            kind: PeerKind::Client,
            name: format!("bench-{}", std::process::id()),
            session: None,
            table: Index(0),
        };
        let mut bytes = Vec::new();
        hello::encode(&hello, &mut bytes)?;
        send(stream, &bytes).await?;
        bytes.clear();
        let welcome = loop {
            if let Some((answer, used)) = hello::decode::<hello::Answer>(&bytes)? {
                bytes.drain(..used);
                break accepted(answer)?;
            }
            receive(stream, &mut bytes).await?;
        };
        let mut declare = Vec::new();
        let message = Control::Declare { name: self.map.clone(), kind: StructureKind::Map };
        control::encode(FrameKind::Control, 1, &message, &mut declare)?;
        send(stream, &declare).await?;
        let structure = loop {
            if let Some((frame, _)) = split_frame(&bytes, FRAME_BYTES_MAX)? {
                break declared(frame)?;
            }
            receive(stream, &mut bytes).await?;
        };
        let (partitions, applied) = (welcome.partitions, welcome.applied);
        if partitions == 0 {
            return Err(Error::with(
                Kind::Malformed,
                "the member says that there are no partitions",
            ));
        }
        let table = welcome.table.as_ref();
        let leads = |partition| {
            let primary = table.and_then(|table| {
                let at = usize::from(table.primary(PartitionId(partition))?);
                table.members().get(at).map(|known| known.member)
            });
            primary == Some(welcome.member)
        };
        let leads: Box<[bool]> = (0..partitions).map(leads).collect();
        if !leads.contains(&true) {
            let text = format!("member {} leads no partition", welcome.member);
            return Err(Error::with(Kind::NotServing, text));
        }
        Ok(Grid { structure, partitions, leads, applied, body: Vec::new() })
    }
}

fn accepted(answer: hello::Answer) -> Result<Welcome> {
    match answer {
        hello::Answer::Welcome(welcome) => Ok(welcome),
        hello::Answer::Refused { kind, detail } => Err(Error::with(kind, detail)),
    }
}

fn declared(frame: &[u8]) -> Result<StructureId> {
    let (_, reply) = control::decode::<ControlReply>(frame)?;
    match reply.accepted()? {
        ControlReply::Declared { structure, .. } => Ok(structure),
        _ => Err(Error::with(Kind::Malformed, "a declaration was answered with something else")),
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await.map_err(|e| Error::with(Kind::Disconnected, e.to_string()))
}

async fn receive(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err(Error::with(
            Kind::Disconnected,
            "the server has closed the connection in the handshake",
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(Error::with(Kind::Disconnected, error.to_string())),
    }
}

impl Protocol for Grid {
    const ROUTED: bool = true;

    #[inline]
    fn takes(&self, key: &[u8; KEY_BYTES]) -> bool {
        let partition = partition_of(partition_hash(key), self.partitions);
        self.leads.get(usize::from(partition.0)) == Some(&true)
    }

    #[inline]
    fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let blob = |payload| Blob { tag: TypeTag::FIXED_BYTES, payload };
        let key = KeyRef { blob: blob(request.key), affinity: None };
        let op = match request.value {
            None => Op::MapGet(key),
            Some(value) => Op::MapSet(key, blob(value), Life::default()),
        };
        self.body.clear();
        let code = op::encode(&op, &mut self.body) as u8;
        let header = RequestHeader {
            code,
            partition: partition_of(partition_hash(request.key), self.partitions),
            structure: self.structure,
            request: RequestId(request.id),
            floor: RequestId(request.floor),
            attempt: 0,
            read: Read::Linearizable,
            applied: self.applied,
        };
        request::encode(&header, &self.body, out);
    }

    #[inline]
    fn reply<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(u64, Answer<'a>, usize)>> {
        let Some((frame, used)) = split_frame(bytes, FRAME_BYTES_MAX)? else { return Ok(None) };
        if frame.first() != Some(&(FrameKind::Reply as u8)) {
            let text = format!("a frame of kind {:?} instead of a reply", frame.first());
            return Err(Error::with(Kind::Malformed, text));
        }
        let (header, body) = reply::decode(frame)?;
        let answer = if header.failed {
            Answer::Failed(reply::error(body).to_string())
        } else if body.is_empty() {
            Answer::Written
        } else {
            value_of(body)?.map_or(Answer::Missing, |value| Answer::Value(value.payload))
        };
        Ok(Some((header.request.0, answer, used)))
    }
}
