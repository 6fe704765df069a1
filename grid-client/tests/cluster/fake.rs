//! A cluster in one process that speaks the real wire: its partitions are real, their replication is
//! imagined (all members share each partition), and whatever goes wrong does so under a test's command.
#![allow(dead_code, clippy::cast_possible_truncation)]

mod serve;

use grid_core::control::{
    ClusterConfig, Command, ControlState, MapConfig, Outcome as Decided, QueueConfig,
    StructureConfig, StructureKind,
};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, MemberId, Millis, PartitionId, SessionId, StructureId};
use grid_core::op::Op;
use grid_core::partition::{Env, Outcome, Partition, Request, Stamp};
use grid_core::store::{Ledger, Pool, PoolConfig, hash64};
use grid_core::time::ManualClock;
use grid_core::wire::request::RequestHeader;
use grid_core::wire::table::{MemberAddress, TableView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const PARTITIONS: u16 = 12;
/// An attempt without an answer is doubted after 300 ms.
const LEASE_MS: u32 = 100;
const SEED: u64 = 0x9e37;

/// What a member does with what it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Normal,
    /// It executes, but no answer leaves it.
    Mute,
    /// It executes, and the answers leave once it is normal. It talks about all else.
    Late,
    /// It takes bytes and does nothing at all.
    Frozen,
}

/// A request as a member saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) member: usize,
    pub(crate) header: RequestHeader,
}

pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) address: String,
    pub(crate) manner: Manner,
    /// It has not heard of sessions that are younger than this.
    pub(crate) applied_max: Option<Index>,
    /// Connections that were welcomed, handshakes that were refused, and connections now.
    pub(crate) welcomed: usize,
    pub(crate) refused: usize,
    pub(crate) connections: BTreeMap<u64, Arc<Notify>>,
    /// Its table, if it lags.
    pub(crate) table: Option<TableView>,
    listener: Option<JoinHandle<()>>,
}

/// Everything behind one lock.
pub(crate) struct World {
    pub(crate) control: ControlState,
    pub(crate) life: u64,
    pub(crate) index: u64,
    pub(crate) owners: Vec<Vec<u16>>,
    pub(crate) members: Vec<Member>,
    partitions: Vec<Partition>,
    clock: ManualClock,
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) sessions_opened: usize,
    /// Refusals for the next requests of a partition.
    pub(crate) refusals: BTreeMap<u16, Vec<Error>>,
    /// Partitions that nobody serves, whatever the table says.
    pub(crate) unserved: BTreeSet<u16>,
    /// Backups that are not fresh enough for stale reads.
    pub(crate) stale_refused: bool,
    pub(crate) seen: Vec<Seen>,
    /// Questions for the table, by the member that was asked.
    pub(crate) table_questions: Vec<usize>,
    pub(crate) closed_sessions: usize,
    /// Subscriptions: connection, number, structure, partition.
    pub(crate) subscribers: Vec<(u64, u64, StructureId, PartitionId)>,
    pub(crate) outboxes: BTreeMap<u64, Vec<u8>>,
    connections: u64,
    /// The latest connection of each session at each member: earlier ones cannot use it.
    users: BTreeMap<(usize, SessionId), u64>,
}

#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) world: Arc<Mutex<World>>,
    /// Something has changed that a test may wait for.
    pub(crate) changed: Arc<Notify>,
}

fn partitions() -> Vec<Partition> {
    let ledger = Arc::new(Ledger::new(u64::MAX));
    let config =
        PoolConfig { reserve_bytes: 64 << 20, keep_free_bytes: 0, ..PoolConfig::default() };
    let pool = Pool::new(&config, Arc::clone(&ledger)).unwrap();
    let env = Env { pool, ledger, seed: SEED };
    (0..PARTITIONS).map(|p| Partition::new(PartitionId(p), env.clone())).collect()
}

fn formed() -> ControlState {
    let config = ClusterConfig {
        partitions: PARTITIONS,
        sync_backups: 1,
        async_backups: 0,
        min_in_sync: 1,
        lease_ms: 400,
        hash_seed: 0,
    };
    let mut state = ControlState::default();
    assert_eq!(state.apply(Index(1), Command::Form(config, 0)).outcome, Decided::Done);
    state
}

