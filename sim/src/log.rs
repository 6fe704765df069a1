//! The ideal control log: whatever reaches it is decided at once, members hear of it when they do. It
//! stands for any correct consensus. Its controller is that of the product: it only sets wishes.

use crate::event::{Event, Message, Who};
use crate::member::{Member, QUEUE_MAX, QUEUE_NAME};
use crate::plan::{MS, US};
use crate::world::{TICK, World};
use grid_core::control::{
    Ack, Change, Command, MapConfig, MemberInfo, Outcome, QueueConfig, Record, StructureConfig,
    plan,
};
use grid_core::ids::{Index, MemberId, NodeId, PartitionId};
use grid_core::mutant::{self, Mutant};
use std::sync::Arc;

impl World {
    /// Adds a command to the log.
    pub fn commit(&mut self, command: Command) -> Outcome {
        self.log.push(command.clone());
        let index = Index(self.log.len() as u64);
        let applied = self.head.apply(index, command);
        if self.trace {
            eprintln!("{:>9} log {index}: {:?}", self.now / US, applied);
            for partition in &applied.changed {
                eprintln!("          {partition}: {:?}", self.head.record(*partition));
            }
        }
        let record = |at: &PartitionId| self.head.record(*at).map(|r| (*at, Arc::new(r.clone())));
        self.records.push(applied.changed.iter().filter_map(record).collect());
        for partition in applied.changed {
            self.record_changed(partition);
        }
        applied.outcome
    }

    pub(crate) fn declare(&mut self) {
        let map = StructureConfig::Map(MapConfig::default());
        self.commit(Command::Declare { name: "m".into(), config: map });
        let quick = MapConfig { ack: Ack::Primary, ..MapConfig::default() };
        let quick = Command::Declare { name: "quick".into(), config: StructureConfig::Map(quick) };
        let queue = StructureConfig::Queue(QueueConfig {
            items_max: Some(QUEUE_MAX),
            ..QueueConfig::default()
        });
        self.commit(Command::Declare { name: QUEUE_NAME.into(), config: queue });
        self.commit(quick);
    }

    pub(crate) fn log_receives(&mut self, from: Who, message: Message) {
        if self.now < self.log_down {
            return;
        }
        match (from, message) {
            (Who::Member(id), Message::Alive) => {
                self.heard.insert(id, self.now);
            }
            (Who::Member(_), Message::Propose(Command::Change { by, changes })) => {
                self.propose(by, changes);
            }
            (Who::Member(_), Message::Barrier(partition, number)) => {
                let answer = Message::BarrierAt(partition, number, self.head.index());
                self.send(Who::Log, from, answer);
            }
            (Who::Client(at), Message::Open) => {
                if let Outcome::SessionOpened(id) = self.commit(Command::OpenSession) {
                    self.send(Who::Log, Who::Client(at), Message::Opened(id));
                }
            }
            _ => {}
        }
    }

    fn propose(
        &mut self,
        by: MemberId,
        changes: Vec<(PartitionId, grid_core::ids::Version, Change)>,
    ) {
        let mut taken = Vec::new();
        for (partition, version, change) in changes {
            let Some(record) = self.head.record(partition) else { continue };
            let min = usize::from(self.plan.config.min_in_sync);
            let possible = record.version == version && self.head.members().contains_key(&by);
            let Some(next) = record.after(by, change, min).filter(|_| possible) else { continue };
            // The documented window: a removal commits just as its proposer is gone, and nobody is left
            // who may serve. It is counted, and happens only where losses do.
            if !next.isr.iter().any(|member| self.members.contains_key(member)) {
                self.counts.windows += 1;
                if !self.plan.losses {
                    continue;
                }
                self.checks.doomed[usize::from(partition.0)] = true;
            }
            let counts = &mut self.counts;
            match change {
                Change::Promote => counts.promotions += 1,
                Change::Transfer(_) => counts.transfers += 1,
                Change::Add(_) => counts.adds += 1,
                Change::Shrink(_) => counts.shrinks += 1,
                Change::GiveUp => self.checks.doomed[usize::from(partition.0)] = true,
                Change::Bump => {}
            }
            taken.push((partition, version, change));
        }
        if !taken.is_empty() {
            self.commit(Command::Change { by, changes: taken });
        }
    }

    /// A machine's process begins its life.
    pub(crate) fn start(&mut self, slot: usize) {
        self.boots[slot] += 1;
        let member = MemberInfo { node: NodeId(slot as u64), address: String::new(), http: None };
        let command = Command::Start { boot: self.boots[slot], member };
        // Now and then the command is delivered again, much later.
        if self.plan.faults && self.rng.chance(200) {
            self.after(MS, 300 * MS, Event::Repeat(Box::new(command.clone())));
        }
        let Outcome::Started(id) = self.commit(command) else {
            return self.broken(format!("machine {slot} could not start"));
        };
        if self.slots.len() <= slot {
            self.slots.push(id);
        }
        self.slots[slot] = id;
        let mut state = std::mem::take(&mut self.kept[slot]);
        if state.config().is_none() {
            // A first start: what a process that joins is told before it begins.
            state = self.head.clone();
        }
        self.spawn(slot, id, state);
    }

