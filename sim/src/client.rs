//! Clients: one request at a time each, sent again until it is answered, given up, or its session ends.

use crate::event::{Ask, Event, Message, No, Request, Values, Who};
use crate::history::{History, Record};
use crate::member::KEYS;
use crate::plan::{MS, US};
use crate::rng::Rng;
use crate::world::World;
use grid_core::ids::{MemberId, PartitionId, RequestId, SessionId, Term};
use grid_core::mutant::{self, Mutant};
use grid_core::partitioning::{partition_hash, partition_of, partition_of_name};
use std::collections::BTreeMap;

/// Operations on one partition that a checker takes in one piece.
pub(crate) const HISTORY_MAX: usize = 110;
/// And on the queue, which is harder.
const QUEUE_HISTORY_MAX: usize = 64;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Client {
    session: SessionId,
    newest: SessionId,
    requests: u64,
    open: Option<Open>,
    epoch: u64,
    target: MemberId,
    hints: BTreeMap<PartitionId, MemberId>,
    seen: BTreeMap<(PartitionId, u8), u64>,
    pub(crate) todo: Vec<(PartitionId, Ask)>,
    pace: u64,
}

#[derive(Debug)]
struct Open {
    request: Request,
    record: usize,
    deadline: u64,
}

impl Client {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Client {
            session: SessionId(0),
            newest: SessionId(0),
            requests: 0,
            open: None,
            epoch: 0,
            target: MemberId(0),
            hints: BTreeMap::new(),
            seen: BTreeMap::new(),
            todo: Vec::new(),
            pace: rng.range(1, 6) * MS,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.todo.is_empty()
    }
}

/// Keys that lie in each partition.
pub(crate) fn keys(partitions: u16) -> Vec<[u64; KEYS as usize]> {
    let mut keys = vec![[0; KEYS as usize]; usize::from(partitions)];
    let mut missing = keys.len() * usize::from(KEYS);
    let mut key = 0u64;
    while missing > 0 {
        key += 1;
        let at = partition_of(partition_hash(&key.to_be_bytes()), partitions);
        if let Some(free) = keys[usize::from(at.0)].iter_mut().find(|key| **key == 0) {
            *free = key;
            missing -= 1;
        }
    }
    keys
}

