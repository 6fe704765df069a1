//! Maps in a partition: the entries, and the operations on one or several keys. Those on the whole
//! part of a map are in [`super::scan`].

use super::account::Account;
use super::effect::{Effect, Lifespan, Why};
use super::{Container, Env, Partition, Step, Stop, Turn};
use crate::control::MapConfig;
use crate::data::{Blob, TypeTag};
use crate::error::{Error, Kind, Result};
use crate::ids::{Millis, Seq, StructureId};
use crate::limits::SCAN_BYTES_MAX;
use crate::op::{Entries, Keys, Life};
use crate::store::{self, Entry, Idle, Meta, Store, hash64};
use crate::time::Clock;
use crate::wire::bytes::{KeyRef, Reader, put_value};
use std::collections::BTreeMap;

/// The entries of one map in one partition.
#[derive(Debug)]
pub(super) struct MapPart {
    pub(super) store: Store,
    config: MapConfig,
    /// Number of the last clear: the gate of keys that it may have removed.
    cleared: Seq,
    /// Number of the last change: the gate of answers about all entries.
    pub(super) changed: Seq,
    /// `(when, hash)` of entries that can expire, with how many of them.
    due: BTreeMap<(u64, u64), u32>,
    account: Account,
}

/// Bytes that an entry of `due` takes.
const DUE_BYTES: usize = 32;

/// What a key leads to at some time.
enum Found<'a> {
    /// No value; this is the `seq` to wait for before saying so.
    Missing(Seq),
    /// A value whose time is over but whose removal is not logged.
    Expired,
    /// A value.
    Live(Entry<'a>),
}

impl MapPart {
    pub(super) fn new(config: &MapConfig, env: &Env) -> Self {
        MapPart {
            store: Store::new(&env.pool, env.seed),
            config: config.clone(),
            cleared: Seq(0),
            changed: Seq(0),
            due: BTreeMap::new(),
            account: Account::new(&env.ledger),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.store.bytes()).unwrap_or(usize::MAX) + self.due.len() * DUE_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.store.len()
    }

    pub(super) fn digest(&self) -> u64 {
        self.store.digest()
    }

    pub(super) fn has_expiring(&self) -> bool {
        !self.due.is_empty()
    }

    /// The first entry whose time is over: its hash and when that was.
    pub(super) fn first_due(&self, now: Millis) -> Option<(u64, u64)> {
        let (&(due, hash), _) = self.due.first_key_value()?;
        (due <= now.0).then_some((due, hash))
    }

    /// Removes a tombstone whose removal is committed.
    pub(super) fn bury_for_good(&mut self, hash: u64, seq: Seq) {
        self.store.purge_tombstone(hash, seq.0);
    }

