//! What file connectors share: opening (gzip by the name's end), position, and files that several
//! workers append whole lines to.

use flate2::read::MultiGzDecoder;
use grid_core::{Error, Kind, Result};
use parking_lot::Mutex;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What to do with an input that is not an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMalformed {
    /// Skip and count it; the first few are kept for the report.
    #[default]
    Skip,
    /// Fail the job.
    Fail,
}

pub(crate) fn io_error(place: impl Display, error: &io::Error) -> Error {
    Error::with(Kind::Io, format!("{place}: {error}"))
}

/// A file open for reading, unpacked if its name ends in `.gz`, that knows how far it was read.
pub(crate) struct OpenFile {
    pub(crate) place: String,
    pub(crate) reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    bytes: u64,
}

impl OpenFile {
    pub(crate) fn open(path: &Path) -> Result<OpenFile> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|e| io_error(format!("cannot open {place}"), &e))?;
        let bytes = file.metadata().map_err(|e| io_error(&place, &e))?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, read: read.clone() };
        let gzip = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"));
        let reader: Box<dyn Read + Send> = if gzip {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, counted)))
        } else {
            Box::new(counted)
        };
        Ok(OpenFile { place, reader, read, bytes })
    }

    pub(crate) fn position(&self) -> (u64, u64) {
        (self.read.load(Relaxed), self.bytes)
    }
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

/// A file that the writers of all workers append to, in whole lines.
#[derive(Clone)]
pub(crate) struct SharedFile {
    pub(crate) place: Arc<str>,
    file: Arc<Mutex<Begun>>,
}

/// A file, and whether anything was written to it.
struct Begun {
    file: BufWriter<File>,
    begun: bool,
}

/// Bytes that a writer collects before it takes the lock.
pub(crate) const APPEND_BYTES: usize = 64 << 10;

impl SharedFile {
    /// Creates or truncates the file.
    pub(crate) fn create(path: &PathBuf) -> Result<SharedFile> {
        let place = path.display().to_string();
        let file =
            File::create(path).map_err(|e| io_error(format!("cannot create {place}"), &e))?;
        let file = Arc::new(Mutex::new(Begun { file: BufWriter::new(file), begun: false }));
        Ok(SharedFile { place: place.into(), file })
    }

    /// Appends lines, before the first ones `header`.
    pub(crate) fn append(&self, header: &[u8], lines: &mut Vec<u8>, flush: bool) -> Result<()> {
        let mut guard = self.file.lock();
        let Begun { file, begun } = &mut *guard;
        let mut write = || {
            if !*begun && !lines.is_empty() {
                file.write_all(header)?;
                *begun = true;
            }
            file.write_all(lines)?;
            if flush { file.flush() } else { Ok(()) }
        };
        write().map_err(|e| io_error(&self.place, &e))?;
        lines.clear();
        Ok(())
    }
}

/// Counts a malformed input, or fails.
pub(crate) fn malformed(
    policy: OnMalformed,
    cx: &super::source::SourceCx<'_, '_>,
    place: &str,
    line: u64,
    reason: &dyn Display,
) -> Result<()> {
    match policy {
        OnMalformed::Fail => {
            Err(Error::with(Kind::Malformed, format!("{place} line {line}: {reason}")))
        }
        OnMalformed::Skip => {
            cx.malformed(|| crate::metrics::Malformed {
                place: place.to_owned(),
                line,
                reason: reason.to_string(),
            });
            Ok(())
        }
    }
}
