//! The cluster, as one member sees it: the agreed table, and who answers.

use crate::cluster::{Heard, LogView};
use crate::status::{
    ClusterStatus, CopyStatus, LogRole, LogStatus, PartitionRow, PartitionState, PartitionStatus,
    PeerStatus,
};
use grid_core::control::{ClusterConfig, ControlState, Record};
use grid_core::ids::{MemberId, NodeId, PartitionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What there is to go by.
pub(super) struct Scene<'a> {
    pub(super) state: &'a ControlState,
    pub(super) config: &'a ClusterConfig,
    pub(super) me: Option<MemberId>,
    pub(super) log: &'a LogView,
    /// What the members say of themselves, this one included.
    pub(super) heard: &'a BTreeMap<MemberId, Heard>,
    /// How long the others have not answered; those that do answer are left out.
    pub(super) silent: &'a BTreeMap<MemberId, Duration>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Scene<'_> {
    fn answers(&self, member: MemberId) -> bool {
        self.state.members().contains_key(&member) && !self.silent.contains_key(&member)
    }

    fn replicas(&self) -> usize {
        usize::from(self.config.sync_backups) + 1
    }

    fn living(&self, record: &Record) -> usize {
        record.isr.iter().filter(|member| self.answers(**member)).count()
    }

    fn judge(&self, record: &Record) -> PartitionState {
        if record.lost {
            PartitionState::Lost
        } else if record.retired || !self.answers(record.primary) {
            PartitionState::WithoutPrimary
        } else if self.living(record) < self.replicas() {
            PartitionState::Degraded
        } else if record.goal.first() != Some(&record.primary)
            || record.goal.len() != record.isr.len()
            || record.learners().any(|member| record.goal.contains(&member))
        {
            PartitionState::Moving
        } else {
            PartitionState::Full
        }
    }

    pub(super) fn cluster(&self, name: &str) -> ClusterStatus {
        let log = self.log;
        let place =
            |node: &NodeId| log.nodes.get(node).cloned().unwrap_or_else(|| format!("node {node}"));
        ClusterStatus {
            name: name.to_owned(),
            life: self.state.life(),
            replicas: self.replicas() as u64,
            min_in_sync: self.config.min_in_sync.into(),
            lease_ms: self.config.lease_ms.into(),
            members: self.members(),
            log: LogStatus {
                quorum: log.quorum,
                leader: log.leader.map(|node| node.to_string()),
                leader_address: log.leader.as_ref().map(place),
                leads: log.leads,
                term: log.term,
                applied: log.applied,
                last: log.last,
                voters: log.voters.iter().map(place).collect(),
            },
        }
    }

    fn members(&self) -> Vec<PeerStatus> {
        let mut held: BTreeMap<MemberId, (u64, u64)> = BTreeMap::new();
        for record in self.state.table().iter().filter(|record| !record.lost) {
            held.entry(record.primary).or_default().0 += 1;
            for member in record.isr.iter().filter(|member| **member != record.primary) {
                held.entry(*member).or_default().1 += 1;
            }
        }
        let peer = |(id, info): (&MemberId, &grid_core::control::MemberInfo)| {
            let heard = self.heard.get(id);
            let silent = self.silent.get(id);
            let (primary, backup) = held.get(id).copied().unwrap_or_default();
            let brief = heard.filter(|_| silent.is_none());
            PeerStatus {
                id: id.0,
                node: info.node.to_string(),
                address: info.address.clone(),
                http: info.http.clone(),
                log: self.role(info.node),
                silent_ms: silent.map(|silence| millis(*silence)),
                primary,
                backup,
                version: heard.map(|heard| heard.brief.version.clone()),
                uptime_ms: brief.map(|h| h.brief.uptime_ms.saturating_add(millis(h.at.elapsed()))),
                clock_ahead_ms: brief.filter(|_| self.me != Some(*id)).map(|h| h.clock.ahead_ms),
                clock_complaint: brief.and_then(|heard| heard.clock.complaint()),
            }
        };
        self.state.members().iter().map(peer).collect()
    }

    fn role(&self, node: NodeId) -> LogRole {
        if self.log.leader == Some(node) {
            LogRole::Leader
        } else if self.log.voters.contains(&node) {
            LogRole::Voter
        } else if self.log.nodes.contains_key(&node) {
            LogRole::Learner
        } else {
            LogRole::Absent
        }
    }

    pub(super) fn partitions(&self) -> PartitionStatus {
        let mut copies: BTreeMap<PartitionId, Vec<CopyStatus>> = BTreeMap::new();
        let living = self.heard.iter().filter(|(id, _)| self.answers(**id));
        for copy in living.flat_map(|(_, heard)| &heard.brief.copies) {
            copies.entry(copy.partition).or_default().push(CopyStatus {
                to: copy.to.0,
                pieces: copy.pieces.into(),
                arrived: copy.arrived.into(),
                bytes: copy.bytes,
                of_bytes: copy.of_bytes,
            });
        }
        let mut all = PartitionStatus {
            count: self.config.partitions.into(),
            copying: copies.len() as u64,
            ..PartitionStatus::default()
        };
        for (record, partition) in self.state.table().iter().zip((0..).map(PartitionId)) {
            let mine = self.me.is_some_and(|me| record.in_sync(me)) && !record.lost;
            let primary = mine && self.me == Some(record.primary);
            all.primary += u64::from(primary);
            all.backup += u64::from(mine && !primary);
            let state = self.judge(record);
            match state {
                PartitionState::Lost => all.lost += 1,
                PartitionState::WithoutPrimary => all.without_primary += 1,
                PartitionState::Degraded => all.degraded += 1,
                PartitionState::Moving => all.moving += 1,
                PartitionState::Full => all.full += 1,
            }
            if state != PartitionState::Full {
                let ids = |members: &[MemberId]| members.iter().map(|member| member.0).collect();
                all.not_full.push(PartitionRow {
                    partition: partition.0,
                    state,
                    primary: record.primary.0,
                    term: record.term.0,
                    in_sync: if record.lost { Vec::new() } else { ids(&record.isr) },
                    wanted: ids(&record.goal),
                    copies: copies.remove(&partition).unwrap_or_default(),
                });
            }
        }
        all
    }

    /// What would be lost, or could not go on, if one more member ended now.
    pub(super) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        self.quorum_dangers(&mut dangers);
        let members = self.state.members();
        for (member, silence) in self.silent.iter().filter(|(id, _)| members.contains_key(id)) {
            let address = members.get(member).map(|info| info.address.as_str()).unwrap_or_default();
            let seconds = silence.as_secs();
            dangers.push(format!("member {member} at {address} has not answered for {seconds} s"));
        }
        let alive = members.keys().filter(|member| self.answers(**member)).count();
        if members.len() < 2 {
            dangers.push("the cluster has one member: stopping it loses the data".to_owned());
            return dangers;
        }
        if alive < 2 {
            dangers.push("no other member answers: stopping this one loses the data".to_owned());
        }
        if self.config.sync_backups == 0 {
            let text = "there are no backups (cluster.sync-backups): each member's end loses data";
            dangers.push(text.to_owned());
        }
        let table = self.state.table();
        let count = |of: PartitionState| table.iter().filter(|r| self.judge(r) == of).count();
        let wanted = self.replicas().min(alive);
        let short = |record: &&Record| !record.lost && self.living(record) < wanted;
        let short = table.iter().filter(short).count();
        let (lost, orphans) = (count(PartitionState::Lost), count(PartitionState::WithoutPrimary));
        let (moving, all) = (count(PartitionState::Moving), table.len());
        if lost > 0 {
            dangers
                .push(format!("{lost} of {all} partitions are lost (grid admin reset-lost all)"));
        }
        if orphans > 0 {
            dangers.push(format!("{orphans} of {all} partitions have no primary that answers"));
        }
        if short > 0 {
            dangers.push(format!(
                "{short} of {all} partitions have fewer in-sync replicas than wanted"
            ));
        }
        if moving > 0 {
            dangers.push(format!("{moving} of {all} partitions are moving"));
        }
        let clocks = self.heard.iter().filter(|(id, _)| self.answers(**id));
        let complaint = |(id, heard): (&MemberId, &Heard)| {
            heard.clock.complaint().map(|complaint| format!("member {id}: {complaint}"))
        };
        dangers.extend(clocks.filter_map(complaint));
        dangers
    }

    fn quorum_dangers(&self, dangers: &mut Vec<String>) {
        let log = self.log;
        if !log.quorum {
            let text =
                "the cluster has no quorum: who owns what cannot change, and nobody can join";
            return dangers.push(text.to_owned());
        }
        let answers = |node: &&NodeId| {
            let of = |(_, info): &(&MemberId, &grid_core::control::MemberInfo)| info.node == **node;
            let member = self.state.members().iter().find(of);
            member.is_some_and(|(member, _)| self.answers(*member))
        };
        let (voters, alive) = (log.voters.len(), log.voters.iter().filter(answers).count());
        if voters == 1 && self.state.members().len() > 1 {
            let voter = log.voters.iter().filter_map(|node| log.nodes.get(node)).next();
            let voter = voter.map(String::as_str).unwrap_or_default();
            dangers.push(format!("only {voter} votes: if it ends, an operator has to decide"));
        }
        if voters > 1 && alive <= voters / 2 + 1 && alive < voters {
            dangers.push(format!(
                "{alive} of {voters} voters answer: if one more ends, there is no quorum"
            ));
        }
    }
}