    pub(crate) fn spawn(
        &mut self,
        slot: usize,
        id: MemberId,
        state: grid_core::control::ControlState,
    ) {
        let permille = self.plan.clock_permille as f64 / 1000.0;
        let rate = 1.0 + (self.rng.range(0, 2000) as f64 / 1000.0 - 1.0) * permille;
        let offset = self.rng.range(1_000 * MS, 1_000_000 * MS);
        let mut member = Member::new(id, slot, state, &self.env, (rate, offset));
        // What it kept of the log it knows from the first moment.
        let local = member.local(self.now);
        for (record, partition) in member.state.table().iter().zip((0..).map(PartitionId)) {
            member.leases.learn(partition, record, local);
        }
        let table = member.state.table().to_vec();
        self.members.insert(id, member);
        for (record, partition) in table.into_iter().zip((0..).map(PartitionId)) {
            self.handle(Event::Learn(id, partition, Arc::new(record)));
        }
        self.after(0, TICK, Event::Tick(id));
    }

    /// A member hears of more of the log, sometimes of all.
    pub(crate) fn follow_log(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else { return };
        let (have, end) = (member.state.index().0, self.log.len() as u64);
        let reaches = !self.cut[self.place(Who::Log)][member.slot] && self.now >= self.log_down;
        if !reaches || have >= end || !(self.healing || !self.plan.faults || self.rng.chance(500)) {
            return;
        }
        let all = self.healing || !self.plan.faults || self.rng.chance(700);
        let to = if all { end } else { self.rng.range(have + 1, end) };
        self.follow_log_to(id, to);
    }

    /// A member hears of the log up to a position.
    pub fn follow_log_to(&mut self, id: MemberId, to: u64) {
        let mut learn = Vec::new();
        let Some(member) = self.members.get_mut(&id) else { return };
        let local = member.local(self.now);
        for at in member.state.index().0..to {
            let command = self.log[at as usize].clone();
            if matches!(command, Command::ExpireSessions(_)) {
                member.remembers = u64::MAX;
            }
            let applied = member.state.apply(Index(at + 1), command);
            let records = &self.records[at as usize];
            debug_assert!(
                applied.changed.iter().eq(records.iter().map(|(partition, _)| partition))
            );
            for (partition, record) in records {
                member.leases.learn(*partition, record, local);
                learn.push((*partition, Arc::clone(record)));
            }
        }
        for (partition, record) in learn {
            let slow = usize::from(partition.0) == self.plan.slow && self.rng.chance(700);
            let draw = self.rng.range(0, 99);
            let delay = if !self.plan.faults {
                US
            } else if slow && !self.healing {
                self.rng.range(US, 150 * MS)
            } else if draw < 50 {
                US
            } else if draw < 85 || self.healing {
                self.rng.range(US, 3 * MS)
            } else {
                self.rng.range(US, 60 * MS)
            };
            self.at(self.now + delay, Event::Learn(id, partition, record));
        }
    }

    /// A barrier of the control log has ended for a member, which has the table's record up to there.
    pub fn barrier_done(
        &mut self,
        id: MemberId,
        partition: PartitionId,
        number: u64,
        record: Option<&Record>,
    ) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.cells[usize::from(partition.0)].replica.barrier_done(number, record);
        self.counts.barriers += u64::from(record.is_some());
        self.touched(id, partition);
    }

    /// The controller's turn.
    pub(crate) fn control(&mut self) {
        self.at(self.now + TICK, Event::Control);
        if self.now < self.log_down {
            return;
        }
        let alive: Vec<MemberId> = self
            .slots
            .iter()
            .copied()
            .filter(|id| self.heard.get(id).is_some_and(|at| self.now - at < 25 * MS))
            .collect();
        let seen = (self.head.index(), alive);
        let mut goals = if self.planned.as_ref() == Some(&seen) {
            Vec::new()
        } else {
            plan(&self.plan.config, self.head.table(), &seen.1)
        };
        let alive = seen.1.len();
        self.planned = Some(seen);
        if !self.healing && alive > 1 && self.rng.chance(self.plan.moves) {
            // Somebody else shall lead, for no reason.
            let at = self.rng.below(self.head.table().len().min(2));
            let record = &self.head.table()[at];
            let mut replicas = record.goal.clone();
            let turn = self.rng.below(replicas.len().max(1));
            replicas.rotate_left(turn);
            goals.retain(|goal| usize::from(goal.partition.0) != at);
            if !record.lost {
                goals.push(grid_core::control::Goal {
                    partition: PartitionId(at as u16),
                    version: record.version,
                    replicas,
                    followers: record.followers.clone(),
                });
            }
        }
        if !goals.is_empty() {
            self.commit(Command::Assign(goals));
        }
    }

    /// A machine starts its process again.
    pub fn restart(&mut self, slot: usize) {
        if self.cut[slot][self.place(Who::Log)] || self.now < self.log_down {
            return self.at(self.now + 5 * MS, Event::Restart(slot));
        }
        if mutant::is(Mutant::SameId) {
            let (id, state) = (self.slots[slot], self.kept[slot].clone());
            return self.spawn(slot, id, state);
        }
        self.start(slot);
    }

    /// A process loses its memory. Its machine keeps its part of the log.
    pub fn kill(&mut self, slot: usize) {
        let id = self.slots[slot];
        if let Some(member) = self.members.remove(&id) {
            self.kept[slot] = member.state;
            self.counts.crashes += 1;
            if self.trace {
                eprintln!("{:>9} kill {id} at {slot}", self.now / US);
            }
        }
    }
}

impl Member {
    /// Whether every cell knows as well as the table which partitions `peer` has lost.
    pub(crate) fn knows_in_cells(&self, peer: MemberId) -> bool {
        self.cells.iter().zip(self.state.table()).all(|(cell, record)| {
            cell.replica.record().index >= record.index || cell.replica.record().primary != peer
        })
    }
}