impl Cluster {
    /// A cluster of this many members; partition `p` belongs to member `p % members`, the next one is its
    /// backup.
    pub(crate) async fn start(members: usize) -> Cluster {
        let world = World {
            control: formed(),
            life: 7,
            index: 10,
            owners: Vec::new(),
            members: Vec::new(),
            partitions: partitions(),
            clock: ManualClock::at(Millis(1)),
            sessions: BTreeSet::new(),
            sessions_opened: 0,
            refusals: BTreeMap::new(),
            unserved: BTreeSet::new(),
            stale_refused: false,
            seen: Vec::new(),
            table_questions: Vec::new(),
            closed_sessions: 0,
            subscribers: Vec::new(),
            outboxes: BTreeMap::new(),
            connections: 0,
            users: BTreeMap::new(),
        };
        let cluster =
            Cluster { world: Arc::new(Mutex::new(world)), changed: Arc::new(Notify::new()) };
        for at in 0..members {
            cluster.with(|world| {
                world.members.push(Member {
                    id: MemberId(3 + at as u64),
                    address: String::new(),
                    manner: Manner::Normal,
                    applied_max: None,
                    welcomed: 0,
                    refused: 0,
                    connections: BTreeMap::new(),
                    table: None,
                    listener: None,
                });
            });
            cluster.listen(at).await;
        }
        cluster.with(|world| {
            let members = members as u16;
            let owners = |p: u16| {
                let backup = (members > 1).then_some((p + 1) % members);
                [p % members].into_iter().chain(backup).collect()
            };
            world.owners = (0..PARTITIONS).map(owners).collect();
        });
        cluster
    }

    /// Member `at` takes connections, at a new address.
    pub(crate) async fn listen(&self, at: usize) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(serve::accept(self.clone(), at, listener));
        self.with(|world| {
            world.members[at].address = address;
            world.members[at].listener = Some(task);
        });
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        f(&mut self.world.lock().unwrap())
    }

    pub(crate) fn address(&self, at: usize) -> String {
        self.with(|world| world.members[at].address.clone())
    }

    /// The process of a member ends: its connections are reset and nobody listens any more.
    pub(crate) fn kill(&self, at: usize) {
        self.with(|world| {
            let member = &mut world.members[at];
            // Its listener goes when its runtime gets to it; who comes until then is sent away.
            if let Some(listener) = member.listener.take() {
                listener.abort();
            }
            member.connections.values().for_each(|connection| connection.notify_one());
        });
    }

    /// Whether the process of a member runs.
    fn lives(&self, at: usize) -> bool {
        self.with(|world| world.members[at].listener.is_some())
    }

    /// Resets the connections of a member.
    pub(crate) fn cut(&self, at: usize) {
        self.with(|world| {
            world.members[at].connections.values().for_each(|connection| connection.notify_one());
        });
    }

    /// Gives a partition to these members, the primary first. The table has a higher index then.
    pub(crate) fn assign(&self, partition: u16, owners: &[u16]) {
        self.with(|world| {
            world.owners[usize::from(partition)] = owners.to_vec();
            world.index += 1;
        });
    }

    /// Gives all partitions of one member to another one.
    pub(crate) fn fail_over(&self, from: u16, to: u16) {
        self.with(|world| {
            for owners in &mut world.owners {
                let was_primary = owners.first() == Some(&from);
                owners.retain(|owner| *owner != from && !(was_primary && *owner == to));
                if was_primary {
                    owners.insert(0, to);
                }
            }
            world.index += 1;
        });
    }

    /// The cluster starts again, empty, in the same processes.
    pub(crate) fn restart_empty(&self) {
        self.with(|world| {
            world.life += 1;
            world.index += 1;
            world.control = formed();
            world.partitions = partitions();
            world.sessions.clear();
            world.subscribers.clear();
        });
        let count = self.with(|world| world.members.len());
        (0..count).for_each(|at| self.cut(at));
    }

    /// The sessions end, for lack of heartbeats.
    pub(crate) fn end_sessions(&self) {
        self.with(|world| {
            world.sessions.clear();
            world.index += 1;
        });
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: impl Fn(&World) -> bool) {
        loop {
            let changed = self.changed.notified();
            if self.with(|world| what(world)) {
                return;
            }
            let soon = std::time::Duration::from_millis(5);
            let _ = tokio::time::timeout(soon, changed).await;
        }
    }

    /// Requests that a partition's operations made, in the order in which they came.
    pub(crate) fn seen(&self, what: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.with(|world| world.seen.iter().filter(|seen| what(seen)).copied().collect())
    }
}

