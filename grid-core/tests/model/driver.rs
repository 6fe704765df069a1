//! Drives a partition and its backups beside the model, and checks after every step what must hold.

use super::cluster::Replica;
use super::commands::{Cmd, MAPS, Owned, SEED, Sent, UNLIKELY, cmd, env, life, partition, val};
use super::learner::Learner;
use super::plain::{Model, Said, Turn, nothing};
use grid_core::Kind;
use grid_core::ids::{Index, Millis, RequestId, SessionId};
use grid_core::limits::{DEDUPE_BYTES_MAX, RING_BYTES_MAX};
use grid_core::op::{Op, Part};
use grid_core::partition::{Outcome, Partition, Request, Stamp};
use grid_core::store::hash64;
use grid_core::time::{Clock, ManualClock};
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
        /// An earlier sending of it may come later.
        again: bool,
    },
    /// The same request once more: a late duplicate, or what is sent after a failover.
    Retry {
        client: usize,
        which: usize,
        again: bool,
    },
    Barrier,
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
    /// The primary hands over to a backup, and is its backup then.
    Transfer(usize),
    /// Commits are held, or not any more.
    Hold(bool),
    /// A learner reads the ring from so many records before the last; or none does.
    Retain(Option<u64>),
    /// Sends the next piece of a copy, with what it needs.
    Copy {
        bytes_max: usize,
    },
    CopyDeliver {
        twice: bool,
    },
    CopyRestart,
    /// The copy becomes a backup.
    Require,
}

pub(crate) fn alone() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => cmd().prop_map(Step::Do),
        6 => (0..3usize, cmd(), any::<bool>(), proptest::bool::weighted(0.3)).prop_map(
            |(client, cmd, confirm, again)| Step::Stamped { client, cmd, confirm, again }
        ),
        3 => (0..3usize, 0..8usize, any::<bool>())
            .prop_map(|(client, which, again)| Step::Retry { client, which, again }),
        1 => Just(Step::Barrier),
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
        2 => (0..2usize).prop_map(Step::Transfer),
        2 => proptest::bool::weighted(0.3).prop_map(Step::Hold),
        2 => proptest::option::weighted(0.8, 0..10u64).prop_map(Step::Retain),
    ]
}

