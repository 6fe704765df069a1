//! How a primary logs an operation: it is refused before it touches anything, or numbered, applied,
//! written into the ring and remembered for retries.

use super::effect::Effect;
use super::{Partition, Step, Stop, Turn, record};
use crate::error::{Error, Kind, Result};
use crate::ids::Seq;
use crate::time::Clock;
use std::time::Duration;

/// Answers up to this length are remembered without asking for memory. So are those of operations
/// that remove what they answer with: they must go through when memory is used up.
const ANSWER_BYTES_FREE: usize = 64;

impl Partition {
    /// Logs nothing, so that a read can wait until everything before it is committed: returns the number
    /// of that record. Where nobody has to acknowledge, nothing is written and the number is that of the
    /// last operation.
    ///
    /// # Errors
    /// `Overloaded` if the ring is full, `NotServing` on a replica that follows.
    pub fn barrier(&mut self, clock: &dyn Clock) -> Result<Seq> {
        if !self.log.is_gated() {
            return Ok(self.log.committed);
        }
        let mut reply = Vec::new();
        let mut turn = Turn { clock, reply: &mut reply, mark: 0, stamp: None };
        Ok(self.write_nothing(&mut turn)?)
    }

    /// Numbers an operation without effect, so that its answer is remembered.
    pub(super) fn write_nothing(&mut self, turn: &mut Turn<'_>) -> Step {
        let answer = turn.answer().len();
        let growth = if answer > ANSWER_BYTES_FREE { answer } else { 0 };
        self.admit(growth, record::BYTES_MIN + answer)?;
        self.begin(turn);
        Ok(self.end(turn, 0))
    }

    /// Refuses an operation that has no room: `growth` bytes of memory, `record` bytes of the ring.
    #[inline]
    pub(super) fn admit(&self, growth: usize, record: usize) -> Step<()> {
        if growth > 0 && !self.has_memory_for(growth) {
            return Err(self.no_memory_for(growth).into());
        }
        if self.log.is_kept() && (self.log.is_following() || self.log.ring.is_full_for(record)) {
            return Err(self.no_ring().into());
        }
        Ok(())
    }

    #[cold]
    fn no_ring(&self) -> Error {
        if self.log.is_following() {
            return Error::with(Kind::NotServing, "the replica takes its records from a primary");
        }
        let text = "a backup is behind and the partition keeps no more operations for it";
        Error::with(Kind::Overloaded, text).retry_in(Duration::from_millis(20))
    }

    /// Whether this member and all backups have room for as many bytes more.
    #[inline]
    pub(super) fn has_memory_for(&self, growth: usize) -> bool {
        growth as u64 <= self.room && self.env.ledger.admits(growth as u64)
    }

    #[cold]
    fn no_memory_for(&self, growth: usize) -> Error {
        if !self.env.ledger.admits(growth as u64) {
            return self.no_memory();
        }
        let text = format!(
            "the memory.budget of a backup is used up: {} bytes are free, {growth} are needed",
            self.room
        );
        Error::with(Kind::OutOfMemory, text)
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
        self.admit(growth, record::BYTES_MIN + effect.bytes_max() + turn.answer().len())?;
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
        if self.log.is_kept() {
            self.log.now(turn.clock);
            record::begin(self.log.ring.begin());
        }
    }

    #[inline]
    fn put_effect(&mut self, effect: &Effect<'_>) -> Step<()> {
        self.apply(self.log.seq.next(), self.log.time, effect).map_err(|error| {
            match error.kind() {
                Kind::OutOfMemory => Stop::Refused(self.no_memory()),
                _ => Stop::Refused(error),
            }
        })?;
        if self.log.is_kept() {
            effect.write(self.log.ring.begin());
        }
        Ok(())
    }

    fn abort(&mut self) {
        if self.log.is_kept() {
            self.log.ring.abort();
        }
    }

    #[inline]
    fn end(&mut self, turn: &mut Turn<'_>, effects: u32) -> Seq {
        let stamp = turn.stamp.take();
        let log = &mut self.log;
        let seq = log.seq.next();
        log.seq = seq;
        log.last_term = log.term;
        if log.is_kept() {
            let start = log.ring.last_end();
            let head = record::Head { term: log.term, seq, time: log.time, stamp, effects };
            let answer = if stamp.is_some() { turn.answer() } else { &[] };
            record::end(log.ring.begin(), start, &head, answer);
            log.ring.end();
            assert!(log.ring.last() == seq, "the ring has lost a record");
        }
        if !log.is_gated() {
            log.committed = seq;
            if log.is_kept() {
                log.trim();
            }
        }
        if let Some(stamp) = stamp {
            self.sessions.record(stamp, seq, turn.answer());
        }
        seq
    }
}
