//! Which names are used: few and many of each kind, replaced by new ones when they are used up.

use crate::history::Target;
use crate::rng::Rng;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Operations on a key before another takes its place.
pub const ENTRY_OPERATIONS_MAX: u32 = 190;
/// Operations on a queue before another takes its place.
pub const QUEUE_OPERATIONS_MAX: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Entry,
    Counter,
    Queue,
}

/// Names of one kind, used about equally often.
#[derive(Debug)]
struct Space {
    kind: Kind,
    /// Number of its first map or queue, and how many it has.
    first: u16,
    structures: u16,
    /// Names in use at a time, in all; each counts its operations.
    slots: Box<[AtomicU32]>,
}

/// All names.
#[derive(Debug)]
pub(super) struct Spaces {
    spaces: Vec<Space>,
    weights: Vec<(usize, u32)>,
    /// Whether queues are not replaced.
    steady: bool,
}

impl Spaces {
    pub(super) fn new(steady: bool) -> Self {
        let space = |kind, first, structures, slots: usize| Space {
            kind,
            first,
            structures,
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
        };
        let spaces = vec![
            space(Kind::Entry, 0, 1, 4),      // a few keys that all clients fight for
            space(Kind::Entry, 1, 16, 1_024), // many keys in many maps
            space(Kind::Counter, 0, 1, 3),
            space(Kind::Queue, 0, 2, 2),
            space(Kind::Queue, 2, 30, 30),
        ];
        Spaces { spaces, weights: vec![(0, 30), (1, 30), (2, 15), (3, 12), (4, 13)], steady }
    }

    /// If structures stay the same: a name in each of them.
    pub(super) fn steady(&self) -> Vec<Target> {
        let spaces = if self.steady { self.spaces.as_slice() } else { &[] };
        let names = |space: &Space| {
            let (kind, first) = (space.kind, space.first);
            (0..space.structures).map(move |n| target(kind, first + n, u64::from(n) << 32, 0))
        };
        spaces.iter().flat_map(names).collect()
    }

    /// A name for so many operations of one process after each other.
    pub(super) fn draw(&self, rng: &mut Rng, operations: u32) -> (Kind, Target) {
        let space = rng.weighted(&self.weights).and_then(|index| self.spaces.get(index));
        let Some(space) = space else { return (Kind::Entry, Target::Entry { map: 0, key: 0 }) };
        let index = rng.index(space.slots.len());
        let limit = match space.kind {
            Kind::Entry | Kind::Counter => ENTRY_OPERATIONS_MAX,
            Kind::Queue if self.steady => u32::MAX,
            Kind::Queue => QUEUE_OPERATIONS_MAX,
        };
        let used = space.slots.get(index).map_or(0, |slot| slot.fetch_add(operations, Relaxed));
        let generation = used / limit;
        let structure = space.first + u16::try_from(index).unwrap_or(0) % space.structures;
        let key = (index as u64) << 32 | u64::from(generation);
        (space.kind, target(space.kind, structure, key, generation))
    }
}

fn target(kind: Kind, structure: u16, key: u64, generation: u32) -> Target {
    match kind {
        Kind::Entry => Target::Entry { map: structure, key },
        Kind::Counter => Target::Counter { key },
        Kind::Queue => Target::Queue { queue: structure, generation },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_replaced_before_they_are_used_too_often() {
        let (spaces, mut rng) = (Spaces::new(false), Rng::new(1));
        let mut uses: BTreeMap<Target, u32> = BTreeMap::new();
        for _ in 0..200_000 {
            let (kind, target) = spaces.draw(&mut rng, 2);
            let used = uses.entry(target).or_default();
            *used += 2;
            let most =
                if kind == Kind::Queue { QUEUE_OPERATIONS_MAX } else { ENTRY_OPERATIONS_MAX };
            assert!(*used <= most + 1, "{target} was used {used} times");
        }
        let count = |wanted: fn(&Target) -> bool| uses.keys().filter(|t| wanted(t)).count();
        assert!(count(|t| matches!(t, Target::Entry { map: 0, .. })) > 500);
        assert!(count(|t| matches!(t, Target::Entry { map: 1.., .. })) >= 1_024);
        assert!(count(|t| matches!(t, Target::Counter { .. })) > 200);
        assert!(count(|t| matches!(t, Target::Queue { queue: 2.., .. })) >= 30);
    }

    #[test]
    fn steady_names_are_in_structures_that_are_known_from_the_beginning() {
        let (spaces, mut rng) = (Spaces::new(true), Rng::new(1));
        let known: std::collections::BTreeSet<_> =
            spaces.steady().into_iter().map(Target::structure).collect();
        assert_eq!(known.len(), 50);
        for _ in 0..50_000 {
            let (_, target) = spaces.draw(&mut rng, 2);
            assert!(known.contains(&target.structure()), "{target}");
        }
        assert!(Spaces::new(false).steady().is_empty());
    }
}
