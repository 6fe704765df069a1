//! A primary: who follows it, how far each is, and what it proposes.

use super::{Context, Replica, Role};
use crate::control::Change;
use crate::ids::{MemberId, Seq};
use crate::lease::{Held, Leases};
use crate::mutant::{self, Mutant};
use crate::partition::CopyCursor;
use crate::time::Nanos;
use crate::wire::link::{Body, Message};
use std::sync::Arc;

/// Messages of a copy that are under way at a time.
const COPY_WINDOW: u32 = 4;
/// Bytes of a piece of a copy.
const PIECE_BYTES: usize = 48 << 10;
/// Records with which a message of a copy takes no piece.
const COPY_RECORDS_BYTES: usize = 256 << 10;
/// A replica that asked for freshness is told for this long, in lengths of a lease.
pub(super) const FRESH_LEASES: u64 = 10;

/// A primary that serves.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) followers: Vec<Follower>,
    pub(super) lessors: Vec<Arc<Held>>,
    pub(super) handover: Option<Handover>,
    /// Last operation that it inherited: until that is committed, it does not know what is.
    inherited: Seq,
    since: Nanos,
    streams: u64,
}

/// A transfer that has begun: nothing is served any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    to: MemberId,
    since: Nanos,
    proposed: bool,
}

/// A replica that the primary sends to.
#[derive(Debug)]
pub struct Follower {
    /// Who.
    pub member: MemberId,
    /// What it has for certain.
    pub acked: Seq,
    sent: Seq,
    told: Seq,
    /// The copy that its data began with; 0 if it was in sync from the beginning of the term. What it
    /// acknowledged before that copy means nothing.
    stream: u64,
    /// What that copy began at: the follower has no record of that and before.
    copied: Seq,
    state: State,
    /// Bytes that were sent of the copy.
    copied_bytes: u64,
    required: bool,
    /// Since when this primary has known it as in sync.
    joined: Option<Nanos>,
    /// When it last had everything, or more than before.
    progress: Nanos,
    sent_at: Nanos,
    /// Its clock when it last acknowledged.
    echo: u64,
    room: u64,
    fresh_until: Nanos,
    told_fresh: Nanos,
}

#[derive(Debug)]
enum State {
    /// It needs a copy that has not begun.
    Nothing,
    Copying {
        cursor: Box<CopyCursor>,
        next: u32,
        acked: u32,
        done: bool,
    },
    /// It has everything up to `acked`.
    Streaming,
}

/// What an acknowledgement says.
pub(super) struct Ack {
    pub(super) stream: u64,
    pub(super) number: u32,
    pub(super) last: Seq,
    pub(super) now: u64,
    pub(super) room: u64,
    pub(super) wants_fresh: bool,
}

impl Follower {
    fn new(member: MemberId, has: Option<Seq>, now: Nanos) -> Self {
        let acked = has.unwrap_or_default();
        Follower {
            member,
            acked,
            sent: acked,
            told: Seq(0),
            stream: 0,
            copied: Seq(0),
            state: if has.is_some() { State::Streaming } else { State::Nothing },
            copied_bytes: 0,
            required: false,
            joined: None,
            progress: now,
            sent_at: Nanos(0),
            echo: 0,
            room: u64::MAX,
            fresh_until: Nanos(0),
            told_fresh: Nanos(0),
        }
    }

    /// Whether a copy to it is under way.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        matches!(self.state, State::Copying { .. })
    }

    /// How far the copy to it is, if one is under way: pieces sent, pieces that have arrived, bytes sent.
    #[must_use]
    pub fn copy_progress(&self) -> Option<(u32, u32, u64)> {
        match self.state {
            State::Copying { next, acked, .. } => Some((next, acked, self.copied_bytes)),
            _ => None,
        }
    }

    /// Whether it needs a copy that has not begun.
    #[must_use]
    pub fn waits_for_copy(&self) -> bool {
        matches!(self.state, State::Nothing)
    }
}

impl Leading {
    pub(super) fn new(collected: &[(MemberId, Seq)], inherited: Seq, now: Nanos) -> Self {
        let follower = |(member, has): &(MemberId, Seq)| Follower::new(*member, Some(*has), now);
        Leading {
            followers: collected.iter().map(follower).collect(),
            lessors: Vec::new(),
            handover: None,
            inherited,
            since: now,
            streams: 0,
        }
    }

