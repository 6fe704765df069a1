//! A partition as a state machine: one door, [`Partition::step`], for every operation on the primary,
//! one, [`Partition::replicate`], for records from the primary, one, [`Partition::acknowledge`], for
//! acknowledgements of the backups. Who is what, [`Partition::lead`] and [`Partition::follow`] say. No
//! I/O, no clock, no lock inside; the shell owns all three.
//!
//! An operation on the primary is refused before it touches anything, or numbered, applied, appended
//! to the ring and remembered for retries, in that order and without a gap (`seq` is dense). Its
//! answer carries a *gate*: the `seq` of the state that it saw. The shell lets the answer go once
//! [`Partition::committed`] has reached the gate, so nobody sees what a failover could take back.
//!
//! A replica that lacks more than the ring holds becomes a full copy: [`Partition::copy_out`] there,
//! [`Partition::copy_in`] here, with the records of the meantime in between.

mod account;
mod copy;
mod copy_in;
mod copy_out;
mod dedupe;
mod effect;
mod log;
mod map;
mod map_ops;
mod queue;
mod record;
mod replicate;
mod ring;
mod role;
mod scan;
mod topic;
mod write;

pub use copy_out::CopyCursor;
pub use dedupe::Stamp;
pub use effect::{Effect, Lifespan, Why};
pub use map::value_of;
pub use topic::Published;

use crate::control::{Ack, StructureConfig};
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, Millis, PartitionId, Seq, SessionId, StructureId};
use crate::mutant::{self, Mutant};
use crate::op::Op;
use crate::store::{Ledger, Pool};
use crate::time::Clock;
use copy_in::Copying;
use dedupe::{Look, Sessions};
use log::Log;
use map::MapPart;
use map_ops::At;
use queue::QueuePart;
use std::sync::Arc;
use topic::TopicPart;

/// What the partitions of a member share.
#[derive(Clone, Debug)]
pub struct Env {
    /// Where entries live.
    pub pool: Arc<Pool>,
    /// Counts the bytes of all structures of the member against its budget.
    pub ledger: Arc<Ledger>,
    /// Seed of the hash that orders entries; one for the whole cluster.
    pub seed: u64,
}

/// An operation on the primary.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The structure that it is for.
    pub structure: StructureId,
    /// What to do.
    pub op: Op<'a>,
    /// Identity of the request; none if its sender never repeats it (a caller in this process).
    pub stamp: Option<Stamp>,
    /// [`crate::store::hash64`] of the key's payload, of operations on one key.
    pub hash: u64,
    /// It may have been sent before. The answer to a write is logged and remembered then, even if it has
    /// no effect, so that an earlier sending that arrives late has none either.
    pub again: bool,
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was appended to the reply; it may leave once this `seq` is committed.
    Answered(Seq),
    /// Nothing was applied for this request.
    Refused(Error),
    /// Expired entries had to be removed first, a bounded number at a time: call again.
    Again,
}

/// Why an operation stopped early.
#[derive(Debug)]
enum Stop {
    Refused(Error),
    Again,
}

impl From<Error> for Stop {
    #[cold]
    fn from(error: Error) -> Self {
        Stop::Refused(error)
    }
}

impl From<Stop> for Error {
    #[cold]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) => error,
            Stop::Again => Error::new(Kind::Overloaded),
        }
    }
}

type Step<T = Seq> = std::result::Result<T, Stop>;

/// The part of a structure that lives in one partition.
#[derive(Debug)]
enum Container {
    Map(Box<MapPart>),
    Queue(Box<QueuePart>),
    Topic(Box<TopicPart>),
}

/// What an operation works with besides the partition.
struct Turn<'t> {
    clock: &'t dyn Clock,
    reply: &'t mut Vec<u8>,
    /// Where the answer begins in `reply`.
    mark: usize,
    /// What the operation's own record is to carry, until that is written.
    stamp: Option<Stamp>,
}

impl Turn<'_> {
    fn answer(&self) -> &[u8] {
        self.reply.get(self.mark..).unwrap_or_default()
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    env: Env,
    log: Log,
    sessions: Sessions,
    containers: Vec<Option<Container>>,
    published: topic::Outbox,
    /// The structures that are answered before backups have what was done.
    early: Vec<StructureId>,
    /// Bytes that every backup has room for.
    room: u64,
    /// What there is of a copy that is not whole.
    copying: Option<Box<Copying>>,
    /// What this replica was copied at; nothing here is known to be older.
    copied: Seq,
}