/// With a learner that is copied.
pub(crate) fn copied() -> impl Strategy<Value = Step> {
    let bytes_max = prop_oneof![
        6 => Just(0usize),
        6 => 50..500usize,
        2 => 500..20_000usize,
        1 => Just(usize::MAX)
    ];
    let all = (0..MAPS, val(), life()).prop_map(|(m, v, life)| {
        Step::Do(Cmd::PutAll(m, super::plain::all_keys().map(|k| (k, v)).collect(), life))
    });
    prop_oneof![
        20 => replicated(),
        40 => alone(),
        2 => all,
        40 => bytes_max.prop_map(|bytes_max| Step::Copy { bytes_max }),
        40 => proptest::bool::weighted(0.1).prop_map(|twice| Step::CopyDeliver { twice }),
        1 => Just(Step::CopyRestart),
        8 => Just(Step::Require),
        1 => (0..2usize).prop_map(Step::Kill),
    ]
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
    pub(super) clock: ManualClock,
    pub(crate) primary: Partition,
    pub(crate) model: Model,
    pub(super) replicas: Vec<Replica>,
    pub(super) learner: Option<Learner>,
    pub(super) members: u64,
    pub(super) term: u64,
    pub(super) held: bool,
    /// What the learner has.
    pub(super) retained: Option<u64>,
    sessions: u64,
    /// Every record after `base`, while somebody needs records.
    pub(super) archive: Vec<Vec<u8>>,
    pub(super) base: u64,
    pub(super) digests: BTreeMap<u64, u64>,
    pub(super) states: BTreeMap<u64, Model>,
    pub(super) committed: u64,
    /// Required members need the records after this.
    pub(super) needed: u64,
    /// The ring holds what follows this.
    pub(super) ring_from: u64,
    pub(super) released: u64,
    pub(super) waiting: Vec<u64>,
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
            learner: None,
            members: 0,
            term: 1,
            held: false,
            retained: None,
            sessions: 0,
            archive: Vec::new(),
            base: 0,
            digests: BTreeMap::new(),
            states: BTreeMap::from([(0, Model::new())]),
            committed: 0,
            needed: 0,
            ring_from: 0,
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
                self.command(cmd, None, false);
                there.into_iter().for_each(|k| self.command(&Cmd::Contains(*m, k), None, false));
            }
            Step::Do(cmd) => self.command(cmd, None, true),
            Step::Stamped { cmd: Cmd::Scan(..), .. } => {}
            Step::Stamped { client, cmd, confirm, again } => {
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
                self.command(cmd, Some(stamp), *again);
            }
            Step::Retry { client, which, again } => self.retry(*client, *which, *again),
            Step::Barrier => self.barrier(),
            Step::ExpireSession(client) => self.expire_session(*client),
            Step::Expire => self.expire(),
            Step::Clock(ms) => self.clock.advance(*ms),
            Step::ClockBack(ms) => self.clock.set(Millis(self.clock.now().0.saturating_sub(*ms))),
            Step::Send { replica, bytes_max } => self.send(*replica, *bytes_max),
            Step::Deliver { replica, which, twice, cut } => {
                self.deliver(*replica, *which, *twice, *cut);
            }
            Step::Ack { replica, late } => self.ack(*replica, *late),
            Step::Join(behind) if self.replicas.len() < 2 && self.is_whole() => self.join(*behind),
            Step::Leave(replica) if *replica < self.replicas.len() => {
                self.replicas.remove(*replica);
                self.lead();
            }
            Step::Kill(heir) if *heir < self.replicas.len() => self.kill(*heir),
            Step::Transfer(heir) if *heir < self.replicas.len() => self.transfer(*heir),
            Step::Join(_) | Step::Leave(_) | Step::Kill(_) | Step::Transfer(_) => {}
            Step::Hold(held) => self.hold(*held),
            Step::Retain(behind) => self.retain(*behind),
            Step::Copy { bytes_max } => self.copy(*bytes_max),
            Step::CopyDeliver { twice } => self.copy_deliver(*twice),
            Step::CopyRestart => self.copy_restart(),
            Step::Require => self.require(),
        }
        self.check();
    }

    fn now(&self) -> u64 {
        self.primary.time().0.max(self.clock.now().0)
    }

    fn command(&mut self, cmd: &Cmd, stamp: Option<Stamp>, again: bool) {
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
        self.run(cmd, (stamp, again), &sent, &expected);
        if let Some(stamp) = stamp {
            let client = self.clients.iter_mut().find(|c| c.id == stamp.session.0).unwrap();
            client.sent.push(Sending { stamp, cmd: cmd.clone(), sent, expected });
            if client.sent.len() > 8 {
                client.sent.remove(0);
            }
        }
    }

    fn retry(&mut self, client: usize, which: usize, again: bool) {
        let sent = &mut self.clients[client].sent;
        if sent.is_empty() {
            return;
        }
        let at = which % sent.len();
        let sending = sent.remove(at);
        self.run(&sending.cmd, (Some(sending.stamp), again), &sending.sent, &sending.expected);
        self.clients[client].sent.insert(at, sending);
    }

    fn step_primary(
        &mut self,
        (stamp, again): (Option<Stamp>, bool),
        sent: &Sent,
    ) -> (Outcome, Vec<u8>) {
        let op = Op::decode(sent.code as u8, &sent.body).unwrap();
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure: sent.structure, op, stamp, hash, again };
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

    fn run(
        &mut self,
        cmd: &Cmd,
        (stamp, again): (Option<Stamp>, bool),
        sent: &Sent,
        expected: &Owned,
    ) {
        if self.ring_bytes() > RING_BYTES_MAX - (300 << 10)
            && (!cmd.writes() || cmd.key().is_none())
        {
            self.catch_up(); // The model does not say which of several records found room.
        }
        let (now, last, held) = (self.now(), self.primary.last(), self.ring_bytes());
        let before = self.primary.time().0;
        let known = self.known(stamp);
        let (outcome, answer) = self.step_primary((stamp, again), sent);
        let time = self.primary.time().0;
        // Alone, what does not depend on time does not ask for it.
        let silent = self.primary.last() == last || !self.is_kept();
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
        let mut turn = Turn { now, stamp, again, touches: true, trail: &mut trail };
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
        let mut turn = Turn { now, stamp: None, again: false, touches: false, trail: &mut trail };
        self.model.run(&mut turn, &Cmd::Contains(m, k), &nothing());
        self.trail(trail);
    }

    pub(super) fn trail(&mut self, trail: Vec<Model>) {
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

    fn barrier(&mut self) {
        let (now, last, held) = (self.now(), self.primary.last(), self.ring_bytes());
        let barrier = self.primary.barrier(&self.clock);
        if self.replicas.is_empty() && !self.held {
            assert_eq!(barrier, Ok(last));
            return self.answered(last.0);
        }
        let Ok(barrier) = barrier else {
            assert_eq!(barrier.unwrap_err().kind(), Kind::Overloaded);
            assert!(held + RECORD_BYTES > RING_BYTES_MAX);
            return;
        };
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, again: false, touches: true, trail: &mut trail };
        self.model.barrier(&mut turn);
        assert_eq!((barrier.0, self.primary.time().0), (self.model.seq, now));
        self.trail(trail);
        self.answered(barrier.0);
    }

    fn expire(&mut self) {
        self.catch_up();
        let now = self.now();
        while self.primary.expire(&self.clock) {}
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, again: false, touches: true, trail: &mut trail };
        (0..MAPS).for_each(|m| self.model.expire(&mut turn, m));
        self.trail(trail);
    }

    fn expire_session(&mut self, client: usize) {
        self.catch_up();
        let (now, id) = (self.now(), self.clients[client].id);
        // Positions in the control log need not come in order.
        let index = id * 10 % 37;
        self.primary.expire_session(&self.clock, SessionId(id), Index(index)).unwrap();
        let mut trail = Vec::new();
        let mut turn = Turn { now, stamp: None, again: false, touches: true, trail: &mut trail };
        self.model.expire_session(&mut turn, id, index);
        self.trail(trail);
        self.new_session(client);
    }

    pub(super) fn check(&mut self) {
        self.release();
        let last = self.primary.last();
        self.pull();
        self.advance();
        self.check_ring();
        assert_eq!(self.primary.committed().0, self.committed);
        self.release();
        assert!(self.primary.sessions().map(|id| id.0).eq(self.model.sessions.keys().copied()));
        assert_eq!(self.primary.expired_index().0, self.model.expired);
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
