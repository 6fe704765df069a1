//! Sessions of clients, as this member sees them: which connections use them, and since when none does.

use grid_core::ids::{PartitionId, SessionId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A session while it lives.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The connection that may use it: the latest one. 0: none, the session has ended.
    user: AtomicU64,
}

/// The right of a connection to use its session. It ends with the session, and as soon as the client comes
/// back on another connection: a request that is still under way on the old one must not take effect
/// after the same request was answered on the new one.
#[derive(Debug)]
pub(crate) struct Pass {
    session: Arc<Session>,
    user: u64,
}

impl Pass {
    pub(crate) fn id(&self) -> SessionId {
        self.session.id
    }

    /// Whether the connection may still use the session. Asked under a cell's lock, so that what was
    /// executed there before is seen by whoever took the session over.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.session.user.load(Ordering::Acquire) == self.user
    }
}

#[derive(Debug)]
struct Known {
    session: Arc<Session>,
    /// Connections that were given a pass so far.
    users: u64,
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
    pub(crate) fn open(&self, id: SessionId) -> Pass {
        let session = Arc::new(Session { id, user: AtomicU64::new(1) });
        let known = Known {
            session: Arc::clone(&session),
            users: 1,
            connections: 1,
            alone_since: Instant::now(),
        };
        self.known.lock().insert(id, known);
        Pass { session, user: 1 }
    }

    /// A connection goes on with a session, if it lives; an older one can use it no longer.
    pub(crate) fn resume(&self, id: SessionId) -> Option<Pass> {
        let mut sessions = self.known.lock();
        let known = sessions.get_mut(&id)?;
        known.connections += 1;
        known.users += 1;
        known.session.user.store(known.users, Ordering::Release);
        Some(Pass { session: Arc::clone(&known.session), user: known.users })
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
            known.session.user.store(0, Ordering::Release);
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
            known.connections == 0
                && now.saturating_duration_since(known.alone_since) > self.timeout
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
        let first = sessions.open(SessionId(5));
        let later = |secs| Instant::now() + Duration::from_secs(secs);
        assert!(sessions.overdue(later(60)).is_empty(), "it has a connection");
        sessions.leave(SessionId(5));
        assert!(sessions.overdue(later(9)).is_empty());
        let second = sessions.resume(SessionId(5)).unwrap();
        assert!(!first.is_valid() && second.is_valid(), "one connection uses a session");
        assert!(sessions.overdue(later(60)).is_empty());
        sessions.leave(SessionId(5));
        assert_eq!(sessions.overdue(later(11)), [SessionId(5)]);
        sessions.remove(SessionId(5));
        assert!(!second.is_valid());
        assert!(sessions.resume(SessionId(5)).is_none());
    }
}