impl Partition {
    /// An empty partition that serves as its own only replica, in term 1.
    #[must_use]
    pub fn new(id: PartitionId, env: Env) -> Self {
        Partition {
            id,
            log: Log::default(),
            sessions: Sessions::new(&env.ledger),
            env,
            containers: Vec::new(),
            published: topic::Outbox::default(),
            early: Vec::new(),
            room: u64::MAX,
            copying: None,
            copied: Seq(0),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// What it shares with the others.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Number of the last operation applied.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.log.seq
    }

    /// Number up to which every in-sync replica has acknowledged, as far as this replica knows.
    #[inline]
    #[must_use]
    pub fn committed(&self) -> Seq {
        self.log.committed
    }

    /// Partition time: of the last operation that needed it.
    #[must_use]
    pub fn time(&self) -> Millis {
        self.log.time
    }

    /// Makes a structure known, as agreed in the control log. Declaring it again changes nothing.
    pub fn declare(&mut self, id: StructureId, config: &StructureConfig) {
        let slot = id.0 as usize;
        if self.containers.len() <= slot {
            self.containers.resize_with(slot + 1, || None);
        }
        if config.ack() == Ack::Primary && !self.early.contains(&id) {
            self.early.push(id);
        }
        let Some(container) = self.containers.get_mut(slot) else { return };
        container.get_or_insert_with(|| match config {
            StructureConfig::Map(config) => {
                Container::Map(Box::new(MapPart::new(config, &self.env, self.copied)))
            }
            StructureConfig::Queue(config) => {
                Container::Queue(Box::new(QueuePart::new(config, &self.env, self.copied)))
            }
            StructureConfig::Topic => Container::Topic(Box::default()),
        });
    }

    /// Whether answers of the structure leave as soon as the primary has applied what they tell.
    #[inline]
    #[must_use]
    pub fn answers_early(&self, id: StructureId) -> bool {
        !self.early.is_empty() && self.early.contains(&id)
    }

    /// Whether the structure was declared here.
    #[inline]
    #[must_use]
    pub fn knows(&self, id: StructureId) -> bool {
        matches!(self.containers.get(id.0 as usize), Some(Some(_)))
    }

    /// Executes an operation. The answer is appended to `reply`; if the request was refused or has to
    /// be called again, `reply` is as before.
    #[inline]
    pub fn step(
        &mut self,
        clock: &dyn Clock,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let mark = reply.len();
        let mut turn = Turn { clock, reply, mark, stamp: None };
        match self.run(&mut turn, request) {
            Ok(gate) => Outcome::Answered(gate),
            Err(stop) => {
                reply.truncate(mark);
                match stop {
                    Stop::Refused(error) => Outcome::Refused(error),
                    Stop::Again => Outcome::Again,
                }
            }
        }
    }

    #[inline]
    fn run(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Step {
        // Session 0 is how records say that there is none.
        turn.stamp = request.stamp.filter(|stamp| stamp.session != SessionId(0));
        if let Some(stamp) = turn.stamp
            && let Some(gate) = self.answered_before(stamp, turn.reply)?
        {
            return Ok(gate);
        }
        if mutant::is(Mutant::NoReadGate) && !request.op.code().writes() {
            return self.execute(turn, request).map(|_| Seq(0));
        }
        if request.again { self.execute_again(turn, request) } else { self.execute(turn, request) }
    }

    #[cold]
    fn execute_again(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Step {
        let gate = self.execute(turn, request)?;
        if turn.stamp.is_none() || !request.op.code().writes() {
            return Ok(gate);
        }
        self.write_nothing(turn)
    }

    #[inline]
    fn execute(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Step {
        let (s, hash) = (request.structure, request.hash);
        let at = |key| At { s, hash, key };
        match request.op {
            Op::MapGet(key) => self.map_get(turn, at(key)),
            Op::MapContains(key) => self.map_contains(turn, at(key)),
            Op::MapView(key) => self.map_view(turn, at(key)),
            Op::MapPut(key, value, life) => self.map_put(turn, at(key), value, life),
            Op::MapSet(key, value, life) => self.map_set(turn, at(key), value, life),
            Op::MapPutIfAbsent(key, value, life) => {
                self.map_put_if_absent(turn, at(key), value, life)
            }
            Op::MapReplace(key, value) => self.map_replace(turn, at(key), value),
            Op::MapReplaceIfSame(key, expected, value) => {
                self.map_replace_if_same(turn, at(key), expected, value)
            }
            Op::MapRemove(key) => self.map_remove(turn, at(key)),
            Op::MapRemoveIfSame(key, expected) => self.map_remove_if_same(turn, at(key), expected),
            Op::MapDelete(key) => self.map_delete(turn, at(key)),
            Op::MapSetTtl(key, ttl_ms) => self.map_set_ttl(turn, at(key), ttl_ms),
            Op::MapGetAll(keys) => self.map_get_all(turn, s, keys),
            Op::MapPutAll(entries, life) => self.map_put_all(turn, s, entries, life),
            Op::MapSize => self.map_size(turn, s),
            Op::MapClear => self.map_clear(turn, s),
            Op::MapScan { from, entries_max, part } => {
                self.map_scan(turn, s, from, entries_max, part)
            }
            Op::QueueOffer(item) => self.queue_offer(turn, s, item),
            Op::QueuePoll => self.queue_poll(turn, s),
            Op::QueuePeek => self.queue_peek(turn, s),
            Op::QueueSize => self.queue_size(turn, s),
            Op::QueueClear => self.queue_clear(turn, s),
            Op::TopicPublish(item) => self.topic_publish(turn, s, item),
        }
    }

    #[inline]
    fn answered_before(&self, stamp: Stamp, reply: &mut Vec<u8>) -> Step<Option<Seq>> {
        match self.sessions.look(stamp) {
            Look::New => Ok(None),
            Look::Done(seq, answer) => {
                reply.extend_from_slice(answer);
                Ok(Some(seq))
            }
            Look::Forgotten => {
                Err(Error::with(Kind::Malformed, "a request that the session has called answered")
                    .into())
            }
            Look::Full => Err(Error::with(
                Kind::Overloaded,
                "the session holds too many answers that it has not confirmed",
            )
            .into()),
        }
    }

    /// Removes expired entries of all maps, a bounded number; the shell calls it now and then.
    /// Returns whether there is more to do. A replica that follows leaves that to its primary.
    pub fn expire(&mut self, clock: &dyn Clock) -> bool {
        let mut more = false;
        if self.is_following() {
            return more;
        }
        for slot in 0..self.containers.len() {
            #[allow(clippy::cast_possible_truncation)]
            let id = StructureId(slot as u32);
            let due = |c: &Container| matches!(c, Container::Map(map) if map.has_expiring());
            if self.containers[slot].as_ref().is_some_and(due) {
                more |= matches!(self.expire_due(clock, id), Err(Stop::Again));
            }
        }
        more
    }

    /// Logs the end of a session at position `index` of the control log: all that is remembered of it goes,
    /// on every replica. Nothing is logged where nothing is remembered.
    ///
    /// # Errors
    /// `Overloaded` if the ring is full; call again. `NotServing` on a replica that follows.
    pub fn expire_session(
        &mut self,
        clock: &dyn Clock,
        session: SessionId,
        index: Index,
    ) -> Result<()> {
        if !self.sessions.knows(session) {
            return Ok(());
        }
        let effect = Effect::SessionExpired(session, index);
        let mut reply = Vec::new();
        let mut turn = Turn { clock, reply: &mut reply, mark: 0, stamp: None };
        self.write(&mut turn, &effect, 0)?;
        Ok(())
    }

    /// Whether anything is remembered of a session.
    #[must_use]
    pub fn knows_session(&self, session: SessionId) -> bool {
        self.sessions.knows(session)
    }

    /// The sessions of which anything is remembered, in the order of their ids.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.ids()
    }

    /// Highest position in the control log at which a session ended that was remembered here. Who has
    /// not applied that much must not execute requests of sessions: one of them may be over.
    #[must_use]
    pub fn expired_index(&self) -> Index {
        self.sessions.expired()
    }

    /// Bytes that all structures of this partition hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.containers.iter().flatten().map(Container::bytes).sum()
    }

    /// Entries or items of a structure here, and the bytes that they hold.
    #[must_use]
    pub fn usage(&self, id: StructureId) -> Option<(usize, usize)> {
        let container = self.containers.get(id.0 as usize)?.as_ref()?;
        Some((container.len(), container.bytes()))
    }

    /// Digest of everything that replicas must agree on at an equal `seq`.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = self.sessions.digest().wrapping_add(self.log.seq.0);
        for (slot, container) in self.containers.iter().enumerate() {
            let part = container.as_ref().map_or(0, Container::digest);
            digest = digest.wrapping_add(part.wrapping_mul(2 * slot as u64 + 1));
        }
        digest
    }
}

impl Container {
    fn bytes(&self) -> usize {
        match self {
            Container::Map(map) => map.bytes(),
            Container::Queue(queue) => queue.bytes(),
            Container::Topic(_) => 0,
        }
    }

    fn len(&self) -> usize {
        match self {
            Container::Map(map) => map.len(),
            Container::Queue(queue) => queue.len(),
            Container::Topic(_) => 0,
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Container::Map(map) => map.digest(),
            Container::Queue(queue) => queue.digest(),
            Container::Topic(_) => 0,
        }
    }
}