    /// Whether nobody can have taken over before `now`.
    #[inline]
    pub(super) fn lease_holds(&self, now: Nanos) -> bool {
        self.lessors.iter().all(|held| held.until() > now)
    }

    pub(super) fn acked(&self, member: MemberId) -> Seq {
        let follower = self.followers.iter().find(|follower| follower.member == member);
        follower.map_or(Seq(0), |follower| match follower.state {
            State::Streaming => follower.acked,
            _ => Seq(0),
        })
    }

    /// Who follows from now on. New ones are copied to.
    pub(super) fn keep(&mut self, required: &[MemberId], learners: &[MemberId]) {
        let wanted = |member: &MemberId| required.contains(member) || learners.contains(member);
        self.followers.retain(|follower| wanted(&follower.member));
        for member in required.iter().chain(learners) {
            if !self.followers.iter().any(|follower| follower.member == *member) {
                let has = mutant::is(Mutant::NoCopy).then_some(Seq(0));
                self.followers.push(Follower::new(*member, has, self.since));
            }
        }
        for follower in &mut self.followers {
            follower.required = required.contains(&follower.member);
        }
    }

    /// The records that somebody who is not required still reads.
    pub(super) fn learner_cursor(&self) -> Option<Seq> {
        let learners = self.followers.iter().filter(|follower| !follower.required);
        let reading = learners.filter(|follower| !matches!(follower.state, State::Nothing));
        let cursor = |follower: &Follower| match follower.state {
            State::Streaming => follower.acked,
            _ => follower.sent, // what gets lost of a copy ends it
        };
        reading.map(cursor).min()
    }

    /// The smallest free budget of those who have to have everything.
    pub(super) fn room(&self) -> u64 {
        let required = self.followers.iter().filter(|follower| follower.required);
        required.map(|follower| follower.room).min().unwrap_or(u64::MAX)
    }
}

impl Replica {
    /// Takes an acknowledgement. Returns whether more is committed now.
    pub(super) fn acknowledged(&mut self, from: MemberId, ack: &Ack, now: Nanos) -> bool {
        let last = self.partition.last();
        let Role::Primary(leading) = &mut self.role else { return false };
        let Some(follower) = leading.followers.iter_mut().find(|f| f.member == from) else {
            return false;
        };
        if ack.stream != follower.stream && !mutant::is(Mutant::AckOfOtherCopy) {
            return false;
        }
        follower.echo = follower.echo.max(ack.now);
        follower.room = ack.room;
        if ack.wants_fresh {
            follower.fresh_until = now.plus(Nanos(self.rules.lease.0 * FRESH_LEASES));
        }
        match &mut follower.state {
            State::Nothing => return false,
            State::Copying { next, acked, done, .. } => {
                if ack.number > *next {
                    return false;
                }
                if ack.number > *acked {
                    (*acked, follower.progress) = (ack.number, now);
                }
                if !*done || ack.number < *next {
                    return false;
                }
                follower.state = State::Streaming;
            }
            State::Streaming => {}
        }
        if ack.last > last {
            return false; // of another life, or nonsense
        }
        if ack.last > follower.acked || ack.last == last {
            follower.progress = now;
        }
        follower.acked = follower.acked.max(ack.last);
        follower.sent = follower.sent.max(follower.acked);
        let (acked, required) = (follower.acked, follower.required);
        self.partition.retain(leading.learner_cursor());
        self.partition.set_room(leading.room());
        required && self.partition.acknowledge(from, acked)
    }

    /// A member says that it cannot go on with what it has.
    pub(super) fn restart_copy(&mut self, from: MemberId) {
        let Role::Primary(leading) = &mut self.role else { return };
        let follower = leading.followers.iter_mut().find(|follower| follower.member == from);
        // Who is required has everything: it is dropped first, and copied to then.
        if let Some(follower) = follower.filter(|follower| !follower.required) {
            follower.state = State::Nothing;
        }
    }

    /// The connection to a member is a new one: what it has not acknowledged is sent again.
    pub fn rewind(&mut self, to: MemberId) {
        let Role::Primary(leading) = &mut self.role else { return };
        for follower in leading.followers.iter_mut().filter(|follower| follower.member == to) {
            match follower.state {
                State::Streaming => follower.sent = follower.acked,
                _ => follower.state = State::Nothing,
            }
        }
    }

