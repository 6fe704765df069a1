//! The world of one run: machines, a network that does what it likes, an ideal control log, and one
//! queue of events. Everything that happens follows from the plan and the seed.

use crate::check::Checks;
use crate::client::Client;
use crate::event::{Event, Message, Place, Request, Who};
use crate::history::{Histories, History};
use crate::member::{KEYS, Member};
use crate::plan::{MS, Plan, US};
use crate::rng::Rng;
use grid_core::control::{Command, ControlState, Record};
use grid_core::ids::{Index, MemberId, PartitionId};
use grid_core::mutant::{self, Mutant};
use grid_core::partition::Env;
use grid_core::store::{Ledger, Pool, PoolConfig};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// How often a member's clock ticks.
pub const TICK: u64 = 5 * MS;

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Operations whose answers were checked.
    pub ops: u64,
    /// Histories whose check was given up.
    pub given_up: u64,
    /// Faults of any kind.
    pub faults: u64,
    /// Processes that lost their memory.
    pub crashes: u64,
    /// Takeovers.
    pub promotions: u64,
    /// Transfers.
    pub transfers: u64,
    /// Copies that were completed and led to a place in the in-sync set.
    pub adds: u64,
    /// Members dropped from in-sync sets.
    pub shrinks: u64,
    /// Sessions refused because they had expired.
    pub expired: u64,
    /// Removals that committed just as nobody was left: the documented window.
    pub windows: u64,
    /// Lost partitions that got an owner again, and those of them that kept data.
    pub resets: u64,
    /// See `resets`.
    pub kept: u64,
    /// Reads that backups answered.
    pub stale: u64,
    /// Barriers of the control log that were begun for reads.
    pub barriers_begun: u64,
    /// And that came to an end.
    pub barriers: u64,
    /// Beacons that were refused a grant.
    pub withheld: u64,
}

/// See the module documentation.
pub struct World {
    /// The shape of the run.
    pub plan: Plan,
    pub(crate) rng: Rng,
    /// Nanoseconds since the beginning.
    pub now: u64,
    /// In one number: time, order of entry, and place in `events`.
    queue: BinaryHeap<Reverse<u128>>,
    events: Vec<Option<Event>>,
    /// Free places of `events`.
    free: Vec<u32>,
    entered: u32,
    /// The living processes.
    pub members: BTreeMap<MemberId, Member>,
    /// The process of each machine, living or the last one.
    pub slots: Vec<MemberId>,
    pub(crate) boots: Vec<u64>,
    /// What a machine keeps of the control log while its process is down.
    pub(crate) kept: Vec<ControlState>,
    /// The control log and where it leads.
    pub log: Vec<Command>,
    /// The records that each of its commands has changed.
    pub(crate) records: Vec<Vec<(PartitionId, Arc<Record>)>>,
    /// See `log`.
    pub head: ControlState,
    pub(crate) log_down: u64,
    pub(crate) heard: BTreeMap<MemberId, u64>,
    /// What the controller has decided on last: index of the log and living members.
    pub(crate) planned: Option<(Index, Vec<MemberId>)>,
    pub(crate) cut: Vec<Vec<bool>>,
    /// When the last message between two members arrives that keeps its order.
    arrives: Vec<Vec<u64>>,
    pub(crate) clients: Vec<Client>,
    pub(crate) checks: Checks,
    /// What clients saw.
    pub histories: Histories,
    pub(crate) env: Env,
    /// The keys of each partition.
    pub keys: Vec<[u64; KEYS as usize]>,
    /// No fault happens any more.
    pub healing: bool,
    pub(crate) asked: bool,
    pub(crate) next_value: u64,
    pub(crate) started: usize,
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// What happened.
    pub counts: Counts,
    /// Tell everything.
    pub trace: bool,
    pub(crate) isolated: usize,
    /// Room for one message.
    bytes: Vec<u8>,
}