impl World {
    pub(crate) fn table(&self) -> TableView {
        let address =
            |member: &Member| MemberAddress { member: member.id, address: member.address.clone() };
        let members = self.members.iter().map(address).collect();
        let owners = self.owners.iter().map(Vec::as_slice);
        TableView::new(Index(self.index), self.life, members, owners).unwrap()
    }

    /// The table as a member knows it.
    pub(crate) fn table_of(&self, at: usize) -> TableView {
        self.members[at].table.clone().unwrap_or_else(|| self.table())
    }

    fn declare(
        &mut self,
        name: &str,
        kind: StructureKind,
    ) -> Result<(StructureId, StructureConfig)> {
        let config = match kind {
            StructureKind::Map => StructureConfig::Map(MapConfig::default()),
            StructureKind::Queue => StructureConfig::Queue(QueueConfig::default()),
            StructureKind::Topic => StructureConfig::Topic,
        };
        let index = Index(self.control.index().0 + 1);
        match self.control.apply(index, Command::Declare { name: name.into(), config }).outcome {
            Decided::Declared(id, config) => {
                self.partitions.iter_mut().for_each(|p| p.declare(id, &config));
                Ok((id, config))
            }
            Decided::Refused(kind, detail) => Err(Error::with(kind, detail)),
            other => panic!("{other:?}"),
        }
    }

    /// Executes a request that came to a member.
    fn execute(
        &mut self,
        at: usize,
        session: SessionId,
        connection: u64,
        header: &RequestHeader,
        body: &[u8],
    ) -> Result<Vec<u8>> {
        let partition = header.partition.0;
        if !self.sessions.contains(&session) || self.users.get(&(at, session)) != Some(&connection)
        {
            return Err(Error::with(Kind::SessionExpired, "not here"));
        }
        if let Some(errors) = self.refusals.get_mut(&partition)
            && let Some(error) = errors.pop()
        {
            return Err(error);
        }
        let owners = &self.owners[usize::from(partition)];
        let stale = matches!(header.read, grid_core::Read::Stale(_));
        let primary = owners.first() == Some(&(at as u16));
        let backup = stale && !self.stale_refused && owners.contains(&(at as u16));
        if self.unserved.contains(&partition) || !(primary || backup) {
            return Err(Error::with(Kind::NotServing, format!("member {at} of {owners:?}")));
        }
        let op = Op::decode(header.code, body)?;
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let (request, floor) = (header.request, header.floor);
        let stamp = Some(Stamp { session, request, floor });
        let (structure, again) = (header.structure, header.attempt > 0);
        let request = Request { structure, op, stamp, hash, again };
        let mut reply = Vec::new();
        let partition = &mut self.partitions[usize::from(partition)];
        let result = loop {
            match partition.step(&self.clock, &request, &mut reply) {
                Outcome::Answered(_) => break Ok(reply),
                Outcome::Refused(error) => break Err(error),
                Outcome::Again => {}
            }
        };
        self.publish(header.partition, at);
        result
    }

    fn publish(&mut self, partition: PartitionId, at: usize) {
        use grid_core::data::Blob;
        use grid_core::wire::event::{self, Event};
        while let Some(item) = self.partitions[usize::from(partition.0)].next_published() {
            for (connection, number, structure, of) in &self.subscribers {
                // Only the primary has subscribers.
                let here = self.members[at].connections.contains_key(connection);
                if (*structure, *of) == (item.structure, partition) && here {
                    let blob = Blob { tag: item.tag, payload: &item.payload };
                    let event = Event::Item { seq: item.seq.0, item: blob };
                    let outbox = self.outboxes.entry(*connection).or_default();
                    event::encode(*number, event, outbox);
                }
            }
        }
    }
}
