//! One run from seed to verdict.

use crate::event::{Ask, Event};
use crate::member::{Member, QUEUE_NAME};
use crate::world::{Counts, World};
use grid_core::control::Record;
use grid_core::ids::PartitionId;
use grid_core::partitioning::partition_of_name;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is wrong, if anything is.
    pub violation: Option<String>,
    /// Histories whose check was given up: nothing is known about them.
    pub given_up: Vec<String>,
    /// What happened.
    pub counts: Counts,
    /// Simulated nanoseconds.
    pub time: u64,
}

impl Report {
    /// What speaks against the run, if anything does.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let given_up = || (!self.given_up.is_empty()).then(|| self.given_up.join(", "));
        self.violation.clone().or_else(|| given_up().map(|names| format!("not decided: {names}")))
    }
}

/// Runs the seed.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Report {
    let mut world = World::new(seed);
    world.trace = trace;
    world.run()
}

/// Runs the seed, telling everything. Also returns the histories that are not linearizable, as text.
#[must_use]
pub fn run_and_tell(seed: u64) -> (Report, String) {
    let mut world = World::new(seed);
    world.trace = true;
    let report = world.run();
    (report, world.histories.tell())
}

impl World {
    /// Runs to the end: faults, then healing, then the checks.
    pub fn run(&mut self) -> Report {
        let mut healed = false;
        while self.violation.is_none()
            && let Some(event) = self.next()
        {
            if self.now > self.plan.end {
                break;
            }
            if !self.healing && self.now > self.plan.chaos {
                self.heal();
            }
            let control = matches!(event, Event::Control);
            self.handle(event);
            if control && self.healing && self.is_healed() {
                if self.asked && self.clients.iter().all(crate::client::Client::is_idle) {
                    healed = true;
                    break;
                }
                self.ask_everything();
            }
        }
        let checked = self.histories.check();
        (self.counts.ops, self.counts.given_up) = (checked.ops, checked.given_up.len() as u64);
        if self.violation.is_none() {
            self.violation = checked.wrong;
        }
        if self.violation.is_none() && !healed {
            self.violation = Some(format!("liveness: {}", self.unhealed()));
        }
        let violation = self.violation.clone();
        let given_up = checked.given_up;
        Report { violation, given_up, counts: self.counts, time: self.now }
    }

    /// Runs until something holds, for so many milliseconds at most. Returns whether it does.
    pub fn run_until(&mut self, ms: u64, mut holds: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + ms * crate::plan::MS;
        while self.violation.is_none() && self.next_at().is_some_and(|at| at <= end) {
            if holds(self) {
                return true;
            }
            if let Some(event) = self.next() {
                self.handle(event);
                self.check_serving();
            }
        }
        self.now = self.now.max(end);
        self.violation.is_none() && holds(self)
    }

    /// Runs for so many milliseconds.
    pub fn run_for(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// No more faults.
    pub fn heal(&mut self) {
        self.healing = true;
        self.uncut();
        self.log_down = 0;
    }

    /// Every partition has to serve again.
    fn ask_everything(&mut self) {
        if self.asked {
            return;
        }
        self.asked = true;
        for at in 0..self.plan.config.partitions.min(8) {
            let value = self.next_value;
            self.next_value += 1;
            let client = usize::from(at) % self.clients.len().max(1);
            let asks = [Ask::Scan, Ask::Put(0, value), Ask::Get(0)];
            if let Some(client) = self.clients.get_mut(client) {
                client.todo.extend(asks.map(|ask| (PartitionId(at), ask)));
            }
        }
        let queue = partition_of_name(QUEUE_NAME, self.plan.config.partitions);
        for at in 0..self.clients.len() {
            if at == 0 {
                self.clients[at].todo.push((queue, Ask::Poll));
            }
            self.wake_client(at);
        }
    }

    /// Whether every partition serves, in sync with everybody it should be.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        (0..).zip(self.head.table()).all(|(at, record)| self.is_whole(at, record))
    }

    fn is_whole(&self, at: usize, record: &Record) -> bool {
        let wanted = (usize::from(self.plan.config.sync_backups) + 1).min(self.plan.members);
        let serves = |member: &Member| member.cells[at].replica.serves();
        record.isr.len() == wanted
            && self.members.get(&record.primary).is_some_and(serves)
            && record.isr.iter().all(|id| self.members.contains_key(id))
            && record.goal.iter().all(|id| record.isr.contains(id))
    }

    /// What is not as it should be.
    #[must_use]
    pub fn unhealed(&self) -> String {
        let mut out = Vec::new();
        for (at, record) in self.head.table().iter().enumerate() {
            if !self.is_whole(at, record) {
                let replica = self.members.get(&record.primary).map(|member| {
                    let followers: Vec<String> = self
                        .members
                        .values()
                        .map(|m| format!("\n    {}", m.cells[at].replica.summary()))
                        .collect();
                    (followers.concat(), member.cells[at].replica.followers())
                });
                out.push(format!("partition {at}: {record:?} {replica:?}"));
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            if self.asked && !client.is_idle() && self.now > self.plan.end {
                out.push(format!("client {at}: {client:?}"));
            }
        }
        out.truncate(4);
        out.join("; ")
    }
}
