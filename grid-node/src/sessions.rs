//! Sessions of clients, as this member sees them: which connections use them, and since when none does.

use grid_core::ids::{PartitionId, SessionId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A session while it lives.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    ended: AtomicBool,
}

impl Session {
    /// Whether the session has not been ended.
    #[inline]
    pub(crate) fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Known {
    session: Arc<Session>,
    connections: usize,
    /// When the last connection went.
    alone_since: Instant,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Sessions {
    timeout: Duration,
    known: Mutex<HashMap<SessionId, Known>>,
    /// Partitions that have to be told of ended sessions. Bounded by sessions times partitions.
    pub(crate) to_forget: Mutex<Vec<(PartitionId, SessionId)>>,
}

impl Sessions {
    pub(crate) fn new(timeout: Duration) -> Self {
        Sessions { timeout, known: Mutex::default(), to_forget: Mutex::default() }
    }

    /// A connection begins to use a session that was just opened.
    pub(crate) fn open(&self, id: SessionId) -> Arc<Session> {
        let session = Arc::new(Session { id, ended: AtomicBool::new(false) });
        let known = Known { session: Arc::clone(&session), connections: 1, alone_since: Instant::now() };
        self.known.lock().insert(id, known);
        session
    }

    /// A connection goes on with a session, if it lives.
    pub(crate) fn resume(&self, id: SessionId) -> Option<Arc<Session>> {
        let mut sessions = self.known.lock();
        let known = sessions.get_mut(&id)?;
        known.connections += 1;
        Some(Arc::clone(&known.session))
    }

    /// A connection of a session has gone.
    pub(crate) fn leave(&self, id: SessionId) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.connections = known.connections.saturating_sub(1);
            known.alone_since = Instant::now();
        }
    }

    /// Nobody can use the session from now on.
    pub(crate) fn remove(&self, id: SessionId) {
        if let Some(known) = self.known.lock().remove(&id) {
            known.session.ended.store(true, Ordering::Release);
        }
    }

    /// All sessions that live.
    pub(crate) fn all(&self) -> Vec<SessionId> {
        self.known.lock().keys().copied().collect()
    }

    /// Sessions without a connection for longer than the timeout.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<SessionId> {
        let sessions = self.known.lock();
        let overdue = |known: &Known| {
            known.connections == 0 && now.saturating_duration_since(known.alone_since) > self.timeout
        };
        sessions.values().filter(|known| overdue(known)).map(|known| known.session.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outlives_its_last_connection_by_the_timeout() {
        let sessions = Sessions::new(Duration::from_secs(10));
        let session = sessions.open(SessionId(5));
        let later = |secs| Instant::now() + Duration::from_secs(secs);
        assert!(sessions.overdue(later(60)).is_empty(), "it has a connection");
        sessions.leave(SessionId(5));
        assert!(sessions.overdue(later(9)).is_empty());
        assert!(sessions.resume(SessionId(5)).is_some());
        assert!(sessions.overdue(later(60)).is_empty());
        sessions.leave(SessionId(5));
        assert_eq!(sessions.overdue(later(11)), [SessionId(5)]);
        sessions.remove(SessionId(5));
        assert!(!session.is_alive());
        assert!(sessions.resume(SessionId(5)).is_none());
    }
}
