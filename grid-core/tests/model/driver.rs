//! Drives a partition and its backups beside the model, and checks after every step what must hold.

use super::commands::{Cmd, MAPS, Owned, SEED, Sent, TOPIC, UNLIKELY, cmd, env, partition};
use super::plain::{Model, Said, Turn, nothing};
use grid_core::Kind;
use grid_core::ids::{MemberId, Millis, RequestId, Seq, SessionId};
use grid_core::limits::{DEDUPE_BYTES_MAX, RING_BYTES_MAX};
use grid_core::op::{Op, Part};
use grid_core::partition::{Outcome, Partition, Request, Stamp};
use grid_core::store::hash64;
use grid_core::time::{Clock, ManualClock};
use grid_core::wire::split_frame;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound of what a record takes beside payloads and answer: so much, and so much per effect.
const RECORD_BYTES: usize = 200;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Do(Cmd),
    /// As a request of a session, which then has the answers of all requests or of none more.
    Stamped {
        client: usize,
        cmd: Cmd,
        confirm: bool,
    },
    /// The same request again: a late duplicate, or what is sent after a failover.
    Retry {
        client: usize,
        which: usize,
    },
    ExpireSession(usize),
    Expire,
    Clock(u64),
    ClockBack(u64),
    Send {
        replica: usize,
        bytes_max: usize,
    },
    Deliver {
        replica: usize,
        which: usize,
        twice: bool,
        cut: Option<usize>,
    },
    Ack {
        replica: usize,
        late: u64,
    },
    Join(u64),
    Leave(usize),
    Kill(usize),
}

pub(crate) fn alone() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => cmd().prop_map(Step::Do),
        5 => (0..3usize, cmd(), any::<bool>())
            .prop_map(|(client, cmd, confirm)| Step::Stamped { client, cmd, confirm }),
        2 => (0..3usize, 0..8usize).prop_map(|(client, which)| Step::Retry { client, which }),
        6 => (1..30u64).prop_map(Step::Clock),
        1 => (1..500u64).prop_map(Step::ClockBack),
        1 => Just(Step::Expire),
        1 => (0..3usize).prop_map(Step::ExpireSession),
        1 => (60..200u64).prop_map(Step::Clock),
    ]
}

pub(crate) fn replicated() -> impl Strategy<Value = Step> {
    let cut = proptest::option::weighted(0.2, 0..2000usize);
    prop_oneof![
        20 => alone(),
        10 => (0..2usize, prop_oneof![1..300usize, Just(usize::MAX)])
            .prop_map(|(replica, bytes_max)| Step::Send { replica, bytes_max }),
        10 => (0..2usize, 0..3usize, proptest::bool::weighted(0.2), cut)
            .prop_map(|(replica, which, twice, cut)| Step::Deliver { replica, which, twice, cut }),
        8 => (0..2usize, prop_oneof![4 => Just(0), 1 => 0..5u64])
            .prop_map(|(replica, late)| Step::Ack { replica, late }),
        4 => (0..4u64).prop_map(Step::Join),
        1 => (0..2usize).prop_map(Step::Leave),
        2 => (0..2usize).prop_map(Step::Kill),
    ]
}

struct Replica {
    id: MemberId,
    partition: Partition,
    /// On their way: records, and what was committed when they were sent.
    packets: Vec<(Vec<u8>, u64)>,
    cursor: u64,
    acked: u64,
}

/// A request as it was sent.
struct Sending {
    stamp: Stamp,
    cmd: Cmd,
    sent: Sent,
    expected: Owned,
}

#[derive(Default)]
struct Client {
    id: u64,
    next: u64,
    floor: u64,
    sent: Vec<Sending>,
}

#[derive(Default)]
struct Scan {
    from: u64,
    seen: BTreeSet<u8>,
    /// There since the scan began.
    always: BTreeSet<u8>,
}

