//! Partitions that do not take requests just now: they move, their heir does not serve yet, or they
//! are overloaded. Their requests wait here in order. After a pause one is sent as a probe, and the others
//! follow once it is answered: whatever waits, a partition costs its member one request per pause.

use crate::backoff::Backoff;
use grid_core::error::Error;
use grid_core::ids::PartitionId;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Shortest and longest pause.
pub(crate) const PAUSES: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(200));

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Detours {
    blocked: HashMap<PartitionId, Detour>,
}

#[derive(Debug)]
struct Detour {
    /// Reads wait too: the member does not serve the partition at all.
    all: bool,
    until: Instant,
    pauses: Backoff,
    /// The request that has been sent to see whether the others can follow.
    probe: Option<u64>,
    /// Ids and slots.
    waiting: BTreeMap<u64, u32>,
    why: Error,
}

impl Detours {
    /// Whether any partition is blocked.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether a request has to wait.
    #[inline]
    pub(crate) fn blocks(&self, partition: PartitionId, id: u64, writes: bool) -> bool {
        let waits = |detour: &Detour| (detour.all || writes) && detour.probe != Some(id);
        !self.blocked.is_empty() && self.blocked.get(&partition).is_some_and(waits)
    }

    /// Adds a request to those that wait for its partition, which is blocked.
    pub(crate) fn join(&mut self, partition: PartitionId, id: u64, slot: u32) {
        if let Some(detour) = self.blocked.get_mut(&partition) {
            detour.waiting.insert(id, slot);
        }
    }

    /// A request was refused: it waits, and so do those that come after it. `pause`: how long, if the member
    /// has said so. `all`: the partition is not served at all.
    pub(crate) fn refuse(
        &mut self,
        partition: PartitionId,
        (id, slot): (u64, u32),
        (all, pause): (bool, Option<Duration>),
        why: Error,
        now: Instant,
    ) {
        let mut fresh = false;
        let detour = self.blocked.entry(partition).or_insert_with(|| {
            fresh = true;
            let pauses = Backoff::new(PAUSES.0, PAUSES.1);
            let waiting = BTreeMap::new();
            Detour { all, until: now, pauses, probe: None, waiting, why: why.clone() }
        });
        detour.waiting.insert(id, slot);
        if fresh || detour.probe == Some(id) {
            detour.probe = None;
            detour.until = now + pause.unwrap_or_else(|| detour.pauses.next());
        }
        (detour.all, detour.why) = (detour.all || all, why);
    }

    /// A request has ended. If it was the probe of its partition and a member has answered it, returns
    /// who waited for that.
    pub(crate) fn end(
        &mut self,
        partition: PartitionId,
        id: u64,
        answered: bool,
        now: Instant,
    ) -> BTreeMap<u64, u32> {
        let Some(detour) = self.blocked.get_mut(&partition) else { return BTreeMap::new() };
        detour.waiting.remove(&id);
        if detour.probe == Some(id) {
            (detour.probe, detour.until) = (None, now);
            if answered {
                let detour = self.blocked.remove(&partition);
                return detour.map(|detour| detour.waiting).unwrap_or_default();
            }
        }
        if detour.probe.is_none() && detour.waiting.is_empty() {
            self.blocked.remove(&partition);
        }
        BTreeMap::new()
    }

    /// The partition has another primary: no reason to wait any longer.
    pub(crate) fn moved(&mut self, partition: PartitionId, now: Instant) {
        if let Some(detour) = self.blocked.get_mut(&partition) {
            detour.until = now;
            detour.pauses.reset();
        }
    }

    /// Takes out the requests that are to be sent now as probes: ids and slots.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(u64, u32)> {
        let due = self.blocked.values_mut().filter(|d| d.probe.is_none() && d.until <= now);
        due.filter_map(|detour| {
            let (id, slot) = detour.waiting.pop_first()?;
            detour.probe = Some(id);
            Some((id, slot))
        })
        .collect()
    }

    /// When [`Detours::take_due`] will have something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.blocked.values().filter(|d| d.probe.is_none()).map(|d| d.until).min()
    }

    /// Whether a partition is not served at all where the table says.
    pub(crate) fn astray(&self) -> bool {
        self.blocked.values().any(|detour| detour.all)
    }

    /// Why the requests of a partition wait.
    pub(crate) fn why(&self, partition: PartitionId) -> Option<&Error> {
        self.blocked.get(&partition).map(|detour| &detour.why)
    }

    /// The partitions that are blocked.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.blocked.keys().copied()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.blocked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::Kind;

    const P: PartitionId = PartitionId(3);

    #[test]
    fn a_blocked_partition_sends_one_probe_per_pause_and_the_rest_after_its_answer() {
        let (mut detours, now) = (Detours::default(), Instant::now());
        let why = || Error::new(Kind::NotServing);
        assert!(!detours.blocks(P, 9, true));
        for id in [7, 5, 6] {
            detours.refuse(P, (id, id as u32), (true, None), why(), now);
        }
        assert!(detours.blocks(P, 9, false) && !detours.blocks(PartitionId(4), 9, true));
        detours.join(P, 8, 8);
        assert!(detours.take_due(now).is_empty());
        let mut at = now;
        for _ in 0..9 {
            at += PAUSES.1;
            assert_eq!(detours.take_due(at), [(5, 5)], "the oldest first");
            assert!(detours.take_due(at + PAUSES.1).is_empty(), "one at a time");
            detours.refuse(P, (5, 5), (true, None), why(), at);
            let pause = detours.next_due().unwrap() - at;
            assert!(pause <= PAUSES.1 && pause >= PAUSES.0 / 2, "{pause:?}");
        }
        // The probe is given up: another one takes its place.
        detours.take_due(at + PAUSES.1);
        assert!(detours.end(P, 5, false, at).is_empty());
        assert_eq!(detours.take_due(at), [(6, 6)]);
        let rest: Vec<u64> = detours.end(P, 6, true, at).into_keys().collect();
        assert_eq!(rest, [7, 8], "in the order of their ids");
        assert!(!detours.blocks(P, 9, true) && detours.next_due().is_none());
    }

    #[test]
    fn an_overloaded_partition_holds_up_writes_only_for_as_long_as_it_says() {
        let (mut detours, now) = (Detours::default(), Instant::now());
        let pause = Duration::from_millis(70);
        detours.refuse(P, (1, 1), (false, Some(pause)), Error::new(Kind::Overloaded), now);
        assert!(detours.blocks(P, 9, true) && !detours.blocks(P, 9, false) && !detours.astray());
        assert_eq!(detours.next_due(), Some(now + pause));
        detours.moved(P, now);
        assert_eq!(detours.take_due(now), [(1, 1)]);
        detours.end(P, 1, true, now);
        assert!(!detours.blocks(P, 9, true));
    }
}
