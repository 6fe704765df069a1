//! Numbering, replication and commit of a partition's operations.
//!
//! A record in the ring, little-endian after its length: `term:u64 seq:u64 time:u64 session:u64
//! request:u64 floor:u64 effects:u32 answer_len:u32 | effects | answer`. Session 0 stands for none.

use super::dedupe::Stamp;
use super::effect::Effect;
use super::ring::Ring;
use super::{Container, Partition, Step, Stop, Turn};
use crate::control::StructureKind;
use crate::error::{Error, Kind, Result};
use crate::ids::{MemberId, Millis, RequestId, Seq, SessionId, StructureId, Term};
use crate::time::Clock;
use crate::wire::bytes::Reader;
use crate::wire::{LEN_BYTES, begin_frame, end_frame, split_frame};
use std::collections::VecDeque;

const HEADER_BYTES: usize = 56;
/// Answers up to this length are remembered without asking for memory. So are those of operations
/// that remove what they answer with: they must go through when memory is used up.
const ANSWER_BYTES_FREE: usize = 64;

/// The log of a partition on one replica.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) term: Term,
    pub(super) seq: Seq,
    pub(super) committed: Seq,
    pub(super) time: Millis,
    pub(super) ring: Ring,
    /// Whose acknowledgement is required, and what each has acknowledged.
    backups: Vec<(MemberId, Seq)>,
    /// This replica takes its records from a primary.
    following: bool,
    /// Removed entries that are kept as tombstones until their removal is committed.
    graves: VecDeque<(Seq, StructureId, u64)>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            term: Term(1),
            seq: Seq(0),
            committed: Seq(0),
            time: Millis(0),
            ring: Ring::starting_at(Seq(1)),
            backups: Vec::new(),
            following: false,
            graves: VecDeque::new(),
        }
    }
}

impl Log {
    /// Whether what is applied here is committed only later, so that records, and tombstones of what
    /// they remove, are kept until then.
    #[inline]
    pub(super) fn replicated(&self) -> bool {
        self.following || !self.backups.is_empty()
    }

    pub(super) fn set_backups(&mut self, backups: &[(MemberId, Seq)]) {
        if !self.replicated() && self.ring.last() != self.seq {
            self.ring = Ring::starting_at(self.seq.next());
        }
        self.following = false;
        // Who claims to have what does not exist here has something else: it has nothing of ours.
        let known = |has: Seq| if has > self.seq { Seq(0) } else { has };
        self.backups = backups.iter().map(|(member, has)| (*member, known(*has))).collect();
        self.advance();
    }

    pub(super) fn acknowledge(&mut self, from: MemberId, seq: Seq) -> bool {
        if seq > self.seq {
            return false;
        }
        for (member, has) in &mut self.backups {
            if *member == from {
                *has = seq.max(*has);
            }
        }
        self.advance()
    }

    /// Commits what everybody has. Never goes back.
    fn advance(&mut self) -> bool {
        let everybody = self.backups.iter().map(|(_, has)| *has).min().unwrap_or(self.seq);
        let advanced = everybody > self.committed;
        self.committed = self.committed.max(everybody);
        assert!(self.committed <= self.seq, "committed what does not exist");
        advanced
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

    pub(super) fn forget_acknowledged(&mut self) {
        let alone = if self.following { self.committed } else { self.seq };
        let everybody = self.backups.iter().map(|(_, has)| *has).min().unwrap_or(alone);
        self.ring.forget(everybody);
    }

    /// Becomes a replica that takes its records from a primary.
    fn follow(&mut self) -> Result<()> {
        if self.following {
            return Ok(());
        }
        if self.committed < self.seq {
            let text = format!(
                "operations after {} were never committed: copy the partition",
                self.committed
            );
            return Err(Error::with(Kind::Lost, text));
        }
        if self.ring.last() != self.seq {
            self.ring = Ring::starting_at(self.seq.next());
        }
        self.backups.clear();
        self.following = true;
        Ok(())
    }

    /// Partition time now: it follows the clock and never runs backwards.
    #[inline]
    pub(super) fn now(&mut self, clock: &dyn Clock) -> Millis {
        self.time = self.time.max(clock.now());
        self.time
    }
}

/// One record as a replica reads it.
struct Record<'a> {
    term: Term,
    seq: Seq,
    time: Millis,
    stamp: Option<Stamp>,
    effects: u32,
    rest: Reader<'a>,
    answer_len: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let (term, seq, time) = (Term(r.u64()?), Seq(r.u64()?), Millis(r.u64()?));
        let (session, request, floor) =
            (SessionId(r.u64()?), RequestId(r.u64()?), RequestId(r.u64()?));
        let stamp = (session.0 != 0).then_some(Stamp { session, request, floor });
        let (effects, answer_len) = (r.u32()?, r.u32()? as usize);
        Ok(Record { term, seq, time, stamp, effects, rest: r, answer_len })
    }
}

