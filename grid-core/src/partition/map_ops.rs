//! Operations on one or several keys of a map.

use super::effect::{Effect, Why};
use super::map::{Found, answer_value, due_of, map_in, meta, value_of};
use super::{Partition, Step, Turn};
use crate::data::Blob;
use crate::ids::{Millis, Seq, StructureId};
use crate::limits::SCAN_BYTES_MAX;
use crate::op::{Entries, Keys, Life};
use crate::store::{Entry, Idle, hash64};
use crate::time::Clock;
use crate::wire::bytes::{KeyRef, put_value};

/// More than a store takes at once beside what is written: a block and a page of its index.
const GROWTH_BYTES_MAX: usize = 256 << 10;

/// A key of a map, with its hash in the store.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) s: StructureId,
    pub(super) hash: u64,
    pub(super) key: KeyRef<'a>,
}

impl Partition {
    /// Finds the live value of a key, logs its end if its time is over, and its access if it has an idle
    /// time. Calls `answer` with the value and returns the gate.
    #[inline]
    fn map_read(
        &mut self,
        turn: &mut Turn<'_>,
        At { s, hash, key }: At<'_>,
        answer: impl FnOnce(&mut Vec<u8>, Option<&Entry<'_>>),
    ) -> Step {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        match map.find(hash, key.blob, || log.now(turn.clock)) {
            Found::Live(entry) => {
                let gate = Seq(entry.seq());
                let idle = if entry.can_expire() { entry.idle() } else { None };
                answer(turn.reply, Some(&entry));
                if let Some(idle) = idle {
                    self.map_touch(turn.clock, s, key, idle);
                }
                Ok(gate)
            }
            Found::Missing(gate) => {
                answer(turn.reply, None);
                Ok(gate)
            }
            Found::Expired => {
                let gate = self.map_end(turn.clock, s, key)?;
                answer(turn.reply, None);
                Ok(gate)
            }
        }
    }

    /// Logs the access to an entry with an idle time, at most eight times within that time. An access
    /// that finds no room in the ring is not logged: the entry may end an eighth of its idle time early.
    fn map_touch(&mut self, clock: &dyn Clock, s: StructureId, key: KeyRef<'_>, idle: Idle) {
        let now = self.log.now(clock);
        if now.0.saturating_sub(idle.last_ms) >= u64::from(idle.max_ms / 8).max(1) {
            let mut reply = Vec::new();
            let mut turn = Turn { clock, reply: &mut reply, mark: 0, stamp: None };
            let _ = self.write(&mut turn, &Effect::MapTouch(s, key), 0);
        }
    }

    /// Logs the end of an entry whose time is over.
    pub(super) fn map_end(&mut self, clock: &dyn Clock, s: StructureId, key: KeyRef<'_>) -> Step {
        let mut reply = Vec::new();
        let mut turn = Turn { clock, reply: &mut reply, mark: 0, stamp: None };
        self.write(&mut turn, &Effect::MapRemove(s, key, Why::Expired), 0)
    }

    #[inline]
    pub(super) fn map_get(&mut self, turn: &mut Turn<'_>, at: At<'_>) -> Step {
        self.map_read(turn, at, |reply, entry| {
            answer_value(reply, entry.map(Entry::value));
        })
    }

    pub(super) fn map_contains(&mut self, turn: &mut Turn<'_>, at: At<'_>) -> Step {
        self.map_read(turn, at, |reply, entry| reply.push(u8::from(entry.is_some())))
    }

    /// Answer: 0, or 1, version, expiry (0: never), tag, payload.
    pub(super) fn map_view(&mut self, turn: &mut Turn<'_>, at: At<'_>) -> Step {
        self.map_read(turn, at, |reply, entry| {
            let Some(entry) = entry else { return reply.push(0) };
            reply.push(1);
            reply.extend_from_slice(&entry.seq().to_le_bytes());
            reply.extend_from_slice(&due_of(entry).unwrap_or(0).to_le_bytes());
            let value = entry.value();
            reply.extend_from_slice(&value.tag.0.to_le_bytes());
            reply.extend_from_slice(value.payload);
        })
    }

    /// Answers of the first keys, at least one and as many as [`SCAN_BYTES_MAX`] takes: each 0 or 1 and the
    /// value. The caller asks again for the others.
    pub(super) fn map_get_all(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        keys: Keys<'_>,
    ) -> Step {
        let mut gate = Seq(0);
        for key in keys.iter() {
            if turn.answer().len() >= SCAN_BYTES_MAX {
                break;
            }
            let hash = hash64(key.blob.payload, self.env.seed);
            gate = gate.max(self.map_read(turn, At { s, hash, key }, |reply, entry| {
                reply.push(u8::from(entry.is_some()));
                if let Some(entry) = entry {
                    put_value(reply, entry.value());
                }
            })?);
        }
        Ok(gate)
    }

    /// Writes a value whose old one the answer already tells.
    #[inline]
    fn map_write(
        &mut self,
        turn: &mut Turn<'_>,
        At { s, hash, key }: At<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        let lifespan = map.lifespan(life, || log.now(turn.clock));
        // Far from the budget nobody needs to know exactly what the entry takes.
        let most = key.blob.payload.len() + value.payload.len() + GROWTH_BYTES_MAX;
        let growth = if self.has_memory_for(most) {
            0
        } else {
            let meta = meta(Seq(0), lifespan, key.affinity, Millis(0));
            map.store.growth_for(hash, key.blob, value, &meta)
        };
        self.write(turn, &Effect::MapSet(s, key, value, lifespan), growth)
    }

    #[inline]
    pub(super) fn map_set(
        &mut self,
        turn: &mut Turn<'_>,
        at: At<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        self.map_write(turn, at, value, life)
    }

    /// Answers with the live value of a key, without counting as an access. Returns the gate and
    /// whether there is a value.
    fn map_old(&mut self, turn: &mut Turn<'_>, At { s, hash, key }: At<'_>) -> Step<(Seq, bool)> {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        Ok(match map.find(hash, key.blob, || log.now(turn.clock)) {
            Found::Live(entry) => {
                answer_value(turn.reply, Some(entry.value()));
                (Seq(entry.seq()), true)
            }
            Found::Missing(gate) => {
                answer_value(turn.reply, None);
                (gate, false)
            }
            Found::Expired => {
                answer_value(turn.reply, None);
                (self.map_end(turn.clock, s, key)?, false)
            }
        })
    }

    pub(super) fn map_put(
        &mut self,
        turn: &mut Turn<'_>,
        at: At<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        self.map_old(turn, at)?;
        self.map_write(turn, at, value, life)
    }

    pub(super) fn map_put_if_absent(
        &mut self,
        turn: &mut Turn<'_>,
        at: At<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        let (gate, present) = self.map_old(turn, at)?;
        if present { Ok(gate) } else { self.map_write(turn, at, value, life) }
    }

    pub(super) fn map_replace(&mut self, turn: &mut Turn<'_>, at: At<'_>, value: Blob<'_>) -> Step {
        let (gate, present) = self.map_old(turn, at)?;
        if present { self.map_write(turn, at, value, Life::default()) } else { Ok(gate) }
    }

    /// Whether the live value of a key is this one; the answer so far. Returns the gate too.
    fn map_is(&mut self, turn: &mut Turn<'_>, at: At<'_>, expected: Blob<'_>) -> Step<(Seq, bool)> {
        let (gate, present) = self.map_old(turn, at)?;
        let same = present && value_of(turn.answer())? == Some(expected);
        turn.reply.truncate(turn.mark);
        turn.reply.push(u8::from(same));
        Ok((gate, same))
    }

    pub(super) fn map_replace_if_same(
        &mut self,
        turn: &mut Turn<'_>,
        at: At<'_>,
        expected: Blob<'_>,
        value: Blob<'_>,
    ) -> Step {
        let (gate, same) = self.map_is(turn, at, expected)?;
        if same { self.map_write(turn, at, value, Life::default()) } else { Ok(gate) }
    }

    pub(super) fn map_remove(&mut self, turn: &mut Turn<'_>, at: At<'_>) -> Step {
        let At { s, key, .. } = at;
        let (gate, present) = self.map_old(turn, at)?;
        if present {
            self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0)
        } else {
            Ok(gate)
        }
    }

