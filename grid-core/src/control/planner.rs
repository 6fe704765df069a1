//! Which member should hold which partition: balanced, with as little movement as possible.

use super::{ClusterConfig, Goal, Record};
use crate::ids::{MemberId, PartitionId};
use std::collections::BTreeMap;

/// How many replicas and primaries a member has been given so far.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    replicas: usize,
    primaries: usize,
}

struct Planner<'a> {
    table: &'a [Record],
    loads: BTreeMap<MemberId, Load>,
    /// In-sync replicas wanted per partition.
    replicas: usize,
    /// Those and followers.
    wanted: usize,
}

/// Wishes that spread replicas and primaries evenly over the `alive` members, for the records whose
/// present wishes differ. What is wanted or in place already stays as far as balance allows; if it is
/// balanced well enough and all of it is alive, nothing is moved at all. Lost partitions are left alone.
#[must_use]
pub fn plan(config: &ClusterConfig, table: &[Record], alive: &[MemberId]) -> Vec<Goal> {
    let replicas = (usize::from(config.sync_backups) + 1).min(alive.len());
    let followers = usize::from(config.async_backups).min(alive.len() - replicas);
    let loads = alive.iter().map(|member| (*member, Load::default())).collect();
    let mut planner = Planner { table, loads, replicas, wanted: replicas + followers };
    if alive.is_empty() || planner.is_fine() {
        return Vec::new();
    }
    let mut chosen: Vec<Vec<MemberId>> = table.iter().map(|record| planner.keep(record)).collect();
    for (record, set) in table.iter().zip(&mut chosen) {
        planner.fill(record, set);
    }
    while planner.level(&mut chosen) {}
    for (record, set) in table.iter().zip(&mut chosen) {
        planner.lead(record, set);
    }
    while planner.level_primaries(&mut chosen) {}
    let goals = table.iter().zip(chosen).zip((0..).map(PartitionId));
    goals
        .filter_map(|((record, mut set), partition)| {
            let followers = set.split_off(replicas.min(set.len()));
            let differs = !record.lost
                && (record.goal.first() != set.first()
                    || !same(&record.goal, &set)
                    || !same(&record.followers, &followers));
            let version = record.version;
            differs.then_some(Goal { partition, version, replicas: set, followers })
        })
        .collect()
}

impl Planner<'_> {
    /// Whether the present wishes are complete, alive and nearly balanced.
    fn is_fine(&self) -> bool {
        let mut loads = self.loads.clone();
        for record in self.table.iter().filter(|record| !record.lost) {
            let followers = self.wanted - self.replicas;
            if record.goal.len() != self.replicas || record.followers.len() != followers {
                return false;
            }
            for member in record.goal.iter().chain(&record.followers) {
                let Some(load) = loads.get_mut(member) else { return false };
                load.replicas += 1;
            }
            let first = record.goal.first().and_then(|member| loads.get_mut(member));
            first.into_iter().for_each(|load| load.primaries += 1);
        }
        let even = |count: fn(&Load) -> usize| {
            let (least, most) = (loads.values().map(count).min(), loads.values().map(count).max());
            let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
            most - least <= 2 + most / 8
        };
        even(|load| load.replicas) && even(|load| load.primaries)
    }

    /// What is wanted or in place stays.
    fn keep(&mut self, record: &Record) -> Vec<MemberId> {
        let mut set = Vec::with_capacity(self.wanted);
        for member in record.goal.iter().chain(&record.isr).chain(&record.followers) {
            if set.len() == self.wanted || set.contains(member) || record.lost {
                continue;
            }
            if let Some(load) = self.loads.get_mut(member) {
                load.replicas += 1;
                set.push(*member);
            }
        }
        set
    }

    /// Gives what is missing to the members with the least; among equals to those that need no copy.
    fn fill(&mut self, record: &Record, set: &mut Vec<MemberId>) {
        while set.len() < self.wanted && !record.lost {
            let free = self.loads.iter_mut().filter(|(member, _)| !set.contains(member));
            let least =
                free.min_by_key(|(member, load)| (load.replicas, !record.in_sync(**member)));
            let Some((member, load)) = least else { return };
            load.replicas += 1;
            set.push(*member);
        }
    }

    /// Moves replicas from members with more than an even share to those with less. Returns whether
    /// anything moved.
    fn level(&mut self, chosen: &mut [Vec<MemberId>]) -> bool {
        let total: usize = self.loads.values().map(|load| load.replicas).sum();
        let (floor, ceil) = (total / self.loads.len(), total.div_ceil(self.loads.len()));
        let mut moved = false;
        for (record, set) in self.table.iter().zip(chosen) {
            let replicas = |member: &MemberId| self.loads.get(member).map_or(0, |l| l.replicas);
            let costs = |member: &MemberId| record.in_sync(*member);
            let most = set.iter().enumerate().max_by_key(|(_, m)| (replicas(m), !costs(m)));
            let absent = self.loads.keys().filter(|member| !set.contains(member));
            let least = absent.min_by_key(|m| (replicas(m), !costs(m)));
            let (Some((at, most)), Some(least)) = (most, least) else { continue };
            let (most, least) = (*most, *least);
            let (high, low) = (replicas(&most), replicas(&least));
            if high > floor && low < ceil && high > low + 1 {
                self.loads.entry(most).or_default().replicas -= 1;
                self.loads.entry(least).or_default().replicas += 1;
                set[at] = least;
                moved = true;
            }
        }
        moved
    }

    /// Puts the primary first: the wanted one, or the present one, or the one with the least.
    fn lead(&mut self, record: &Record, set: &mut [MemberId]) {
        set.sort_by_key(|member| (!record.in_sync(*member), *member));
        let rank = |member: &MemberId| {
            let primaries = self.loads.get(member).map_or(usize::MAX, |load| load.primaries);
            (record.goal.first() != Some(member), *member != record.primary, primaries)
        };
        let first = set.iter().enumerate().min_by_key(|(_, member)| rank(member));
        let Some((at, _)) = first else { return };
        set.swap(0, at);
        self.loads.entry(set[0]).or_default().primaries += 1;
    }

    /// Lets another replica lead where that evens out. Returns whether anything changed.
    fn level_primaries(&mut self, chosen: &mut [Vec<MemberId>]) -> bool {
        let mut moved = false;
        for set in chosen {
            let primaries = |m: &MemberId| self.loads.get(m).map_or(0, |load| load.primaries);
            let least = set.iter().enumerate().min_by_key(|(_, member)| primaries(member));
            let (Some(first), Some((at, least))) = (set.first().copied(), least) else { continue };
            let least = *least;
            if primaries(&first) > primaries(&least) + 1 {
                self.loads.entry(first).or_default().primaries -= 1;
                self.loads.entry(least).or_default().primaries += 1;
                set.swap(0, at);
                moved = true;
            }
        }
        moved
    }
}

fn same(a: &[MemberId], b: &[MemberId]) -> bool {
    a.len() == b.len() && a.iter().all(|member| b.contains(member))
}