impl World {
    pub(crate) fn client_receives(&mut self, at: usize, message: &Message) {
        match message {
            Message::Opened(session) => {
                let session = *session;
                let client = &mut self.clients[at];
                if client.session == SessionId(0) && session > client.newest {
                    (client.session, client.newest, client.requests) = (session, session, 0);
                    let epoch = client.epoch;
                    self.at(self.now + US, Event::Client(at, epoch));
                } else if client.session != session {
                    self.after(MS, 30 * MS, Event::Expire(session));
                }
            }
            Message::Answer(request, answer) => {
                let open = self.clients[at].open.as_ref();
                // One attempt may have changed nothing and a later one may have taken effect: only the
                // answer to the last one counts.
                let any = mutant::is(Mutant::AnswerOfOtherAttempt);
                let same = |open: &Open| {
                    open.request.session == request.session
                        && open.request.request == request.request
                        && (open.request.attempt == request.attempt + 1 || any)
                };
                if open.is_some_and(same) {
                    self.answered(at, request, *answer);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, at: usize, request: &Request, answer: Result<(Term, Values), No>) {
        match answer {
            Ok((term, values)) => {
                let client = &mut self.clients[at];
                if let Ask::Get(key) | Ask::Confirm(key) = request.ask {
                    client.seen.insert((request.partition, key), values[0]);
                }
                self.finish(at, Some((term, values)));
                if self.rng.chance(40) && !self.healing {
                    self.quit(at);
                }
                let client = &self.clients[at];
                let (epoch, pace) = (client.epoch, client.pace);
                self.after(200 * US, pace, Event::Client(at, epoch));
            }
            Err(No::Expired) => {
                self.counts.expired += 1;
                // No two operations write the same value.
                let ask = request.ask.with_value(self.next_value);
                self.next_value += 1;
                let again = (self.healing).then_some((request.partition, ask));
                self.finish(at, None);
                let client = &mut self.clients[at];
                client.session = SessionId(0);
                client.todo.extend(again);
                let epoch = client.epoch;
                self.after(500 * US, 3 * MS, Event::Client(at, epoch));
            }
            Err(No::Elsewhere | No::Lost) => {
                // It finds out who serves now, more or less.
                let primary = self.head.record(request.partition).map(|record| record.primary);
                let client = &mut self.clients[at];
                client.hints.extend(primary.map(|primary| (request.partition, primary)));
                client.epoch += 1;
                let epoch = client.epoch;
                self.after(MS, 10 * MS, Event::Client(at, epoch));
            }
        }
    }

    /// Ends the open request: with its answer, or nobody knows how.
    fn finish(&mut self, at: usize, answer: Option<(Term, Values)>) {
        let client = &mut self.clients[at];
        client.epoch += 1;
        let Some(open) = client.open.take() else { return };
        if let Some((term, values)) = answer {
            let now = self.now;
            let history = self.history(open.request.partition, open.request.ask);
            let record = &mut history.records[open.record];
            (record.answer, record.term) = (Some((now, values)), term);
        }
    }

    /// Lets a client ask something, as soon as it can.
    pub fn ask(&mut self, at: usize, partition: PartitionId, ask: Ask) {
        self.clients[at].todo.insert(0, (partition, ask));
        self.wake_client(at);
    }

    /// The first answer to something that was asked of the map in a partition.
    #[must_use]
    pub fn answer(&self, partition: PartitionId, ask: Ask) -> Option<Values> {
        let asked = self.histories.maps[usize::from(partition.0)].records.iter();
        asked.filter(|record| record.ask == ask).find_map(|record| record.answer).map(|(_, v)| v)
    }

    /// Makes a client go on at once.
    pub(crate) fn wake_client(&mut self, at: usize) {
        let epoch = self.clients[at].epoch;
        self.at(self.now + US, Event::Client(at, epoch));
    }

    fn history(&mut self, partition: PartitionId, ask: Ask) -> &mut History {
        if ask.queues() {
            &mut self.histories.queue
        } else if ask.is_quick() {
            &mut self.histories.quick[usize::from(partition.0)]
        } else {
            &mut self.histories.maps[usize::from(partition.0)]
        }
    }

    /// Leaves the session; it will be ended soon.
    fn quit(&mut self, at: usize) {
        let session = std::mem::take(&mut self.clients[at].session);
        if session != SessionId(0) {
            self.after(500 * US, 60 * MS, Event::Expire(session));
        }
    }

    fn choose(&mut self, at: usize) -> Option<(PartitionId, Ask)> {
        if let Some(next) = self.clients[at].todo.pop() {
            return Some(next);
        }
        if self.started >= self.plan.ops || self.healing {
            return None;
        }
        let partitions = self.plan.config.partitions;
        let value = self.next_value;
        self.next_value += 1;
        if self.rng.chance(80) && self.histories.queue.records.len() < QUEUE_HISTORY_MAX {
            let queue = partition_of_name(crate::member::QUEUE_NAME, partitions);
            let ask = if self.rng.chance(550) { Ask::Offer(value) } else { Ask::Poll };
            return Some((queue, ask));
        }
        if self.rng.chance(80) {
            let at = self.rng.below(3);
            if self.histories.quick[at].records.len() < QUEUE_HISTORY_MAX {
                let key = self.rng.below(2) as u8;
                let put = self.rng.chance(600);
                let ask = if put { Ask::QuickPut(key, value) } else { Ask::QuickGet(key) };
                return Some((PartitionId(at as u16), ask));
            }
        }
        let mut partition = match self.rng.range(0, 99) {
            0..=11 => 0,
            12..=21 => 1,
            _ => self.rng.below(usize::from(partitions.min(12))) as u16,
        };
        while self.histories.maps[usize::from(partition)].records.len() >= HISTORY_MAX {
            partition = self.rng.below(usize::from(partitions)) as u16;
        }
        let partition = PartitionId(partition);
        let key = [0, 0, 0, 1, 1, 2][self.rng.below(6)];
        let seen = self.clients[at].seen.get(&(partition, key)).copied().unwrap_or(0);
        let readers = if at % 5 >= 3 { 25 } else { 0 };
        let ask = match self.rng.range(0, 99).saturating_sub(readers) {
            0..=5 => Ask::Stale(key, [10, 25, 60][self.rng.below(3)]),
            6..=29 => Ask::Get(key),
            30..=33 => Ask::Confirm(key),
            34..=37 => Ask::Scan,
            38..=40 => Ask::Size,
            41..=64 => Ask::Put(key, value),
            65..=76 if seen != 0 => Ask::Cas(key, seen, value),
            65..=82 => Ask::PutIfAbsent(key, value),
            _ => Ask::Remove(key),
        };
        Some((partition, ask))
    }

    pub(crate) fn client(&mut self, at: usize, epoch: u64) {
        if self.clients[at].epoch != epoch {
            return;
        }
        if self.clients[at].session == SessionId(0) {
            self.clients[at].epoch += 1;
            let epoch = self.clients[at].epoch;
            self.send(Who::Client(at), Who::Log, Message::Open);
            return self.after(5 * MS, 20 * MS, Event::Client(at, epoch));
        }
        let now = self.now;
        if let Some(open) = &self.clients[at].open {
            if now > open.deadline {
                // Given up; half of the time the session goes on with the next request.
                self.finish(at, None);
                if self.rng.chance(500) {
                    self.quit(at);
                }
                let epoch = self.clients[at].epoch;
                return self.at(now + 500 * US, Event::Client(at, epoch));
            }
        } else {
            let Some((partition, ask)) = self.choose(at) else { return };
            self.started += 1;
            let history = self.history(partition, ask);
            history.records.push(Record { ask, from: now, term: Term(0), answer: None });
            let record = history.records.len() - 1;
            let patience = if self.healing { 3_000 * MS } else { self.rng.range(50, 200) * MS };
            let known = self.slots[0];
            let client = &mut self.clients[at];
            client.requests += 1;
            let number = RequestId(client.requests);
            let request = Request {
                client: at,
                session: client.session,
                request: number,
                floor: number,
                attempt: 0,
                partition,
                ask,
            };
            client.open = Some(Open { request, record, deadline: now + patience });
            client.target = client.hints.get(&partition).copied().unwrap_or(known);
        }
        let any = self.rng.below(self.slots.len());
        let any = self.slots[any];
        let wander = self.rng.chance(300);
        let client = &mut self.clients[at];
        let Some(open) = &mut client.open else { return };
        let request = open.request;
        open.request.attempt += 1;
        if request.attempt > 0 {
            client.target = client.hints.get(&request.partition).copied().unwrap_or(any);
        }
        // It reaches those too who serve no more, or think that they still do.
        let backup = matches!(request.ask, Ask::Stale(..)) && request.attempt % 4 != 3;
        if backup || request.attempt % 3 == 2 || (wander && at % 5 >= 2 && request.ask.reads()) {
            client.target = any;
        }
        client.epoch += 1;
        let (target, epoch) = (client.target, client.epoch);
        if self.members.contains_key(&target) {
            self.send(Who::Client(at), Who::Member(target), Message::Request(request));
        } else if self.clients[at].hints.get(&request.partition) == Some(&target) {
            self.clients[at].hints.remove(&request.partition);
        }
        self.after(6 * MS, 30 * MS, Event::Client(at, epoch));
    }
}
