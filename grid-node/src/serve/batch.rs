//! A batch of frames, run to completion: two passes that prefetch what the operations will touch, one
//! that executes them.

use super::connection::Connection;
use super::control;
use crate::cell::{Cell, Reply, ReplyTo, Submitted};
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{PartitionId, SessionId};
use grid_core::op::{Op, OpCode};
use grid_core::partition::{Request, Stamp};
use grid_core::partitioning::partition_of;
use grid_core::store::hash64;
use grid_core::time::Nanos;
use grid_core::wire::request::{self, RequestHeader};
use grid_core::wire::{FrameKind, end_frame, reply, split_frame};
use std::sync::Arc;

/// Frames that are looked at together.
const AHEAD: usize = 64;

/// Bytes of answers after which a batch ends, so that small requests for large values do not pile up.
const OUT_BYTES_MAX: usize = 1 << 20;

/// A decoded operation, ready to run.
struct Ready<'a> {
    header: RequestHeader,
    op: Op<'a>,
    hash: u64,
}

/// A request and the length of all up to its end. One that is malformed inside is answered with an error:
/// its frame is intact, so the connection can go on.
struct Decoded<'a> {
    request: std::result::Result<Ready<'a>, (RequestHeader, Error)>,
    end: usize,
}

/// How far a batch came.
pub(super) struct Ran {
    /// Bytes of the frames that were run.
    pub(super) used: usize,
    /// It ended for the length of its answers; there may be more whole frames.
    pub(super) full: bool,
}

/// Runs whole frames of `bytes`: all, unless the answers fill the batch.
///
/// # Errors
/// What the other side did wrong; the connection is to be ended.
pub(super) fn run(connection: &mut Connection, bytes: &[u8], out: &mut Vec<u8>) -> Result<Ran> {
    let shared = Arc::clone(&connection.shared);
    // After the last byte of the batch has come: what a lease says now held at some time of every request.
    let now = shared.now();
    let (mut used, mut full) = (0, false);
    let (mut reads, mut writes) = (0, 0);
    while !full {
        let mut batch: [Option<Decoded<'_>>; AHEAD] = [const { None }; AHEAD];
        let (mut count, mut end) = (0, used);
        let mut rare = None;
        for slot in &mut batch {
            let rest = bytes.get(end..).unwrap_or_default();
            let Some((frame, len)) = split_frame(rest, shared.settings.frame_bytes_max)? else {
                break;
            };
            end += len;
            match frame.first().copied().and_then(FrameKind::from_code) {
                Some(FrameKind::Request) => {
                    let request = decode(&shared, frame)?;
                    if let Ok(ready) = &request {
                        prefetch(&shared, ready, Some(connection.session.id()));
                    }
                    *slot = Some(Decoded { request, end });
                    count += 1;
                }
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
            for ready in batch.iter().flatten().filter_map(|decoded| decoded.request.as_ref().ok())
            {
                prefetch(&shared, ready, None);
            }
        }
        for Decoded { request, end } in batch.iter().flatten() {
            match request {
                Ok(ready) => {
                    let write = execute(connection, &shared, now, ready, out);
                    (reads, writes) = (reads + u64::from(!write), writes + u64::from(write));
                }
                Err((header, error)) => {
                    shared.counters.refuse(error.kind());
                    let index = shared.agreed.index();
                    let at = reply::begin(header.request, header.attempt, index, out);
                    reply::fail(error, at, out);
                }
            }
            used = *end;
            full = out.len() >= OUT_BYTES_MAX;
            if full {
                break;
            }
        }
        match rare {
            _ if full => {}
            Some(frame) => {
                control::run(connection, frame, out)?;
                used = end;
            }
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
    Ok(Ran { used, full })
}

#[inline]
fn prefetch(shared: &Shared, ready: &Ready<'_>, first: Option<SessionId>) {
    let (structure, hash) = (ready.header.structure, ready.hash);
    if hash != 0
        && let Ok(cell) = shared.cell(ready.header.partition)
    {
        match first {
            Some(session) if ready.op.code().writes() => {
                cell.prefetch_write(structure, hash, session);
            }
            first => cell.prefetch(structure, hash, first.is_some()),
        }
    }
}

/// Decodes a request.
///
/// # Errors
/// If not even its header can be read.
#[inline]
fn decode<'a>(
    shared: &Shared,
    frame: &'a [u8],
) -> Result<std::result::Result<Ready<'a>, (RequestHeader, Error)>> {
    let (header, body) = request::decode(frame)?;
    let op = Op::decode(header.code, body).and_then(|op| {
        check_partition(&op, header.partition, shared.cluster.partitions)?;
        Ok(op)
    });
    Ok(match op {
        Ok(op) => {
            let hash = op.key().map_or(0, |key| hash64(key.blob.payload, shared.env.seed));
            Ok(Ready { header, op, hash })
        }
        Err(error) => Err((header, error)),
    })
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
fn execute(
    connection: &Connection,
    shared: &Shared,
    now: Nanos,
    ready: &Ready<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let header = &ready.header;
    let writes = OpCode::from_code(header.code).is_some_and(OpCode::writes);
    let session = &connection.session;
    let stamp = writes.then_some(Stamp {
        session: session.id(),
        request: header.request,
        floor: header.floor,
    });
    let at = reply::begin(header.request, header.attempt, shared.agreed.index(), out);
    let request = Request {
        structure: header.structure,
        op: ready.op,
        stamp,
        hash: ready.hash,
        again: header.attempt > 0,
    };
    let seal = |out: &mut Vec<u8>, at: usize, waits: bool| {
        end_frame(out, at);
        waits.then(|| {
            connection.outbox.park();
            ReplyTo::Connection(Arc::clone(&connection.outbox))
        })
    };
    let cell: Result<&Cell> = shared.check_open().and_then(|()| shared.cell(header.partition));
    let submitted = match cell {
        Ok(cell) => {
            let reply = Reply { out, at, writes, seal };
            cell.submit(shared, now, (&request, header.read), || session.is_valid(), reply)
        }
        Err(error) => Submitted::Refused(error),
    };
    if let Submitted::Refused(mut error) = submitted {
        if error.kind() == Kind::UnknownStructure && header.applied > shared.agreed.index() {
            let text = "this member has not heard of the structure yet";
            error = Error::with(Kind::NotServing, text);
        }
        shared.counters.refuse(error.kind());
        reply::fail(&error, at, out);
    }
    writes
}
