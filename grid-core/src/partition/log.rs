//! Numbering and commit of a partition's operations on one replica. How records are written is in
//! [`super::write`], how a replica takes them in [`super::replicate`], who does which in
//! [`super::role`].

use super::ring::Ring;
use crate::ids::{MemberId, Millis, Seq, StructureId, Term};
use crate::mutant::{self, Mutant};
use crate::time::Clock;
use std::collections::VecDeque;

/// How long a record is kept once it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Not at all: this is the only replica, and what it applies is committed.
    Nothing,
    /// Until a learner has read it; what is applied is committed at once.
    ForLearner,
    /// Until it is committed, and so are tombstones of what it removed.
    UntilCommitted,
}

/// The log of a partition on one replica.
#[derive(Debug)]
pub(super) struct Log {
    /// Highest term that this replica has led in or has a record of.
    pub(super) term: Term,
    /// Term of the last record.
    pub(super) last_term: Term,
    pub(super) seq: Seq,
    pub(super) committed: Seq,
    pub(super) time: Millis,
    pub(super) ring: Ring,
    /// Whose acknowledgement is required, and what each has acknowledged.
    required: Vec<(MemberId, Seq)>,
    /// This replica takes its records from a primary.
    following: bool,
    /// Nothing is committed here for now.
    held: bool,
    /// What the learner that reads the ring has.
    retained: Option<Seq>,
    /// Follows from the four before.
    keep: Keep,
    /// Removed entries that are kept as tombstones until their removal is committed.
    graves: VecDeque<(Seq, StructureId, u64)>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            term: Term(1),
            last_term: Term(0),
            seq: Seq(0),
            committed: Seq(0),
            time: Millis(0),
            ring: Ring::starting_at(Seq(1)),
            required: Vec::new(),
            following: false,
            held: false,
            retained: None,
            keep: Keep::Nothing,
            graves: VecDeque::new(),
        }
    }
}

impl Log {
    /// Whether records are written into the ring.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.keep != Keep::Nothing
    }

    /// Whether what is applied here is committed only later, so that tombstones of what it removes
    /// are kept until then.
    #[inline]
    pub(super) fn is_gated(&self) -> bool {
        self.keep == Keep::UntilCommitted
    }

    pub(super) fn is_following(&self) -> bool {
        self.following
    }

    pub(super) fn lead(&mut self, term: Term, required: &[(MemberId, Seq)]) {
        self.term = term;
        self.following = false;
        // Who claims to have what does not exist here has something else: it has nothing of ours.
        let known = |has: Seq| if has > self.seq { Seq(0) } else { has };
        self.required = required.iter().map(|(member, has)| (*member, known(*has))).collect();
        self.keep_what_is_needed();
        self.advance();
    }

    pub(super) fn follow(&mut self) {
        self.required.clear();
        (self.following, self.held, self.retained) = (true, false, None);
        self.keep_what_is_needed();
    }

    /// Goes on from where another log is.
    pub(super) fn begin_at(&mut self, seq: Seq, term: Term, time: Millis) {
        (self.seq, self.last_term, self.time) = (seq, term, time);
        self.term = self.term.max(term);
        self.ring = Ring::starting_at(seq.next());
    }

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
        self.keep_what_is_needed();
        self.advance();
    }

    pub(super) fn retain(&mut self, from: Option<Seq>) {
        self.retained = from;
        self.keep_what_is_needed();
    }

    /// Takes notice of a change in who needs records. Those of the time when nobody did are not
    /// in the ring.
    fn keep_what_is_needed(&mut self) {
        self.keep = if self.following || self.held || !self.required.is_empty() {
            Keep::UntilCommitted
        } else if self.retained.is_some() {
            Keep::ForLearner
        } else {
            Keep::Nothing
        };
        if self.is_kept() && self.ring.last() != self.seq {
            self.ring = Ring::starting_at(self.seq.next());
        }
    }

    pub(super) fn acknowledge(&mut self, from: MemberId, seq: Seq) -> bool {
        if seq > self.seq {
            return false;
        }
        for (member, has) in &mut self.required {
            if *member == from {
                *has = seq.max(*has);
            }
        }
        self.advance()
    }

    /// What all required members have.
    fn everybody(&self) -> Seq {
        self.required.iter().map(|(_, has)| *has).min().unwrap_or(self.seq)
    }

    /// Commits what everybody has. Never goes back.
    fn advance(&mut self) -> bool {
        if self.following || self.held {
            return false;
        }
        let everybody = if mutant::is(Mutant::AckByOne) {
            self.required.iter().map(|(_, has)| *has).max().unwrap_or(self.seq)
        } else {
            self.everybody()
        };
        let advanced = everybody > self.committed;
        self.committed = self.committed.max(everybody);
        assert!(self.committed <= self.seq, "committed what does not exist");
        advanced
    }

    /// What a primary says is committed, as far as it is here.
    pub(super) fn learn_committed(&mut self, committed: Seq) {
        self.committed = self.committed.max(committed.min(self.seq));
    }

    pub(super) fn next_settled_grave(&mut self) -> Option<(Seq, StructureId, u64)> {
        let (seq, structure, hash) = *self.graves.front()?;
        (seq <= self.committed).then(|| {
            self.graves.pop_front();
            (seq, structure, hash)
        })
    }

    pub(super) fn dig(&mut self, seq: Seq, structure: StructureId, hash: u64) {
        self.graves.push_back((seq, structure, hash));
    }

    /// Forgets the records that nobody needs. What is not committed is needed: a new primary may
    /// ask for it.
    pub(super) fn trim(&mut self) {
        let needed = self.everybody().min(self.committed);
        self.ring.trim(needed, self.retained.unwrap_or(needed));
    }

    /// See [`super::Partition::records_after`].
    pub(super) fn records_after(&self, have: Seq, bytes_max: usize) -> Option<(&[u8], Seq)> {
        if self.ring.last() != self.seq {
            return (have == self.seq).then_some((&[], have));
        }
        self.ring.after(have, bytes_max)
    }

    /// Partition time now: it follows the clock and never runs backwards.
    #[inline]
    pub(super) fn now(&mut self, clock: &dyn Clock) -> Millis {
        self.time = self.time.max(clock.now());
        self.time
    }
}
