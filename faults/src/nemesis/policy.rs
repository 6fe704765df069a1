//! What may be broken at the same time, so that of every partition one in-sync replica lives.

use super::fault::Fault;
use std::collections::BTreeSet;

/// The rule of a run.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Number of members.
    pub members: usize,
    /// Most members that the others have to do without at a time.
    pub down_max: usize,
}

/// What a fault has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    No,
    /// All members that are up must say that they are safe.
    Safe,
    /// Something that is broken must be healed first.
    Heal,
}

impl Policy {
    /// What `next` has to wait for while `active` ones last. A member that was started again and is not
    /// ready yet counts as down; so its fault is still active.
    ///
    /// A member is killed only when all others are safe, and only while nothing else than processes is
    /// broken: else the others may go on without one of them between their answer and the kill.
    #[must_use]
    pub fn admits(&self, active: &[Fault], next: &Fault) -> Wait {
        let mut down: BTreeSet<usize> = next.affected(self.members);
        if down.is_empty() {
            return Wait::No;
        }
        down.extend(active.iter().flat_map(|fault| fault.affected(self.members)));
        let same_process = |fault: &Fault| {
            fault.target == next.target && fault.kind.is_of_process() && next.kind.is_of_process()
        };
        let only_processes =
            || active.iter().all(|f| f.kind.is_of_process() || f.affected(self.members).is_empty());
        // One is left in any case, unless one fault alone takes all.
        let down_max = self.down_max.min(self.members.saturating_sub(1));
        if down.len() > down_max.max(next.affected(self.members).len())
            || active.iter().any(same_process)
            || next.kind.is_lethal() && !only_processes()
        {
            Wait::Heal
        } else if next.kind.is_lethal() {
            Wait::Safe
        } else {
            Wait::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Kind;
    use super::super::plan::{Conditions, Profile, plan};
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn fault(kind: Kind, target: usize) -> Fault {
        Fault { kind, target, lasts: Duration::from_secs(1), luck: 0 }
    }

    const THREE: Policy = Policy { members: 3, down_max: 1 };

    #[test]
    fn a_kill_waits_for_safety_and_for_everything_that_may_shrink_the_replicas() {
        let kill = fault(Kind::Kill, 0);
        assert_eq!(THREE.admits(&[], &kill), Wait::Safe);
        for other in [Kind::Kill, Kind::Pause, Kind::CutAll, Kind::Delay, Kind::Loss] {
            assert_eq!(THREE.admits(&[fault(other, 1)], &kill), Wait::Heal, "{other}");
            assert_eq!(THREE.admits(&[fault(other, 0)], &kill), Wait::Heal, "{other}, same one");
        }
        assert_eq!(THREE.admits(&[fault(Kind::CutClients, 1)], &kill), Wait::Safe);
        let two_down = Policy { members: 5, down_max: 2 };
        assert_eq!(two_down.admits(&[fault(Kind::Kill, 1)], &kill), Wait::Safe);
        assert_eq!(two_down.admits(&[fault(Kind::CutAll, 1)], &kill), Wait::Heal);
    }

    #[test]
    fn what_kills_nobody_may_meet_what_is_broken_already() {
        let killed = [fault(Kind::Kill, 1)];
        assert_eq!(THREE.admits(&killed, &fault(Kind::CutAll, 1)), Wait::No);
        assert_eq!(THREE.admits(&killed, &fault(Kind::CutAll, 2)), Wait::Heal);
        assert_eq!(THREE.admits(&killed, &fault(Kind::CutClients, 2)), Wait::No);
        assert_eq!(THREE.admits(&killed, &fault(Kind::Pause, 1)), Wait::Heal);
        assert_eq!(THREE.admits(&[fault(Kind::CutAll, 1)], &fault(Kind::Pause, 1)), Wait::No);
    }

    #[test]
    fn a_split_of_many_is_no_dead_end() {
        let five = Policy { members: 5, down_max: 1 };
        assert_eq!(fault(Kind::Split, 4).affected(5), [4, 0].into());
        assert_eq!(five.admits(&[], &fault(Kind::Split, 4)), Wait::No);
        assert_eq!(five.admits(&[fault(Kind::Pause, 1)], &fault(Kind::Split, 4)), Wait::Heal);
    }

    proptest! {
        /// Whatever is planned can be begun once nothing is broken, and what runs at the same time never
        /// concerns more members than allowed (or than one fault alone does).
        #[test]
        fn the_limit_holds_for_any_schedule(seed: u64, members in 1usize..7, down_max in 1usize..3) {
            let policy = Policy { members, down_max };
            let has = Conditions { members, network: true, proxies: true, flips: true };
            let mut active: Vec<Fault> = Vec::new();
            for step in plan(seed, 60, Profile::All, has) {
                let fault = step.fault;
                prop_assert!(fault.target < members);
                while policy.admits(&active, &fault) == Wait::Heal {
                    prop_assert!(!active.is_empty(), "{fault:?} can never begin");
                    active.remove(0);
                }
                active.push(fault);
                let down: BTreeSet<_> = active.iter().flat_map(|f| f.affected(members)).collect();
                let largest = active.iter().map(|f| f.affected(members).len()).max();
                prop_assert!(down.len() <= down_max.max(largest.unwrap_or(0)));
                prop_assert!(down.len() < members.max(2), "somebody is left");
            }
        }
    }
}
