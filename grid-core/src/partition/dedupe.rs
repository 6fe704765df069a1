//! Exactly once: which requests of a session have taken effect here, and what was answered (RIFL,
//! SOSP 2015). The records are written by the operation itself, on every replica, so a retry finds
//! them wherever the partition lives now.

use super::account::Account;
use super::copy::SessionPart;
use crate::ids::{Index, RequestId, Seq, SessionId};
use crate::limits::DEDUPE_BYTES_MAX;
use crate::mutant::{self, Mutant};
use crate::store::{Ledger, prefetch};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Names one request of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The session.
    pub session: SessionId,
    /// The request.
    pub request: RequestId,
    /// The session has the answers to all requests below this one.
    pub floor: RequestId,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    /// It has not taken effect here.
    New,
    /// It took effect at this `seq` and was answered so.
    Done(Seq, &'a [u8]),
    /// The session said that it has the answer: a late duplicate.
    Forgotten,
    /// The session has too many answers outstanding.
    Full,
}

#[derive(Debug)]
pub(crate) struct Sessions {
    /// Boxed, so that looking for one passes over few cache lines.
    by_id: HashMap<SessionId, Box<Answers>>,
    /// The same sessions in the order of their ids.
    order: BTreeSet<SessionId>,
    /// Highest position in the control log at which a session ended that had answers here.
    expired: Index,
    bytes: usize,
    account: Account,
}

/// Bytes that a session takes beside its answers.
const SESSION_BYTES: usize =
    size_of::<(SessionId, Box<Answers>)>() + size_of::<Answers>() + 1 + 2 * size_of::<SessionId>();

#[derive(Debug, Default)]
struct Answers {
    floor: RequestId,
    /// Highest request seen; a higher one is new without a search.
    highest: RequestId,
    /// The newest answer; for most sessions the only one that is kept.
    newest: Option<Done>,
    /// Those before it, in the order of their effects.
    older: VecDeque<Done>,
    bytes: usize,
}

#[derive(Debug)]
struct Done {
    request: RequestId,
    seq: Seq,
    answer: Answer,
}

/// Most answers are empty or a byte.
#[derive(Debug)]
enum Answer {
    Short(u8, [u8; 14]),
    Long(Box<[u8]>),
}

impl Answer {
    fn new(bytes: &[u8]) -> Self {
        // Without a copy of unknown length, whose bytes would be read again at once as words: the processor
        // then waits until everything that was stored before has reached the cache.
        match *bytes {
            [] => return Answer::Short(0, [0; 14]),
            [one] => return Answer::Short(1, [one, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            _ => {}
        }
        let mut short = [0; 14];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(head), Ok(len)) => {
                head.copy_from_slice(bytes);
                Answer::Short(len, short)
            }
            _ => Answer::Long(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Answer::Short(len, bytes) => &bytes[..usize::from(*len)],
            Answer::Long(bytes) => bytes,
        }
    }

    fn cost(&self) -> usize {
        size_of::<Done>()
            + match self {
                Answer::Short(..) => 0,
                Answer::Long(bytes) => bytes.len(),
            }
    }
}

impl Answers {
    fn all(&self) -> impl Iterator<Item = &Done> {
        self.older.iter().chain(&self.newest)
    }

    /// Drops the answers of requests below `floor`, and keeps the newest of the others among the older.
    #[inline]
    fn retire(&mut self, floor: RequestId) {
        if floor > self.floor {
            self.floor = floor;
            let bytes = &mut self.bytes;
            self.older.retain(|done| {
                let keep = done.request >= floor;
                *bytes -= if keep { 0 } else { done.answer.cost() };
                keep
            });
        }
        if let Some(done) = self.newest.take() {
            if done.request >= self.floor {
                self.older.push_back(done);
            } else {
                self.bytes -= done.answer.cost();
            }
        }
    }

    /// Bytes of the answers that are left once the session has all below `floor`.
    #[cold]
    fn bytes_from(&self, floor: RequestId) -> usize {
        self.all().filter(|done| done.request >= floor).map(|done| done.answer.cost()).sum()
    }
}

/// What is remembered of a session, for a copy.
pub(crate) struct Remembered<'a> {
    pub(crate) id: SessionId,
    pub(crate) floor: RequestId,
    pub(crate) highest: RequestId,
    answers: &'a Answers,
}

impl<'a> Remembered<'a> {
    /// In the order of their effects.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (RequestId, Seq, &'a [u8])> + use<'a> {
        self.answers.all().map(|done| (done.request, done.seq, done.answer.bytes()))
    }
}

