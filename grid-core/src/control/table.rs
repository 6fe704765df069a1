//! The table: who owns each partition, and the rules by which that may change.
//!
//! After PacificA (MSR-TR-2008-25): only a replica that holds everything acknowledged may propose a
//! change, each change is a compare-and-set on the record's version, and the first one wins.

use crate::ids::{Index, MemberId, Term, Version};
use serde::{Deserialize, Serialize};

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Log position of the last change.
    pub index: Index,
    /// Grows by one with every change of the record.
    pub version: Version,
    /// Changes exactly when `primary` does.
    pub term: Term,
    /// Serves the partition.
    pub primary: MemberId,
    /// In-sync replicas, the primary among them: each holds every acknowledged operation.
    pub isr: Vec<MemberId>,
    /// Wanted in-sync replicas, the wanted primary first. The primary works towards it.
    pub goal: Vec<MemberId>,
    /// Asynchronous backups: they are sent everything and nobody waits for them.
    pub followers: Vec<MemberId>,
    /// The last change of the primary was a transfer: the one before had stopped by itself.
    pub surrendered: bool,
    /// The process of the primary has been replaced: it serves nothing any more.
    pub retired: bool,
    /// The primary of this term began empty.
    pub empty: bool,
    /// No replica is left, and nobody owns the partition.
    pub lost: bool,
    /// When the data was last lost: structures that are older do not answer here.
    pub lost_at: Index,
    /// The replica that left the in-sync set last: its data may be what is left after a loss.
    pub removed: Option<MemberId>,
}

/// What a replica proposes for its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The primary drops a silent, slow or superfluous replica from the in-sync set.
    Shrink(MemberId),
    /// The primary takes a replica that has caught up into the in-sync set.
    Add(MemberId),
    /// An in-sync backup takes over from a silent primary.
    Promote,
    /// The primary has stopped serving and hands over to an in-sync backup.
    Transfer(MemberId),
    /// The only replica has nothing but half of a copy: the partition is lost. Who is given a lost partition
    /// with what it has may find that.
    GiveUp,
    /// The primary wants a new version and nothing else: what it proposed before is void then.
    Bump,
}

impl Record {
    /// The first record of a partition.
    #[must_use]
    pub fn first(index: Index, primary: MemberId) -> Self {
        Record {
            index,
            version: Version(1),
            term: Term(1),
            primary,
            isr: vec![primary],
            goal: vec![primary],
            followers: Vec::new(),
            surrendered: false,
            retired: false,
            empty: true,
            lost: false,
            lost_at: Index(0),
            removed: None,
        }
    }

    /// Whether a member is an in-sync replica.
    #[must_use]
    pub fn in_sync(&self, member: MemberId) -> bool {
        self.isr.contains(&member)
    }

    /// Members that are sent the data without being in sync: wanted ones, then followers.
    pub fn learners(&self) -> impl Iterator<Item = MemberId> + '_ {
        let all = self.goal.iter().chain(&self.followers);
        all.copied().filter(|member| !self.isr.contains(member))
    }

    /// The record after a proposal of `by`, or none if it is against the rules. `version`, `index` and
    /// whether the members are known are the caller's business.
    #[must_use]
    pub fn after(&self, by: MemberId, change: Change, min_in_sync: usize) -> Option<Self> {
        if self.lost || (change != Change::Promote && self.primary != by) {
            return None;
        }
        let mut next = self.clone();
        match change {
            Change::Promote if by != self.primary && self.in_sync(by) => {
                next.isr.retain(|member| *member != self.primary);
                next.removed = Some(self.primary);
                next.begin_term(by, false);
            }
            Change::Shrink(other)
                if other != by && self.in_sync(other) && self.isr.len() > min_in_sync =>
            {
                next.isr.retain(|member| *member != other);
                next.removed = Some(other);
            }
            Change::Add(other) if !self.in_sync(other) && self.goal.contains(&other) => {
                next.isr.push(other);
                next.removed = next.removed.filter(|member| *member != other);
            }
            Change::Transfer(other) if other != by && self.in_sync(other) => {
                next.begin_term(other, true);
            }
            Change::GiveUp if self.isr.len() == 1 => {
                (next.lost, next.removed) = (true, None);
            }
            Change::Bump => {}
            _ => return None,
        }
        Some(next)
    }

    /// Takes a process that is gone for good out of the record. Returns whether that changed it.
    pub(super) fn retire(&mut self, gone: MemberId, index: Index) -> bool {
        let before = (self.isr.len(), self.goal.len(), self.followers.len(), self.removed);
        self.goal.retain(|member| *member != gone);
        self.followers.retain(|member| *member != gone);
        self.removed = self.removed.filter(|member| *member != gone);
        if self.primary != gone {
            self.isr.retain(|member| *member != gone);
        }
        let mut changed =
            before != (self.isr.len(), self.goal.len(), self.followers.len(), self.removed);
        if self.primary == gone && !self.retired {
            self.retired = true;
            changed = true;
        }
        if self.retired && self.isr.len() == 1 && !self.lost {
            (self.lost, self.lost_at) = (true, index);
            changed = true;
        }
        changed
    }

    /// Gives the partition to a new owner: of what it has, or of nothing.
    pub(super) fn give(&mut self, owner: MemberId, empty: bool) {
        self.begin_term(owner, false);
        self.isr = vec![owner];
        self.goal = vec![owner];
        self.followers.clear();
        (self.lost, self.empty, self.removed) = (false, empty, None);
    }

    fn begin_term(&mut self, primary: MemberId, surrendered: bool) {
        self.primary = primary;
        self.term = Term(self.term.0 + 1);
        (self.surrendered, self.retired, self.empty) = (surrendered, false, false);
    }
}
