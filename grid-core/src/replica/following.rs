//! A replica that follows a primary, or is being copied to.

use super::leading::FRESH_LEASES;
use super::{Context, Done, Replica, Role};
use crate::error::{Error, Kind, Result};
use crate::ids::{MemberId, Seq, StructureId, Term};
use crate::mutant::{self, Mutant};
use crate::partition::{Outcome, Request};
use crate::time::Nanos;
use crate::wire::link::{Body, Message};
use std::time::Duration;

/// Bytes of records in the answer to an heir.
const COLLECTED_BYTES: usize = 1 << 20;

/// What to answer to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// What is here now. Answers to several messages are one.
    Ack(Term),
    /// A full copy is needed.
    Restart(Term),
    /// To an heir: what is here after its last operation.
    Collected(Term, Seq),
    /// More was committed here, as the primary: replies may leave.
    Committed,
}

/// How fresh this replica is.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Its own clock, as the primary sent it back: everything committed before is here.
    pub(super) at: Nanos,
    /// Reads ask for it until then.
    pub(super) wanted_until: Nanos,
    /// When the primary was asked for it last.
    asked: Nanos,
}

impl Replica {
    /// Takes a message of another member.
    ///
    /// # Errors
    /// What the message could not be used for. Nothing needs to be done but to tell: the sender will send
    /// it again, or drop this replica.
    pub fn handle(
        &mut self,
        from: MemberId,
        message: &Message<'_>,
        cx: &Context<'_>,
    ) -> Result<Answer> {
        let term = message.term;
        match message.body {
            Body::Append { stream, after, committed, fresh, records } => {
                if !self.fence(term) {
                    return Ok(Answer::Nothing);
                }
                if self.synced != term {
                    return Ok(Answer::Restart(term));
                }
                let own = if self.copy.0 == term { self.copy.1 } else { 0 };
                let other = stream != own && !mutant::is(Mutant::AppendOfOtherCopy);
                if other || self.partition.is_copying() {
                    return Ok(Answer::Nothing);
                }
                if after <= self.partition.last() {
                    self.replicate(records, committed, cx)?;
                }
                let here = after <= self.partition.last() && committed <= self.partition.last();
                if here || (fresh > 0 && mutant::is(Mutant::FreshAhead)) {
                    let from_receipt = fresh > 0 && mutant::is(Mutant::FreshFromReceipt);
                    let at = if from_receipt { cx.now } else { Nanos(fresh) };
                    self.fresh.at = self.fresh.at.max(at);
                }
                Ok(Answer::Ack(term))
            }
            Body::Copy { stream, number, after, records_bytes, rest } => {
                let (records, piece) = rest
                    .split_at_checked(records_bytes as usize)
                    .ok_or_else(|| Error::new(Kind::Malformed))?;
                self.copy_in(term, (stream, number), after, records, piece, cx)
            }
            Body::Collect { have } => {
                if !self.fence(term) {
                    return Ok(Answer::Nothing);
                }
                if self.partition.is_copying() {
                    return Ok(Answer::Nothing); // late: this replica was dropped since
                }
                self.synced = term;
                Ok(Answer::Collected(term, have))
            }
            Body::Collected { last, records } => {
                self.collected(from, term, last, records, cx)?;
                Ok(Answer::Nothing)
            }
            Body::Ack { stream, number, last, now, room, wants_fresh } => {
                if term != self.synced || !matches!(self.role, Role::Primary(_)) {
                    return Ok(Answer::Nothing);
                }
                let ack = super::leading::Ack { stream, number, last, now, room, wants_fresh };
                let advanced = self.acknowledged(from, &ack, cx.now);
                Ok(if advanced { Answer::Committed } else { Answer::Nothing })
            }
            Body::Restart => {
                if term == self.synced {
                    self.restart_copy(from);
                }
                Ok(Answer::Nothing)
            }
        }
    }

    /// Answers a read from what is committed here, if it was the latest not longer than `bound` ago. The age is
    /// counted by this member's clock from when it asked the primary, and an eighth longer for clocks that
    /// go slow.
    pub(super) fn read_stale(
        &mut self,
        cx: &Context<'_>,
        request: &Request<'_>,
        bound: Duration,
        reply: &mut Vec<u8>,
    ) -> Done {
        let refused = |text| {
            let wait = Duration::from_millis(5);
            Done::Refused(Error::with(Kind::NotServing, text).retry_in(wait))
        };
        if request.op.code().writes() || self.partition.is_copying() {
            return refused("another member serves the partition");
        }
        let lease = self.rules.lease.0;
        self.fresh.wanted_until = cx.now.plus(Nanos(lease * FRESH_LEASES));
        let age = cx.now.since(self.fresh.at).0;
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let old = age.saturating_add(age / 8) > bound && !mutant::is(Mutant::StaleUnbounded);
        if old || self.fresh.at == Nanos(0) {
            return refused("the replica is not fresh enough; the primary answers");
        }
        let mark = reply.len();
        match self.partition.step(cx.clock, request, reply) {
            Outcome::Answered(gate)
                if gate <= self.partition.committed() || mutant::is(Mutant::StaleUncommitted) =>
            {
                Done::Answered(gate)
            }
            Outcome::Refused(error) => Done::Refused(error),
            _ => {
                reply.truncate(mark);
                refused("what the replica has is not committed yet; the primary answers")
            }
        }
    }

