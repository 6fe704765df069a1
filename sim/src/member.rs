//! One process of a member: the real replicas, leases and control state, glued together as the shell
//! glues them.

use crate::event::{Ask, No, Request, Values};
use grid_core::Read;
use grid_core::control::{Change, ControlState, StructureConfig, StructureKind};
use grid_core::data::{Blob, TypeTag};
use grid_core::error::Kind;
use grid_core::ids::{Index, MemberId, PartitionId, Seq, SessionId, StructureId, Term, Version};
use grid_core::lease::Leases;
use grid_core::mutant::{self, Mutant};
use grid_core::op::{Life, Op, Part};
use grid_core::partition::{self, Env, Outcome, Stamp};
use grid_core::partitioning::partition_of_name;
use grid_core::replica::{Context, Done, Proof, Replica, Rules, Structures};
use grid_core::store::hash64;
use grid_core::time::{ManualClock, Nanos};
use grid_core::wire::bytes::{KeyRef, Reader};

/// The map that clients use.
pub const MAP: StructureId = StructureId(0);
/// The queue that clients use.
pub const QUEUE: StructureId = StructureId(1);
/// Its name, which decides its partition.
pub const QUEUE_NAME: &str = "q";
/// Items that it takes.
pub const QUEUE_MAX: u64 = 5;
/// Keys of the map in each partition.
pub const KEYS: u8 = 3;

const TAG: TypeTag = TypeTag(-8);

/// What a reply waits for.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Commit(Seq),
    Proof(u64),
}

/// A reply that waits.
#[derive(Debug)]
pub struct Parked {
    gate: Gate,
    request: Request,
    values: Values,
}

/// A replica and what waits for it.
#[derive(Debug)]
pub struct Cell {
    /// The replica.
    pub replica: Replica,
    /// What waits for commits.
    pub parked: Vec<Parked>,
    /// What the observer saw last.
    pub(crate) looked: Option<Look>,
}

/// All of a replica that the observer's rules are about: while it is the same, nothing has to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) copy: (Term, u64),
    pub(crate) copying: bool,
    pub(crate) term: Term,
    pub(crate) last: Seq,
    pub(crate) committed: Seq,
    /// The term it serves.
    pub(crate) serving: Option<Term>,
}

impl Cell {
    /// The values of the keys, whoever leads.
    pub(crate) fn scan(&mut self, clock: &ManualClock, keys: &[u64; KEYS as usize]) -> Values {
        let op = Op::MapScan { from: 0, entries_max: 100, part: Part::Entries };
        let request = partition::Request { structure: MAP, op, stamp: None, hash: 0, again: false };
        let mut reply = Vec::new();
        match self.replica.partition_mut().step(clock, &request, &mut reply) {
            Outcome::Answered(_) => decode(Ask::Scan, &reply, keys),
            _ => Values::default(),
        }
    }

    pub(crate) fn look(&self) -> Look {
        let (replica, partition) = (&self.replica, self.replica.partition());
        Look {
            copy: replica.copy(),
            copying: partition.is_copying(),
            term: partition.last_record_term(),
            last: partition.last(),
            committed: partition.committed(),
            serving: replica.is_serving().then(|| replica.synced()),
        }
    }
}

/// One process.
#[derive(Debug)]
pub struct Member {
    /// Its identity.
    pub id: MemberId,
    /// The machine that it runs on.
    pub slot: usize,
    /// It does nothing until then.
    pub paused: u64,
    /// Its part of the control log.
    pub state: ControlState,
    /// Its leases.
    pub leases: Leases,
    /// Its replicas.
    pub cells: Vec<Cell>,
    /// The partitions that it would take an operation for now, a bit each.
    pub(crate) serves: u64,
    /// The partitions that may remember sessions that have ended, if they are served here.
    pub(crate) remembers: u64,
    /// How often its clock has ticked.
    pub(crate) ticks: u64,
    /// Wall clock.
    pub wall: ManualClock,
    /// Speed and offset of its monotonic clock.
    pub rate: f64,
    /// See `rate`.
    pub offset: u64,
}

/// Messages to other members.
pub(crate) type Sent = Vec<(MemberId, Box<[u8]>)>;