    pub(super) fn map_remove_if_same(
        &mut self,
        turn: &mut Turn<'_>,
        at: At<'_>,
        expected: Blob<'_>,
    ) -> Step {
        let At { s, key, .. } = at;
        let (gate, same) = self.map_is(turn, at, expected)?;
        if same { self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0) } else { Ok(gate) }
    }

    pub(super) fn map_delete(&mut self, turn: &mut Turn<'_>, at: At<'_>) -> Step {
        let At { s, key, .. } = at;
        let (gate, present) = self.map_old(turn, at)?;
        turn.reply.truncate(turn.mark);
        if present {
            self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0)
        } else {
            Ok(gate)
        }
    }

    pub(super) fn map_set_ttl(&mut self, turn: &mut Turn<'_>, at: At<'_>, ttl_ms: u64) -> Step {
        let At { s, key, .. } = at;
        let (gate, present) = self.map_old(turn, at)?;
        turn.reply.truncate(turn.mark);
        turn.reply.push(u8::from(present));
        if !present {
            return Ok(gate);
        }
        let now = self.log.now(turn.clock);
        let expires_at = (ttl_ms > 0).then(|| now.0.saturating_add(ttl_ms));
        // A first expiry makes the record 8 bytes longer.
        self.write(turn, &Effect::MapExpiry(s, key, expires_at), 8)
    }

    pub(super) fn map_put_all(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        entries: Entries<'_>,
        life: Life,
    ) -> Step {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        let lifespan = map.lifespan(life, || log.now(turn.clock));
        let payload: usize =
            entries.iter().map(|(key, value)| key.blob.payload.len() + value.payload.len()).sum();
        // Generous: entries that overwrite others need less, but all must fit or none is written.
        let per_entry = 64;
        let growth = payload + entries.count() * per_entry;
        self.admit(growth, growth)?;
        if entries.count() == 0 {
            return Ok(Seq(0));
        }
        self.write_all(
            turn,
            entries.iter().map(|(key, value)| Effect::MapSet(s, key, value, lifespan)),
        )
    }
}
