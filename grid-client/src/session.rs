//! Which session the connections of a client share, and which life of the cluster's data it is in.

use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, SessionId};
use grid_core::wire::hello::Welcome;
use std::collections::VecDeque;

/// Lives left behind that are remembered.
const PAST_MAX: usize = 64;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: Option<SessionId>,
    /// The highest id that this client had in this life.
    highest: SessionId,
    life: Option<u64>,
    /// Members that lag may still be in them.
    past: VecDeque<u64>,
    /// Somebody opens a session; the others wait for it.
    opening: bool,
}

/// What a welcome means for what the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The connection belongs to the session.
    Same,
    /// The cluster has begun another life of its data: everything starts anew.
    AnotherLife,
}

impl Session {
    /// The right to shake hands now: the session to go on with, or none to open one. Only one at a time
    /// may do that. To be given back by [`Session::greeted`] if it is `Some(None)`.
    pub(crate) fn greet(&mut self) -> Option<Option<(SessionId, u64)>> {
        match self.id.zip(self.life) {
            Some(session) => Some(Some(session)),
            None if self.opening => None,
            None => {
                self.opening = true;
                Some(None)
            }
        }
    }

    /// The session was opened, or could not be.
    pub(crate) fn greeted(&mut self) {
        self.opening = false;
    }

    /// Takes a welcome in.
    ///
    /// # Errors
    /// `NotServing` if the connection cannot be used though another one may.
    pub(crate) fn enter(&mut self, welcome: &Welcome) -> Result<Entry> {
        let refuse = |text: &str| Err(Error::with(Kind::NotServing, text));
        let entry = match self.life {
            Some(life) if life != welcome.cluster_life => {
                if self.past.contains(&welcome.cluster_life) {
                    return refuse("the member is in an earlier life of the cluster's data");
                }
                Entry::AnotherLife
            }
            _ => Entry::Same,
        };
        if entry == Entry::Same {
            match self.id {
                Some(id) if id != welcome.session => {
                    return refuse("the member has opened another session");
                }
                None if welcome.session <= self.highest => {
                    return refuse("the member has opened a session that is older than the last");
                }
                _ => {}
            }
        } else if let Some(life) = self.life {
            self.past.push_back(life);
            self.past.truncate(PAST_MAX);
        }
        self.life = Some(welcome.cluster_life);
        self.id = Some(welcome.session);
        self.highest = welcome.session;
        Ok(entry)
    }

    /// The members have ended the session.
    pub(crate) fn lose(&mut self) {
        self.id = None;
    }

    /// The life of the cluster's data.
    pub(crate) fn life(&self) -> Option<u64> {
        self.life
    }

    /// The index to name in a hello, for a table with this index.
    pub(crate) fn known(&self, table: Index) -> Index {
        if self.id.is_some() { table } else { Index(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::MemberId;

    fn welcome(life: u64, session: u64) -> Welcome {
        Welcome {
            cluster_life: life,
            member: MemberId(1),
            session: SessionId(session),
            session_timeout_ms: 1,
            partitions: 1,
            frame_bytes_max: 1,
            applied: Index(1),
            lease_ms: 1,
            table: None,
        }
    }

    #[test]
    fn one_session_at_a_time_and_only_ever_newer_ones() {
        let mut session = Session::default();
        assert_eq!(session.greet(), Some(None));
        assert_eq!(session.greet(), None, "the session is being opened");
        session.greeted();
        assert_eq!(session.enter(&welcome(9, 5)), Ok(Entry::Same));
        assert_eq!(session.greet(), Some(Some((SessionId(5), 9))));
        assert!(session.enter(&welcome(9, 6)).is_err(), "all connections share one");
        assert_eq!(session.enter(&welcome(9, 5)), Ok(Entry::Same));
        session.lose();
        assert_eq!(session.greet(), Some(None));
        assert!(session.enter(&welcome(9, 5)).is_err(), "it has ended");
        assert_eq!(session.enter(&welcome(9, 7)), Ok(Entry::Same));
    }

    #[test]
    fn another_life_starts_anew_and_an_earlier_one_does_not_come_back() {
        let mut session = Session::default();
        assert_eq!(session.enter(&welcome(9, 5)), Ok(Entry::Same));
        assert_eq!(session.enter(&welcome(10, 2)), Ok(Entry::AnotherLife));
        assert_eq!((session.life(), session.id), (Some(10), Some(SessionId(2))));
        let error = session.enter(&welcome(9, 8)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotServing, "a member that lags");
        assert_eq!(session.id, Some(SessionId(2)));
    }
}