struct Agreed<'a>(&'a ControlState);

impl Structures for Agreed<'_> {
    fn config(&self, id: StructureId, partition: PartitionId) -> Option<StructureConfig> {
        let structure = self.0.structure(id)?;
        let partitions = self.0.config()?.partitions;
        let here = structure.config.kind() == StructureKind::Map
            || partition_of_name(&structure.name, partitions) == partition;
        here.then(|| structure.config.clone())
    }

    fn count(&self) -> u32 {
        self.0.structures().len() as u32
    }

    fn since(&self, id: StructureId) -> Index {
        self.0.structure(id).map_or(Index(0), |structure| structure.since)
    }
}

impl Member {
    /// A process that has just begun, with what is left of its control log.
    #[must_use]
    pub fn new(
        id: MemberId,
        slot: usize,
        state: ControlState,
        env: &Env,
        (rate, offset): (f64, u64),
    ) -> Self {
        let config = state.config().cloned();
        let (partitions, lease_ms, min) =
            config.map_or((0, 1, 1), |c| (c.partitions, c.lease_ms, c.min_in_sync));
        let leases = Leases::new(id, partitions, lease_ms);
        let lease = leases.length();
        let rules = Rules {
            me: id,
            min_in_sync: min.into(),
            lease,
            patience: Nanos(lease.0 / 3),
            resend: Nanos(lease.0 / 20),
        };
        let cell = |n| Cell {
            replica: Replica::new(rules, PartitionId(n), env.clone()),
            parked: Vec::new(),
            looked: None,
        };
        Member {
            id,
            slot,
            paused: 0,
            leases,
            cells: (0..partitions).map(cell).collect(),
            serves: 0,
            remembers: u64::MAX,
            ticks: 0,
            state,
            wall: ManualClock::default(),
            rate,
            offset,
        }
    }

    /// This member's clock at a time of the world.
    #[must_use]
    pub fn local(&self, now: u64) -> Nanos {
        Nanos((now as f64 * self.rate) as u64 + self.offset)
    }

