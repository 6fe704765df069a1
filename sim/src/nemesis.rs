//! What goes wrong.

use crate::event::{Event, Who};
use crate::member::QUEUE_NAME;
use crate::plan::{MS, US};
use crate::world::World;
use grid_core::control::Command;
use grid_core::ids::{MemberId, PartitionId};

impl World {
    /// Nothing passes between two machines, in both directions.
    pub fn cut(&mut self, a: usize, b: usize) {
        (self.cut[a][b], self.cut[b][a]) = (true, true);
    }

    /// The place of the control log on the network.
    #[must_use]
    pub fn log_place(&self) -> usize {
        self.place(Who::Log)
    }

    /// A process does nothing for a while.
    pub fn pause(&mut self, slot: usize, nanos: u64) {
        let until = self.now + nanos;
        if let Some(member) = self.members.get_mut(&self.slots[slot]) {
            member.paused = until;
        }
    }

    /// Everything passes again.
    pub fn uncut(&mut self) {
        self.cut.iter_mut().for_each(|row| row.fill(false));
    }

    pub(crate) fn nemesis(&mut self) {
        if self.healing {
            return;
        }
        self.counts.faults += 1;
        match self.rng.range(0, 99) {
            0..=19 => {
                self.uncut();
                if self.rng.chance(400) {
                    self.cut_from_log(self.isolated);
                }
            }
            20..=45 => self.partition_network(),
            46..=73 => self.crash(),
            74..=89 => {
                let slot = self.rng.below(self.slots.len());
                let pause = self.rng.range(10, 200) * MS;
                self.pause(slot, pause);
            }
            90..=94 => self.log_down = self.now + self.rng.range(20, 150) * MS,
            _ => {
                let sessions: Vec<_> = self.head.sessions().iter().copied().collect();
                if !sessions.is_empty() {
                    let at = self.rng.below(sessions.len());
                    self.at(self.now, Event::Expire(sessions[at]));
                }
            }
        }
        self.after(8 * MS, 70 * MS, Event::Nemesis);
    }

    fn cut_from_log(&mut self, slot: usize) {
        let log = self.place(Who::Log);
        self.cut[slot][log] = true;
        self.cut[log][slot] = true;
    }

    /// Some are apart from the others: often a primary with some clients, the log on the other side.
    fn partition_network(&mut self) {
        self.uncut();
        let places = self.cut.len();
        let members = self.plan.members;
        let mut apart: Vec<bool> = (0..places).map(|_| self.rng.chance(400)).collect();
        if self.rng.chance(600) {
            apart.fill(false);
            let at = if self.rng.chance(600) { 0 } else { 1.min(self.head.table().len() - 1) };
            let primary = self.head.table()[at].primary;
            self.isolated = self.slot_of(primary).unwrap_or(0);
            apart[self.isolated] = true;
            for place in apart.iter_mut().take(places - 1).skip(members) {
                *place = self.rng.chance(500);
            }
            if self.rng.chance(300) {
                let with = self.rng.below(members);
                apart[with] = true;
            }
            apart[places - 1] = self.rng.chance(200);
        }
        let one_way = self.rng.chance(200);
        for a in 0..places {
            for b in 0..places {
                if apart[a] != apart[b] && (!one_way || apart[a]) {
                    self.cut[a][b] = true;
                }
            }
        }
        if self.rng.chance(150) {
            self.uncut();
            let slot = self.rng.below(members);
            self.cut_from_log(slot);
        }
    }

    fn crash(&mut self) {
        let slot = if self.rng.chance(500) {
            let at = self.rng.below(self.head.table().len().min(2));
            let primary = self.head.table()[at].primary;
            self.slot_of(primary).unwrap_or(0)
        } else {
            self.rng.below(self.slots.len())
        };
        let id = self.slots[slot];
        let lost: Vec<usize> =
            (0..self.head.table().len()).filter(|partition| !self.kept(*partition, id)).collect();
        let struck = lost.is_empty() || (self.plan.losses && self.rng.chance(400));
        if !self.members.contains_key(&id) || !struck {
            return;
        }
        lost.into_iter().for_each(|partition| self.checks.doomed[partition] = true);
        self.kill(slot);
        let (from, to) = match self.rng.range(0, 99) {
            0..=39 => (300 * US, 3 * MS),
            40..=63 => (500 * US, 15 * MS),
            _ => (5 * MS, 90 * MS),
        };
        self.after(from, to, Event::Restart(slot));
    }

    /// The operator gives a lost partition an owner again: the replica that left last, if there is one, or
    /// anybody, with nothing.
    pub(crate) fn reset_lost(&mut self, partition: PartitionId) {
        let Some(record) = self.head.record(partition).filter(|record| record.lost) else { return };
        let last = record.removed.filter(|id| self.members.contains_key(id));
        let keep = last.filter(|_| self.rng.chance(700));
        let any: Vec<MemberId> = self.members.keys().copied().collect();
        if any.is_empty() {
            return self.after(5 * MS, 20 * MS, Event::ResetLost(partition));
        }
        let any = any[self.rng.below(any.len())];
        let (owner, keep) = (keep.unwrap_or(any), keep.is_some());
        self.counts.resets += 1;
        self.counts.kept += u64::from(keep);
        self.commit(Command::ResetLost { partition, owner, keep });
        self.after(MS, 60 * MS, Event::AcceptLoss);
    }

    /// The operator lets all structures answer again.
    pub(crate) fn accept_loss(&mut self) {
        for name in ["m", "quick", QUEUE_NAME] {
            self.commit(Command::AcceptLoss(name.into()));
        }
    }
}
