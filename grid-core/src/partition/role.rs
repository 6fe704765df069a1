//! The part that a replica plays: who leads and whom it waits for, who follows, who reads along.

use super::{Container, Partition};
use crate::error::{Error, Kind, Result};
use crate::ids::{MemberId, Seq, Term};

impl Partition {
    /// This replica is the primary in `term`; records written from now on carry it. An operation is
    /// committed only when the `required` members have acknowledged it too; what each has now is its
    /// cursor: `(member, last seq it has)`. One that claims more than there is here counts as having
    /// nothing; one whose cursor the ring has passed needs a copy of the partition.
    ///
    /// A replica that followed keeps in its ring all records that it does not know to be committed. A
    /// primary calls this again whenever another set of members is required.
    ///
    /// # Errors
    /// `Internal` if the replica knows of a higher term or is being copied; nothing has changed then.
    pub fn lead(&mut self, term: Term, required: &[(MemberId, Seq)]) -> Result<()> {
        if term < self.log.term {
            let text = format!("term {term} after term {}", self.log.term);
            return Err(Error::with(Kind::Internal, text));
        }
        if self.is_copying() {
            return Err(Error::with(Kind::Internal, "a replica leads that is not whole"));
        }
        self.log.lead(term, required);
        self.settle();
        Ok(())
    }

    /// This replica takes its records from a primary from now on. The caller guarantees that the log
    /// here is a prefix of that primary's: nothing is undone. What is not known to be committed stays
    /// in the ring, for a later primary that may lack it; published items of which that is true are
    /// not delivered here any more.
    pub fn follow(&mut self) {
        self.log.follow();
        self.published.clear();
        self.room = u64::MAX;
        self.settle();
    }

    /// While held, a primary commits nothing, whatever is acknowledged. It may be called before
    /// [`Partition::lead`], so that nothing is committed in between; [`Partition::follow`] ends it.
    pub fn hold_commit(&mut self, held: bool) {
        self.log.hold(held);
        self.settle();
    }

    /// A learner, which is not required, reads the ring and has everything up to `from`; the slowest,
    /// if there are several. What follows is kept for it beyond what required members need, up to
    /// [`crate::limits::LEARNER_RING_BYTES_MAX`]; the oldest records beyond that go, and
    /// [`Partition::records_after`] knows nothing of them any more. `None`: there is no learner.
    pub fn retain(&mut self, from: Option<Seq>) {
        self.log.retain(from);
        self.settle();
    }

    /// The smallest free budget that a required backup has reported, in bytes: what grows the data beyond
    /// it is refused. `u64::MAX` at first and after [`Partition::follow`].
    pub fn set_room(&mut self, bytes: u64) {
        self.room = bytes;
    }

    /// What this replica reports to its primary: bytes of the member's memory budget that are free,
    /// `u64::MAX` without a budget.
    #[must_use]
    pub fn free_budget(&self) -> u64 {
        self.env.ledger.free()
    }

    /// Whether this replica takes its records from a primary.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.log.is_following()
    }

    /// The highest term that this replica has led in or has a record of: as primary, the term of what
    /// it writes.
    #[must_use]
    pub fn term(&self) -> Term {
        self.log.term
    }

    /// Term of the last record; 0 before the first.
    #[must_use]
    pub fn last_record_term(&self) -> Term {
        self.log.last_term
    }

    /// Records after `have` for a replica, about `bytes_max` at most but at least one, with the
    /// number of the last. `None` if the ring no longer holds them.
    #[must_use]
    pub fn records_after(&self, have: Seq, bytes_max: usize) -> Option<(&[u8], Seq)> {
        self.log.records_after(have, bytes_max)
    }

    /// A backup has everything up to `seq`. Returns whether more is committed now.
    pub fn acknowledge(&mut self, from: MemberId, seq: Seq) -> bool {
        let advanced = self.log.acknowledge(from, seq);
        if advanced {
            self.settle();
        } else {
            self.log.trim();
        }
        advanced
    }

    /// Forgets what was kept only until it is committed.
    pub(super) fn settle(&mut self) {
        while let Some((seq, structure, hash)) = self.log.next_settled_grave() {
            if let Some(Some(Container::Map(map))) = self.containers.get_mut(structure.0 as usize) {
                map.bury_for_good(hash, seq);
            }
        }
        self.log.trim();
    }
}
