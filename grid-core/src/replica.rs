//! One replica of a partition and the part it plays: primary, heir, backup, or a member that is being
//! copied to. It decides what the protocol decides; the shell owns the lock around it, the clock, and
//! the connections that carry its messages.
//!
//! The protocol is primary-backup with a table in consensus (PacificA, MSR-TR-2008-25): the primary of a
//! term numbers operations and answers once every in-sync replica has them; each in-sync log is a
//! prefix of the primary's, so whichever takes over has everything that was answered, and no in-sync
//! replica ever takes anything back.

mod flaps;
mod following;
mod leading;
mod proof;
mod takeover;

pub use following::Answer;
pub use leading::Follower;
pub use proof::Proof;

use crate::control::{Change, Record, StructureConfig};
use crate::error::{Error, Kind};
use crate::ids::{Index, MemberId, PartitionId, Seq, StructureId, Term, Version};
use crate::lease::{Held, Leases};
use crate::mutant::{self, Mutant};
use crate::partition::{Env, Outcome, Partition, Request};
use crate::read::Read;
use crate::time::{Clock, Nanos};
use leading::{Handover, Leading};
use std::sync::Arc;
use takeover::Takeover;

/// What a replica asks of its surroundings.
pub trait Structures {
    /// The configuration of a structure, if it is agreed on and has a part in this partition.
    fn config(&self, id: StructureId, partition: PartitionId) -> Option<StructureConfig>;

    /// How many structures there are; their ids are those below.
    fn count(&self) -> u32;

    /// Since when the structure answers, whatever was lost before ([`crate::control::Structure::since`]).
    fn since(&self, id: StructureId) -> Index;
}

/// Where and when a replica is called.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// This member's monotonic clock, read after what the call is about had arrived.
    pub now: Nanos,
    /// Wall clock, for partition time.
    pub clock: &'c dyn Clock,
    /// What the cluster has agreed on.
    pub structures: &'c dyn Structures,
    /// How far this member has applied the control log.
    pub applied: Index,
}

/// What never changes about the replicas of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// This member.
    pub me: MemberId,
    /// In-sync replicas without which nothing commits.
    pub min_in_sync: usize,
    /// Length of a grant, as [`Leases::length`].
    pub lease: Nanos,
    /// A backup that is behind or silent for this long is dropped.
    pub patience: Nanos,
    /// What is not acknowledged after this long is sent again.
    pub resend: Nanos,
    /// A backup that is dropped again and again joins again after the first of these, and after twice as long each
    /// time, up to the second.
    pub rejoin: (Nanos, Nanos),
}

/// How an operation ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// The answer may leave once [`Partition::committed`] has reached this.
    Answered(Seq),
    /// The answer saw only what is committed, and may leave once [`Replica::proof`] of this number is there.
    Unproven(u64),
    /// Nothing was applied for this request.
    Refused(Error),
    /// Call again.
    Again,
}

#[derive(Debug)]
enum Role {
    /// It may hold data, in sync with the term `synced` or not.
    Following,
    /// The table names it primary; it asks the others what they have.
    Heir(Takeover),
    /// It serves.
    Primary(Box<Leading>),
}

/// See the module documentation.
#[derive(Debug)]
pub struct Replica {
    rules: Rules,
    partition: Partition,
    /// The table's record, as far as this replica has followed it.
    record: Record,
    /// Highest term heard of.
    seen: Term,
    /// The log is a prefix of that of this term's primary.
    synced: Term,
    role: Role,
    /// The copy that is being taken in, or was last: term, stream, next message.
    copy: (Term, u64, u32),
    /// What the primary last said of how fresh this replica is, and until when it was asked to.
    fresh: following::Fresh,
    proofs: proof::Proofs,
    /// Backups that were dropped, as far as this replica led then.
    flaps: flaps::Flaps,
    /// A change that was proposed and not settled: acted upon or not, by its kind.
    proposal: Option<(Version, Change)>,
}