    /// Asks the primary to tell how fresh this replica is, while reads want to know and it does not.
    pub(super) fn ask_for_stamps(
        &mut self,
        cx: &Context<'_>,
        send: &mut dyn FnMut(MemberId, &[u8]),
    ) {
        let now = cx.now;
        let (known, asked) = (now.since(self.fresh.at).0, now.since(self.fresh.asked).0);
        let lease = self.rules.lease.0;
        let due = self.fresh.wanted_until > now && known > lease / 8 && asked > lease / 16;
        if due && self.is_synced() && self.record.primary != self.rules.me {
            self.fresh.asked = now;
            let mut bytes = Vec::new();
            self.write_answer(Answer::Ack(self.synced), cx, &mut bytes);
            send(self.record.primary, &bytes);
        }
    }

    /// Writes the answer to what was handled.
    pub fn write_answer(&self, answer: Answer, cx: &Context<'_>, out: &mut Vec<u8>) {
        let partition = self.partition.id();
        let (term, body) = match answer {
            Answer::Nothing | Answer::Committed => return,
            Answer::Restart(term) => (term, Body::Restart),
            Answer::Ack(term) => {
                let (copy_term, stream, number) = self.copy;
                let copying = copy_term == term;
                let body = Body::Ack {
                    stream: if copying { stream } else { 0 },
                    number: if copying { number } else { 0 },
                    last: self.partition.last(),
                    now: cx.now.0,
                    room: self.partition.free_budget(),
                    wants_fresh: self.fresh.wanted_until > cx.now,
                };
                (term, body)
            }
            Answer::Collected(term, have) => {
                let last = self.partition.last();
                let records = self.partition.records_after(have, COLLECTED_BYTES);
                let records = records.map_or(&[][..], |(records, _)| records);
                (term, Body::Collected { last, records })
            }
        };
        Message { partition, term, body }.write(out);
    }

    /// Nothing of an older term is taken any more, and a primary of an older term stops. False if the term
    /// itself is an older one, or this member's own.
    fn fence(&mut self, term: Term) -> bool {
        let own = self.record.primary == self.rules.me && self.record.term >= term;
        if (term < self.seen && !mutant::is(Mutant::NoTermFence)) || own {
            return false;
        }
        self.seen = self.seen.max(term);
        if self.synced < term {
            self.step_down();
        }
        true
    }

    /// Applies records, declaring the structures that they need.
    pub(super) fn replicate(
        &mut self,
        records: &[u8],
        committed: Seq,
        cx: &Context<'_>,
    ) -> Result<()> {
        loop {
            match self.partition.replicate(records, committed) {
                Ok(_) => return Ok(()),
                Err(error) => self.declare_for(error, cx)?,
            }
        }
    }

    /// Makes the structures known that were agreed on since the last time, if one was missing.
    ///
    /// # Errors
    /// The error, if it is about something else, or this member knows of no more structures either.
    fn declare_for(&mut self, error: Error, cx: &Context<'_>) -> Result<()> {
        let mut new = false;
        if error.kind() == Kind::UnknownStructure {
            for id in (0..cx.structures.count()).map(StructureId) {
                if !self.partition.knows(id)
                    && let Some(config) = cx.structures.config(id, self.partition.id())
                {
                    self.partition.declare(id, &config);
                    new = true;
                }
            }
        }
        if new { Ok(()) } else { Err(error) }
    }

    fn copy_in(
        &mut self,
        term: Term,
        (stream, number): (u64, u32),
        after: Seq,
        records: &[u8],
        piece: &[u8],
        cx: &Context<'_>,
    ) -> Result<Answer> {
        if !self.fence(term) {
            return Ok(Answer::Nothing);
        }
        let known = (self.copy.0, self.copy.1);
        if (term, stream) > known && number == 0 {
            // An in-sync replica has nothing to gain, and others count on what it has.
            if self.record.in_sync(self.rules.me) && self.record.term == term && self.synced == term
            {
                return Ok(Answer::Nothing);
            }
            self.partition.copy_begin();
            self.fresh = Fresh::default();
            (self.copy, self.synced) = ((term, stream, 0), Term(0));
        } else if (term, stream) != known && !mutant::is(Mutant::CopyMixed) {
            return Ok(Answer::Nothing);
        }
        if number != self.copy.2 {
            return Ok(Answer::Ack(term));
        }
        if number > 0 {
            if after > self.partition.last() {
                return Ok(Answer::Ack(term));
            }
            self.replicate(records, Seq(0), cx)?;
        }
        if !piece.is_empty() {
            let complete = loop {
                match self.partition.copy_in(piece) {
                    Ok(complete) => break complete,
                    Err(error) => self.declare_for(error, cx)?,
                }
            };
            if complete {
                self.synced = term;
            }
        }
        self.copy.2 += 1;
        Ok(Answer::Ack(term))
    }
}
