//! Counterexamples are violations of which nothing can be left out.

use super::brute::is_linearizable;
use super::executions::{Plain, Run, history, run};
use crate::checker::{Verdict, check};
use crate::counterexample::Counterexample;
use crate::history::{History, Op, Outcome};
use crate::models::map::MapOfKeys;
use crate::models::queue::Queue;
use crate::models::register::Register;
use proptest::prelude::*;

/// The history of `example` without the operation `index`, or with it as one that might have happened
/// at any time, as all of its context.
fn without<M: Plain>(example: &Counterexample<M>, index: usize) -> History<M> {
    let history = example.history();
    let mut rest = History::starting_at(history.initial().clone());
    for (place, op) in history.ops().iter().enumerate() {
        let later = example.end() < op.invoked();
        if later || matches!(op.outcome(), Outcome::NotApplied) {
            continue;
        }
        if place != index && !example.context().contains(&place) {
            rest.push(op.clone());
        } else if !M::reads(op.input(), op.output()) {
            rest.push(Op::new(op.process(), 0, op.input().clone(), Outcome::Unanswered));
        }
    }
    rest
}

fn is_minimal<M: Plain>(run: &Run) -> Result<(), TestCaseError> {
    let Verdict::Violation(example) = check(&history::<M>(run)) else { return Ok(()) };
    let few = example.history();
    prop_assert!(!is_linearizable(few, true), "no violation:\n{}", example);
    for index in (0..few.len()).filter(|index| !example.context().contains(index)) {
        let needed = is_linearizable(&without(&example, index), true);
        prop_assert!(needed, "{} is not needed in:\n{}", index, example);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn of_a_register(run in run(14, 30, 40, true)) {
        is_minimal::<Register>(&run)?;
    }

    #[test]
    fn of_a_map(run in run(12, 30, 40, true)) {
        is_minimal::<MapOfKeys>(&run)?;
    }

    #[test]
    fn of_a_queue(run in run(12, 30, 40, true)) {
        is_minimal::<Queue>(&run)?;
    }
}