impl Sessions {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        Sessions {
            by_id: HashMap::new(),
            order: BTreeSet::new(),
            expired: Index(0),
            bytes: 0,
            account: Account::new(ledger),
        }
    }

    /// Prefetches what is remembered of a session.
    #[inline]
    pub(crate) fn prefetch(&self, session: SessionId) {
        if let Some(answers) = self.by_id.get(&session) {
            let first: *const u8 = std::ptr::from_ref::<Answers>(answers).cast();
            prefetch(first);
            prefetch(first.wrapping_add(size_of::<Answers>() - 1));
        }
    }

    /// What is known of a request, before it is executed.
    #[inline]
    pub(crate) fn look(&self, stamp: Stamp) -> Look<'_> {
        let Some(session) = self.by_id.get(&stamp.session) else { return Look::New };
        if mutant::is(Mutant::NoDedupe) {
            return Look::New;
        }
        if stamp.request < session.floor && !mutant::is(Mutant::NoFloor) {
            return Look::Forgotten;
        }
        if stamp.request <= session.highest
            && let Some(done) = session.all().find(|done| done.request == stamp.request)
        {
            return Look::Done(done.seq, done.answer.bytes());
        }
        if session.bytes > DEDUPE_BYTES_MAX && session.bytes_from(stamp.floor) > DEDUPE_BYTES_MAX {
            return Look::Full;
        }
        Look::New
    }

    /// Remembers that the request took effect, and forgets what the session has received.
    pub(crate) fn record(&mut self, stamp: Stamp, seq: Seq, answer: &[u8]) {
        let session = match self.by_id.entry(stamp.session) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.order.insert(stamp.session);
                new.insert(Box::default())
            }
        };
        let before = session.bytes;
        session.retire(stamp.floor);
        session.highest = session.highest.max(stamp.request);
        let answer = Answer::new(answer);
        session.bytes += answer.cost();
        session.newest = Some(Done { request: stamp.request, seq, answer });
        self.bytes = self.bytes + session.bytes - before;
        self.account.set(self.bytes + self.by_id.len() * SESSION_BYTES);
    }

    /// Whether anything is remembered of a session.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.by_id.contains_key(&session)
    }

    /// Those of which anything is remembered, in the order of their ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.order.iter().copied()
    }

    /// Those behind this one, in the order of their ids.
    pub(crate) fn after(&self, id: SessionId) -> impl Iterator<Item = Remembered<'_>> {
        self.order.range((Bound::Excluded(id), Bound::Unbounded)).filter_map(|id| {
            let answers = self.by_id.get(id)?;
            Some(Remembered { id: *id, floor: answers.floor, highest: answers.highest, answers })
        })
    }

    /// Remembers of a session what was copied.
    pub(crate) fn restore(&mut self, copied: &SessionPart<'_>) {
        let mut session =
            Answers { floor: copied.floor, highest: copied.highest, ..Answers::default() };
        for (request, seq, answer) in copied.answers() {
            let done = Done { request, seq, answer: Answer::new(answer) };
            session.bytes += done.answer.cost();
            session.older.extend(session.newest.replace(done));
        }
        self.bytes += session.bytes;
        self.order.insert(copied.id);
        let before = self.by_id.insert(copied.id, Box::new(session));
        self.bytes -= before.map_or(0, |before| before.bytes);
        self.account.set(self.bytes + self.by_id.len() * SESSION_BYTES);
    }

    /// Takes over what another replica knows of ended sessions.
    pub(crate) fn set_expired(&mut self, index: Index) {
        self.expired = index;
    }

    /// See [`super::Partition::expired_index`].
    pub(crate) fn expired(&self) -> Index {
        self.expired
    }

    /// Forgets a session, which ended at this position of the control log.
    pub(crate) fn expire(&mut self, session: SessionId, index: Index) {
        self.expired = self.expired.max(index);
        self.order.remove(&session);
        let freed = self.by_id.remove(&session).map_or(0, |answers| answers.bytes);
        self.bytes -= freed;
        self.account.set(self.bytes + self.by_id.len() * SESSION_BYTES);
    }

    /// Order-independent digest of all records, for comparing replicas.
    pub(crate) fn digest(&self) -> u64 {
        let mut sum = self.expired.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (id, session) in &self.by_id {
            for done in session.all() {
                let mut bytes = Vec::with_capacity(64);
                let (floor, highest) = (session.floor.0, session.highest.0);
                for n in [id.0, floor, highest, done.request.0, done.seq.0] {
                    bytes.extend_from_slice(&n.to_le_bytes());
                }
                bytes.extend_from_slice(done.answer.bytes());
                sum = sum.wrapping_add(xxhash_rust::xxh3::xxh3_64(&bytes));
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(request: u64, floor: u64) -> Stamp {
        Stamp { session: SessionId(1), request: RequestId(request), floor: RequestId(floor) }
    }

    #[test]
    fn an_answer_is_remembered_until_the_session_says_that_it_has_it() {
        let ledger = Arc::new(Ledger::new(0));
        let mut sessions = Sessions::new(&ledger);
        assert_eq!(sessions.look(stamp(1, 1)), Look::New);
        sessions.record(stamp(1, 1), Seq(10), b"old value of some length");
        sessions.record(stamp(2, 1), Seq(11), b"");
        assert_eq!(sessions.look(stamp(1, 1)), Look::Done(Seq(10), b"old value of some length"));
        assert_eq!(sessions.look(stamp(2, 1)), Look::Done(Seq(11), b""));
        sessions.record(stamp(5, 3), Seq(12), b"x");
        assert_eq!(sessions.look(stamp(2, 1)), Look::Forgotten);
        assert_eq!(sessions.look(stamp(3, 3)), Look::New);
        assert!(sessions.bytes > 0 && ledger.used() >= sessions.bytes as u64);
        sessions.expire(SessionId(1), Index(40));
        assert_eq!((sessions.bytes, ledger.used()), (0, 0));
        assert_eq!((sessions.ids().count(), sessions.expired()), (0, Index(40)));
        assert_eq!(
            sessions.look(stamp(5, 3)),
            Look::New,
            "the partition knows nothing of an expired session"
        );
    }

    #[test]
    fn a_session_that_never_says_what_it_has_received_is_stopped() {
        let mut sessions = Sessions::new(&Arc::new(Ledger::new(0)));
        let big = vec![0; DEDUPE_BYTES_MAX / 4];
        for request in 1..=4 {
            assert_eq!(sessions.look(stamp(request, 1)), Look::New);
            sessions.record(stamp(request, 1), Seq(request), &big);
        }
        assert_eq!(sessions.look(stamp(5, 1)), Look::Full);
        assert_eq!(sessions.look(Stamp { session: SessionId(2), ..stamp(5, 1) }), Look::New);
        assert_eq!(
            sessions.look(stamp(5, 2)),
            Look::New,
            "it has received one answer: there is room again"
        );
    }
}
