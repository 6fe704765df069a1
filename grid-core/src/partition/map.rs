//! Maps in a partition: the entries and how effects change them. Operations on keys are in
//! [`super::map_ops`], those on the whole part of a map in [`super::scan`].

use super::account::Account;
use super::effect::{Effect, Lifespan};
use super::{Container, Env, Step, Stop};
use crate::control::MapConfig;
use crate::data::{Blob, TypeTag};
use crate::error::{Error, Kind, Result};
use crate::ids::{Millis, Seq, StructureId};
use crate::mutant::{self, Mutant};
use crate::op::Life;
use crate::store::{Entry, Idle, Meta, Store, hash64};
use crate::wire::bytes::Reader;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

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
pub(super) enum Found<'a> {
    /// No value; this is the `seq` to wait for before saying so.
    Missing(Seq),
    /// A value whose time is over but whose removal is not logged.
    Expired,
    /// A value.
    Live(Entry<'a>),
}

impl MapPart {
    /// An empty map, of which `changed` is the last change.
    pub(super) fn new(config: &MapConfig, env: &Env, changed: Seq) -> Self {
        MapPart {
            store: Store::new(&env.pool, env.seed),
            config: config.clone(),
            cleared: changed,
            changed,
            due: BTreeMap::new(),
            account: Account::new(&env.ledger),
        }
    }

    pub(super) fn emptied(&self, env: &Env) -> Self {
        Self::new(&self.config, env, Seq(0))
    }

    /// All entries were copied, as of `seq`. Tombstones were not: of what is missing, nobody knows
    /// since when.
    pub(super) fn be_whole(&mut self, seq: Seq) {
        (self.cleared, self.changed) = (seq, seq);
        self.store.expect(0);
    }

    /// What an answer about all entries waits for.
    #[inline]
    pub(super) fn gate(&self) -> Seq {
        if mutant::is(Mutant::ScanByEntries) {
            let mut newest = 0;
            self.store.walk(0, |_, entry| {
                newest = newest.max(if entry.is_tombstone() { 0 } else { entry.seq() });
                ControlFlow::Continue(())
            });
            return Seq(newest);
        }
        self.changed
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
    pub(super) fn find(&self, hash: u64, key: Blob<'_>, now: impl FnOnce() -> Millis) -> Found<'_> {
        let Some(entry) = self.store.get(hash, key) else {
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

    pub(super) fn lifespan(&self, life: Life, now: impl FnOnce() -> Millis) -> Lifespan {
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
        let due = self.store.get(hash, key).and_then(|entry| due_of(&entry));
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
        if let Some(due) = self.store.get(hash, key).and_then(|entry| due_of(&entry)) {
            *self.due.entry((due, hash)).or_default() += 1;
            self.account.set(self.due.len() * DUE_BYTES);
        }
    }

    /// Writes an entry.
    #[inline]
    pub(super) fn put(
        &mut self,
        hash: u64,
        key: Blob<'_>,
        value: Blob<'_>,
        meta: &Meta,
    ) -> Result<()> {
        self.forget_due(hash, key);
        let put = self.store.put(hash, key, value, meta);
        if put.is_err() || meta.expires_at.is_some() || meta.idle.is_some() {
            self.remember_due(hash, key);
        }
        put.map_err(|_| Error::new(Kind::OutOfMemory))?;
        Ok(())
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
        match *effect {
            Effect::MapSet(_, key, value, life) => {
                let hash = hash64(key.blob.payload, env.seed);
                self.put(hash, key.blob, value, &meta(seq, life, key.affinity, time))?;
            }
            Effect::MapRemove(_, key, _) => {
                let hash = hash64(key.blob.payload, env.seed);
                self.forget_due(hash, key.blob);
                self.changed = seq;
                if replicated && !mutant::is(Mutant::NoTombstone) {
                    self.store.bury(hash, key.blob, seq.0);
                    return Ok(Some(hash));
                }
                self.store.remove(hash, key.blob);
            }
            Effect::MapTouch(_, key) => {
                let hash = hash64(key.blob.payload, env.seed);
                self.forget_due(hash, key.blob);
                self.store.touch(hash, key.blob, time.0);
                self.remember_due(hash, key.blob);
            }
            Effect::MapExpiry(_, key, expires_at) => {
                let hash = hash64(key.blob.payload, env.seed);
                let entry = self.store.get(hash, key.blob);
                let idle =
                    entry.and_then(|e| e.idle()).map(|idle| Idle { last_ms: time.0, ..idle });
                self.forget_due(hash, key.blob);
                let set = self.store.set_expiry(hash, key.blob, seq.0, expires_at, idle);
                self.remember_due(hash, key.blob);
                set.map_err(|_| Error::new(Kind::OutOfMemory))?;
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
pub(super) fn meta(seq: Seq, life: Lifespan, affinity: Option<u32>, time: Millis) -> Meta {
    let idle = life.max_idle_ms.map(|max_ms| Idle { max_ms, last_ms: time.0 });
    Meta { seq: seq.0, expires_at: life.expires_at, idle, affinity }
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
