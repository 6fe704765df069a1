//! Sessions of clients, as this member sees them: which connections use them, and since when none does.

use grid_core::ids::{PartitionId, SessionId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A session while it lives.
#[derive(Debug)]
struct Session {
    id: SessionId,
    /// The connection that may use it: the latest one. 0: none, the session has ended.
    user: AtomicU64,
    /// Passes that were given out and not dropped yet, and since when there is none.
    passes: Mutex<(usize, Instant)>,
}

impl Session {
    fn pass(self: &Arc<Self>, user: u64) -> Pass {
        self.user.store(user, Ordering::Release);
        self.passes.lock().0 += 1;
        Pass { session: Arc::clone(self), user }
    }
}

/// The right of a connection to use its session. It ends with the session, and as soon as the client comes
/// back on another connection: a request that is still under way on the old one must not take effect
/// after the same request was answered on the new one. A session without a pass ends after a while.
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

impl Drop for Pass {
    fn drop(&mut self) {
        let (count, since) = &mut *self.session.passes.lock();
        (*count, *since) = (count.saturating_sub(1), Instant::now());
    }
}

#[derive(Debug)]
struct Known {
    session: Arc<Session>,
    /// Passes that were given out so far.
    users: u64,
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
        let passes = Mutex::new((0, Instant::now()));
        let session = Arc::new(Session { id, user: AtomicU64::new(0), passes });
        let pass = session.pass(1);
        self.known.lock().insert(id, Known { session, users: 1 });
        pass
    }

    /// A connection goes on with a session, if it lives; an older one can use it no longer.
    pub(crate) fn resume(&self, id: SessionId) -> Option<Pass> {
        let mut sessions = self.known.lock();
        let known = sessions.get_mut(&id)?;
        known.users += 1;
        Some(known.session.pass(known.users))
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

    /// Takes out the sessions that had no connection for longer than the timeout: nobody can use them from
    /// now on.
    pub(crate) fn take_overdue(&self, now: Instant) -> Vec<SessionId> {
        let overdue = |_: &SessionId, known: &mut Known| {
            let (passes, since) = *known.session.passes.lock();
            passes == 0 && now.saturating_duration_since(since) > self.timeout
        };
        self.known.lock().extract_if(overdue).map(|(id, _)| id).collect()
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
        assert!(sessions.take_overdue(later(60)).is_empty(), "it has a connection");
        let second = sessions.resume(SessionId(5)).unwrap();
        assert!(!first.is_valid() && second.is_valid(), "one connection uses a session");
        drop(first);
        assert!(sessions.take_overdue(later(60)).is_empty(), "the new one is still there");
        drop(second);
        assert!(sessions.take_overdue(later(9)).is_empty());
        drop(sessions.resume(SessionId(5)).unwrap());
        assert_eq!(sessions.take_overdue(later(11)), [SessionId(5)]);
        assert!(sessions.resume(SessionId(5)).is_none());
        let ended = sessions.open(SessionId(6));
        sessions.remove(SessionId(6));
        assert!(!ended.is_valid() && sessions.resume(SessionId(6)).is_none());
    }
}
