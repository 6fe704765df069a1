//! The schedule of a seed.

use super::fault::{Fault, Kind};
use crate::rng::Rng;
use std::time::Duration;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Members are killed, started again, terminated.
    Kill,
    /// Members are paused.
    Pause,
    /// Links are cut, lossy or slow.
    Cut,
    /// Connections are delayed, stalled, swallowed, reset by proxies.
    Link,
    /// Disks are full.
    Disk,
    /// Members cannot agree on anything, and have no leases, while data goes between them: no operation may
    /// fail.
    Quorum,
    /// All of them but the last.
    All,
}

/// What the run has.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Number of members.
    pub members: usize,
    /// Whether there is a network of its own, with disks that can be filled.
    pub network: bool,
    /// Whether there are proxies in the links.
    pub proxies: bool,
    /// Whether bits may be flipped behind TCP's back.
    pub flips: bool,
}

/// A fault and how long to wait before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// After the step before was begun.
    pub wait: Duration,
    /// What then.
    pub fault: Fault,
}

/// How often a kind comes, among those of its profile.
fn weight(kind: Kind) -> u32 {
    match kind {
        Kind::Kill | Kind::Pause => 6,
        Kind::Restart | Kind::CutAll | Kind::CutMembers => 4,
        Kind::Terminate | Kind::DiskFull | Kind::Reset => 2,
        _ => 3,
    }
}

impl Profile {
    fn has(self, kind: Kind) -> bool {
        let of = match kind {
            Kind::Kill | Kind::Restart | Kind::Terminate => Profile::Kill,
            Kind::Pause => Profile::Pause,
            Kind::DiskFull => Profile::Disk,
            Kind::NoQuorum => Profile::Quorum,
            kind if kind.is_of_proxies() => Profile::Link,
            _ => Profile::Cut,
        };
        self == of || (self == Profile::All && of != Profile::Quorum)
    }
}

impl Conditions {
    fn allow(&self, kind: Kind) -> bool {
        self.members >= kind.members_min()
            && (self.network || !(kind.is_of_network() || kind == Kind::DiskFull))
            && (self.proxies || !kind.is_of_proxies())
            && (self.flips || kind != Kind::Flip)
    }
}

/// The kinds that a run of this profile has under these conditions, with their weights.
fn choice(profile: Profile, conditions: Conditions) -> Vec<(Kind, u32)> {
    let kinds = Kind::ALL.iter().copied();
    let kinds = kinds.filter(|kind| profile.has(*kind) && conditions.allow(*kind));
    kinds.map(|kind| (kind, weight(kind))).collect()
}

/// The schedule: so many faults, the same ones for the same seed, profile and conditions. It is empty if no
/// kind of the profile is possible.
#[must_use]
pub fn plan(seed: u64, faults: usize, profile: Profile, conditions: Conditions) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let choice = choice(profile, conditions);
    (0..faults).map_while(|_| step(&mut rng, &choice, conditions.members)).collect()
}

fn step(rng: &mut Rng, choice: &[(Kind, u32)], members: usize) -> Option<Step> {
    let ms = Duration::from_millis;
    let kind = rng.weighted(choice)?;
    let lasts = match kind {
        Kind::Restart | Kind::Reset => Duration::ZERO,
        Kind::Kill | Kind::Terminate => rng.duration(ms(200), ms(5_000)),
        Kind::Pause => rng.duration(ms(100), ms(10_000)),
        Kind::NoQuorum => rng.duration(ms(5_000), ms(20_000)),
        _ => rng.duration(ms(200), ms(8_000)),
    };
    let fault = Fault { kind, target: rng.index(members), lasts, luck: rng.below(1 << 32) };
    Some(Step { wait: rng.duration(ms(100), ms(3_000)), fault })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const FIVE: Conditions = Conditions { members: 5, network: true, proxies: true, flips: false };

    fn kinds(profile: Profile, conditions: Conditions) -> BTreeSet<Kind> {
        plan(1, 2_000, profile, conditions).iter().map(|step| step.fault.kind).collect()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        let steps = plan(1, 100, Profile::All, FIVE);
        assert_eq!(steps, plan(1, 100, Profile::All, FIVE));
        assert_ne!(steps, plan(2, 100, Profile::All, FIVE));
        assert_eq!(steps[..50], plan(1, 50, Profile::All, FIVE)[..]);
        let targets: BTreeSet<_> = steps.iter().map(|step| step.fault.target).collect();
        assert_eq!(targets, (0..5).collect());
    }

    #[test]
    fn all_kinds_come_where_they_are_possible() {
        let mut all: BTreeSet<_> = Kind::ALL.iter().copied().collect();
        all.remove(&Kind::NoQuorum);
        assert_eq!(kinds(Profile::All, Conditions { flips: true, ..FIVE }), all);
        all.remove(&Kind::Flip);
        assert_eq!(kinds(Profile::All, FIVE), all);
        assert_eq!(kinds(Profile::Quorum, FIVE), [Kind::NoQuorum].into());
        let parts = [Profile::Kill, Profile::Pause, Profile::Cut, Profile::Link, Profile::Disk];
        let together = parts.iter().flat_map(|profile| kinds(*profile, FIVE)).collect();
        assert_eq!(all, together);
    }

    #[test]
    fn what_is_impossible_does_not_come() {
        let direct = Conditions { members: 1, network: false, proxies: false, flips: true };
        let possible = [Kind::Kill, Kind::Restart, Kind::Terminate, Kind::Pause];
        assert_eq!(kinds(Profile::All, direct), possible.into());
        assert!(plan(1, 10, Profile::Cut, direct).is_empty());
        let alone = Conditions { members: 1, ..FIVE };
        let cuts = [Kind::CutAll, Kind::CutClients, Kind::Loss, Kind::Rate];
        assert_eq!(kinds(Profile::Cut, alone), cuts.into());
    }
}
