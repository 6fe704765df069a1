//! Snapshots of the agreed state, as bytes and as a file.

use super::{Snapshot, SnapshotMeta};
use crate::cluster::raft::file::write_whole;
use grid_core::error::{Error, Kind, Result};
use std::io;
use std::path::Path;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"GRIDSNP1";
pub(super) const FILE: &str = "raft.snapshot";
/// Largest snapshot that is taken from another member, in bytes.
pub(in crate::cluster) const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// Writes the snapshot of a directory.
pub(super) fn save(dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let meta = postcard::to_stdvec(&snapshot.meta).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + 16 + meta.len() + snapshot.snapshot.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&u32::try_from(meta.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend_from_slice(&meta);
    bytes.extend_from_slice(&snapshot.snapshot);
    let crc = crc32fast::hash(&bytes[MAGIC.len() + 4..]);
    bytes[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&crc.to_le_bytes());
    write_whole(dir, FILE, &bytes)
}

/// Reads the snapshot of a directory, if there is one.
///
/// # Errors
/// `Io`, with what to do if the file is damaged.
pub(super) fn load(dir: &Path) -> Result<Option<Snapshot>> {
    let path = dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::with(Kind::Io, format!("{}: {e}", path.display()))),
    };
    let snapshot = parse(&bytes).ok_or_else(|| {
        let text = format!(
            "the snapshot {} is damaged. Move the whole data directory away: the node then joins as a \
             new one and is sent everything by the others",
            path.display()
        );
        Error::with(Kind::Io, text)
    })?;
    Ok(Some(snapshot))
}

fn parse(bytes: &[u8]) -> Option<Snapshot> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (meta, state) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let meta: SnapshotMeta = postcard::from_bytes(meta).ok()?;
    Some(Snapshot { meta, snapshot: Arc::new(state.to_vec()) })
}
