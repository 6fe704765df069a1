//! One process of a member: the real replicas, leases and control state, glued together as the shell
//! glues them.

use crate::event::{Ask, No, Request, Values};
use grid_core::Read;
use grid_core::control::{ControlState, StructureConfig, StructureKind};
use grid_core::data::{Blob, TypeTag};
use grid_core::error::Kind;
use grid_core::ids::{Index, MemberId, PartitionId, Seq, StructureId};
use grid_core::lease::Leases;
use grid_core::mutant::{self, Mutant};
use grid_core::op::{Life, Op, Part};
use grid_core::partition::{self, Env, Outcome, Stamp};
use grid_core::partitioning::partition_of_name;
use grid_core::replica::{Context, Replica, Rules, Structures};
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

/// A reply that waits for its gate.
#[derive(Debug)]
pub struct Parked {
    gate: Seq,
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
    /// Wall clock.
    pub wall: ManualClock,
    /// Speed and offset of its monotonic clock.
    pub rate: f64,
    /// See `rate`.
    pub offset: u64,
}

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
        };
        Member {
            id,
            slot,
            paused: 0,
            leases,
            cells: (0..partitions).map(cell).collect(),
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

    /// Up to where every cell has followed the table.
    #[must_use]
    pub fn stepped(&self) -> Index {
        let behind = self.cells.iter().zip(self.state.table());
        let behind = behind.filter(|(cell, record)| cell.replica.record().index < record.index);
        let slowest = behind.map(|(cell, _)| cell.replica.record().index).min();
        slowest.unwrap_or_else(|| self.state.index())
    }

    /// Executes a request, or says why not; none: it waits, or the client has to ask again.
    pub fn execute(
        &mut self,
        now: u64,
        request: Request,
        keys: &[u64; KEYS as usize],
    ) -> Option<Result<Values, No>> {
        if !self.state.has_session(request.session) {
            if request.session.0 > self.state.index().0 {
                return None; // it has not heard of it yet
            }
            if !(mutant::is(Mutant::ExpiredFirstAttempt) && request.attempt == 0) {
                return Some(Err(No::Expired));
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
            Outcome::Answered(gate) => gate,
            Outcome::Again => return None,
            Outcome::Refused(error) => {
                return match error.kind() {
                    Kind::NotServing => Some(Err(No::Elsewhere)),
                    Kind::Lost => Some(Err(No::Lost)),
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
    pub fn release(&mut self, partition: PartitionId) -> Vec<(Request, Values)> {
        let cell = &mut self.cells[usize::from(partition.0)];
        if cell.parked.is_empty() {
            return Vec::new();
        }
        if !cell.replica.is_serving() {
            cell.parked.clear();
            return Vec::new();
        }
        let committed = cell.replica.partition().committed();
        let mut out = Vec::new();
        cell.parked.retain(|parked| {
            let go = parked.gate <= committed;
            if go {
                out.push((parked.request, parked.values));
            }
            !go
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
) -> Outcome {
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
            Outcome::Refused(error) if error.kind() == Kind::UnknownStructure => {
                let partition = replica.partition().id();
                let Some(config) = cx.structures.config(structure, partition) else {
                    return Outcome::Again;
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