pub(crate) struct Driver {
    clock: ManualClock,
    pub(crate) primary: Partition,
    pub(crate) model: Model,
    replicas: Vec<Replica>,
    members: u64,
    sessions: u64,
    /// Every record since the first, as long as there were backups all the time.
    archive: Vec<Vec<u8>>,
    whole: bool,
    digests: BTreeMap<u64, u64>,
    states: BTreeMap<u64, Model>,
    committed: u64,
    /// The ring holds what follows this.
    forgot: u64,
    released: u64,
    waiting: Vec<u64>,
    clients: [Client; 3],
    scans: [Option<Scan>; MAPS as usize],
}

impl Driver {
    pub(crate) fn new(backups: u64) -> Self {
        let mut driver = Driver {
            clock: ManualClock::at(Millis(1000)),
            primary: partition(env(u64::MAX, 64 << 20)),
            model: Model::new(),
            replicas: Vec::new(),
            members: 0,
            sessions: 0,
            archive: Vec::new(),
            whole: true,
            digests: BTreeMap::new(),
            states: BTreeMap::from([(0, Model::new())]),
            committed: 0,
            forgot: 0,
            released: 0,
            waiting: Vec::new(),
            clients: Default::default(),
            scans: Default::default(),
        };
        (0..backups).for_each(|_| driver.join(0));
        for client in 0..3 {
            driver.new_session(client);
        }
        driver
    }

