//! Becoming primary: the heir asks every in-sync replica what it has, which also fences it against the
//! primary before; takes over what it lacks; outwaits the grants that it gave; and serves.

use super::leading::Leading;
use super::{Context, Replica, Role};
use crate::control::Change;
use crate::error::Result;
use crate::ids::{MemberId, Seq, Term};
use crate::lease::Leases;
use crate::mutant::{self, Mutant};
use crate::time::Nanos;
use crate::wire::link::{Body, Message};

/// An heir that does not serve yet.
#[derive(Debug)]
pub(super) struct Takeover {
    since: Nanos,
    asked: Nanos,
    /// Whose last operation is known.
    collected: Vec<(MemberId, Seq)>,
}

impl Takeover {
    pub(super) fn new(now: Nanos) -> Self {
        Takeover { since: now, asked: Nanos(0), collected: Vec::new() }
    }

    fn has(&self, member: MemberId) -> bool {
        self.collected.iter().any(|(known, _)| *known == member)
    }
}

impl Replica {
    /// Goes on with a takeover. Returns what to propose.
    pub(super) fn take_over(
        &mut self,
        cx: &Context<'_>,
        leases: &mut Leases,
        send: &mut dyn FnMut(MemberId, &[u8]),
    ) -> Option<Change> {
        if !self.may_lead() {
            return None;
        }
        let (partition, term) = (self.partition.id(), self.synced);
        let have = self.partition.last();
        let me = self.rules.me;
        let Role::Heir(takeover) = &mut self.role else { return None };
        let silent = |member: &&MemberId| **member != me && !takeover.has(**member);
        let missing: Vec<MemberId> = self.record.isr.iter().filter(silent).copied().collect();
        if let Some(first) = missing.first()
            && !mutant::is(Mutant::NoCollect)
        {
            if takeover.asked == Nanos(0) || cx.now.since(takeover.asked) > self.rules.resend {
                takeover.asked = cx.now;
                let mut bytes = Vec::new();
                let message = Message { partition, term, body: Body::Collect { have } };
                message.write(&mut bytes);
                missing.iter().for_each(|member| send(*member, &bytes));
            }
            let late = cx.now.since(takeover.since) > self.rules.patience;
            let allowed = self.record.isr.len() > self.rules.min_in_sync;
            return (late && allowed).then_some(Change::Shrink(*first));
        }
        if leases.may_serve(partition, cx.now) {
            let acked = std::mem::take(&mut takeover.collected);
            let leading = Leading::new(&acked, self.partition.last(), cx.now);
            self.role = Role::Primary(Box::new(leading));
            self.proposal = None;
            self.require(leases);
        }
        None
    }

    /// Takes the answer of an in-sync replica.
    ///
    /// # Errors
    /// As [`crate::partition::Partition::replicate`]: the logs are not what they must be.
    pub(super) fn collected(
        &mut self,
        from: MemberId,
        term: Term,
        last: Seq,
        records: &[u8],
        cx: &Context<'_>,
    ) -> Result<()> {
        let due = matches!(&self.role, Role::Heir(_))
            && self.may_lead()
            && term == self.synced
            && self.record.in_sync(from);
        if !due {
            return Ok(());
        }
        self.replicate(records, Seq(0), cx)?;
        let more = self.partition.last() < last;
        let Role::Heir(takeover) = &mut self.role else { return Ok(()) };
        if more {
            takeover.asked = Nanos(0); // it has more than fits into one message
        } else if !takeover.has(from) {
            takeover.collected.push((from, last));
        }
        Ok(())
    }
}
