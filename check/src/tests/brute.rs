//! A checker that is too simple to be wrong: it tries every order.

use crate::history::{History, Outcome};
use crate::model::Model;
use hashbrown::HashSet;

/// Whether `history` is linearizable. With `memo`, no configuration is tried twice.
pub(super) fn is_linearizable<M: Model>(history: &History<M>, memo: bool) -> bool {
    let left = vec![true; history.len()];
    let mut seen = memo.then(HashSet::new);
    search(history, &left, history.initial(), &mut seen)
}

fn search<M: Model>(
    history: &History<M>,
    left: &[bool],
    state: &M::State,
    seen: &mut Option<HashSet<(Vec<bool>, M::State)>>,
) -> bool {
    if seen.as_mut().is_some_and(|seen| !seen.insert((left.to_vec(), state.clone()))) {
        return false;
    }
    let ops = history.ops();
    let returned: Vec<u64> = (0..ops.len())
        .filter(|&index| left[index])
        .filter_map(|index| ops[index].returned())
        .collect();
    if returned.is_empty() {
        return true;
    }
    (0..ops.len()).any(|index| {
        let op = &ops[index];
        if !left[index]
            || matches!(op.outcome(), Outcome::NotApplied)
            || returned.iter().any(|&at| at < op.invoked())
        {
            return false;
        }
        let mut left = left.to_vec();
        left[index] = false;
        M::step(state, op.input(), op.output())
            .is_some_and(|state| search(history, &left, &state, seen))
    })
}