    #[inline]
    fn find(&self, hash: u64, key: Blob<'_>, now: impl FnOnce() -> Millis) -> Found<'_> {
        let Some(entry) = self.store.get(hash, raw(key)) else {
            return Found::Missing(self.cleared);
        };
        if entry.is_tombstone() {
            return Found::Missing(Seq(entry.seq()).max(self.cleared));
        }
        match due_of(&entry) {
            Some(due) if due <= now().0 => Found::Expired,
            _ => Found::Live(entry),
        }
    }

    fn lifespan(&self, life: Life, now: impl FnOnce() -> Millis) -> Lifespan {
        let ttl = life.ttl_ms.or(self.config.ttl_ms).filter(|ttl| *ttl > 0);
        let idle = life.max_idle_ms.or(self.config.max_idle_ms).filter(|idle| *idle > 0);
        if ttl.is_none() && idle.is_none() {
            return Lifespan::default();
        }
        // Idle time counts from partition time at the write, so that must be up to date too.
        let now = now();
        Lifespan { expires_at: ttl.map(|ttl| now.0.saturating_add(ttl)), max_idle_ms: idle }
    }

    fn forget_due(&mut self, hash: u64, key: Blob<'_>) {
        if self.due.is_empty() {
            return;
        }
        let due = self.store.get(hash, raw(key)).and_then(|entry| due_of(&entry));
        if let Some(due) = due
            && let Some(count) = self.due.get_mut(&(due, hash))
        {
            *count -= 1;
            if *count == 0 {
                self.due.remove(&(due, hash));
                self.account.set(self.due.len() * DUE_BYTES);
            }
        }
    }

    fn remember_due(&mut self, hash: u64, key: Blob<'_>) {
        if let Some(due) = self.store.get(hash, raw(key)).and_then(|entry| due_of(&entry)) {
            *self.due.entry((due, hash)).or_default() += 1;
            self.account.set(self.due.len() * DUE_BYTES);
        }
    }

    /// Applies an effect; returns the hash of a tombstone that it left.
    #[inline]
    pub(super) fn apply(
        &mut self,
        env: &Env,
        seq: Seq,
        time: Millis,
        replicated: bool,
        effect: &Effect<'_>,
    ) -> Result<Option<u64>> {
        let full = |_| Error::new(Kind::OutOfMemory);
        match *effect {
            Effect::MapSet(_, key, value, life) => {
                let hash = hash64(key.blob.payload, env.seed);
                let meta = meta(seq, life, key.affinity, time);
                self.forget_due(hash, key.blob);
                let put = self.store.put(hash, raw(key.blob), raw(value), &meta);
                if put.is_err() || life != Lifespan::default() {
                    self.remember_due(hash, key.blob);
                }
                put.map_err(full)?;
            }
            Effect::MapRemove(_, key, _) => {
                let hash = hash64(key.blob.payload, env.seed);
                self.forget_due(hash, key.blob);
                self.changed = seq;
                if replicated {
                    self.store.bury(hash, raw(key.blob), seq.0);
                    return Ok(Some(hash));
                }
                self.store.remove(hash, raw(key.blob));
            }
            Effect::MapTouch(_, key) => {
                let hash = hash64(key.blob.payload, env.seed);
                self.forget_due(hash, key.blob);
                self.store.touch(hash, raw(key.blob), time.0);
                self.remember_due(hash, key.blob);
            }
            Effect::MapExpiry(_, key, expires_at) => {
                let hash = hash64(key.blob.payload, env.seed);
                let entry = self.store.get(hash, raw(key.blob));
                let idle =
                    entry.and_then(|e| e.idle()).map(|idle| Idle { last_ms: time.0, ..idle });
                self.forget_due(hash, key.blob);
                let set = self.store.set_expiry(hash, raw(key.blob), seq.0, expires_at, idle);
                self.remember_due(hash, key.blob);
                set.map_err(full)?;
            }
            Effect::MapClear(_) => {
                self.store.clear();
                self.due.clear();
                self.account.set(0);
                self.cleared = seq;
            }
            _ => return Err(Error::with(Kind::WrongStructure, "not an effect on a map")),
        }
        self.changed = seq;
        Ok(None)
    }
}

#[inline]
fn meta(seq: Seq, life: Lifespan, affinity: Option<u32>, time: Millis) -> Meta {
    let idle = life.max_idle_ms.map(|max_ms| Idle { max_ms, last_ms: time.0 });
    Meta { seq: seq.0, expires_at: life.expires_at, idle, affinity }
}

#[inline]
pub(super) fn raw(blob: Blob<'_>) -> store::Blob<'_> {
    store::Blob { tag: blob.tag.0, payload: blob.payload }
}

#[inline]
pub(super) fn typed(blob: store::Blob<'_>) -> Blob<'_> {
    Blob { tag: TypeTag(blob.tag), payload: blob.payload }
}

/// When an entry ends: its time-to-live or its idle time, whichever is first.
#[inline]
pub(super) fn due_of(entry: &Entry<'_>) -> Option<u64> {
    if !entry.can_expire() {
        return None;
    }
    let idle = entry.idle().map(|idle| idle.last_ms.saturating_add(idle.max_ms.into()));
    match (entry.expires_at(), idle) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Appends an optional value that ends the answer.
#[inline]
pub(super) fn answer_value(reply: &mut Vec<u8>, value: Option<Blob<'_>>) {
    match value {
        None => reply.push(0),
        Some(blob) => {
            reply.push(1);
            reply.extend_from_slice(&blob.tag.0.to_le_bytes());
            reply.extend_from_slice(blob.payload);
        }
    }
}

/// Reads an answer that is an optional value.
///
/// # Errors
/// `Malformed`.
#[inline]
pub fn value_of(answer: &[u8]) -> Result<Option<Blob<'_>>> {
    let mut r = Reader::new(answer);
    if r.u8()? == 0 {
        return Ok(None);
    }
    let tag = TypeTag(r.u32()?.cast_signed());
    Ok(Some(Blob { tag, payload: r.rest() }))
}

#[inline]
pub(super) fn map_in(containers: &[Option<Container>], s: StructureId) -> Step<&MapPart> {
    match containers.get(s.0 as usize) {
        Some(Some(Container::Map(map))) => Ok(map),
        other => Err(not_a("map", other.is_some_and(Option::is_some), s)),
    }
}

#[cold]
pub(super) fn not_a(kind: &str, known: bool, s: StructureId) -> Stop {
    let error = if known {
        Error::with(Kind::WrongStructure, format!("structure {s} is no {kind}"))
    } else {
        Error::with(Kind::UnknownStructure, format!("structure {s}"))
    };
    Stop::Refused(error)
}

impl Partition {
    /// Finds the live value of a key, logs its end if its time is over, and its access if it has an idle
    /// time. Calls `answer` with the value and returns the gate.
    #[inline]
    fn map_read(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
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
    pub(super) fn map_get(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step {
        self.map_read(turn, s, hash, key, |reply, entry| {
            answer_value(reply, entry.map(|e| typed(e.value())))
        })
    }

    pub(super) fn map_contains(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step {
        self.map_read(turn, s, hash, key, |reply, entry| reply.push(u8::from(entry.is_some())))
    }

    /// Answer: 0, or 1, version, expiry (0: never), tag, payload.
    pub(super) fn map_view(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step {
        self.map_read(turn, s, hash, key, |reply, entry| {
            let Some(entry) = entry else { return reply.push(0) };
            reply.push(1);
            reply.extend_from_slice(&entry.seq().to_le_bytes());
            reply.extend_from_slice(&due_of(entry).unwrap_or(0).to_le_bytes());
            let value = typed(entry.value());
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
            gate = gate.max(self.map_read(turn, s, hash, key, |reply, entry| {
                reply.push(u8::from(entry.is_some()));
                if let Some(entry) = entry {
                    put_value(reply, typed(entry.value()));
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
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        let lifespan = map.lifespan(life, || log.now(turn.clock));
        let meta = meta(Seq(0), lifespan, key.affinity, Millis(0));
        let growth = map.store.growth_for(hash, raw(key.blob), raw(value), &meta);
        self.write(turn, &Effect::MapSet(s, key, value, lifespan), growth)
    }

    #[inline]
    pub(super) fn map_set(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        self.map_write(turn, s, hash, key, value, life)
    }

    /// Answers with the live value of a key, without counting as an access. Returns the gate and
    /// whether there is a value.
    fn map_old(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step<(Seq, bool)> {
        let map = map_in(&self.containers, s)?;
        let log = &mut self.log;
        Ok(match map.find(hash, key.blob, || log.now(turn.clock)) {
            Found::Live(entry) => {
                answer_value(turn.reply, Some(typed(entry.value())));
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
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        self.map_old(turn, s, hash, key)?;
        self.map_write(turn, s, hash, key, value, life)
    }

    pub(super) fn map_put_if_absent(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        value: Blob<'_>,
        life: Life,
    ) -> Step {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
        if present { Ok(gate) } else { self.map_write(turn, s, hash, key, value, life) }
    }

    pub(super) fn map_replace(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        value: Blob<'_>,
    ) -> Step {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
        if present { self.map_write(turn, s, hash, key, value, Life::default()) } else { Ok(gate) }
    }

    /// Whether the live value of a key is this one; the answer so far. Returns the gate too.
    fn map_is(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        expected: Blob<'_>,
    ) -> Step<(Seq, bool)> {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
        let same = present && value_of(turn.answer())? == Some(expected);
        turn.reply.truncate(turn.mark);
        turn.reply.push(u8::from(same));
        Ok((gate, same))
    }

    pub(super) fn map_replace_if_same(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        expected: Blob<'_>,
        value: Blob<'_>,
    ) -> Step {
        let (gate, same) = self.map_is(turn, s, hash, key, expected)?;
        if same { self.map_write(turn, s, hash, key, value, Life::default()) } else { Ok(gate) }
    }

    pub(super) fn map_remove(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
        if present {
            self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0)
        } else {
            Ok(gate)
        }
    }

    pub(super) fn map_remove_if_same(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        expected: Blob<'_>,
    ) -> Step {
        let (gate, same) = self.map_is(turn, s, hash, key, expected)?;
        if same { self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0) } else { Ok(gate) }
    }

    pub(super) fn map_delete(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
    ) -> Step {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
        turn.reply.truncate(turn.mark);
        if present {
            self.write(turn, &Effect::MapRemove(s, key, Why::Removed), 0)
        } else {
            Ok(gate)
        }
    }

    pub(super) fn map_set_ttl(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        hash: u64,
        key: KeyRef<'_>,
        ttl_ms: u64,
    ) -> Step {
        let (gate, present) = self.map_old(turn, s, hash, key)?;
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