    /// Writes the next message to a follower, with about `bytes_max` of records or of a copy, if there is something to
    /// say. `begin_copy` is asked before a copy begins: the shell bounds how many are under way.
    pub fn pull(
        &mut self,
        to: MemberId,
        bytes_max: usize,
        now: Nanos,
        begin_copy: &mut dyn FnMut() -> bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let term = self.synced;
        let (last, committed) = (self.partition.last(), self.partition.committed());
        let leads = self.may_lead();
        let Role::Primary(leading) = &mut self.role else { return false };
        if !leads {
            return false;
        }
        let sure = (leading.lease_holds(now) || mutant::is(Mutant::FreshNoLease))
            && (committed >= leading.inherited || mutant::is(Mutant::FreshEarly));
        let Some(follower) = leading.followers.iter_mut().find(|f| f.member == to) else {
            return false;
        };
        if let State::Nothing = follower.state {
            if !begin_copy() {
                return false;
            }
            leading.streams += 1;
            (follower.acked, follower.sent, follower.told) = (Seq(0), Seq(0), Seq(0));
            (follower.progress, follower.copied_bytes) = (now, 0);
            (follower.stream, follower.copied) = (leading.streams, last);
            follower.state =
                State::Copying { cursor: Box::default(), next: 0, acked: 0, done: false };
        }
        let partition = &self.partition;
        let after = follower.sent;
        let records = if after == last || matches!(&follower.state, State::Copying { next: 0, .. })
        {
            Some((&[][..], last))
        } else {
            partition.records_after(after, bytes_max)
        };
        let Some((records, upto)) = records else {
            // A learner that was too slow for the ring begins again; nobody else can be.
            follower.state = State::Nothing;
            return false;
        };
        let mut buffer = Vec::new();
        let body = match &mut follower.state {
            State::Nothing => return false,
            State::Copying { done: true, .. } | State::Streaming => {
                let fresh_due = follower.fresh_until > now
                    && now.since(follower.told_fresh).0 >= self.rules.lease.0 / 16;
                let told_due = committed > follower.told
                    && now.since(follower.sent_at).0 >= self.rules.lease.0 / 8;
                if records.is_empty() && !told_due && !fresh_due {
                    return false;
                }
                let fresh = if sure && follower.fresh_until > now { follower.echo } else { 0 };
                follower.told = committed;
                follower.told_fresh = now;
                let stream = follower.stream;
                Body::Append { stream, after, committed, fresh, records }
            }
            State::Copying { cursor, next, acked, done } => {
                if *next - *acked >= COPY_WINDOW {
                    return false;
                }
                let records_bytes = u32::try_from(records.len()).unwrap_or(u32::MAX);
                let (stream, number) = (follower.stream, *next);
                *next += 1;
                buffer.extend_from_slice(records);
                if upto == last && records.len() < COPY_RECORDS_BYTES {
                    *done = partition.copy_out(cursor, PIECE_BYTES.min(bytes_max), &mut buffer);
                }
                follower.copied_bytes += buffer.len() as u64;
                Body::Copy { stream, number, after, records_bytes, rest: &buffer }
            }
        };
        (follower.sent, follower.sent_at) = (upto, now);
        Message { partition: partition.id(), term, body }.write(out);
        true
    }

