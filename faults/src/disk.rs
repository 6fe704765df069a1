//! Where a member keeps its files: a small file system of its own, which can be filled.

use crate::error::{Error, Result};
use crate::run_id::RunId;
use crate::shell;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const FILLER: &str = "filler";

/// The directory of a member. If it is a file system of its own, that is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    mounted: bool,
}

impl Disk {
    /// A directory like any other, which cannot be filled.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn plain(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).map_err(|error| Error::failed(path.display(), error))?;
        Ok(Disk { path, mounted: false })
    }

    /// A file system in memory with room for so many mebibytes.
    ///
    /// # Errors
    /// If the system refuses to mount it.
    pub fn small(path: PathBuf, run: RunId, mebibytes: u32) -> Result<Self> {
        let mut disk = Disk::plain(path)?;
        let (options, path) = (format!("size={mebibytes}m,mode=0700"), disk.text()?.to_owned());
        shell::run("mount", &["-t", "tmpfs", "-o", &options, &run.to_string(), &path])?;
        disk.mounted = true;
        Ok(disk)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be filled.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.mounted
    }

    fn text(&self) -> Result<&str> {
        let text = self.path.to_str();
        text.ok_or_else(|| Error::failed(self.path.display(), "the path is not UTF-8"))
    }

    /// Takes all room that is left; returns how many bytes that were.
    ///
    /// # Errors
    /// If it is not a small one, or something else than the room is missing.
    pub fn fill(&self) -> Result<u64> {
        let what = || format!("filling {}", self.path.display());
        if !self.mounted {
            return Err(Error::failed(what(), "it is no file system of its own"));
        }
        let mut file =
            File::create(self.path.join(FILLER)).map_err(|e| Error::failed(what(), e))?;
        let piece = vec![0; 64 << 10];
        let mut filled = 0;
        loop {
            // The last piece that fits is written in part.
            match file.write(&piece) {
                Ok(0) => break,
                Ok(written) => filled += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(Error::failed(what(), error)),
            }
        }
        Ok(filled)
    }

    /// Gives back what [`Disk::fill`] took.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.path.join(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::failed(format!("freeing {}", self.path.display()), error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is just being killed may still have a file open.
        if self.mounted
            && let Ok(path) = self.text()
            && let Err(error) = shell::run("umount", &["-l", path])
        {
            eprintln!("grid-faults: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_is_never_filled() {
        let path = std::env::temp_dir().join(format!("{}-disk", RunId::own()));
        let disk = Disk::plain(path.clone()).unwrap();
        assert!(disk.fill().is_err() && !path.join(FILLER).exists());
        disk.free().unwrap();
        drop(disk);
        fs::remove_dir_all(path).unwrap();
    }
}
