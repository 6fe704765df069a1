//! Verdicts agree with those of the checker that tries everything, narrowed or not.

use super::brute::is_linearizable;
use super::decide;
use super::executions::{Plain, Run, history, run, run_long};
use crate::checker::Narrow;
use crate::model::Decision;
use crate::models::map::MapOfKeys;
use crate::models::queue::{Queue, audit::audit};
use crate::models::register::Register;
use proptest::prelude::*;

const MODES: [Narrow; 3] = [Narrow::Late, Narrow::First, Narrow::Never];

fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default().cases;
    // `PROPTEST_CASES` multiplies what is usual here.
    ProptestConfig {
        cases: cases * given.div_ceil(256),
        failure_persistence: None,
        ..Default::default()
    }
}

/// Without narrowing, or if items are not unique, the order of many offers may be too hard.
fn is_linearizable_in_all_modes<M: Plain>(run: &Run) -> Result<(), TestCaseError> {
    let history = history::<M>(run);
    for mode in MODES {
        if run.unique && mode != Narrow::Never {
            let decision = decide(&history, mode, 5_000_000);
            prop_assert_eq!(decision, Decision::Linearizable, "{:?} {:?}", mode, history);
        } else {
            let decision = decide(&history, mode, 10_000);
            prop_assert_ne!(decision, Decision::Violation, "{:?} {:?}", mode, history);
        }
    }
    Ok(())
}

fn agrees<M: Plain>(run: &Run, memo: bool) -> Result<(), TestCaseError> {
    let history = history::<M>(run);
    let expected = match is_linearizable(&history, memo) {
        true => Decision::Linearizable,
        false => Decision::Violation,
    };
    for mode in MODES {
        prop_assert_eq!(decide(&history, mode, 1_000_000), expected, "{:?} {:?}", mode, history);
    }
    Ok(())
}

macro_rules! agreement {
    ($name:ident, $model:ty) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(config(1500))]

                #[test]
                fn what_was_sequential_is_linearizable(run in run(40, 40, 40, false)) {
                    is_linearizable_in_all_modes::<$model>(&run)?;
                }

                #[test]
                fn some_operations_may_take_very_long(run in run_long(90, 20, 30)) {
                    is_linearizable_in_all_modes::<$model>(&run)?;
                }

                #[test]
                fn wrong_answers_are_found_as_by_trying_all_orders(run in run(7, 40, 80, true)) {
                    agrees::<$model>(&run, false)?;
                }

                #[test]
                fn more_operations_agree_too(run in run(14, 50, 40, true)) {
                    agrees::<$model>(&run, true)?;
                }
            }
        }
    };
}

agreement!(register, Register);
agreement!(map, MapOfKeys);
agreement!(queue, Queue);

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn the_audit_of_a_queue_blames_no_linearizable_history(run in run(9, 40, 64, true)) {
        let history = history::<Queue>(&run);
        if !audit(&history).is_empty() {
            prop_assert!(!is_linearizable(&history, true), "{:?}", history);
        }
    }
}