impl Replica {
    /// A replica without data, at this record of the table.
    #[must_use]
    pub fn new(rules: Rules, id: PartitionId, env: Env) -> Self {
        let mut partition = Partition::new(id, env);
        partition.follow();
        Replica {
            rules,
            partition,
            record: Record::first(Index(0), MemberId(0)),
            seen: Term(0),
            synced: Term(0),
            role: Role::Following,
            copy: (Term(0), 0, 0),
            fresh: following::Fresh::default(),
            proofs: proof::Proofs::default(),
            flaps: flaps::Flaps::default(),
            proposal: None,
        }
    }

    /// The data.
    #[must_use]
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The data, for what the protocol has no say in: subscribers, prefetching, declarations.
    pub fn partition_mut(&mut self) -> &mut Partition {
        &mut self.partition
    }

    /// The table's record, as far as this replica has followed it.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether it holds everything that the primary of the newest term it knows had when it last heard of it. One
    /// that was dropped may have more than that primary collected: it does not until it is a whole copy.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let dropped = !self.record.in_sync(self.rules.me) && self.copy.0 != self.synced;
        let dropped = dropped && !mutant::is(Mutant::SyncedThoughDropped);
        self.synced == self.seen && !dropped && !self.partition.is_copying()
    }

    /// The term whose log this one is a prefix of.
    #[must_use]
    pub fn synced(&self) -> Term {
        self.synced
    }

    /// Follows the table. Records must come in its order; those left out are made up for by later ones.
    /// [`Leases::learn`] has to know of the record already.
    pub fn learn(&mut self, record: &Record, cx: &Context<'_>, leases: &mut Leases) {
        if record.index <= self.record.index {
            return;
        }
        if record.version > self.record.version {
            let settled = self.proposal.is_some_and(|(version, _)| record.version > version);
            if settled {
                self.proposal = None;
                if let Role::Primary(leading) = &mut self.role {
                    leading.handover = None;
                }
            }
        }
        self.record = record.clone();
        // The record of a term that has passed changes neither the log nor what it is in sync with.
        if record.term < self.seen && !mutant::is(Mutant::LateRecord) {
            return;
        }
        self.seen = self.seen.max(record.term);
        let mine = record.primary == self.rules.me && !record.lost;
        if mine && self.synced == record.term && !matches!(self.role, Role::Following) {
            return self.require(leases);
        }
        self.step_down();
        if mine {
            if record.empty {
                let (id, env) = (self.partition.id(), self.partition.env().clone());
                self.partition = Partition::new(id, env);
                self.partition.follow();
                self.fresh = following::Fresh::default();
            }
            // Half a copy is no data: it says so, see [`Replica::tick`].
            if self.partition.is_copying() && !mutant::is(Mutant::HalfCopyLeads) {
                return;
            }
            self.synced = record.term;
            self.role = Role::Heir(Takeover::new(cx.now));
        }
    }

    /// Stops leading, if it does. All that it has stays as it is.
    fn step_down(&mut self) {
        if !matches!(self.role, Role::Following) {
            self.partition.follow();
            self.role = Role::Following;
            self.proposal = None;
        }
    }

    /// Whether it neither leads nor is about to: [`Replica::tick`] changes nothing about its data then.
    #[must_use]
    pub fn is_following(&self) -> bool {
        matches!(self.role, Role::Following)
    }

    /// Whether it serves, as far as it knows; [`Replica::submit`] asks for more.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.role, Role::Primary(_)) && self.may_lead()
    }

    /// Whether it would take an operation now.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.leading().is_some()
    }

    /// Whether it may answer reads without asking anybody.
    #[must_use]
    pub fn serves_alone(&self, now: Nanos) -> bool {
        self.leading().is_some_and(|leading| leading.lease_holds(now))
    }

    fn may_lead(&self) -> bool {
        let record = &self.record;
        let mine = record.primary == self.rules.me && !record.retired && !record.lost;
        (mine && record.term == self.synced)
            && (self.seen == self.synced || mutant::is(Mutant::NoSeenCheck))
    }

    /// What it leads with now, unless it has begun to hand over.
    #[inline]
    fn leading(&self) -> Option<&Leading> {
        match &self.role {
            Role::Primary(leading) if leading.handover.is_none() && self.may_lead() => {
                Some(leading)
            }
            _ => None,
        }
    }

    /// As [`Replica::leading`], and why not.
    fn leads(&self) -> Result<&Leading, Error> {
        self.leading().ok_or_else(|| self.leads_not())
    }

    #[cold]
    fn leads_not(&self) -> Error {
        let text = match &self.role {
            Role::Primary(_) if self.may_lead() => "the partition is moving to another member",
            Role::Heir(_) => "this member is about to take the partition over",
            _ if self.record.lost => return Error::with(Kind::Lost, lost(&self.record)),
            _ => "another member serves the partition",
        };
        Error::with(Kind::NotServing, text).retry_in(std::time::Duration::from_millis(5))
    }

    /// Executes an operation as the primary. The answer may leave when it says so, and only while this replica
    /// [`Replica::is_serving`]. A replica that follows answers [`Read::Stale`] if it is fresh enough; such an
    /// answer may leave at once.
    pub fn submit(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        mode: Read,
        reply: &mut Vec<u8>,
    ) -> Done {
        let lease = match self.leads() {
            Ok(leading) => leading.lease_holds(cx.now),
            Err(error) => {
                let following = self.is_following() && !self.record.lost;
                return match (mode, self.may_execute(cx, request)) {
                    (Read::Stale(bound), Ok(())) if following => {
                        self.read_stale(cx, request, bound, reply)
                    }
                    _ => Done::Refused(error),
                };
            }
        };
        if let Err(error) = self.may_execute(cx, request) {
            return Done::Refused(error);
        }
        let (mark, before) = (reply.len(), self.partition.last());
        let gate = match self.partition.step(cx.clock, request, reply) {
            Outcome::Answered(gate) => gate,
            Outcome::Refused(error) => return Done::Refused(error),
            Outcome::Again => return Done::Again,
        };
        if self.answers_early(request.structure, lease, mode) {
            return Done::Answered(Seq(0));
        }
        if (lease && mode != Read::Confirmed) || gate > before {
            return Done::Answered(gate);
        }
        // Somebody else may lead by now. Where a silent lessor must not be dropped, the control log is asked.
        let last = self.partition.last();
        let stuck = !lease && self.record.isr.len() <= self.rules.min_in_sync;
        if stuck && last == before && gate <= self.partition.committed() {
            return Done::Unproven(self.proofs.ask());
        }
        // Elsewhere the answer leaves once all in-sync replicas have acknowledged something that was logged after
        // it was found.
        let proof = if last > before { Ok(last) } else { self.partition.barrier(cx.clock) };
        match proof {
            Ok(seq) => Done::Answered(gate.max(seq)),
            Err(error) => {
                reply.truncate(mark);
                Done::Refused(error)
            }
        }
    }

    /// Whether the primary executes the request, as far as what was lost and who has ended say so.
    fn may_execute(&self, cx: &Context<'_>, request: &Request<'_>) -> Result<(), Error> {
        let lost_at = self.record.lost_at;
        if lost_at > Index(0) && cx.structures.since(request.structure) < lost_at {
            return Err(Error::with(Kind::Lost, lost(&self.record)));
        }
        let unseen = self.partition.expired_index() > cx.applied;
        if request.stamp.is_some() && unseen && !mutant::is(Mutant::ExpiryUnseen) {
            let text = "this member has not heard yet which sessions have ended";
            let wait = std::time::Duration::from_millis(5);
            return Err(Error::with(Kind::NotServing, text).retry_in(wait));
        }
        Ok(())
    }

    /// Does what is due by the clock. Returns what to propose for this partition, as long as it stands;
    /// messages are handed to `send`.
    pub fn tick(
        &mut self,
        cx: &Context<'_>,
        leases: &mut Leases,
        send: &mut dyn FnMut(MemberId, &[u8]),
    ) -> Option<(Version, Change)> {
        if self.record.lost {
            return None;
        }
        let change = match &self.role {
            Role::Following if self.record.primary == self.rules.me => {
                // Only who was given a lost partition is primary without having been in sync.
                let half = self.partition.is_copying() && self.record.term >= self.seen;
                return half.then_some((self.record.version, Change::GiveUp));
            }
            Role::Following => {
                self.ask_for_stamps(cx, send);
                let id = self.partition.id();
                let heir = self.record.in_sync(self.rules.me)
                    && leases.may_nominate(id, &self.record, cx.now);
                return heir.then_some((self.record.version, Change::Promote));
            }
            Role::Heir(_) => self.take_over(cx, leases, send),
            Role::Primary(_) => self.lead_on(cx, leases),
        };
        if self.proposal.is_none()
            && let Some(change) = change
        {
            self.proposal = Some((self.record.version, change));
            if matches!(change, Change::Add(_) | Change::Shrink(_)) {
                self.require(leases);
            }
        }
        self.proposal
    }

    /// The members whose acknowledgement and lease this primary needs: those of the applied record, and
    /// one whose addition was proposed. One whose removal was proposed counts until that is applied.
    #[must_use]
    pub fn required(&self) -> Vec<MemberId> {
        let mut required = self.record.isr.clone();
        match self.proposal {
            Some((_, Change::Add(added)))
                if !required.contains(&added) && !mutant::is(Mutant::ExpandLate) =>
            {
                required.push(added);
            }
            Some((_, Change::Shrink(dropped))) if mutant::is(Mutant::ShrinkEarly) => {
                required.retain(|member| *member != dropped);
            }
            _ => {}
        }
        required.retain(|member| *member != self.rules.me);
        required
    }

    /// The followers of this primary, for those who watch.
    #[must_use]
    pub fn followers(&self) -> &[Follower] {
        match &self.role {
            Role::Primary(leading) => &leading.followers,
            _ => &[],
        }
    }

    /// The copy that is being taken in, or was last: its term and stream.
    #[must_use]
    pub fn copy(&self) -> (Term, u64) {
        (self.copy.0, self.copy.1)
    }

    /// One line for those who look for faults.
    #[must_use]
    pub fn summary(&self) -> String {
        let role = match &self.role {
            Role::Following => "following".to_owned(),
            Role::Heir(takeover) => format!("{takeover:?}"),
            Role::Primary(leading) => format!("primary {:?}", leading.handover),
        };
        format!(
            "member {} {role} seen {} synced {} last {} committed {} copy {:?} copying {} record v{} t{} proposal {:?}",
            self.rules.me,
            self.seen,
            self.synced,
            self.partition.last(),
            self.partition.committed(),
            self.copy,
            self.partition.is_copying(),
            self.record.version,
            self.record.term,
            self.proposal
        )
    }

    /// Last operation here.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.partition.last()
    }

    fn lessors(&self, leases: &mut Leases) -> Vec<Arc<Held>> {
        if mutant::is(Mutant::NoLease) {
            return Vec::new();
        }
        let mut lessors = self.required();
        if mutant::is(Mutant::LeaseSkipsAdded) {
            lessors.retain(|member| self.record.in_sync(*member));
        }
        lessors.into_iter().map(|member| leases.held(member)).collect()
    }

    /// Takes what is required now into account.
    fn require(&mut self, leases: &mut Leases) {
        let (required, lessors) = (self.required(), self.lessors(leases));
        let enough = self.record.isr.len() >= self.rules.min_in_sync;
        let Role::Primary(leading) = &mut self.role else { return };
        leading.lessors = lessors;
        let learners: Vec<MemberId> = self.record.learners().collect();
        leading.keep(&required, &learners);
        self.flaps.keep(|member| required.contains(&member) || learners.contains(&member));
        let cursors: Vec<(MemberId, Seq)> =
            required.iter().map(|member| (*member, leading.acked(*member))).collect();
        self.partition.hold_commit(!enough && !mutant::is(Mutant::MinIgnored));
        // A replica that is half a copy is never in sync, so nothing is refused here.
        let led = self.partition.lead(self.synced, &cursors);
        debug_assert!(led.is_ok(), "{led:?}");
        self.partition.retain(leading.learner_cursor());
        self.partition.set_room(leading.room());
    }

    fn handover(&self) -> Option<Handover> {
        match &self.role {
            Role::Primary(leading) => leading.handover,
            _ => None,
        }
    }
}

fn lost(record: &Record) -> String {
    let at = record.lost_at;
    format!(
        "all replicas were lost (control log {at}); `grid admin reset-lost` and `accept-loss` go on without"
    )
}
