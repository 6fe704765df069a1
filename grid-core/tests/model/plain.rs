//! The model: what a partition promises, on plain collections.

use super::commands::{Cmd, KEYS, LIVES, MAPS, Owned, QUEUE_MAX, QUEUES, SEED, Val, key};
use grid_core::Kind;
use grid_core::op::{Life, Part};
use grid_core::partition::Stamp;
use grid_core::store::hash64;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Owned,
    pub(crate) version: u64,
    pub(crate) expires_at: Option<u64>,
    /// Longest idle time and last access.
    pub(crate) idle: Option<(u32, u64)>,
}

impl Entry {
    pub(crate) fn due(&self) -> Option<u64> {
        let idle = self.idle.map(|(max, last)| last.saturating_add(max.into()));
        match (self.expires_at, idle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(crate) fn ended(&self, now: u64) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MapModel {
    /// Entries, those included whose time is over but whose end is not logged.
    pub(crate) entries: BTreeMap<u8, Entry>,
    /// Number of the last change of each key, of all.
    pub(crate) key_seq: BTreeMap<u8, u64>,
    pub(crate) changed: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SessionModel {
    pub(crate) floor: u64,
    pub(crate) done: BTreeMap<u64, (u64, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) seq: u64,
    pub(crate) maps: Vec<MapModel>,
    pub(crate) queues: Vec<(VecDeque<Owned>, u64)>,
    pub(crate) sessions: BTreeMap<u64, SessionModel>,
    pub(crate) expired: u64,
    /// Published and not delivered: position, item.
    pub(crate) published: VecDeque<(u64, Owned)>,
}

/// What the model says of a command.
#[derive(Debug)]
pub(crate) enum Said {
    /// This answer, which depends on this `seq`.
    Answer(Vec<u8>, u64),
    /// A page of a scan, which depends on this `seq`.
    Page(u64),
    Refused(Kind),
}

/// A command under way: the time it sees, its identity, and the states that it leads to.
pub(crate) struct Turn<'t> {
    pub(crate) now: u64,
    /// Identity of the request, until its own write.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) again: bool,
    /// Whether accesses are logged (else the ring has no room for them).
    pub(crate) touches: bool,
    pub(crate) trail: &'t mut Vec<Model>,
}

fn option(value: Option<&Owned>) -> Vec<u8> {
    let mut out = vec![u8::from(value.is_some())];
    if let Some((tag, payload)) = value {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(payload);
    }
    out
}

impl Model {
    pub(crate) fn new() -> Self {
        Model {
            maps: vec![MapModel::default(); MAPS.into()],
            queues: vec![Default::default(); QUEUES.into()],
            ..Model::default()
        }
    }

    fn log(&mut self, turn: &mut Turn<'_>, change: impl FnOnce(&mut Self, u64)) {
        self.seq += 1;
        let seq = self.seq;
        change(self, seq);
        turn.trail.push(self.clone());
    }

    /// The command's own write, with which its answer is remembered.
    fn own(&mut self, turn: &mut Turn<'_>, answer: &[u8], change: impl FnOnce(&mut Self, u64)) {
        let stamp = turn.stamp.take();
        self.log(turn, |model, seq| {
            change(model, seq);
            if let Some(stamp) = stamp {
                let session = model.sessions.entry(stamp.session.0).or_default();
                session.floor = session.floor.max(stamp.floor.0);
                let floor = session.floor;
                session.done.retain(|request, _| *request >= floor);
                session.done.insert(stamp.request.0, (seq, answer.to_vec()));
            }
        });
    }

    /// Logged only where something is remembered of the session.
    pub(crate) fn expire_session(&mut self, turn: &mut Turn<'_>, session: u64, index: u64) {
        if self.sessions.contains_key(&session) {
            self.log(turn, |model, _| {
                model.sessions.remove(&session);
                model.expired = model.expired.max(index);
            });
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>, m: u8, k: u8) {
        self.log(turn, |model, seq| model.maps[usize::from(m)].remove(k, seq));
    }

    /// Logs the end of all entries of a map whose time is over.
    pub(crate) fn expire(&mut self, turn: &mut Turn<'_>, m: u8) {
        loop {
            let map = &self.maps[usize::from(m)];
            let ended = map.entries.iter().filter(|(_, e)| e.ended(turn.now));
            // In the order in which they ended, those of one moment by hash, of one hash by tag.
            let first = ended.min_by_key(|(k, e)| {
                let (tag, payload, _) = key(**k);
                (e.due(), hash64(&payload, SEED), payload, tag)
            });
            let Some((&k, _)) = first else { return };
            self.end(turn, m, k);
        }
    }

    fn live(&mut self, turn: &mut Turn<'_>, m: u8, k: u8) -> Option<Entry> {
        let entry = self.maps[usize::from(m)].entries.get(&k)?.clone();
        if entry.ended(turn.now) {
            self.end(turn, m, k);
            return None;
        }
        Some(entry)
    }

    fn key_seq(&self, m: u8, k: u8) -> u64 {
        self.maps[usize::from(m)].key_seq.get(&k).copied().unwrap_or(0)
    }

    fn read(&mut self, turn: &mut Turn<'_>, m: u8, k: u8) -> (Option<Entry>, u64) {
        let entry = self.live(turn, m, k);
        let needs = self.key_seq(m, k);
        if let Some((max, last)) = entry.as_ref().and_then(|e| e.idle)
            && turn.now.saturating_sub(last) >= u64::from(max / 8).max(1)
            && turn.touches
        {
            let now = turn.now;
            self.log(turn, |model, seq| {
                let map = &mut model.maps[usize::from(m)];
                map.changed = seq;
                map.entries.get_mut(&k).unwrap().idle = Some((max, now));
            });
        }
        (entry, needs)
    }

    fn entry(&self, turn: &Turn<'_>, m: u8, v: Val, life: Life) -> Entry {
        let (ttl, idle) = LIVES[usize::from(m)];
        let ttl = life.ttl_ms.or(ttl).filter(|ttl| *ttl > 0);
        let idle = life.max_idle_ms.or(idle).filter(|idle| *idle > 0);
        Entry {
            value: v.owned(),
            version: 0,
            expires_at: ttl.map(|ttl| turn.now.saturating_add(ttl)),
            idle: idle.map(|idle| (idle, turn.now)),
        }
    }

    fn set(
        &mut self,
        turn: &mut Turn<'_>,
        m: u8,
        k: u8,
        v: Val,
        life: Life,
        answer: Vec<u8>,
    ) -> Said {
        let entry = self.entry(turn, m, v, life);
        self.own(turn, &answer, |model, seq| model.maps[usize::from(m)].set(k, entry, seq));
        Said::Answer(answer, self.seq)
    }

    fn delete(&mut self, turn: &mut Turn<'_>, m: u8, k: u8, there: bool, answer: Vec<u8>) -> Said {
        if there {
            self.own(turn, &answer, |model, seq| model.maps[usize::from(m)].remove(k, seq));
        }
        Said::Answer(answer, self.key_seq(m, k))
    }

    /// Logged without effect; there is nothing to remember.
    pub(crate) fn barrier(&mut self, turn: &mut Turn<'_>) {
        self.log(turn, |_, _| {});
    }

    /// Carries a command out. `expected` is what it compares with. What is sent again is remembered even
    /// if it did nothing.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>, cmd: &Cmd, expected: &Owned) -> Said {
        let said = self.run_once(turn, cmd, expected);
        match said {
            Said::Answer(answer, _) if turn.again && turn.stamp.is_some() && cmd.writes() => {
                self.own(turn, &answer, |_, _| {});
                Said::Answer(answer, self.seq)
            }
            said => said,
        }
    }

    fn run_once(&mut self, turn: &mut Turn<'_>, cmd: &Cmd, expected: &Owned) -> Said {
        match *cmd {
            Cmd::Get(m, k) => {
                let (entry, needs) = self.read(turn, m, k);
                Said::Answer(option(entry.as_ref().map(|e| &e.value)), needs)
            }
            Cmd::Contains(m, k) => {
                let (entry, needs) = self.read(turn, m, k);
                Said::Answer(vec![entry.is_some().into()], needs)
            }
            Cmd::View(m, k) => {
                let (entry, needs) = self.read(turn, m, k);
                let Some(entry) = entry else { return Said::Answer(vec![0], needs) };
                let mut answer = vec![1];
                answer.extend_from_slice(&entry.version.to_le_bytes());
                answer.extend_from_slice(&entry.due().unwrap_or(0).to_le_bytes());
                answer.extend_from_slice(&option(Some(&entry.value))[1..]);
                Said::Answer(answer, needs)
            }
            Cmd::Put(m, k, v, life) => {
                let old = self.live(turn, m, k);
                self.set(turn, m, k, v, life, option(old.as_ref().map(|e| &e.value)))
            }
            Cmd::Set(m, k, v, life) => self.set(turn, m, k, v, life, Vec::new()),
            Cmd::PutIfAbsent(m, k, v, life) => match self.live(turn, m, k) {
                Some(old) => Said::Answer(option(Some(&old.value)), self.key_seq(m, k)),
                None => self.set(turn, m, k, v, life, option(None)),
            },
            Cmd::Replace(m, k, v) => match self.live(turn, m, k) {
                Some(old) => self.set(turn, m, k, v, Life::default(), option(Some(&old.value))),
                None => Said::Answer(option(None), self.key_seq(m, k)),
            },
            Cmd::ReplaceIfSame(m, k, _, v) => match self.live(turn, m, k) {
                Some(old) if old.value == *expected => {
                    self.set(turn, m, k, v, Life::default(), vec![1])
                }
                _ => Said::Answer(vec![0], self.key_seq(m, k)),
            },
            Cmd::Remove(m, k) => {
                let old = self.live(turn, m, k);
                self.delete(turn, m, k, old.is_some(), option(old.as_ref().map(|e| &e.value)))
            }
            Cmd::RemoveIfSame(m, k, _) => {
                let same = self.live(turn, m, k).is_some_and(|old| old.value == *expected);
                self.delete(turn, m, k, same, vec![same.into()])
            }
            Cmd::Delete(m, k) => {
                let there = self.live(turn, m, k).is_some();
                self.delete(turn, m, k, there, Vec::new())
            }
            Cmd::SetTtl(m, k, ttl) => self.set_ttl(turn, m, k, ttl),
            Cmd::GetAll(m, ref keys) => {
                let (mut answer, mut gate) = (Vec::new(), 0);
                for k in keys {
                    let (entry, needs) = self.read(turn, m, *k);
                    gate = gate.max(needs);
                    answer.push(entry.is_some().into());
                    if let Some(Entry { value: (tag, payload), .. }) = entry {
                        answer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                        answer.extend_from_slice(&tag.to_le_bytes());
                        answer.extend_from_slice(&payload);
                    }
                }
                Said::Answer(answer, gate)
            }
            Cmd::PutAll(m, ref entries, life) => {
                if entries.is_empty() {
                    return Said::Answer(Vec::new(), 0);
                }
                let new: Vec<(u8, Entry)> =
                    entries.iter().map(|(k, v)| (*k, self.entry(turn, m, *v, life))).collect();
                self.own(turn, &[], |model, seq| {
                    new.into_iter().for_each(|(k, e)| model.maps[usize::from(m)].set(k, e, seq));
                });
                Said::Answer(Vec::new(), self.seq)
            }
            Cmd::Size(m) => {
                self.expire(turn, m);
                let map = &self.maps[usize::from(m)];
                Said::Answer((map.entries.len() as u64).to_le_bytes().to_vec(), map.changed)
            }
            Cmd::Clear(m) => {
                if !self.maps[usize::from(m)].entries.is_empty() {
                    self.own(turn, &[], |model, seq| model.maps[usize::from(m)].clear(seq));
                }
                Said::Answer(Vec::new(), self.maps[usize::from(m)].changed)
            }
            Cmd::Scan(m, ..) => {
                self.expire(turn, m);
                Said::Page(self.maps[usize::from(m)].changed)
            }
            _ => self.run_others(turn, cmd),
        }
    }

    fn run_others(&mut self, turn: &mut Turn<'_>, cmd: &Cmd) -> Said {
        match *cmd {
            Cmd::Offer(q, v) => {
                let full = QUEUE_MAX[usize::from(q)]
                    .is_some_and(|max| self.queues[usize::from(q)].0.len() as u64 >= max);
                if !full {
                    self.own(turn, &[1], |model, seq| {
                        let (items, changed) = &mut model.queues[usize::from(q)];
                        items.push_back(v.owned());
                        *changed = seq;
                    });
                }
                Said::Answer(vec![(!full).into()], self.queues[usize::from(q)].1)
            }
            Cmd::Poll(q) => {
                let head = self.queues[usize::from(q)].0.front().cloned();
                let answer = option(head.as_ref());
                if head.is_some() {
                    self.own(turn, &answer, |model, seq| {
                        let (items, changed) = &mut model.queues[usize::from(q)];
                        items.pop_front();
                        *changed = seq;
                    });
                }
                Said::Answer(answer, self.queues[usize::from(q)].1)
            }
            Cmd::Peek(q) => {
                let (items, changed) = &self.queues[usize::from(q)];
                Said::Answer(option(items.front()), *changed)
            }
            Cmd::QueueSize(q) => {
                let (items, changed) = &self.queues[usize::from(q)];
                Said::Answer((items.len() as u64).to_le_bytes().to_vec(), *changed)
            }
            Cmd::QueueClear(q) => {
                if !self.queues[usize::from(q)].0.is_empty() {
                    self.own(turn, &[], |model, seq| {
                        model.queues[usize::from(q)] = (VecDeque::new(), seq);
                    });
                }
                Said::Answer(Vec::new(), self.queues[usize::from(q)].1)
            }
            Cmd::Publish(v) => {
                self.own(turn, &[], |model, seq| model.published.push_back((seq, v.owned())));
                Said::Answer(Vec::new(), self.seq)
            }
            Cmd::Wrong(0 | 5..) => Said::Refused(Kind::UnknownStructure),
            Cmd::Wrong(_) => Said::Refused(Kind::WrongStructure),
            _ => unreachable!("{cmd:?}"),
        }
    }

    fn set_ttl(&mut self, turn: &mut Turn<'_>, m: u8, k: u8, ttl: u64) -> Said {
        let entry = self.live(turn, m, k);
        let answer = vec![entry.is_some().into()];
        if entry.is_some() {
            let now = turn.now;
            self.own(turn, &answer, |model, seq| {
                let map = &mut model.maps[usize::from(m)];
                let entry = map.entries.get_mut(&k).unwrap();
                entry.expires_at = (ttl > 0).then(|| now.saturating_add(ttl));
                entry.idle = entry.idle.map(|(max, _)| (max, now));
                entry.version = seq;
                map.key_seq.insert(k, seq);
                map.changed = seq;
            });
        }
        Said::Answer(answer, self.key_seq(m, k))
    }

    /// Keys of a map from a hash on, in scan order.
    pub(crate) fn in_order(&self, m: u8, from: u64) -> Vec<(u64, u8)> {
        let mut keys: Vec<(u64, Vec<u8>, i32, u8)> = self.maps[usize::from(m)]
            .entries
            .keys()
            .map(|k| {
                let (tag, payload, _) = key(*k);
                (hash64(&payload, SEED), payload, tag, *k)
            })
            .filter(|(hash, ..)| *hash >= from)
            .collect();
        keys.sort();
        keys.into_iter().map(|(hash, _, _, k)| (hash, k)).collect()
    }

    /// The bytes of a key, and of its value unless only keys are asked for, in a page of a scan.
    pub(crate) fn page_entry(&self, m: u8, k: u8, part: Part) -> Vec<u8> {
        let (tag, payload, affinity) = key(k);
        let mut out = Vec::new();
        let top = if affinity.is_some() { 1u32 << 31 } else { 0 };
        out.extend_from_slice(&(payload.len() as u32 | top).to_le_bytes());
        out.extend_from_slice(&tag.to_le_bytes());
        if let Some(hash) = affinity {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        out.extend_from_slice(&payload);
        if part == Part::Entries {
            let (tag, value) = &self.maps[usize::from(m)].entries[&k].value;
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(value);
        }
        out
    }
}

impl MapModel {
    fn set(&mut self, k: u8, mut entry: Entry, seq: u64) {
        entry.version = seq;
        self.entries.insert(k, entry);
        self.key_seq.insert(k, seq);
        self.changed = seq;
    }

    fn remove(&mut self, k: u8, seq: u64) {
        assert!(self.entries.remove(&k).is_some());
        self.key_seq.insert(k, seq);
        self.changed = seq;
    }

    fn clear(&mut self, seq: u64) {
        for k in std::mem::take(&mut self.entries).into_keys() {
            self.key_seq.insert(k, seq);
        }
        self.changed = seq;
    }
}

pub(crate) const fn all_keys() -> std::ops::Range<u8> {
    0..KEYS
}

pub(crate) fn nothing() -> Owned {
    (0, Arc::new([]))
}
