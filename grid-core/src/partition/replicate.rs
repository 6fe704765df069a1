//! How a replica takes in the records of its primary.

use super::effect::Effect;
use super::record::{Head, Record};
use super::{Container, Partition};
use crate::control::StructureKind;
use crate::error::{Error, Kind, Result};
use crate::ids::{Millis, Seq, StructureId};
use crate::store::hash64;
use crate::wire::{LEN_BYTES, split_frame};

impl Partition {
    /// Applies records that [`Partition::records_after`] returned on the primary, whose
    /// [`Partition::committed`] is `committed` (both may come late, twice or alone). Records that are
    /// here already are passed over. Returns the last `seq` that is here now.
    ///
    /// While the replica is being copied, it applies of each record what concerns the part of the copy that
    /// it has.
    ///
    /// Records are kept, and tombstones of what they remove, until they are known to be committed:
    /// should this replica be promoted, the others get them from here, and nobody reads what a further
    /// failover could take back. [`Partition::lead`] makes it the primary.
    ///
    /// # Errors
    /// `NotServing` if a record is of an older term, `Lost` if one is missing in between or nothing was
    /// copied yet, `Internal` if
    /// this replica leads or has another record of the same number, `UnknownStructure` if the structure
    /// must be declared first, `Malformed`, `OutOfMemory`. All records before the one with the error are
    /// applied, nothing of it and of those after it; only after `OutOfMemory` a record of several
    /// effects can be there in part, until it is applied again.
    pub fn replicate(&mut self, mut records: &[u8], committed: Seq) -> Result<Seq> {
        if !self.is_following() {
            return Err(Error::with(Kind::Internal, "a primary takes no records of others"));
        }
        if self.copying.as_ref().is_some_and(|copying| !copying.has_begun()) {
            return Err(Error::with(Kind::Lost, "nothing was copied yet"));
        }
        while !records.is_empty() {
            let Some((bytes, used)) = split_frame(records, usize::MAX)? else {
                return Err(Error::with(Kind::Malformed, "a record is cut short"));
            };
            let frame = &records[..used];
            records = &records[used..];
            self.replicate_one(Record::read(bytes)?, frame)?;
        }
        self.log.learn_committed(committed);
        self.settle();
        Ok(self.log.seq)
    }

    /// Prefetches what applying these records will touch first, and notes which entries they are about.
    /// [`Partition::prefetch_entries`] for all that has come hides then most of the rest of the memory's
    /// latency, as the two passes of [`Partition::prefetch`] do for requests.
    pub fn prefetch_records(&self, mut records: &[u8], entries: &mut Vec<(StructureId, u64)>) {
        while let Ok(Some((bytes, used))) = split_frame(records, usize::MAX) {
            records = &records[used..];
            let Ok(mut record) = Record::read(bytes) else { return };
            if let Some(stamp) = record.head.stamp {
                self.sessions.prefetch(stamp.session);
            }
            if record.head.effects > 0
                && let Ok(effect) = Effect::read(&mut record.rest)
                && let Some((structure, key)) = effect.entry()
            {
                let hash = hash64(key.blob.payload, self.env.seed);
                self.prefetch(structure, hash, true);
                entries.push((structure, hash));
            }
        }
    }

    /// See [`Partition::prefetch_records`].
    pub fn prefetch_entries(&self, entries: &[(StructureId, u64)]) {
        entries.iter().for_each(|(structure, hash)| self.prefetch(*structure, *hash, false));
    }