impl Partition {
    /// Refuses an operation that has no room: `growth` bytes of memory, `record` bytes of the ring.
    #[inline]
    pub(super) fn admit(&self, growth: usize, record: usize) -> Step<()> {
        if growth > 0 && !self.env.ledger.admits(growth as u64) {
            return Err(self.no_memory().into());
        }
        if self.log.replicated() && self.log.ring.is_full_for(record) {
            return Err(Error::with(
                Kind::Overloaded,
                "a backup is behind and the partition keeps no more operations for it",
            )
            .retry_in(std::time::Duration::from_millis(20))
            .into());
        }
        Ok(())
    }

    #[cold]
    pub(super) fn no_memory(&self) -> Error {
        let ledger = &self.env.ledger;
        Error::with(
            Kind::OutOfMemory,
            format!("{} of {} bytes are used (memory.budget)", ledger.used(), ledger.budget()),
        )
    }

    /// Numbers and applies an operation of one effect; its answer is in `turn.reply` already.
    #[inline]
    pub(super) fn write(
        &mut self,
        turn: &mut Turn<'_>,
        effect: &Effect<'_>,
        growth: usize,
    ) -> Step {
        let answer =
            if turn.stamp.is_some() && !effect.removes() { turn.answer().len() } else { 0 };
        let growth = if answer > ANSWER_BYTES_FREE { growth + answer } else { growth };
        self.admit(growth, HEADER_BYTES + effect.bytes_max() + turn.answer().len())?;
        self.begin(turn);
        if let Err(stop) = self.put_effect(effect) {
            self.abort();
            return Err(stop);
        }
        Ok(self.end(turn, 1))
    }

