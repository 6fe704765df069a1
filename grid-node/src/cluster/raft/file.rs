//! The durable log: one file of frames, each synced before the next one is written.
//!
//! ```text
//! GRIDLOG1 | len:u32 crc:u32 records (postcard) | len:u32 crc:u32 records | …     little-endian
//! ```
//!
//! The checksum covers the length and the records. A frame that is not whole, with nothing readable behind
//! it, was being written when the process or the machine stopped: nobody was told that it is there, and it
//! is cut off. Anything unreadable in front of a readable frame is damage: going on without it could take
//! back a vote or an entry that counted, so the node does not start. Damage to the very last frame looks
//! like the former.

use super::Entry;
use super::image::{Image, Record};
use grid_core::error::{Error, Kind, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub(super) const MAGIC: [u8; 8] = *b"GRIDLOG1";
/// Bytes in front of the records of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 8;
pub(super) const FILE: &str = "raft.log";
const FILE_NEXT: &str = "raft.log.next";

/// Appends a record to the content of a frame.
pub(super) fn encode<E: Serialize>(record: &Record<E>, out: &mut Vec<u8>) -> io::Result<()> {
    let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Puts a head in front of the content of a frame.
pub(super) fn frame(content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let len = u32::try_from(content.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(len, content).to_le_bytes());
    out.extend_from_slice(content);
    Ok(())
}

fn checksum(len: u32, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// The content of the frame at the start of `bytes`, if that is whole.
fn split(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    let content = rest.get(..usize::try_from(len).ok()?)?;
    (len > 0 && checksum(len, content) == u32::from_le_bytes(*crc)).then_some(content)
}

/// What a file holds, and how many of its bytes are whole frames.
pub(super) fn replay(bytes: &[u8]) -> Result<(Image, usize), String> {
    let mut image = Image::default();
    let seen = bytes.len().min(MAGIC.len());
    if bytes[..seen] != MAGIC[..seen] {
        return Err("it is not a log of this version of the grid".to_owned());
    }
    if seen < MAGIC.len() {
        return Ok((image, 0));
    }
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(mut content) = split(rest) else {
            let behind = (1..rest.len()).find(|n| split(&rest[*n..]).is_some());
            return match behind {
                None => Ok((image, at)),
                Some(n) => {
                    Err(format!("bytes {at} to {} are damaged, and more follows them", at + n))
                }
            };
        };
        at += FRAME_HEAD_BYTES + content.len();
        while !content.is_empty() {
            let (record, rest) = postcard::take_from_bytes::<Record<Entry>>(content)
                .map_err(|e| format!("an unreadable record before byte {at}: {e}"))?;
            image.apply(record).map_err(|e| format!("before byte {at}: {e}"))?;
            content = rest;
        }
    }
    Ok((image, at))
}

/// The open file. It is only ever appended to, or replaced as a whole.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    dir: PathBuf,
}

impl LogFile {
    /// Opens or creates the log of a directory and reads it.
    ///
    /// # Errors
    /// `Io`, with what to do if the file is damaged.
    pub(super) fn open(dir: &Path) -> Result<(Self, Image)> {
        let path = dir.join(FILE);
        let failed = |e: io::Error| Error::with(Kind::Io, format!("{}: {e}", path.display()));
        match std::fs::remove_file(dir.join(FILE_NEXT)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true);
        let mut file = options.open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (image, good) = replay(&bytes).map_err(|what| damaged(&path, &what))?;
        if good < bytes.len() {
            let (file, cut) = (path.display(), bytes.len() - good);
            tracing::warn!(%file, at = good, cut, "the end of the control log was not written completely before the last stop and is cut off");
        }
        let mut repair = || {
            if good < bytes.len() {
                file.set_len(good as u64)?;
            }
            if good < MAGIC.len() {
                file.write_all(&MAGIC)?;
            }
            file.sync_all()?;
            sync_dir(dir)
        };
        repair().map_err(failed)?;
        Ok((LogFile { file, dir: dir.to_owned() }, image))
    }

    /// Its length.
    pub(super) fn bytes(&self) -> usize {
        self.file.metadata().map_or(0, |data| usize::try_from(data.len()).unwrap_or(usize::MAX))
    }

    /// Appends frames and syncs them.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all(frames)?;
        self.file.sync_data()
    }

    /// Replaces everything by these frames.
    pub(super) fn replace(&mut self, frames: &[u8]) -> io::Result<()> {
        let next = self.dir.join(FILE_NEXT);
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).open(&next)?;
        file.write_all(&MAGIC)?;
        file.write_all(frames)?;
        file.sync_all()?;
        std::fs::rename(&next, self.dir.join(FILE))?;
        sync_dir(&self.dir)?;
        self.file = file;
        Ok(())
    }

    /// A log that writes elsewhere, for tests of failures.
    #[cfg(test)]
    pub(super) fn onto(file: File, dir: &Path) -> Self {
        LogFile { file, dir: dir.to_owned() }
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    let text = format!(
        "the control log {} is damaged: {what}. Nothing of it can be trusted. Move the whole data \
         directory away: the node then joins as a new one and is sent everything by the others",
        path.display()
    );
    Error::with(Kind::Io, text)
}

/// Makes the names in a directory durable.
pub(in crate::cluster) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes a file so that it is there completely or not at all.
pub(in crate::cluster) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let next = dir.join(format!("{name}.next"));
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, dir.join(name))?;
    sync_dir(dir)
}