    fn replicate_one(&mut self, mut record: Record<'_>, frame: &[u8]) -> Result<()> {
        let head = record.head;
        if head.seq <= self.log.seq {
            return self.check_known(&record);
        }
        if head.term < self.log.last_term {
            let text = format!("a record of the old term {}", head.term);
            return Err(Error::with(Kind::NotServing, text));
        }
        if head.seq != self.log.seq.next() {
            let text = format!("record {} follows {}", head.seq, self.log.seq);
            return Err(Error::with(Kind::Lost, text));
        }
        let answer = match head.effects {
            // What nearly all records have is read only once.
            1 => {
                let effect = Effect::read(&mut record.rest)?;
                let answer = record.rest.slice(record.answer_len)?;
                record.rest.finish()?;
                self.check_effect(&effect)?;
                self.log.time = self.log.time.max(head.time);
                self.apply_covered(&head, &effect)?;
                answer
            }
            several => {
                self.check_record(&record)?;
                self.log.time = self.log.time.max(head.time);
                for _ in 0..several {
                    let effect = Effect::read(&mut record.rest)?;
                    self.apply_covered(&head, &effect)?;
                }
                record.rest.slice(record.answer_len)?
            }
        };
        (self.log.seq, self.log.last_term) = (head.seq, head.term);
        self.log.term = self.log.term.max(head.term);
        self.log.ring.begin().extend_from_slice(frame);
        self.log.ring.end();
        if let Some(stamp) = head.stamp
            && self.copying.as_ref().is_none_or(|copying| copying.covers_session(stamp.session))
        {
            self.sessions.record(stamp, head.seq, answer);
        }
        Ok(())
    }

    /// A record whose number is taken must be the one that is here: number and term say which.
    fn check_known(&self, record: &Record<'_>) -> Result<()> {
        let (seq, term) = (record.head.seq, record.head.term);
        let here = match self.log.ring.get(seq).and_then(|frame| frame.get(LEN_BYTES..)) {
            Some(bytes) => Record::read(bytes)?.head.term,
            None => self.log.last_term.min(term), // it is not older than the last
        };
        if here == term {
            return Ok(());
        }
        let text =
            format!("the logs have diverged: record {seq} is of term {here} here, {term} there");
        Err(Error::with(Kind::Internal, text))
    }

    /// Reads a record to its end and checks that its effects have where to go, so that applying it
    /// cannot stop halfway.
    fn check_record(&self, record: &Record<'_>) -> Result<()> {
        let mut rest = record.rest;
        for _ in 0..record.head.effects {
            let effect = Effect::read(&mut rest)?;
            self.check_effect(&effect)?;
        }
        rest.slice(record.answer_len)?;
        rest.finish()
    }

    fn check_effect(&self, effect: &Effect<'_>) -> Result<()> {
        effect.structure().map_or(Ok(()), |structure| self.check_kind(structure, effect.kind()))
    }

    /// Applies an effect, if it concerns what is here of a copy.
    #[inline]
    fn apply_covered(&mut self, head: &Head, effect: &Effect<'_>) -> Result<()> {
        if self.copying.as_ref().is_some_and(|copying| !copying.covers(effect, self.env.seed)) {
            return Ok(());
        }
        self.apply(head.seq, head.time, effect)
    }

    /// Whether a structure is known and of this kind.
    pub(super) fn check_kind(&self, id: StructureId, kind: StructureKind) -> Result<()> {
        let fits = match self.containers.get(id.0 as usize) {
            Some(Some(Container::Map(_))) => kind == StructureKind::Map,
            Some(Some(Container::Queue(_))) => kind == StructureKind::Queue,
            Some(Some(Container::Topic(_))) => kind == StructureKind::Topic,
            _ => return Err(Error::with(Kind::UnknownStructure, format!("structure {id}"))),
        };
        if fits {
            return Ok(());
        }
        Err(Error::with(Kind::WrongStructure, format!("structure {id} is no {kind}")))
    }

    /// Applies one effect as number `seq` at its `time`: the only place where a replica's data changes.
    #[inline]
    pub(super) fn apply(&mut self, seq: Seq, time: Millis, effect: &Effect<'_>) -> Result<()> {
        let Some(structure) = effect.structure() else {
            if let Effect::SessionExpired(session, index) = *effect {
                self.sessions.expire(session, index);
            }
            return Ok(());
        };
        match (self.containers.get_mut(structure.0 as usize), effect) {
            (Some(Some(Container::Map(map))), effect) => {
                let gated = self.log.is_gated();
                if let Some(hash) = map.apply(&self.env, seq, time, gated, effect)? {
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