impl World {
    /// A cluster that has just been formed: the first member owns everything.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        World::with(plan, rng)
    }

    /// A cluster of this shape.
    #[must_use]
    pub fn with(plan: Plan, rng: Rng) -> Self {
        let partitions = plan.config.partitions;
        let ledger = Arc::new(Ledger::new(u64::MAX));
        let pool = PoolConfig { reserve_bytes: 1 << 30, huge_pages: false, keep_free_bytes: 0 };
        #[allow(clippy::expect_used)] // a machine without address space simulates nothing
        let pool = Pool::new(&pool, Arc::clone(&ledger)).expect("address space");
        let env = Env { pool, ledger, seed: plan.config.hash_seed };
        let places = plan.members + plan.clients + 1;
        let mut world = World {
            rng,
            now: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            entered: 0,
            members: BTreeMap::new(),
            slots: Vec::new(),
            boots: vec![0; plan.members],
            kept: vec![ControlState::default(); plan.members],
            log: Vec::new(),
            records: Vec::new(),
            head: ControlState::default(),
            log_down: 0,
            heard: BTreeMap::new(),
            planned: None,
            cut: vec![vec![false; places]; places],
            arrives: vec![vec![0; places]; places],
            clients: Vec::new(),
            checks: Checks::new(partitions),
            histories: Histories {
                maps: vec![History::default(); usize::from(partitions)],
                quick: vec![History::default(); usize::from(partitions)],
                queue: History::default(),
            },
            env,
            keys: crate::client::keys(partitions),
            healing: false,
            asked: false,
            next_value: 1,
            started: 0,
            violation: None,
            counts: Counts::default(),
            trace: false,
            isolated: 0,
            bytes: Vec::new(),
            plan,
        };
        world.commit(Command::Form(world.plan.config.clone(), 1));
        world.declare();
        for slot in 0..world.plan.members {
            world.start(slot);
        }
        for at in 0..world.plan.clients {
            world.clients.push(Client::new(&mut world.rng));
            world.at(50 * MS + 300 * US * at as u64, Event::Client(at, 0));
        }
        world.at(0, Event::Control);
        if world.plan.faults {
            world.at(60 * MS, Event::Nemesis);
        }
        world
    }

    /// Lets something happen at a time.
    pub fn at(&mut self, time: u64, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() as u32 - 1
        });
        self.events[place as usize] = Some(event);
        self.entered += 1;
        let order = u128::from(time) << 64 | u128::from(self.entered) << 32 | u128::from(place);
        self.queue.push(Reverse(order));
    }

    pub(crate) fn after(&mut self, from: u64, to: u64, event: Event) {
        let delay = self.rng.range(from, to);
        self.at(self.now + delay, event);
    }

    /// Takes the next event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let Reverse(order) = self.queue.pop()?;
        let place = order as u32;
        self.now = self.now.max((order >> 64) as u64);
        self.counts.events += 1;
        self.free.push(place);
        self.events[place as usize].take()
    }

    /// When the next event is due.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(order)| (order >> 64) as u64)
    }

    /// A rule is broken.
    pub(crate) fn broken(&mut self, what: String) {
        if self.violation.is_none() {
            self.violation = Some(what);
        }
    }

    /// Where somebody is.
    pub(crate) fn place(&self, who: Who) -> Place {
        match who {
            Who::Member(id) => self.slot_of(id).unwrap_or(0),
            Who::Client(at) => self.plan.members + at,
            Who::Log => self.plan.members + self.plan.clients,
        }
    }

    pub(crate) fn slot_of(&self, id: MemberId) -> Option<usize> {
        self.members.get(&id).map(|member| member.slot)
    }

    /// Sends a message, which may be lost, late, doubled or overtaken.
    pub fn send(&mut self, from: Who, to: Who, message: Message) {
        let (a, b) = (self.place(from), self.place(to));
        let noise = if self.healing { 0 } else { self.plan.noise };
        if self.cut[a][b] || self.rng.chance(8 * noise / 1000) {
            return;
        }
        let mut delay = self.rng.range(50 * US, 500 * US);
        if matches!(message, Message::Link(_)) && (self.plan.ordered || self.healing) {
            let arrives = &mut self.arrives[a][b];
            *arrives = (*arrives + 1).max(self.now + delay);
            delay = *arrives - self.now;
        }
        if self.rng.chance(40 * noise / 1000) {
            delay += self.rng.range(0, 60 * MS);
        }
        // A request may be stuck in an old connection for very long.
        if matches!(message, Message::Request(_)) && self.rng.chance(40 * noise / 1000) {
            delay += self.rng.range(0, 200 * MS);
        }
        // Requests travel on connections that double nothing; they may be sent again on another.
        let once = matches!(message, Message::Request(_));
        if !once && self.rng.chance(10 * noise / 1000) {
            let message = message.clone();
            self.after(50 * US, 40 * MS, Event::Arrive { from, to, message });
        }
        self.at(self.now + delay, Event::Arrive { from, to, message });
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event) {
        // A process that is gone handles nothing, one that is stopped does it later.
        let process = match &event {
            Event::Arrive { to: Who::Member(id), .. } | Event::Tick(id) | Event::Learn(id, ..) => {
                Some(*id)
            }
            _ => None,
        };
        if let Some(id) = process {
            match self.members.get(&id).map(|member| member.paused) {
                None => return,
                Some(until) if until > self.now => return self.at(until, event),
                Some(_) => {}
            }
        }
        match event {
            Event::Arrive { from, to: Who::Member(id), message } => self.receive(id, from, message),
            Event::Arrive { from, to: Who::Log, message } => self.log_receives(from, message),
            Event::Arrive { to: Who::Client(at), message, .. } => {
                self.client_receives(at, &message);
            }
            Event::Tick(id) => self.tick(id),
            Event::Learn(id, partition, record) => self.learn(id, partition, &record),
            Event::Client(at, epoch) => self.client(at, epoch),
            Event::Control => self.control(),
            Event::Nemesis => self.nemesis(),
            Event::Restart(slot) => self.restart(slot),
            Event::Expire(session) => {
                if self.head.has_session(session) {
                    self.commit(Command::ExpireSessions(vec![session]));
                }
            }
            Event::BarrierFailed(id, partition, number) => {
                self.barrier_done(id, partition, number, None);
            }
            Event::ResetLost(partition) => self.reset_lost(partition),
            Event::AcceptLoss => self.accept_loss(),
            Event::Repeat(command) => {
                self.commit(*command);
            }
        }
    }

    fn receive(&mut self, id: MemberId, from: Who, message: Message) {
        match (from, message) {
            (Who::Member(from), Message::Link(bytes)) => self.link(id, from, &bytes),
            (Who::Member(from), Message::Beacon(beacon)) => {
                let Some(member) = self.members.get_mut(&id) else { return };
                let local = member.local(self.now);
                let by_cells = mutant::is(Mutant::GrantByCells);
                let reply = if by_cells && !member.knows_in_cells(from) {
                    member.leases.answer_blindly(from, beacon, local)
                } else {
                    member.leases.answer(from, beacon, local)
                };
                self.counts.withheld += u64::from(reply.behind.is_some());
                self.send(Who::Member(id), Who::Member(from), Message::BeaconReply(reply));
            }
            (Who::Member(from), Message::BeaconReply(reply)) => {
                let Some(member) = self.members.get_mut(&id) else { return };
                let local = member.local(self.now);
                member.leases.take(from, reply, local);
            }
            (_, Message::BarrierAt(partition, number, index)) => {
                let have = self.members.get(&id).map_or(index, |member| member.state.index());
                if have < index {
                    self.follow_log_to(id, index.0);
                }
                let member = self.members.get(&id);
                let record = member.and_then(|member| member.state.record(partition)).cloned();
                self.barrier_done(id, partition, number, record.as_ref());
            }
            (_, Message::Request(request)) => self.request(id, request),
            _ => {}
        }
    }

    fn request(&mut self, id: MemberId, request: Request) {
        let keys = self.keys[usize::from(request.partition.0)];
        let Some(member) = self.members.get_mut(&id) else { return };
        let before = member.cells[usize::from(request.partition.0)].replica.last();
        let answer = member.execute(self.now, request, &keys);
        self.check_told(id);
        self.note_records(id, request.partition, before);
        if let Some(answer) = answer {
            let to = Who::Client(request.client);
            self.send(Who::Member(id), to, Message::Answer(request, Err(answer)));
        }
        self.touched(id, request.partition);
    }

    fn link(&mut self, id: MemberId, from: MemberId, bytes: &[u8]) {
        let Ok(message) = grid_core::wire::link::Message::read(bytes) else {
            return self.broken("a message between members is malformed".into());
        };
        let partition = message.partition;
        if self.trace {
            eprintln!(
                "{:>9} p{partition} {from} -> {id}: t{} {:.140}",
                self.now / US,
                message.term,
                format!("{:?}", message.body)
            );
        }
        self.bytes.clear();
        let out = &mut self.bytes;
        let Some(member) = self.members.get_mut(&id) else { return };
        let result = member.with(partition, self.now, |cell, cx, _| {
            let answer = cell.replica.handle(from, &message, cx)?;
            cell.replica.write_answer(answer, cx, out);
            Ok::<_, grid_core::Error>(())
        });
        if let Err(error) = result
            && matches!(error.kind(), grid_core::Kind::Internal | grid_core::Kind::Lost)
        {
            self.broken(format!("member {id} partition {partition} from {from}: {error}"));
        }
        if !self.bytes.is_empty() {
            let message = Message::Link(self.bytes.as_slice().into());
            self.send(Who::Member(id), Who::Member(from), message);
        }
        self.touched(id, partition);
    }

    /// Something happened to a cell: checks it, lets go what may leave, and sends what is to be sent.
    pub(crate) fn touched(&mut self, id: MemberId, partition: PartitionId) {
        self.check_cell(id, partition);
        let Some(member) = self.members.get_mut(&id) else { return };
        for (request, term, values) in member.release(partition) {
            let to = Who::Client(request.client);
            self.send(Who::Member(id), to, Message::Answer(request, Ok((term, values))));
        }
        self.pull(id, partition);
    }

    fn pull(&mut self, id: MemberId, partition: PartitionId) {
        let mut follower = 0;
        loop {
            for _ in 0..8 {
                let Some(member) = self.members.get_mut(&id) else { return };
                let local = member.local(self.now);
                let replica = &mut member.cells[usize::from(partition.0)].replica;
                let Some(to) = replica.followers().get(follower).map(|f| f.member) else { return };
                self.bytes.clear();
                let bytes = &mut self.bytes;
                if !replica.pull(to, self.plan.message, local, &mut || true, bytes) {
                    break;
                }
                let message = Message::Link(self.bytes.as_slice().into());
                self.send(Who::Member(id), Who::Member(to), message);
            }
            follower += 1;
        }
    }

    fn learn(&mut self, id: MemberId, partition: PartitionId, record: &Record) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.with(partition, self.now, |cell, cx, leases| cell.replica.learn(record, cx, leases));
        self.touched(id, partition);
    }

    /// To the controller and, as beacons, to the other members.
    fn send_signs_of_life(&mut self, id: MemberId) {
        self.send(Who::Member(id), Who::Log, Message::Alive);
        let Some(member) = self.members.get(&id) else { return };
        let by_table = mutant::is(Mutant::BeaconByTable);
        let index = if by_table { member.state.index() } else { member.stepped() };
        let beacon = grid_core::lease::Beacon { sent: member.local(self.now).0, index };
        let peers: Vec<MemberId> = member.state.members().keys().copied().collect();
        for to in peers.into_iter().filter(|to| *to != id) {
            self.send(Who::Member(id), Who::Member(to), Message::Beacon(beacon));
        }
    }

    fn tick(&mut self, id: MemberId) {
        self.follow_log(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.ticks += 1;
        if member.ticks % 2 == 0 {
            self.send_signs_of_life(id);
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        let (mut changes, mut leading, asks) = member.tick_following(self.now);
        for (to, bytes) in asks {
            self.send(Who::Member(id), Who::Member(to), Message::Link(bytes));
        }
        while leading != 0 {
            let partition = PartitionId(leading.trailing_zeros() as u16);
            leading &= leading - 1;
            let Some(member) = self.members.get_mut(&id) else { return };
            let (change, sent) = member.tick_leading(partition, self.now);
            changes.extend(change.map(|(version, change)| (partition, version, change)));
            for (to, bytes) in sent {
                self.send(Who::Member(id), Who::Member(to), Message::Link(bytes));
            }
            self.touched(id, partition);
            if self.violation.is_some() {
                return;
            }
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        for (partition, number) in member.begin_barriers() {
            self.counts.barriers_begun += 1;
            self.send(Who::Member(id), Who::Log, Message::Barrier(partition, number));
            self.at(self.now + self.plan.barrier, Event::BarrierFailed(id, partition, number));
        }
        if !changes.is_empty() {
            let command = Command::Change { by: id, changes };
            self.send(Who::Member(id), Who::Log, Message::Propose(command));
        }
        self.check_serving();
        self.at(self.now + TICK, Event::Tick(id));
    }
}
