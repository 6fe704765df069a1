//! The connection that another member opened: what it, as primary or heir, has for the replicas here.

use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, PartitionId, StructureId};
use grid_core::wire::link::{Body, Message};
use grid_core::wire::split_frame;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest message between members: the largest record, and what stands around it.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 20;
/// Bytes read with one call.
const READ_BYTES: usize = 256 << 10;
/// Messages that are looked at together.
const AHEAD: usize = 16;

/// Serves the connection until it ends. `rest` is what came behind the hello.
///
/// # Errors
/// Why it ended.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    from: MemberId,
    mut stream: TcpStream,
    mut bytes: Vec<u8>,
) -> Result<()> {
    let io = |error: std::io::Error| Error::with(Kind::Io, error.to_string());
    let mut out = Vec::new();
    let mut touched: Vec<PartitionId> = Vec::new();
    let mut entries = Vec::new();
    loop {
        let now = shared.now();
        let mut used = 0;
        loop {
            let mut ahead: [Option<Message<'_>>; AHEAD] = [None; AHEAD];
            for slot in &mut ahead {
                let rest = bytes.get(used..).unwrap_or_default();
                let Some((frame, len)) = split_frame(rest, FRAME_BYTES_MAX)? else { break };
                used += len;
                *slot = Some(Message::read(frame)?);
            }
            prefetch(&shared, &ahead, &mut entries)?;
            for message in ahead.iter().flatten() {
                let cell = shared.cell(message.partition)?;
                if cell.handle(&shared, from, message, now, Some(&mut out)) {
                    touched.push(message.partition);
                }
            }
            if ahead.iter().any(Option::is_none) {
                break;
            }
        }
        bytes.drain(..used);
        // One acknowledgement for all that came for a partition.
        touched.sort_unstable();
        touched.dedup();
        for partition in touched.drain(..) {
            shared.cell(partition)?.acknowledge(&shared, now, &mut out);
        }
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(io)?;
            out.clear();
            out.shrink_to(READ_BYTES * 4);
        }
        bytes.reserve(READ_BYTES);
        if stream.read_buf(&mut bytes).await.map_err(io)? == 0 {
            return Err(Error::with(Kind::Disconnected, "the member closed it"));
        }
        shared.check_open()?;
    }
}

/// Two passes over the messages, so that what they will touch is near when they are handled.
fn prefetch(
    shared: &Shared,
    ahead: &[Option<Message<'_>>; AHEAD],
    entries: &mut Vec<(StructureId, u64)>,
) -> Result<()> {
    let mut ends = [0; AHEAD];
    entries.clear();
    for (message, end) in ahead.iter().zip(&mut ends) {
        if let Some(Message { partition, body: Body::Append { records, .. }, .. }) = message {
            shared.cell(*partition)?.prefetch_records(records, entries);
        }
        *end = entries.len();
    }
    let mut start = 0;
    for (message, end) in ahead.iter().flatten().zip(ends) {
        if start < end {
            let of = entries.get(start..end).unwrap_or_default();
            shared.cell(message.partition)?.prefetch_entries(of);
        }
        start = end;
    }
    Ok(())
}