    /// Numbers and applies an operation of many effects, which the caller has admitted as a whole.
    pub(super) fn write_all<'e>(
        &mut self,
        turn: &mut Turn<'_>,
        effects: impl Iterator<Item = Effect<'e>>,
    ) -> Step {
        self.begin(turn);
        let mut count = 0;
        for effect in effects {
            if let Err(stop) = self.put_effect(&effect) {
                if count == 0 {
                    self.abort();
                    return Err(stop);
                }
                // The budget admitted it, but the pool had no block of the size needed. What was applied
                // stays, and so that a retry is no success by itself, nothing is remembered of it.
                turn.stamp = None;
                self.end(turn, count);
                return Err(match stop {
                    Stop::Refused(error) => Stop::Refused(error.maybe_applied()),
                    Stop::Again => Stop::Again,
                });
            }
            count += 1;
        }
        Ok(self.end(turn, count))
    }

    #[inline]
    fn begin(&mut self, turn: &Turn<'_>) {
        if !self.log.replicated() {
            return;
        }
        self.log.now(turn.clock);
        let ring = self.log.ring.begin();
        begin_frame(ring);
        ring.extend_from_slice(&[0; HEADER_BYTES]);
    }

    #[inline]
    fn put_effect(&mut self, effect: &Effect<'_>) -> Step<()> {
        self.apply(self.log.seq.next(), effect).map_err(|error| match error.kind() {
            Kind::OutOfMemory => Stop::Refused(self.no_memory()),
            _ => Stop::Refused(error),
        })?;
        if self.log.replicated() {
            effect.write(self.log.ring.begin());
        }
        Ok(())
    }

    fn abort(&mut self) {
        if self.log.replicated() {
            self.log.ring.abort();
        }
    }

    #[inline]
    fn end(&mut self, turn: &Turn<'_>, effects: u32) -> Seq {
        let seq = self.log.seq.next();
        self.log.seq = seq;
        if self.log.replicated() {
            let answer = if turn.stamp.is_some() { turn.answer() } else { &[] };
            let (session, request, floor) = turn
                .stamp
                .map_or((0, 0, 0), |stamp| (stamp.session.0, stamp.request.0, stamp.floor.0));
            let counts = u64::from(effects) | (answer.len() as u64) << 32; // a frame is far below 4 GiB
            let header = [self.log.term.0, seq.0, self.log.time.0, session, request, floor, counts];
            let start = self.log.ring.last_end();
            let ring = self.log.ring.begin();
            let fields = ring.get_mut(start + LEN_BYTES..).unwrap_or_default();
            for (field, n) in fields.chunks_exact_mut(8).zip(header) {
                field.copy_from_slice(&n.to_le_bytes());
            }
            ring.extend_from_slice(answer);
            end_frame(ring, start);
            self.log.ring.end();
            assert!(self.log.ring.last() == seq, "the ring has lost a record");
        } else {
            self.log.committed = seq;
        }
        if let Some(stamp) = turn.stamp {
            self.sessions.record(stamp, seq, turn.answer());
        }
        seq
    }

    /// Applies records that [`Partition::records_after`] returned on the primary, whose
    /// [`Partition::committed`] is `committed` (both may come late, twice or alone). Records that are
    /// here already are passed over. Returns the last `seq` that is here now.
    ///
    /// Records are kept, and tombstones of what they remove, until they are known to be committed:
    /// should this replica be promoted, the others get them from here, and nobody reads what a further
    /// failover could take back. [`Partition::set_backups`] makes it the primary.
    ///
    /// # Errors
    /// `NotServing` if a record is of an older term, `Lost` if one is missing in between or this replica
    /// has operations of its own that were never committed, `UnknownStructure` if the structure must be
    /// declared first, `Malformed`, `OutOfMemory`. All records before the one with the error are
    /// applied, nothing of it and of those after it; only after `OutOfMemory` a record of several
    /// effects can be there in part, until it is applied again.
    pub fn replicate(&mut self, mut records: &[u8], committed: Seq) -> Result<Seq> {
        self.log.follow()?;
        while !records.is_empty() {
            let Some((bytes, used)) = split_frame(records, usize::MAX)? else {
                return Err(Error::with(Kind::Malformed, "a record is cut short"));
            };
            let frame = &records[..used];
            records = &records[used..];
            self.replicate_one(Record::read(bytes)?, frame)?;
        }
        self.log.committed = self.log.committed.max(committed.min(self.log.seq));
        self.settle();
        Ok(self.log.seq)
    }

    /// Reads a record to its end and checks that its effects have where to go, so that applying it
    /// cannot stop halfway.
    fn check_record(&self, record: &Record<'_>) -> Result<()> {
        let mut rest = record.rest;
        for _ in 0..record.effects {
            let effect = Effect::read(&mut rest)?;
            let Some(structure) = effect.structure() else { continue };
            let fits = match (self.containers.get(structure.0 as usize), effect.kind()) {
                (Some(Some(Container::Map(_))), kind) => kind == StructureKind::Map,
                (Some(Some(Container::Queue(_))), kind) => kind == StructureKind::Queue,
                (Some(Some(Container::Topic(_))), kind) => kind == StructureKind::Topic,
                _ => {
                    return Err(Error::with(
                        Kind::UnknownStructure,
                        format!("structure {structure}"),
                    ));
                }
            };
            if !fits {
                let text = format!("structure {structure} is no {}", effect.kind());
                return Err(Error::with(Kind::WrongStructure, text));
            }
        }
        rest.slice(record.answer_len)?;
        rest.finish()
    }

    fn replicate_one(&mut self, mut record: Record<'_>, frame: &[u8]) -> Result<()> {
        if record.term < self.log.term {
            return Err(Error::with(
                Kind::NotServing,
                format!("a record of the old term {}", record.term),
            ));
        }
        if record.seq <= self.log.seq {
            return Ok(());
        }
        if record.seq != self.log.seq.next() {
            let text = format!("record {} follows {}", record.seq, self.log.seq);
            return Err(Error::with(Kind::Lost, text));
        }
        self.check_record(&record)?;
        self.log.term = record.term;
        self.log.time = self.log.time.max(record.time);
        for _ in 0..record.effects {
            let effect = Effect::read(&mut record.rest)?;
            self.apply(record.seq, &effect)?;
        }
        let answer = record.rest.slice(record.answer_len)?;
        self.log.seq = record.seq;
        self.log.ring.begin().extend_from_slice(frame);
        self.log.ring.end();
        if let Some(stamp) = record.stamp {
            self.sessions.record(stamp, record.seq, answer);
        }
        Ok(())
    }

    /// Applies one effect as number `seq`: the only place where a replica's data changes.
    #[inline]
    fn apply(&mut self, seq: Seq, effect: &Effect<'_>) -> Result<()> {
        let Some(structure) = effect.structure() else {
            if let Effect::SessionExpired(session) = *effect {
                self.sessions.expire(session);
            }
            return Ok(());
        };
        let time = self.log.time;
        match (self.containers.get_mut(structure.0 as usize), effect) {
            (Some(Some(Container::Map(map))), effect) => {
                if let Some(hash) =
                    map.apply(&self.env, seq, time, self.log.replicated(), effect)?
                {
                    self.log.dig(seq, structure, hash);
                }
                Ok(())
            }
            (Some(Some(Container::Queue(queue))), effect) => queue.apply(seq, effect),
            (Some(Some(Container::Topic(topic))), Effect::TopicPublish(_, item)) => {
                if topic.has_subscribers() {
                    self.published.push(seq, structure, *item);
                }
                Ok(())
            }
            _ => Err(Error::with(Kind::UnknownStructure, format!("structure {structure}"))),
        }
    }
}