    /// Calls `f` with a cell and its surroundings.
    pub fn with<T>(
        &mut self,
        partition: PartitionId,
        now: u64,
        f: impl FnOnce(&mut Cell, &Context<'_>, &mut Leases) -> T,
    ) -> T {
        let local = self.local(now);
        self.wall.set(grid_core::time::Millis(1_000_000 + local.0 / 1_000_000));
        let agreed = Agreed(&self.state);
        let cx = Context {
            now: local,
            clock: &self.wall,
            structures: &agreed,
            applied: self.state.index(),
        };
        f(&mut self.cells[usize::from(partition.0)], &cx, &mut self.leases)
    }

    /// The sessions that have ended and that the partition, if it is served here, still remembers.
    #[must_use]
    pub(crate) fn ended_sessions(&mut self, partition: PartitionId) -> Vec<SessionId> {
        let bit = 1 << partition.0;
        if self.remembers & bit == 0 {
            return Vec::new();
        }
        let replica = &self.cells[usize::from(partition.0)].replica;
        if !replica.is_serving() {
            return Vec::new();
        }
        let applied = self.state.index();
        let ended = |id: &SessionId| id.0 <= applied.0 && !self.state.has_session(*id);
        let ended: Vec<SessionId> = replica.partition().sessions().filter(ended).collect();
        if ended.is_empty() {
            self.remembers &= !bit;
        }
        ended
    }

    /// Lets the clock tick for the replicas that follow, which changes nothing about them. Returns what they
    /// propose, and the partitions of the others, a bit each.
    #[must_use]
    pub(crate) fn tick_following(
        &mut self,
        now: u64,
    ) -> (Vec<(PartitionId, Version, Change)>, u64) {
        let local = self.local(now);
        let agreed = Agreed(&self.state);
        let (clock, applied) = (&self.wall, self.state.index());
        let cx = Context { now: local, clock, structures: &agreed, applied };
        let (mut changes, mut others) = (Vec::new(), 0);
        for (cell, partition) in self.cells.iter_mut().zip(0..) {
            if !cell.replica.is_following() {
                others |= 1 << partition;
            } else if let Some((version, change)) =
                cell.replica.tick(&cx, &mut self.leases, &mut |_, _| {})
            {
                changes.push((PartitionId(partition), version, change));
            }
        }
        (changes, others)
    }

    /// Lets the clock tick for a replica that leads or is about to. Returns what it proposes and what it sends.
    pub(crate) fn tick_leading(
        &mut self,
        partition: PartitionId,
        now: u64,
    ) -> (Option<(Version, Change)>, Sent) {
        let ended = self.ended_sessions(partition);
        let mut sent = Vec::new();
        let change = self.with(partition, now, |cell, cx, leases| {
            let replica = &mut cell.replica;
            let send = &mut |to, bytes: &[u8]| sent.push((to, bytes.into()));
            let change = replica.tick(cx, leases, send);
            for session in ended {
                // A full ring takes it at the next tick.
                let _ = replica.partition_mut().expire_session(cx.clock, session, cx.applied);
            }
            change
        });
        (change, sent)
    }

    /// The barriers that reads wait for, begun now.
    #[must_use]
    pub(crate) fn begin_barriers(&mut self) -> Vec<(PartitionId, u64)> {
        let mut leading = self.serves;
        let mut begun = Vec::new();
        while leading != 0 {
            let partition = PartitionId(leading.trailing_zeros() as u16);
            leading &= leading - 1;
            let replica = &mut self.cells[usize::from(partition.0)].replica;
            begun.extend(replica.begin_barrier().map(|number| (partition, number)));
        }
        begun
    }

    /// Up to where every cell has followed the table.
    #[must_use]
    pub fn stepped(&self) -> Index {
        let behind = self.cells.iter().zip(self.state.table());
        let behind = behind.filter(|(cell, record)| cell.replica.record().index < record.index);
        let slowest = behind.map(|(cell, _)| cell.replica.record().index).min();
        slowest.unwrap_or_else(|| self.state.index())
    }

    /// Executes a request, or says why not; none: its answer waits, or the client has to ask again.
    pub fn execute(
        &mut self,
        now: u64,
        request: Request,
        keys: &[u64; KEYS as usize],
    ) -> Option<No> {
        if !self.state.has_session(request.session) {
            if request.session.0 > self.state.index().0 {
                return None; // it has not heard of it yet
            }
            if !(mutant::is(Mutant::ExpiredFirstAttempt) && request.attempt == 0) {
                return Some(No::Expired);
            }
        }
        let stamp = (!request.ask.reads()).then_some(Stamp {
            session: request.session,
            request: request.request,
            floor: request.floor,
        });
        let seed = self.state.config().map_or(0, |config| config.hash_seed);
        let mut reply = Vec::new();
        let outcome = self.with(request.partition, now, |cell, cx, _| {
            submit(&mut cell.replica, cx, (request, stamp), (seed, keys), &mut reply)
        });
        let gate = match outcome {
            Done::Answered(gate) => Gate::Commit(gate),
            Done::Unproven(number) => Gate::Proof(number),
            Done::Again => return None,
            Done::Refused(error) => {
                return match error.kind() {
                    Kind::NotServing => Some(No::Elsewhere),
                    Kind::Lost => Some(No::Lost),
                    _ => None,
                };
            }
        };
        let values = decode(request.ask, &reply, keys);
        let cell = &mut self.cells[usize::from(request.partition.0)];
        cell.parked.push(Parked { gate, request, values });
        None
    }

    /// The replies of a cell that may leave. Those of a replica that serves no more never do.
    pub fn release(&mut self, partition: PartitionId) -> Vec<(Request, Term, Values)> {
        let cell = &mut self.cells[usize::from(partition.0)];
        if cell.parked.is_empty() {
            return Vec::new();
        }
        if !cell.replica.is_serving() {
            cell.parked.clear();
            return Vec::new();
        }
        let (committed, term) = (cell.replica.partition().committed(), cell.replica.synced());
        let mut out = Vec::new();
        cell.parked.retain(|parked| {
            let proof = match parked.gate {
                Gate::Commit(gate) if gate <= committed => Proof::Proven,
                Gate::Commit(_) => Proof::Waits,
                Gate::Proof(number) => cell.replica.proof(number),
            };
            if proof == Proof::Proven {
                out.push((parked.request, term, parked.values));
            }
            proof == Proof::Waits
        });
        out
    }
}

fn submit(
    replica: &mut Replica,
    cx: &Context<'_>,
    (request, stamp): (Request, Option<Stamp>),
    (seed, keys): (u64, &[u64; KEYS as usize]),
    reply: &mut Vec<u8>,
) -> Done {
    let key_bytes = |k: u8| keys[usize::from(k)].to_be_bytes();
    let value = |v: u64| v.to_be_bytes();
    let (k, a, b) = match request.ask {
        Ask::Get(k) | Ask::Confirm(k) | Ask::Remove(k) => (k, 0, 0),
        Ask::Put(k, v) | Ask::PutIfAbsent(k, v) => (k, v, 0),
        Ask::Cas(k, a, b) => (k, a, b),
        Ask::Offer(v) => (0, v, 0),
        Ask::Scan | Ask::Size | Ask::Poll => (0, 0, 0),
    };
    let (key, a, b) = (key_bytes(k), value(a), value(b));
    let key = KeyRef { blob: Blob { tag: TAG, payload: &key }, affinity: None };
    let (a, b) = (Blob { tag: TAG, payload: &a }, Blob { tag: TAG, payload: &b });
    let op = match request.ask {
        Ask::Get(_) | Ask::Confirm(_) => Op::MapGet(key),
        Ask::Scan => Op::MapScan { from: 0, entries_max: 100, part: Part::Entries },
        Ask::Size => Op::MapSize,
        Ask::Put(..) => Op::MapPut(key, a, Life::default()),
        Ask::PutIfAbsent(..) => Op::MapPutIfAbsent(key, a, Life::default()),
        Ask::Cas(..) => Op::MapReplaceIfSame(key, a, b),
        Ask::Remove(_) => Op::MapRemove(key),
        Ask::Offer(_) => Op::QueueOffer(a),
        Ask::Poll => Op::QueuePoll,
    };
    let structure = if request.ask.queues() { QUEUE } else { MAP };
    let mode = match request.ask {
        Ask::Confirm(_) => Read::Confirmed,
        _ => Read::Linearizable,
    };
    let hash = hash64(key.blob.payload, seed);
    let again = request.attempt > 0 && !mutant::is(Mutant::RetryForgotten);
    let request = partition::Request { structure, op, stamp, hash, again };
    loop {
        match replica.submit(cx, &request, mode, reply) {
            Done::Refused(error) if error.kind() == Kind::UnknownStructure => {
                let partition = replica.partition().id();
                let Some(config) = cx.structures.config(structure, partition) else {
                    return Done::Again;
                };
                replica.partition_mut().declare(structure, &config);
            }
            other => return other,
        }
    }
}

/// Reads an answer as clients do.
fn decode(ask: Ask, reply: &[u8], keys: &[u64; KEYS as usize]) -> Values {
    let number = |bytes: &[u8]| bytes.try_into().map_or(u64::MAX, u64::from_be_bytes);
    let optional = || match partition::value_of(reply) {
        Ok(blob) => blob.map_or(0, |blob| number(blob.payload)),
        Err(_) => u64::MAX,
    };
    match ask {
        Ask::Size => [reply.try_into().map_or(u64::MAX, u64::from_le_bytes), 0, 0],
        Ask::Cas(..) | Ask::Offer(_) => [u64::from(reply.first() == Some(&1)), 0, 0],
        Ask::Scan => {
            let mut values = [0; 3];
            let mut r = Reader::new(reply.get(9..).unwrap_or_default());
            let count = r.u32().unwrap_or(0);
            for _ in 0..count {
                let (Ok(key), Ok(value)) = (r.key(), r.value()) else { break };
                let key = number(key.blob.payload);
                if let Some(at) = keys.iter().position(|known| *known == key) {
                    values[at] = number(value.payload);
                }
            }
            values
        }
        _ => [optional(), 0, 0],
    }
}