    /// Looks after the followers and the wishes of the table. Returns what to propose.
    pub(super) fn lead_on(&mut self, cx: &Context<'_>, leases: &mut Leases) -> Option<Change> {
        if !self.may_lead() {
            return None;
        }
        self.chase(cx.now);
        let (last, committed) = (self.partition.last(), self.partition.committed());
        if let Some(handover) = self.handover() {
            return self.hand_over(handover, cx, leases);
        }
        if self.proposal.is_some() {
            return None;
        }
        let rules = self.rules;
        let Role::Primary(leading) = &mut self.role else { return None };
        let record = &self.record;
        for follower in &mut leading.followers {
            let joined = follower.joined.or(Some(cx.now));
            follower.joined = joined.filter(|_| record.in_sync(follower.member));
        }
        let settled = cx.now.since(leading.since) > rules.patience;
        let lags = |follower: &Follower, leases: &Leases| {
            let behind = follower.acked < last && cx.now.since(follower.progress) > rules.patience;
            let silent = cx.now.since(leases.answered(follower.member)) > rules.patience;
            settled && (behind || silent)
        };
        let may_shrink = record.isr.len() > rules.min_in_sync;
        let mut in_sync = leading.followers.iter().filter(|f| record.in_sync(f.member));
        if may_shrink && let Some(slow) = in_sync.find(|follower| lags(follower, leases)) {
            let slow = slow.member;
            self.flaps.dropped(slow, cx.now, &rules);
            return Some(Change::Shrink(slow));
        }
        // What a learner's copy began with it has no records of: an heir that lacked some could never get them
        // from it, so everybody in sync has to have them before it joins.
        let required = leading.followers.iter().filter(|follower| follower.required);
        let everywhere =
            required.map(|follower| leading.acked(follower.member)).min().unwrap_or(last);
        // Where nothing commits without it, even one that is dropped again and again is welcome.
        let needed = record.isr.len() < rules.min_in_sync;
        let caught_up = |follower: &&Follower| {
            let streams = matches!(follower.state, State::Streaming);
            !record.in_sync(follower.member)
                && record.goal.contains(&follower.member)
                && streams
                && follower.acked >= committed
                && (follower.copied <= everywhere || mutant::is(Mutant::AddEarly))
                && cx.now.since(leases.answered(follower.member)) < rules.patience
                && (needed || self.flaps.may_join(follower.member, cx.now))
        };
        if let Some(ready) = leading.followers.iter().find(caught_up) {
            return Some(Change::Add(ready.member));
        }
        let complete = record.goal.iter().all(|member| record.in_sync(*member));
        if !complete {
            return None;
        }
        let heir = *record.goal.first()?;
        if heir != rules.me {
            let follower = leading.followers.iter().find(|f| f.member == heir)?;
            // One that has joined just now would have to wait before it serves.
            let waited = |at| cx.now.since(at).0 > rules.lease.0 / 4 * 5;
            let joined = follower.joined.is_some_and(waited);
            if joined && !lags(follower, leases) {
                leading.handover = Some(Handover { to: heir, since: cx.now, proposed: false });
            }
            return None;
        }
        let extra = record.isr.iter().find(|member| !record.goal.contains(member))?;
        may_shrink.then_some(Change::Shrink(*extra))
    }

    /// Sends again what was not acknowledged, and begins stuck copies anew.
    fn chase(&mut self, now: Nanos) {
        let (resend, patience) = (self.rules.resend, self.rules.patience);
        let last = self.partition.last();
        let Role::Primary(leading) = &mut self.role else { return };
        for follower in &mut leading.followers {
            match &mut follower.state {
                State::Nothing => {}
                State::Streaming if follower.acked == last => follower.progress = now,
                State::Streaming => {
                    let lost = follower.acked < follower.sent
                        && now.since(follower.progress) > resend
                        && now.since(follower.sent_at) > resend;
                    if lost {
                        follower.sent = follower.acked;
                    }
                }
                State::Copying { .. } => {
                    if now.since(follower.progress) > patience && !follower.required {
                        follower.state = State::Nothing;
                    }
                }
            }
        }
        self.partition.retain(leading.learner_cursor());
    }

    /// Goes on with a transfer: once everything is committed, it is proposed; if the heir falls silent, the
    /// primary goes on itself, but only when the table says so.
    fn hand_over(
        &mut self,
        handover: Handover,
        cx: &Context<'_>,
        leases: &Leases,
    ) -> Option<Change> {
        let (last, committed) = (self.partition.last(), self.partition.committed());
        let patience = self.rules.patience;
        let in_sync = self.record.in_sync(handover.to);
        let Role::Primary(leading) = &mut self.role else { return None };
        let silent = cx.now.since(leases.answered(handover.to)) > patience;
        let stuck = silent || cx.now.since(handover.since) > patience || !in_sync;
        if handover.proposed {
            if mutant::is(Mutant::TransferResumes)
                && cx.now.since(handover.since).0 > patience.0 / 2
            {
                leading.handover = None;
                self.proposal = None;
                return None;
            }
            if stuck && let Some((_, change)) = &mut self.proposal {
                *change = Change::Bump;
            }
            return None;
        }
        if stuck {
            leading.handover = None;
            return None;
        }
        if (committed == last && leading.acked(handover.to) == last)
            || mutant::is(Mutant::TransferUndrained)
        {
            leading.handover = Some(Handover { proposed: true, ..handover });
            return Some(Change::Transfer(handover.to));
        }
        None
    }
}
