//! Who votes: three of the nodes, or one of one or two. Changes go one at a time, and what was begun is
//! finished first.

use super::timing::Timing;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Voters of a cluster that has as many nodes.
const VOTERS: usize = 3;
/// Who has answered within this time is there.
const ALIVE: Duration = Duration::from_secs(1);

/// A node as the leader sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) address: String,
    /// Time since it last answered.
    pub(super) silent: Duration,
    /// It has nearly everything of the log.
    pub(super) caught_up: bool,
}

/// What the leader sees.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The leader.
    pub(super) me: u64,
    /// The sets of voters: two during a change.
    pub(super) configs: Vec<BTreeSet<u64>>,
    pub(super) nodes: BTreeMap<u64, Seen>,
    /// Nodes that are about to end.
    pub(super) leaving: BTreeSet<u64>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Finish the change that was begun.
    Finish,
    /// From now on these vote.
    Voters(BTreeSet<u64>),
    /// Let that one lead.
    Transfer(u64),
    /// Send these nothing more.
    Remove(BTreeSet<u64>),
}

/// Decides the next step, if there is one.
pub(super) fn next(view: &View, timing: &Timing) -> Option<Step> {
    let [voters] = view.configs.as_slice() else { return Some(Step::Finish) };
    let target = view.target(voters, timing);
    if target.is_empty() {
        return None;
    }
    if !target.contains(&view.me) {
        // Nobody removes itself: first the others vote too, then one of them leads.
        if !target.is_subset(voters) {
            return Some(Step::Voters(target.into_iter().chain([view.me]).collect()));
        }
        // To one that is silent just now it would come to nothing.
        let answering = target.iter().filter(|node| view.silent(**node) < ALIVE);
        let heir = answering.min_by_key(|node| view.silent(**node));
        return heir.map(|node| Step::Transfer(*node));
    }
    if target != *voters {
        return Some(Step::Voters(target));
    }
    let gone = view
        .nodes
        .keys()
        .filter(|node| !voters.contains(node) && view.is_gone(**node, timing.learner_silent));
    let gone: BTreeSet<_> = gone.copied().collect();
    (!gone.is_empty()).then_some(Step::Remove(gone))
}

impl View {
    fn silent(&self, node: u64) -> Duration {
        if node == self.me {
            return Duration::ZERO;
        }
        self.nodes.get(&node).map_or(Duration::MAX, |seen| seen.silent)
    }

    fn is_gone(&self, node: u64, silent: Duration) -> bool {
        self.leaving.contains(&node) || self.silent(node) > silent || self.is_superseded(node)
    }

    /// A process that lives is reached where this one was: it has ended.
    fn is_superseded(&self, node: u64) -> bool {
        let Some(seen) = self.nodes.get(&node) else { return true };
        let newer = |(other, its): (&u64, &Seen)| {
            *other != node && its.address == seen.address && self.silent(*other) < ALIVE
        };
        self.silent(node) > ALIVE && self.nodes.iter().any(newer)
    }

