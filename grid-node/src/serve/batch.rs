//! A batch of frames, run to completion: two passes that prefetch what the operations will touch, one
//! that executes them.

use super::connection::Connection;
use super::control;
use crate::cell::{Cell, Reply, ReplyTo, Submitted};
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::PartitionId;
use grid_core::op::{Op, OpCode};
use grid_core::partition::{Request, Stamp};
use grid_core::partitioning::partition_of;
use grid_core::store::hash64;
use grid_core::wire::request::{self, RequestHeader};
use grid_core::wire::{FrameKind, end_frame, reply, split_frame};
use std::sync::Arc;

/// Frames that are looked at together.
const AHEAD: usize = 64;

/// A decoded operation, ready to run.
struct Ready<'a> {
    header: RequestHeader,
    op: Op<'a>,
    hash: u64,
}

/// Runs all whole frames of `bytes`; returns how many bytes they take.
///
/// # Errors
/// What the other side did wrong; the connection is to be ended.
pub(super) fn run(connection: &mut Connection, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
    let shared = Arc::clone(&connection.shared);
    let mut used = 0;
    let (mut reads, mut writes) = (0, 0);
    loop {
        let mut batch: [Option<Ready<'_>>; AHEAD] = [const { None }; AHEAD];
        let mut count = 0;
        let mut rare = None;
        while count < AHEAD {
            let rest = bytes.get(used..).unwrap_or_default();
            let Some((frame, len)) = split_frame(rest, shared.settings.frame_bytes_max)? else {
                break;
            };
            used += len;
            match frame.first().copied().and_then(FrameKind::from_code) {
                Some(FrameKind::Request) => match decode(&shared, frame, out)? {
                    Some(ready) => {
                        if let Ok(cell) = shared.cell(ready.header.partition)
                            && ready.hash != 0
                        {
                            cell.prefetch(ready.header.structure, ready.hash, true);
                        }
                        batch[count] = Some(ready);
                        count += 1;
                    }
                    None => shared.counters.refuse(Kind::Malformed),
                },
                Some(FrameKind::Control) => {
                    rare = Some(frame);
                    break;
                }
                _ => {
                    let code = frame.first().copied().unwrap_or_default();
                    return Err(Error::with(Kind::Malformed, format!("a frame of kind {code}")));
                }
            }
        }
        if count > 1 {
            for ready in batch.iter().flatten().filter(|ready| ready.hash != 0) {
                if let Ok(cell) = shared.cell(ready.header.partition) {
                    cell.prefetch(ready.header.structure, ready.hash, false);
                }
            }
        }
        for ready in batch.iter().flatten() {
            let write = execute(connection, &shared, ready, out);
            (reads, writes) = (reads + u64::from(!write), writes + u64::from(write));
        }
        match rare {
            Some(frame) => control::run(connection, frame, out)?,
            None if count < AHEAD => break,
            None => {}
        }
    }
    if reads > 0 {
        shared.counters.reads.add(reads);
    }
    if writes > 0 {
        shared.counters.writes.add(writes);
    }
    Ok(used)
}

/// Decodes a request. One that is malformed inside is answered with an error: its frame is intact, so
/// the connection can go on.
#[inline]
fn decode<'a>(shared: &Shared, frame: &'a [u8], out: &mut Vec<u8>) -> Result<Option<Ready<'a>>> {
    let (header, body) = request::decode(frame)?;
    match Op::decode(header.code, body).and_then(|op| {
        check_partition(&op, header.partition, shared.settings.partitions)?;
        Ok(op)
    }) {
        Ok(op) => {
            let hash = op.key().map_or(0, |key| hash64(key.blob.payload, shared.env.seed));
            Ok(Some(Ready { header, op, hash }))
        }
        Err(error) => {
            let at = reply::begin(header.request, shared.control.index(), out);
            reply::fail(&error, at, out);
            Ok(None)
        }
    }
}

/// The keys of an operation must belong to the partition that it names.
#[inline]
fn check_partition(op: &Op<'_>, partition: PartitionId, partitions: u16) -> Result<()> {
    let belongs = |hash| partition_of(hash, partitions) == partition;
    let all = match op {
        Op::MapGetAll(keys) => keys.iter().all(|key| belongs(key.partition_hash())),
        Op::MapPutAll(entries, _) => entries.iter().all(|(key, _)| belongs(key.partition_hash())),
        op => op.key().is_none_or(|key| belongs(key.partition_hash())),
    };
    if all && partition.0 < partitions {
        return Ok(());
    }
    Err(Error::with(
        Kind::Malformed,
        format!("a key that does not belong to partition {partition}"),
    ))
}

/// Executes a request and appends its reply, unless that has to wait. Returns whether it writes.
#[inline]
fn execute(connection: &Connection, shared: &Shared, ready: &Ready<'_>, out: &mut Vec<u8>) -> bool {
    let header = &ready.header;
    let writes = OpCode::from_code(header.code).is_some_and(OpCode::writes);
    let session = &connection.session;
    let stamp = writes.then_some(Stamp {
        session: session.id(),
        request: header.request,
        floor: header.floor,
    });
    let at = reply::begin(header.request, shared.control.index(), out);
    let request = Request { structure: header.structure, op: ready.op, stamp, hash: ready.hash };
    let seal = |out: &mut Vec<u8>, at: usize, waits: bool| {
        end_frame(out, at);
        waits.then(|| ReplyTo::Connection(Arc::clone(&connection.outbox)))
    };
    let cell: Result<&Cell> = shared.check_open().and_then(|()| shared.cell(header.partition));
    let submitted = match cell {
        Ok(cell) => cell.submit(shared, &request, || session.is_valid(), Reply { out, at, seal }),
        Err(error) => Submitted::Refused(error),
    };
    if let Submitted::Refused(error) = submitted {
        shared.counters.refuse(error.kind());
        reply::fail(&error, at, out);
    }
    writes
}
