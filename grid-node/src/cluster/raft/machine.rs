//! The agreed state behind the log: applies entries, tells the member, makes snapshots.

use super::{
    Entry, LogId, Membership, Proposal, Snapshot, SnapshotBytes, SnapshotMeta, Types, snapshot,
};
use crate::cluster::{ControlEvent, Events};
use futures_core::Stream;
use grid_core::control::{Applied, Command, ControlState, Outcome};
use grid_core::error::Result as GridResult;
use grid_core::ids::Index;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// What others see of the machine.
#[derive(Clone)]
pub(in crate::cluster) struct Applying {
    pub(in crate::cluster) state: Arc<RwLock<ControlState>>,
    pub(in crate::cluster) applied: Arc<watch::Sender<Index>>,
}

/// Nobody but the machine of the moment calls it.
pub(in crate::cluster) type SharedEvents = Arc<Mutex<Events>>;

type Current = Arc<Mutex<Option<Snapshot>>>;

/// See the module documentation.
pub(in crate::cluster) struct Machine {
    applying: Applying,
    events: SharedEvents,
    last: Option<LogId>,
    membership: Membership,
    current: Current,
    dir: Option<PathBuf>,
}

impl Machine {
    /// An empty machine, or that of a directory.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::cluster) fn open(
        applying: Applying,
        events: SharedEvents,
        dir: Option<PathBuf>,
    ) -> GridResult<Self> {
        let current = dir.as_deref().map(snapshot::load).transpose()?.flatten();
        let current = Arc::new(Mutex::new(current));
        Ok(Machine {
            applying,
            events,
            last: None,
            membership: Membership::default(),
            current,
            dir,
        })
    }

    /// Begins with this, instead of nothing.
    pub(in crate::cluster) fn begin_with(&self, snapshot: Snapshot) -> io::Result<()> {
        if let Some(dir) = &self.dir {
            snapshot::save(dir, &snapshot)?;
        }
        *self.current.lock() = Some(snapshot);
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Outcome {
        let index = Index(entry.index());
        self.last = Some(entry.log_id());
        match entry.payload {
            EntryPayload::Normal(Proposal(command)) => self.command(index, &command),
            EntryPayload::Blank => self.skip(index),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(self.last, membership);
                self.skip(index)
            }
        }
    }

    fn skip(&mut self, index: Index) -> Outcome {
        self.applying.state.write().skip(index);
        Outcome::Done
    }

    fn command(&mut self, index: Index, command: &Command) -> Outcome {
        let mut state = self.applying.state.write();
        let Applied { outcome, changed } = state.apply(index, command.clone());
        let records = changed.into_iter().filter_map(|p| Some((p, state.record(p)?.clone())));
        let changed: Vec<_> = records.collect();
        drop(state);
        let changed = &changed;
        let event = ControlEvent::Entry { index, command, outcome: &outcome, changed };
        (self.events.lock())(event);
        outcome
    }

    fn told(&self) {
        let index = self.applying.state.read().index();
        self.applying.applied.send_replace(index);
    }
}

/// Makes a snapshot of the state as it was when the builder was made.
pub(in crate::cluster) struct Builder {
    state: ControlState,
    meta: SnapshotMeta,
    current: Current,
    dir: Option<PathBuf>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotBytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let bytes = postcard::to_stdvec(&self.state).map_err(io::Error::other)?;
        let snapshot = Snapshot { meta: self.meta.clone(), snapshot: Arc::new(bytes) };
        keep(&self.current, self.dir.clone(), snapshot.clone()).await?;
        Ok(snapshot)
    }
}

/// Makes a snapshot the current one, on the disk first. An older one than that is left out.
async fn keep(current: &Current, dir: Option<PathBuf>, snapshot: Snapshot) -> io::Result<()> {
    let current = Arc::clone(current);
    let store = move || {
        let mut current = current.lock();
        let newer =
            current.as_ref().is_some_and(|c| c.meta.last_log_id > snapshot.meta.last_log_id);
        if newer {
            return Ok(());
        }
        if let Some(dir) = dir {
            snapshot::save(&dir, &snapshot)?;
        }
        *current = Some(snapshot);
        Ok(())
    };
    tokio::task::spawn_blocking(store).await.map_err(io::Error::other)?
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotBytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = std::future::poll_fn(|cx| Pin::new(&mut entries).poll_next(cx)).await
        {
            let (entry, responder) = next?;
            let outcome = self.entry(entry);
            self.told();
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta =
            SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() };
        let state = self.applying.state.read().clone();
        Builder { state, meta, current: Arc::clone(&self.current), dir: self.dir.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotBytes,
    ) -> io::Result<()> {
        let state: ControlState = postcard::from_bytes(&data).map_err(io::Error::other)?;
        let snapshot = Snapshot { meta: meta.clone(), snapshot: data };
        keep(&self.current, self.dir.clone(), snapshot).await?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.applying.state.write() = state;
        (self.events.lock())(ControlEvent::Snapshot);
        self.told();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.current.lock().clone())
    }
}
