//! Sessions of clients, as this member sees them: which connections use them, and since when none does.

use grid_core::ids::{Index, PartitionId, SessionId};
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
    pub(crate) to_forget: Mutex<Vec<(PartitionId, SessionId, Index)>>,
}

impl Sessions {
    pub(crate) fn new(timeout: Duration) -> Self {
        Sessions { timeout, known: Mutex::default(), to_forget: Mutex::default() }
    }

    /// A connection uses a session from now on, which the cluster knows; an older connection can do so no
    /// longer.
    pub(crate) fn enter(&self, id: SessionId) -> Pass {
        let mut sessions = self.known.lock();
        let known = sessions.entry(id).or_insert_with(|| {
            let passes = Mutex::new((0, Instant::now()));
            Known { session: Arc::new(Session { id, user: AtomicU64::new(0), passes }), users: 0 }
        });
        known.users += 1;
        known.session.pass(known.users)
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

    /// Nobody can use any but these from now on.
    pub(crate) fn keep(&self, open: &std::collections::BTreeSet<SessionId>) {
        for session in self.all() {
            if !open.contains(&session) {
                self.remove(session);
            }
        }
    }

    /// The sessions that have a connection here, or had one a moment ago. Those that had none for longer
    /// than the timeout are forgotten: if the cluster still knows them, they are entered anew.
    pub(crate) fn heard(&self, now: Instant) -> Vec<SessionId> {
        let silence = |known: &Known| {
            let (passes, since) = *known.session.passes.lock();
            if passes > 0 { Duration::ZERO } else { now.saturating_duration_since(since) }
        };
        let mut sessions = self.known.lock();
        sessions.retain(|_, known| silence(known) <= self.timeout);
        sessions
            .iter()
            .filter(|(_, known)| silence(known) < Duration::from_secs(1))
            .map(|(id, _)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_heard_of_while_it_has_a_connection() {
        let sessions = Sessions::new(Duration::from_secs(10));
        let first = sessions.enter(SessionId(5));
        let later = |secs| Instant::now() + Duration::from_secs(secs);
        assert_eq!(sessions.heard(later(60)), [SessionId(5)], "it has a connection");
        let second = sessions.enter(SessionId(5));
        assert!(!first.is_valid() && second.is_valid(), "one connection uses a session");
        drop(first);
        assert_eq!(sessions.heard(later(60)), [SessionId(5)], "the new one is still there");
        drop(second);
        assert!(sessions.heard(later(5)).is_empty());
        let again = sessions.enter(SessionId(5));
        assert!(again.is_valid());
        sessions.remove(SessionId(5));
        assert!(!again.is_valid() && sessions.heard(later(0)).is_empty());
    }
}
