//! The connection that another member opened: what it, as primary or heir, has for the replicas here.

use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, PartitionId};
use grid_core::wire::link::Message;
use grid_core::wire::split_frame;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest message between members: the largest record, and what stands around it.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 20;
/// Bytes read with one call.
const READ_BYTES: usize = 256 << 10;

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
    loop {
        let now = shared.now();
        let mut used = 0;
        while let Some((frame, len)) =
            split_frame(bytes.get(used..).unwrap_or_default(), FRAME_BYTES_MAX)?
        {
            used += len;
            let message = Message::read(frame)?;
            let cell = shared.cell(message.partition)?;
            if cell.handle(&shared, from, &message, now, Some(&mut out)) {
                touched.push(message.partition);
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