    fn new_session(&mut self, client: usize) {
        self.sessions += 1;
        self.clients[client] = Client { id: self.sessions, next: 1, floor: 1, sent: Vec::new() };
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Do(cmd @ Cmd::Clear(m)) => {
                let there: Vec<u8> =
                    self.model.maps[usize::from(*m)].entries.keys().copied().collect();
                self.command(cmd, None);
                there.into_iter().for_each(|k| self.command(&Cmd::Contains(*m, k), None));
            }
            Step::Do(cmd) => self.command(cmd, None),
            Step::Stamped { client, cmd, confirm } => {
                if !cmd.writes() {
                    return;
                }
                let client = &mut self.clients[*client];
                if *confirm {
                    client.floor = client.next;
                }
                let stamp = Stamp {
                    session: SessionId(client.id),
                    request: RequestId(client.next),
                    floor: RequestId(client.floor),
                };
                client.next += 1;
                self.command(cmd, Some(stamp));
            }
            Step::Retry { client, which } => self.retry(*client, *which),
            Step::ExpireSession(client) => self.expire_session(*client),
            Step::Expire => self.expire(),
            Step::Clock(ms) => self.clock.advance(*ms),
            Step::ClockBack(ms) => self.clock.set(Millis(self.clock.now().0.saturating_sub(*ms))),
            Step::Send { replica, bytes_max } => self.send(*replica, *bytes_max),
            Step::Deliver { replica, which, twice, cut } => {
                self.deliver(*replica, *which, *twice, *cut);
            }
            Step::Ack { replica, late } => self.ack(*replica, *late),
            Step::Join(behind) if self.replicas.len() < 2 && self.whole => self.join(*behind),
            Step::Leave(replica) if *replica < self.replicas.len() => {
                self.replicas.remove(*replica);
                self.set_backups();
            }
            Step::Kill(heir) if *heir < self.replicas.len() => self.kill(*heir),
            Step::Join(_) | Step::Leave(_) | Step::Kill(_) => {}
        }
        self.check();
    }

    fn now(&self) -> u64 {
        self.primary.time().0.max(self.clock.now().0)
    }

    /// Bytes in the ring.
    fn held(&self) -> usize {
        match self.replicas.is_empty() {
            true => 0,
            false => self.archive.iter().skip(self.forgot as usize).map(Vec::len).sum(),
        }
    }

    fn command(&mut self, cmd: &Cmd, stamp: Option<Stamp>) {
        let from = match cmd {
            Cmd::Scan(m, ..) => self.scan_from(*m),
            _ => 0,
        };
        let present = cmd
            .key()
            .and_then(|(m, k)| self.model.maps[usize::from(m)].entries.get(&k))
            .map(|entry| entry.value.clone());
        let expected = match cmd {
            Cmd::ReplaceIfSame(_, _, Some(v), _) | Cmd::RemoveIfSame(_, _, Some(v)) => v.owned(),
            Cmd::ReplaceIfSame(_, _, None, _) | Cmd::RemoveIfSame(_, _, None) => {
                present.clone().unwrap_or_else(|| UNLIKELY.owned())
            }
            _ => nothing(),
        };
        let sent = cmd.send(present.as_ref(), from);
        self.run(cmd, stamp, &sent, &expected);
        if let Some(stamp) = stamp {
            let client = self.clients.iter_mut().find(|c| c.id == stamp.session.0).unwrap();
            client.sent.push(Sending { stamp, cmd: cmd.clone(), sent, expected });
            if client.sent.len() > 8 {
                client.sent.remove(0);
            }
        }
    }

    fn retry(&mut self, client: usize, which: usize) {
        let sent = &mut self.clients[client].sent;
        if sent.is_empty() {
            return;
        }
        let at = which % sent.len();
        let sending = sent.remove(at);
        self.run(&sending.cmd, Some(sending.stamp), &sending.sent, &sending.expected);
        self.clients[client].sent.insert(at, sending);
    }

    fn step_primary(&mut self, stamp: Option<Stamp>, sent: &Sent) -> (Outcome, Vec<u8>) {
        let op = Op::decode(sent.code as u8, &sent.body).unwrap();
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure: sent.structure, op, stamp, hash };
        let mut reply = b"before".to_vec();
        loop {
            let outcome = self.primary.step(&self.clock, &request, &mut reply);
            let answer = reply.strip_prefix(b"before").expect("the reply so far is left alone");
            match outcome {
                Outcome::Again => assert!(answer.is_empty()),
                Outcome::Refused(_) => {
                    assert!(answer.is_empty());
                    return (outcome, Vec::new());
                }
                Outcome::Answered(_) => return (outcome, answer.to_vec()),
            }
        }
    }

    /// What is known of a request: its answer, or that it is refused.
    fn known(&self, stamp: Option<Stamp>) -> Option<Result<(u64, Vec<u8>), Kind>> {
        let session = self.model.sessions.get(&stamp?.session.0)?;
        if stamp?.request.0 < session.floor {
            return Some(Err(Kind::Malformed));
        }
        if let Some(done) = session.done.get(&stamp?.request.0) {
            return Some(Ok(done.clone()));
        }
        let left = session.done.range(stamp?.floor.0..);
        let bytes: usize = left.map(|(_, (_, answer))| answer.len()).sum();
        (bytes > DEDUPE_BYTES_MAX).then_some(Err(Kind::Overloaded))
    }

    fn run(&mut self, cmd: &Cmd, stamp: Option<Stamp>, sent: &Sent, expected: &Owned) {
        if self.held() > RING_BYTES_MAX - (300 << 10) && (!cmd.writes() || cmd.key().is_none()) {
            self.catch_up(); // The model does not say which of several records found room.
        }
        let (now, last, held) = (self.now(), self.primary.last(), self.held());
        let before = self.primary.time().0;
        let known = self.known(stamp);
        let (outcome, answer) = self.step_primary(stamp, sent);
        let time = self.primary.time().0;
        // Alone, what does not depend on time does not ask for it.
        let silent = self.primary.last() == last || self.replicas.is_empty();
        assert!(time == now || silent && time == before, "a record at {time}, not {now}");
        if let Some(known) = known {
            assert_eq!(self.primary.last(), last, "a second effect");
            match (known, outcome) {
                (Ok((seq, remembered)), Outcome::Answered(gate)) => {
                    assert_eq!((gate.0, answer), (seq, remembered), "another answer to {cmd:?}");
                    self.answered(gate.0);
                }
                (Err(kind), Outcome::Refused(error)) => assert_eq!(kind, error.kind()),
                (known, outcome) => panic!("{cmd:?} {stamp:?}: {known:?} but {outcome:?}"),
            }
            return;
        }
        let (mut next, mut trail) = (self.model.clone(), Vec::new());
        let mut turn = Turn { now, stamp, touches: true, trail: &mut trail };
        let said = next.run(&mut turn, cmd, expected);
        let bytes_min = if next.seq > last.0 { sent.payload + 60 } else { 0 };
        match (said, outcome) {
            (_, Outcome::Refused(error)) if error.kind() == Kind::Overloaded => {
                let old =
                    cmd.key().and_then(|(m, k)| self.model.maps[usize::from(m)].entries.get(&k));
                let old = old.map_or(0, |entry| entry.value.1.len());
                let bytes_max = sent.payload + old + RECORD_BYTES * (sent.items + 1);
                let full = held > 0 && held + bytes_max > RING_BYTES_MAX;
                let session = stamp.and_then(|s| self.model.sessions.get(&s.session.0));
                let kept: usize =
                    session.map_or(0, |s| s.done.values().map(|(_, a)| a.len() + 100).sum());
                assert!(full || kept > DEDUPE_BYTES_MAX, "{cmd:?} refused with {held} bytes held");
                self.refused(cmd, now);
                return;
            }
            (Said::Refused(kind), Outcome::Refused(error)) => assert_eq!(kind, error.kind()),
            (Said::Answer(says, needs), Outcome::Answered(gate)) => {
                assert!(says == answer, "{cmd:?} answered {answer:02x?}, not {says:02x?}");
                assert!(
                    held == 0 || held + bytes_min <= RING_BYTES_MAX,
                    "{cmd:?} was taken with {held} bytes held"
                );
                self.gate(cmd, gate.0, needs);
            }
            (Said::Page(needs), Outcome::Answered(gate)) => {
                let Cmd::Scan(m, entries_max, part) = *cmd else { unreachable!() };
                self.gate(cmd, gate.0, needs);
                self.page(&next, m, entries_max.max(1), part, &answer);
            }
            (said, outcome) => panic!("{cmd:?}: {said:?} but {outcome:?}"),
        }
        self.model = next;
        self.trail(trail);
    }

    /// Adopts what a refused command may have done: log the end of its key.
    fn refused(&mut self, cmd: &Cmd, now: u64) {
        if self.primary.last().0 == self.model.seq {
            return;
        }
        let (m, k) = cmd.key().expect("nothing but the end of an entry is logged");
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, touches: false, trail: &mut trail };
        self.model.run(&mut turn, &Cmd::Contains(m, k), &nothing());
        self.trail(trail);
    }

    fn trail(&mut self, trail: Vec<Model>) {
        self.states.extend(trail.into_iter().map(|state| (state.seq, state)));
        assert_eq!(self.primary.last().0, self.model.seq, "records logged");
        let (mut scans, maps) = (std::mem::take(&mut self.scans), &self.model.maps);
        for (scan, map) in scans.iter_mut().zip(maps) {
            if let Some(scan) = scan {
                scan.always.retain(|k| map.entries.contains_key(k));
            }
        }
        self.scans = scans;
    }

    fn gate(&mut self, cmd: &Cmd, gate: u64, needs: u64) {
        assert!(gate >= needs || needs <= self.committed, "{cmd:?}: gate {gate}, needs {needs}");
        assert!(gate <= self.primary.last().0);
        self.answered(gate);
    }

    fn answered(&mut self, gate: u64) {
        self.waiting.push(gate);
        self.release();
    }

    fn release(&mut self) {
        let committed = self.primary.committed().0;
        for gate in self.waiting.extract_if(.., |gate| *gate <= committed) {
            self.released = self.released.max(gate);
        }
    }

    fn scan_from(&mut self, m: u8) -> u64 {
        let scan = &mut self.scans[usize::from(m)];
        if scan.is_none() {
            let always = self.model.maps[usize::from(m)].entries.keys().copied().collect();
            *scan = Some(Scan { always, ..Scan::default() });
        }
        scan.as_ref().unwrap().from
    }

    /// Checks a page against the model: the next entries in order, whole hashes, as many as asked for.
    fn page(&mut self, model: &Model, m: u8, entries_max: u32, part: Part, answer: &[u8]) {
        let mut scan = self.scans[usize::from(m)].take().unwrap();
        let (done, count) = (answer[0] != 0, u32::from_le_bytes(answer[9..13].try_into().unwrap()));
        let next = u64::from_le_bytes(answer[1..9].try_into().unwrap());
        let order = model.in_order(m, scan.from);
        let (page, rest) = order.split_at(count as usize);
        let bytes: Vec<u8> = page.iter().flat_map(|(_, k)| model.page_entry(m, *k, part)).collect();
        assert!(bytes == answer[13..], "a page of map {m} from {}", scan.from);
        for (_, k) in page {
            assert!(scan.seen.insert(*k), "key {k} came twice");
        }
        if done {
            assert!(rest.is_empty(), "the scan ends before {rest:?}");
            let there = &model.maps[usize::from(m)].entries;
            scan.always.retain(|k| there.contains_key(k));
            assert!(scan.always.is_subset(&scan.seen), "{:?} not in {:?}", scan.always, scan.seen);
            return;
        }
        assert!(count >= entries_max || bytes.len() >= 1 << 20, "a short page of {count}");
        let last = page.last().expect("a page that is not the last has entries").0;
        assert!(last < next && rest.first().is_none_or(|(hash, _)| next <= *hash));
        // It ends at the first hash at which it is full.
        let before_last = page.iter().filter(|(hash, _)| *hash < last).count();
        assert!((before_last as u32) < entries_max, "a page of {count} for {entries_max}");
        scan.from = next;
        self.scans[usize::from(m)] = Some(scan);
    }

    fn expire(&mut self) {
        self.catch_up();
        let now = self.now();
        while self.primary.expire(&self.clock) {}
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, touches: true, trail: &mut trail };
        (0..MAPS).for_each(|m| self.model.expire(&mut turn, m));
        self.trail(trail);
    }

    fn expire_session(&mut self, client: usize) {
        self.catch_up();
        let (now, id) = (self.now(), self.clients[client].id);
        self.primary.expire_session(&self.clock, SessionId(id)).unwrap();
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, touches: true, trail: &mut trail };
        self.model.expire_session(&mut turn, id);
        self.trail(trail);
        self.new_session(client);
    }

    fn set_backups(&mut self) {
        let backups: Vec<_> = self.replicas.iter().map(|r| (r.id, Seq(r.acked))).collect();
        self.primary.set_backups(&backups);
        self.advance();
    }

    /// What must be committed and forgotten by now.
    fn advance(&mut self) {
        let last = self.primary.last().0;
        let acked = self.replicas.iter().map(|r| r.acked).min().unwrap_or(last);
        self.committed = self.committed.max(acked);
        self.forgot = self.forgot.max(acked);
    }

    fn send(&mut self, replica: usize, bytes_max: usize) {
        let committed = self.primary.committed().0;
        let Some(replica) = self.replicas.get_mut(replica) else { return };
        let records = self.primary.records_after(Seq(replica.cursor), bytes_max);
        let (bytes, last) = records.unwrap_or_else(|| {
            panic!(
                "no records after {} (acknowledged {}) of {}",
                replica.cursor,
                replica.acked,
                self.primary.last()
            )
        });
        replica.packets.push((bytes.to_vec(), committed));
        replica.cursor = last.0;
        if replica.packets.len() > 3 {
            replica.packets.remove(0); // lost on the way
            replica.cursor = replica.acked;
        }
    }

    fn deliver(&mut self, replica: usize, which: usize, twice: bool, cut: Option<usize>) {
        let Some(to) = self.replicas.get_mut(replica) else { return };
        if to.packets.is_empty() {
            to.cursor = to.partition.last().0;
            return;
        }
        let at = which % to.packets.len();
        let (mut bytes, committed) = match twice {
            true => to.packets[at].clone(),
            false => to.packets.remove(at),
        };
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let mut expected = Ok(to.partition.last().0);
        let mut rest = &bytes[..];
        while let (Ok(last), false) = (expected, rest.is_empty()) {
            let Ok(Some((frame, used))) = split_frame(rest, usize::MAX) else {
                expected = Err((last, Kind::Malformed));
                break;
            };
            rest = &rest[used..];
            let seq = u64::from_le_bytes(frame[8..16].try_into().unwrap());
            expected = match seq {
                seq if seq > last + 1 => Err((last, Kind::Lost)),
                seq => Ok(last.max(seq)),
            };
        }
        let result = to.partition.replicate(&bytes, Seq(committed));
        let last = match (expected, result) {
            (Ok(expected), Ok(got)) if expected == got.0 => got.0,
            (Err((last, kind)), Err(error)) if kind == error.kind() => last,
            (expected, got) => panic!("{expected:?} but {got:?}"),
        };
        assert_eq!(to.partition.last().0, last);
        assert!(to.partition.committed().0 <= self.committed);
        if let Some(digest) = self.digests.get(&last) {
            assert_eq!(to.partition.digest(), *digest, "replicas differ at {last}");
        }
        if expected.is_err() {
            (to.cursor, to.packets) = (to.acked, Vec::new());
        }
    }

    fn ack(&mut self, replica: usize, late: u64) {
        let Some(from) = self.replicas.get_mut(replica) else { return };
        let seq = from.partition.last().0.saturating_sub(late);
        from.acked = from.acked.max(seq);
        from.cursor = from.cursor.max(from.acked);
        let before = self.primary.committed();
        let advanced = self.primary.acknowledge(from.id, Seq(seq));
        assert_eq!(advanced, self.primary.committed() > before);
        assert!(!self.primary.acknowledge(MemberId(999), Seq(seq + 1)), "nobody we know");
        assert!(!self.primary.acknowledge(self.replicas[replica].id, Seq(u64::MAX)));
        self.advance();
    }

    /// Everything delivered and acknowledged.
    pub(crate) fn catch_up(&mut self) {
        for at in 0..self.replicas.len() {
            let replica = &mut self.replicas[at];
            (replica.cursor, replica.packets) = (replica.partition.last().0, Vec::new());
            self.send(at, usize::MAX);
            self.deliver(at, 0, false, None);
            self.ack(at, 0);
        }
        self.check();
    }

    /// A new backup that has everything but the last records, as far as the ring holds them.
    fn join(&mut self, behind: u64) {
        self.members += 1;
        let mut partition = partition(env(u64::MAX, 64 << 20));
        partition.set_subscribers(TOPIC, 0).unwrap();
        let last = self.primary.last().0;
        let has = match self.replicas.is_empty() {
            true => last,
            false => last.saturating_sub(behind).max(self.forgot),
        };
        let bytes = self.archive[..has as usize].concat();
        assert_eq!(partition.replicate(&bytes, Seq(0)), Ok(Seq(has)));
        let id = MemberId(self.members);
        self.replicas.push(Replica { id, partition, packets: Vec::new(), cursor: has, acked: has });
        self.set_backups();
    }

    /// The primary is gone; a backup takes over, after it has got from the other what it lacks.
    fn kill(&mut self, heir: usize) {
        for replica in &self.replicas {
            let has = replica.partition.last().0;
            assert!(has >= self.released, "{} was released, a backup has {has}", self.released);
        }
        let mut heir = self.replicas.remove(heir);
        for other in &mut self.replicas {
            let had = heir.partition.last();
            if other.partition.last() > had {
                let records = other.partition.records_after(had, usize::MAX);
                let (bytes, last) = records.expect("a backup keeps what may not be committed");
                assert_eq!(heir.partition.replicate(bytes, Seq(0)), Ok(last));
            }
            other.packets.clear();
            other.acked = other.partition.last().0;
            other.cursor = other.acked;
        }
        self.primary = heir.partition;
        let last = self.primary.last().0;
        let known = self.primary.committed().0;
        assert!(known <= self.committed, "a backup takes for committed what was not");
        (self.committed, self.forgot) = (known, known);
        self.set_backups();
        self.primary.set_subscribers(TOPIC, 1).unwrap();
        self.model = self.states[&last].clone();
        self.model.published.clear();
        self.archive.truncate(last as usize);
        self.digests.split_off(&(last + 1));
        self.states.split_off(&(last + 1));
        self.waiting.clear();
        self.trail(Vec::new());
    }

    fn check(&mut self) {
        self.release();
        let last = self.primary.last();
        self.pull();
        self.advance();
        assert_eq!(self.primary.committed().0, self.committed);
        self.release();
        let digest = self.primary.digest();
        assert_eq!(*self.digests.entry(last.0).or_insert(digest), digest, "state without a record");
        for m in 0..MAPS {
            let entries = self.model.maps[usize::from(m)].entries.len();
            assert_eq!(self.primary.usage(super::commands::map(m)).unwrap().0, entries);
        }
        while let Some(item) = self.primary.next_published() {
            let (seq, (tag, payload)) = self.model.published.pop_front().expect("published once");
            assert!(seq <= self.committed, "delivered before it is committed");
            assert_eq!((item.seq.0, item.tag.0, &*item.payload), (seq, tag, &*payload));
        }
        let next = self.model.published.front();
        assert!(next.is_none_or(|(seq, _)| *seq > self.committed), "not delivered: {next:?}");
    }

    /// Takes new records into the archive: dense, and none lost from the ring too early or kept too long.
    fn pull(&mut self) {
        let last = self.primary.last().0;
        if self.replicas.is_empty() {
            self.whole &= self.archive.len() as u64 == last;
            return;
        }
        let have = self.archive.len() as u64;
        let (mut bytes, to) =
            self.primary.records_after(Seq(have), usize::MAX).expect("new records");
        assert_eq!(to.0, last);
        while let Some((frame, used)) = split_frame(bytes, usize::MAX).unwrap() {
            let seq = u64::from_le_bytes(frame[8..16].try_into().unwrap());
            self.archive.push(bytes[..used].to_vec());
            assert_eq!(seq, self.archive.len() as u64, "numbers are dense");
            bytes = &bytes[used..];
        }
        let kept = self.primary.records_after(Seq(self.forgot), 0).expect("not acknowledged yet");
        assert_eq!(kept.1.0, last.min(self.forgot + 1));
        let gone =
            self.forgot.checked_sub(1).and_then(|gone| self.primary.records_after(Seq(gone), 0));
        assert_eq!(gone, None, "acknowledged records are kept");
        assert_eq!(self.primary.records_after(Seq(u64::MAX), 1), None);
    }

    /// Asks for every key once more.
    pub(crate) fn read_all(&mut self) {
        for m in 0..MAPS {
            for k in super::plain::all_keys() {
                self.step(&Step::Do(Cmd::View(m, k)));
            }
            self.scans[usize::from(m)] = None;
            while {
                self.step(&Step::Do(Cmd::Scan(m, 3, Part::Entries)));
                self.scans[usize::from(m)].is_some()
            } {}
        }
    }
}
