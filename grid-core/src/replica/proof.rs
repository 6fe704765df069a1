//! Answers without leases: a primary whose lessor is silent, and that may not drop it, proves by the control
//! log that it still was the primary when it read. A barrier of the log, begun after the read, that shows it as
//! the primary of the same term says so: nobody else can have served in between.

use super::{Replica, Role};
use crate::control::Record;
use crate::ids::StructureId;
use crate::mutant::{self, Mutant};
use crate::read::Read;

/// The barriers of a replica, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// Reads have asked for barriers up to this.
    wanted: u64,
    /// The last that was begun.
    begun: u64,
    /// What is asked for by this or an earlier one is proven.
    proven: u64,
    /// And by this it is not going to be.
    failed: u64,
}

/// What is known of an answer that needs a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing yet.
    Waits,
    /// The answer may leave.
    Proven,
    /// It must not: the control log was out of reach, or shows another primary.
    Failed,
}

impl Proofs {
    /// A barrier that has not begun.
    pub(super) fn ask(&mut self) -> u64 {
        let early = mutant::is(Mutant::BarrierBefore) && self.begun > self.proven;
        self.wanted = self.wanted.max(if early { self.begun } else { self.begun + 1 });
        self.wanted
    }
}

impl Replica {
    /// Whether an answer waits for no backup: where that was agreed, under the lease.
    #[inline]
    pub(super) fn answers_early(&self, structure: StructureId, lease: bool, mode: Read) -> bool {
        let agreed = self.partition.answers_early(structure) || mutant::is(Mutant::AckAlwaysEarly);
        agreed && (lease || mutant::is(Mutant::AckWithoutLease)) && mode != Read::Confirmed
    }

    /// Begins the barrier that answers wait for, if any do: the shell has to begin one of the control log
    /// after this call, and say how that ended.
    pub fn begin_barrier(&mut self) -> Option<u64> {
        let proofs = &mut self.proofs;
        if proofs.wanted <= proofs.begun || !matches!(self.role, Role::Primary(_)) {
            return None;
        }
        proofs.begun = proofs.wanted;
        Some(proofs.begun)
    }

    /// A barrier has ended: `record` is this partition's in the table, as this member has applied it up to
    /// there or further; none if the control log could not be asked.
    pub fn barrier_done(&mut self, number: u64, record: Option<&Record>) {
        let (me, term) = (self.rules.me, self.synced);
        let still = |record: &Record| record.primary == me && record.term == term && !record.lost;
        let proven = record.is_some_and(|r| still(r) || mutant::is(Mutant::BarrierUnchecked));
        let proofs = &mut self.proofs;
        let known = if proven { &mut proofs.proven } else { &mut proofs.failed };
        *known = number.max(*known);
    }

    /// Whether an answer that waits for a barrier may leave. It must not once this replica serves no more, or
    /// has begun to serve another term.
    #[must_use]
    pub fn proof(&self, number: u64) -> Proof {
        if number <= self.proofs.proven {
            Proof::Proven
        } else if number <= self.proofs.failed {
            Proof::Failed
        } else {
            Proof::Waits
        }
    }
}
