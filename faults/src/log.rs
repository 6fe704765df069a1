//! Lines for people: on standard output and in a file, with the time since the run began.

use crate::error::{Error, Result};
use crate::history::Clock;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The log of a run.
#[derive(Debug)]
pub struct Log {
    clock: Clock,
    file: File,
}

impl Log {
    /// A new one, whose lines also go to this file.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path, clock: Clock) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::failed(path.display(), error))?;
        Ok(Log { clock, file })
    }

    /// Writes a line. That nobody reads it any more does not end the run.
    pub fn say(&self, line: fmt::Arguments<'_>) {
        let ms = self.clock.now() / 1_000_000;
        let line = format!("[{:>5}.{:03} s] {line}\n", ms / 1_000, ms % 1_000);
        let _ = std::io::stdout().write_all(line.as_bytes());
        let _ = (&self.file).write_all(line.as_bytes());
    }
}
