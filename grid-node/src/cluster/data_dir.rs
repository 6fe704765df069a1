//! The directory in which a node keeps what outlives its process: its identity, and the control log.

use super::raft::LOG_FILES;
use super::raft::file::{sync_dir, write_whole};
use crate::entropy;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::NodeId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NODE: &str = "node";
const LOCK: &str = "lock";

/// How far a node has come with its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// It belongs to none.
    New,
    /// It is about to be the first of this one.
    Forming(u64),
    /// It is about to be taken into this one.
    Joining(u64),
    /// It has a part of the log of this one.
    Member(u64),
}

/// The file `node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NodeFile {
    node: NodeId,
    cluster: String,
    boot: u64,
    stage: Stage,
}

/// A node's directory, or what stands for it in a process that leaves nothing behind.
#[derive(Debug)]
pub(super) struct DataDir {
    place: Option<Place>,
    file: Mutex<NodeFile>,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    /// Held for as long as anybody writes; none: no longer.
    lock: Mutex<Option<Lock>>,
}

/// Keeps other processes out.
pub(super) type Lock = Arc<File>;

impl DataDir {
    /// Opens or makes a directory; without one, a new identity.
    ///
    /// # Errors
    /// `Io`, if another process has it, it cannot be written or is damaged; `WrongCluster`.
    pub(super) fn open(dir: Option<&Path>, cluster: &str) -> Result<Self> {
        let new = NodeFile {
            node: NodeId(entropy::random().0 >> 1),
            cluster: cluster.to_owned(),
            boot: 0,
            stage: Stage::New,
        };
        let Some(dir) = dir else {
            return Ok(DataDir { place: None, file: Mutex::new(new) });
        };
        let failed = |e: std::io::Error| Error::with(Kind::Io, format!("{}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                let text =
                    format!("the data directory {} is in use by another process", dir.display());
                Error::with(Kind::Io, text)
            }
            TryLockError::Error(e) => failed(e),
        })?;
        let file = match std::fs::read(dir.join(NODE)) {
            Ok(bytes) => parse(&bytes, dir)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => new,
            Err(e) => return Err(failed(e)),
        };
        if file.cluster != cluster {
            let text = format!(
                "the data directory {} is of cluster '{}', not '{cluster}'",
                dir.display(),
                file.cluster
            );
            return Err(Error::with(Kind::WrongCluster, text));
        }
        sync_dir(dir).map_err(failed)?;
        let place = Some(Place { dir: dir.to_owned(), lock: Mutex::new(Some(Arc::new(lock))) });
        let data = DataDir { place, file: Mutex::new(file) };
        data.change(|file| file.boot += 1)?;
        Ok(data)
    }

    /// Where the log is kept, if it is, and what keeps others away from it.
    pub(super) fn log(&self) -> Option<(&Path, Lock)> {
        let place = self.place.as_ref()?;
        Some((place.dir.as_path(), place.lock.lock().clone()?))
    }

    pub(super) fn node(&self) -> NodeId {
        self.file.lock().node
    }

    /// Number of this life of the node.
    pub(super) fn boot(&self) -> u64 {
        self.file.lock().boot.max(1)
    }

    pub(super) fn stage(&self) -> Stage {
        self.file.lock().stage
    }

    /// Comes to a stage, durably.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn reach(&self, stage: Stage) -> Result<()> {
        if self.stage() == stage {
            return Ok(());
        }
        self.change(|file| file.stage = stage)
    }

    /// Lets other processes in, once nobody writes any more. Nothing can be changed afterwards.
    pub(super) async fn release(&self) {
        self.idle().await;
        if let Some(place) = &self.place {
            *place.lock.lock() = None;
        }
    }

    /// Waits until nobody writes the log.
    pub(super) async fn idle(&self) {
        let busy =
            |place: &Place| place.lock.lock().as_ref().is_some_and(|l| Arc::strong_count(l) > 1);
        while self.place.as_ref().is_some_and(busy) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Removes the log and the snapshot.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn clear_log(&self) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let clear = || remove(&place.dir).and_then(|()| sync_dir(&place.dir));
        clear().map_err(|e| Error::with(Kind::Io, format!("{}: {e}", place.dir.display())))
    }

    fn change(&self, change: impl FnOnce(&mut NodeFile)) -> Result<()> {
        let mut file = self.file.lock();
        let mut next = file.clone();
        change(&mut next);
        if let Some(place) = &self.place {
            let failed = |e: &dyn std::fmt::Display| {
                Error::with(Kind::Io, format!("{}: {e}", place.dir.join(NODE).display()))
            };
            if place.lock.lock().is_none() {
                return Err(Error::new(Kind::Closed));
            }
            let text = serde_json::to_vec_pretty(&next).map_err(|e| failed(&e))?;
            write_whole(&place.dir, NODE, &text).map_err(|e| failed(&e))?;
        }
        *file = next;
        Ok(())
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    for name in LOG_FILES {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn parse(bytes: &[u8], dir: &Path) -> Result<NodeFile> {
    serde_json::from_slice(bytes).map_err(|e| {
        let text = format!(
            "the file {} is damaged ({e}). Move the whole data directory away: the node then joins as a \
             new one",
            dir.join(NODE).display()
        );
        Error::with(Kind::Io, text)
    })
}
