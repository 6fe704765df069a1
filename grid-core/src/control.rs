//! What the cluster agrees on: members, sessions, structures and who owns which partition. A
//! deterministic state machine over a log of commands; consensus puts the commands in order, and every
//! member applies them. No data operation ever goes through it.

mod command;
mod planner;
mod structure;
mod table;
#[cfg(test)]
mod tests;

pub use command::{Applied, ClusterConfig, Command, Goal, MemberInfo, Outcome};
pub use planner::plan;
pub use structure::{
    Ack, MapConfig, QueueConfig, Structure, StructureConfig, StructureKind, check_name,
};
pub use table::{Change, Record};

use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, NodeId, PartitionId, SessionId, StructureId, Version};
use crate::limits::STRUCTURES_MAX;
use crate::mutant::{self, Mutant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The state that the log of commands leads to; equal on every member at an equal index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlState {
    index: Index,
    config: Option<ClusterConfig>,
    life: u64,
    boots: BTreeMap<NodeId, (u64, MemberId)>,
    members: BTreeMap<MemberId, MemberInfo>,
    /// Position of the last change of the members.
    members_at: Index,
    /// Those that are about to end.
    leaving: BTreeSet<MemberId>,
    sessions: BTreeSet<SessionId>,
    names: BTreeMap<String, StructureId>,
    structures: Vec<Structure>,
    table: Vec<Record>,
}

impl ControlState {
    /// Applies the command at a position of the log. Positions ascend; they need not be dense.
    pub fn apply(&mut self, index: Index, command: Command) -> Applied {
        debug_assert!(index > self.index, "the log goes forward");
        self.index = index;
        let mut changed = Vec::new();
        let outcome = match self.change(command, &mut changed) {
            Ok(outcome) => outcome,
            Err(e) => Outcome::Refused(e.kind(), e.detail().unwrap_or_default().to_owned()),
        };
        Applied { outcome, changed }
    }

    /// Moves on to a position that holds no command.
    pub fn skip(&mut self, index: Index) {
        self.index = self.index.max(index);
    }

    fn change(&mut self, command: Command, changed: &mut Vec<PartitionId>) -> Result<Outcome> {
        if self.config.is_none() && !matches!(command, Command::Form(..)) {
            return Err(Error::with(Kind::Invalid, "the cluster is not formed yet"));
        }
        match command {
            Command::Form(config, life) => self.form(config, life),
            Command::Start { boot, member } => self.start(boot, member, changed),
            Command::Leave(member) => {
                self.retire(member, changed);
                Ok(Outcome::Done)
            }
            Command::Leaving(member) => self.announce(member),
            Command::Change { by, changes } => Ok(self.propose(by, changes, changed)),
            Command::Assign(goals) => Ok(self.assign(goals, changed)),
            Command::OpenSession => {
                let id = SessionId(self.index.0);
                self.sessions.insert(id);
                Ok(Outcome::SessionOpened(id))
            }
            Command::ExpireSessions(ids) => {
                let ended = ids.iter().filter(|id| self.sessions.remove(id)).count();
                Ok(Outcome::Taken(ended))
            }
            Command::Declare { name, config } => self.declare(name, config),
            Command::ResetLost { partition, owner, keep } => {
                self.reset_lost(partition, owner, keep, changed)
            }
            Command::AcceptLoss(name) => {
                let id = self.names.get(&name).copied();
                let structure = id.and_then(|id| self.structures.get_mut(id.0 as usize));
                let unknown = || Error::with(Kind::UnknownStructure, format!("'{name}'"));
                structure.ok_or_else(unknown)?.since = self.index;
                Ok(Outcome::Done)
            }
        }
    }

    fn form(&mut self, config: ClusterConfig, life: u64) -> Result<Outcome> {
        if self.config.is_some() {
            return Err(Error::with(Kind::Invalid, "the cluster is formed already"));
        }
        if config.partitions == 0 || config.min_in_sync == 0 || config.lease_ms == 0 {
            return Err(Error::with(Kind::Invalid, "partitions, replicas and leases are above 0"));
        }
        (self.config, self.life) = (Some(config), life);
        Ok(Outcome::Done)
    }

    fn start(
        &mut self,
        boot: u64,
        info: MemberInfo,
        changed: &mut Vec<PartitionId>,
    ) -> Result<Outcome> {
        let node = info.node;
        let last = self.boots.get(&node).copied();
        if let Some((last, _)) = last
            && boot <= last
            && !(boot == last && mutant::is(Mutant::StartRepeated))
        {
            let text = format!("life {boot} of node {node} is not newer than {last}");
            return Err(Error::with(Kind::Invalid, text));
        }
        let member = MemberId(self.index.0);
        self.boots.insert(node, (boot, member));
        self.members.insert(member, info);
        self.members_at = self.index;
        if let Some((_, old)) = last {
            self.retire(old, changed);
        }
        if self.table.iter().all(|record| record.lost) {
            self.begin_empty(member, changed);
        }
        Ok(Outcome::Started(member))
    }

    /// Nothing is left of any partition (or there never was anything): all data begins anew.
    fn begin_empty(&mut self, owner: MemberId, changed: &mut Vec<PartitionId>) {
        let partitions = self.config.as_ref().map_or(0, |config| config.partitions);
        if self.table.is_empty() {
            self.table = vec![Record::first(self.index, owner); usize::from(partitions)];
        } else {
            self.life = self.life.wrapping_add(1);
            self.sessions.clear();
            for record in &mut self.table {
                record.give(owner, true);
                record.lost_at = Index(0);
                if record.index != self.index {
                    touch(record, self.index);
                }
            }
        }
        changed.clear();
        changed.extend((0..partitions).map(PartitionId));
    }

    fn announce(&mut self, leaving: MemberId) -> Result<Outcome> {
        if !self.members.contains_key(&leaving) {
            return Err(Error::with(Kind::Invalid, format!("there is no member {leaving}")));
        }
        self.leaving.insert(leaving);
        Ok(Outcome::Done)
    }

    fn retire(&mut self, gone: MemberId, changed: &mut Vec<PartitionId>) {
        if self.members.remove(&gone).is_none() {
            return;
        }
        self.members_at = self.index;
        self.leaving.remove(&gone);
        for (record, partition) in self.table.iter_mut().zip((0..).map(PartitionId)) {
            if record.retire(gone, self.index) {
                touch(record, self.index);
                changed.push(partition);
            }
        }
    }

    fn propose(
        &mut self,
        by: MemberId,
        changes: Vec<(PartitionId, Version, Change)>,
        changed: &mut Vec<PartitionId>,
    ) -> Outcome {
        let min_in_sync = self.config.as_ref().map_or(1, |c| usize::from(c.min_in_sync));
        for (partition, version, change) in changes {
            let Some(record) = self.table.get_mut(usize::from(partition.0)) else { continue };
            let target = match change {
                Change::Add(member) | Change::Transfer(member) => member,
                _ => by,
            };
            let known = self.members.contains_key(&by) && self.members.contains_key(&target);
            if !known || record.version != version {
                continue;
            }
            let Some(next) = record.after(by, change, min_in_sync) else { continue };
            *record = next;
            if record.lost {
                record.lost_at = self.index;
            }
            touch(record, self.index);
            changed.push(partition);
        }
        Outcome::Taken(changed.len())
    }

    fn assign(&mut self, goals: Vec<Goal>, changed: &mut Vec<PartitionId>) -> Outcome {
        for goal in goals {
            let Some(record) = self.table.get_mut(usize::from(goal.partition.0)) else { continue };
            let members = || goal.replicas.iter().chain(&goal.followers);
            let distinct: BTreeSet<_> = members().collect();
            let possible = !goal.replicas.is_empty()
                && distinct.len() == members().count()
                && members().all(|member| self.members.contains_key(member));
            if !possible || record.lost || record.version != goal.version {
                continue;
            }
            (record.goal, record.followers) = (goal.replicas, goal.followers);
            touch(record, self.index);
            changed.push(goal.partition);
        }
        Outcome::Taken(changed.len())
    }

    fn reset_lost(
        &mut self,
        partition: PartitionId,
        owner: MemberId,
        keep: bool,
        changed: &mut Vec<PartitionId>,
    ) -> Result<Outcome> {
        let record = self.table.get_mut(usize::from(partition.0));
        let record = record.filter(|record| record.lost).ok_or_else(|| {
            Error::with(Kind::Invalid, format!("partition {partition} is not lost"))
        })?;
        if !self.members.contains_key(&owner) {
            return Err(Error::with(Kind::Invalid, format!("there is no member {owner}")));
        }
        if keep && record.removed != Some(owner) {
            let text =
                format!("member {owner} is not the one that left partition {partition} last");
            return Err(Error::with(Kind::Invalid, text));
        }
        record.give(owner, !keep);
        touch(record, self.index);
        changed.push(partition);
        Ok(Outcome::Done)
    }

    fn declare(&mut self, name: String, config: StructureConfig) -> Result<Outcome> {
        check_name(&name)?;
        if let Some((id, known)) = self.structure_named(&name) {
            if known.kind() == config.kind() {
                return Ok(Outcome::Declared(id, known.clone()));
            }
            let text = format!("'{name}' is a {}, not a {}", known.kind(), config.kind());
            return Err(Error::with(Kind::WrongStructure, text));
        }
        if self.structures.len() >= STRUCTURES_MAX {
            let text = format!(
                "the cluster has {STRUCTURES_MAX} structures already, the most that are possible"
            );
            return Err(Error::with(Kind::Overloaded, text));
        }
        #[allow(clippy::cast_possible_truncation)]
        let id = StructureId(self.structures.len() as u32);
        self.names.insert(name.clone(), id);
        self.structures.push(Structure { name, config: config.clone(), since: self.index });
        Ok(Outcome::Declared(id, config))
    }

    /// Position of the last applied command.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// What the cluster was formed with, once it was.
    #[must_use]
    pub fn config(&self) -> Option<&ClusterConfig> {
        self.config.as_ref()
    }

    /// Tells this life of the cluster's data from all others.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life
    }

    /// The members whose processes have started and are not known to have ended, oldest first.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<MemberId, MemberInfo> {
        &self.members
    }

    /// Position of the last change of the members.
    #[must_use]
    pub fn members_at(&self) -> Index {
        self.members_at
    }

    /// The members that are about to end.
    #[must_use]
    pub fn leaving(&self) -> &BTreeSet<MemberId> {
        &self.leaving
    }

    /// The latest life of a node, and the member that it is.
    #[must_use]
    pub fn boot(&self, node: NodeId) -> Option<(u64, MemberId)> {
        self.boots.get(&node).copied()
    }

    /// Whether the session is registered and has not expired.
    #[must_use]
    pub fn has_session(&self, id: SessionId) -> bool {
        self.sessions.contains(&id)
    }

    /// The open sessions.
    #[must_use]
    pub fn sessions(&self) -> &BTreeSet<SessionId> {
        &self.sessions
    }

    /// A structure by id.
    #[must_use]
    pub fn structure(&self, id: StructureId) -> Option<&Structure> {
        self.structures.get(id.0 as usize)
    }

    /// All structures, in the order of their ids.
    #[must_use]
    pub fn structures(&self) -> &[Structure] {
        &self.structures
    }

    /// A structure by name.
    #[must_use]
    pub fn structure_named(&self, name: &str) -> Option<(StructureId, &StructureConfig)> {
        let id = *self.names.get(name)?;
        Some((id, &self.structure(id)?.config))
    }

    /// The table, a record per partition; empty before the first member started.
    #[must_use]
    pub fn table(&self) -> &[Record] {
        &self.table
    }

    /// The record of a partition.
    #[must_use]
    pub fn record(&self, partition: PartitionId) -> Option<&Record> {
        self.table.get(usize::from(partition.0))
    }

    /// Whether a structure answers in a partition: not if it is older than a loss there.
    #[must_use]
    pub fn answers(&self, structure: StructureId, partition: PartitionId) -> bool {
        match (self.structure(structure), self.record(partition)) {
            (Some(structure), Some(record)) => !record.lost && structure.since >= record.lost_at,
            _ => true,
        }
    }
}

fn touch(record: &mut Record, index: Index) {
    record.version = Version(record.version.0 + 1);
    record.index = index;
}