    /// Who should vote.
    fn target(&self, voters: &BTreeSet<u64>, timing: &Timing) -> BTreeSet<u64> {
        let fit = |node: &u64| {
            let ready = voters.contains(node)
                || self
                    .nodes
                    .get(node)
                    .is_some_and(|seen| seen.caught_up && seen.silent < timing.voter_silent / 2);
            ready && !self.is_gone(*node, timing.voter_silent)
        };
        let mut fit: Vec<_> = self.nodes.keys().copied().filter(fit).collect();
        fit.sort_by_key(|node| (*node != self.me, !voters.contains(node), *node));
        fit.truncate(if fit.len() < VOTERS { 1 } else { VOTERS });
        fit.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    /// Node 1 leads; each node is at its own address, and all is well.
    fn view(voters: &[u64], nodes: &[u64]) -> View {
        let seen = |node: &u64| {
            let address = format!("host-{node}");
            (*node, Seen { address, silent: Duration::from_millis(20), caught_up: true })
        };
        View {
            me: 1,
            configs: vec![set(voters)],
            nodes: nodes.iter().map(seen).collect(),
            leaving: BTreeSet::new(),
        }
    }

    fn decide(view: &View) -> Option<Step> {
        next(view, &Timing::default())
    }

    fn silence(view: &mut View, node: u64, secs: u64) {
        view.nodes.get_mut(&node).unwrap().silent = Duration::from_secs(secs);
    }

    #[test]
    fn one_of_two_and_three_of_more_vote() {
        assert_eq!(decide(&view(&[1], &[1])), None);
        assert_eq!(decide(&view(&[1], &[1, 2])), None);
        assert_eq!(decide(&view(&[1], &[1, 2, 3])), Some(Step::Voters(set(&[1, 2, 3]))));
        assert_eq!(decide(&view(&[1, 2, 3], &[1, 2, 3, 4, 5])), None);
        // Who has not caught up does not vote yet.
        let mut late = view(&[1], &[1, 2, 3]);
        late.nodes.get_mut(&3).unwrap().caught_up = false;
        assert_eq!(decide(&late), None);
    }

    #[test]
    fn a_silent_voter_is_replaced_after_its_time_and_a_change_is_finished_first() {
        let mut v = view(&[1, 2, 3], &[1, 2, 3, 4]);
        silence(&mut v, 3, 9);
        assert_eq!(decide(&v), None);
        silence(&mut v, 3, 11);
        assert_eq!(decide(&v), Some(Step::Voters(set(&[1, 2, 4]))));
        v.configs.push(set(&[1, 2, 4]));
        assert_eq!(decide(&v), Some(Step::Finish));
        v.configs.remove(0);
        assert_eq!(decide(&v), None);
        silence(&mut v, 3, 61);
        assert_eq!(decide(&v), Some(Step::Remove(set(&[3]))));
        // Without a fourth one, two are left and one votes.
        let mut v = view(&[1, 2, 3], &[1, 2, 3]);
        silence(&mut v, 3, 11);
        assert_eq!(decide(&v), Some(Step::Voters(set(&[1]))));
    }

    #[test]
    fn a_node_whose_address_another_one_answers_at_is_gone_at_once() {
        let mut v = view(&[1, 2, 3], &[1, 2, 3, 4]);
        silence(&mut v, 3, 2);
        v.nodes.get_mut(&4).unwrap().address = "host-3".to_owned();
        assert_eq!(decide(&v), Some(Step::Voters(set(&[1, 2, 4]))));
        // Of two that answer, neither is.
        silence(&mut v, 3, 0);
        assert_eq!(decide(&v), None);
    }

    #[test]
    fn a_leader_that_leaves_has_others_vote_then_lead_and_is_then_removed() {
        let mut v = view(&[1], &[1, 2]);
        v.leaving = set(&[1]);
        assert_eq!(decide(&v), Some(Step::Voters(set(&[1, 2]))));
        v.configs = vec![set(&[1, 2])];
        assert_eq!(decide(&v), Some(Step::Transfer(2)));
        v.me = 2;
        assert_eq!(decide(&v), Some(Step::Voters(set(&[2]))));
        v.configs = vec![set(&[2])];
        assert_eq!(decide(&v), Some(Step::Remove(set(&[1]))));
        // Nobody to lead is there.
        v.me = 1;
        v.leaving = set(&[1]);
        v.nodes.insert(1, v.nodes[&2].clone());
        silence(&mut v, 2, 2);
        assert_eq!(decide(&v), None);
        // The last one stays.
        let mut v = view(&[1], &[1]);
        v.leaving = set(&[1]);
        assert_eq!(decide(&v), None);
    }

    proptest! {
        /// Whatever the leader sees: following the steps comes to an end, the leader votes unless it leaves,
        /// and nobody who is gone votes in the end if anybody is left.
        #[test]
        fn the_steps_come_to_an_end(
            seen in prop::collection::btree_map(1u64..8, (0u64..80, any::<bool>(), 1u8..8), 1..7),
            voters in prop::collection::btree_set(1u64..8, 1..5),
            leaving in prop::collection::btree_set(1u64..8, 0..3),
        ) {
            let seen = seen.into_iter().map(|(node, (silent, caught_up, address))| {
                let silent = Duration::from_secs(silent);
                (node, Seen { address: address.to_string(), silent, caught_up })
            });
            let mut nodes: BTreeMap<_, _> = seen.collect();
            let me = *nodes.keys().next().unwrap();
            nodes.get_mut(&me).unwrap().caught_up = true;
            let voters: BTreeSet<_> =
                voters.into_iter().filter(|n| nodes.contains_key(n)).chain([me]).collect();
            let mut view = View { me, configs: vec![voters], nodes, leaving };
            for _ in 0..20 {
                let Some(step) = decide(&view) else {
                    let voters = &view.configs[0];
                    prop_assert!(voters.contains(&view.me));
                    let gone = |n: &u64| *n != view.me && view.is_gone(*n, Duration::from_secs(10));
                    let left = !view.leaving.contains(&view.me);
                    prop_assert!(!left || !voters.iter().any(gone), "{view:?}");
                    return Ok(());
                };
                match step {
                    Step::Finish => drop(view.configs.remove(0)),
                    Step::Voters(voters) => {
                        prop_assert!(voters.contains(&view.me), "nobody removes itself");
                        prop_assert!(voters.iter().all(|node| view.nodes.contains_key(node)));
                        view.configs.push(voters);
                    }
                    Step::Transfer(to) => {
                        prop_assert!(view.configs[0].contains(&to));
                        view.me = to;
                        view.nodes.get_mut(&to).unwrap().silent = Duration::ZERO;
                    }
                    Step::Remove(gone) => {
                        prop_assert!(gone.is_disjoint(&view.configs[0]));
                        view.nodes.retain(|node, _| !gone.contains(node));
                    }
                }
            }
            prop_assert!(false, "no end: {view:?}");
        }
    }
}
