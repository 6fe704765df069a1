//! Histories as text, and what is expected of them.
#![allow(dead_code, clippy::unwrap_used)] // not every test uses all

use grid_check::text::{TextModel, read};
use grid_check::{Counterexample, History, Verdict, check};

/// The history of the one key in `lines`, in the format of `grid_check::text`.
pub(crate) fn history<M: TextModel>(lines: &str) -> History<M> {
    let mut histories = read::<M>(lines.as_bytes()).unwrap();
    assert_eq!(histories.len(), 1, "one key");
    histories.pop_first().unwrap().1
}

#[track_caller]
pub(crate) fn linearizable<M: TextModel>(lines: &str) {
    let verdict = check(&history::<M>(lines));
    assert!(verdict.is_linearizable(), "{verdict}");
}

/// That there is a violation, which these lines show: those of the counterexample without bars.
#[track_caller]
pub(crate) fn violation<M: TextModel>(lines: &str, shown: &[&str]) -> Counterexample<M> {
    let Verdict::Violation(example) = check(&history::<M>(lines)) else {
        panic!("no violation: {lines}");
    };
    let ops = example.history().ops().iter();
    let found: Vec<String> = ops.map(|op| format!("{} {:?}", op.process(), op.input())).collect();
    assert_eq!(found, shown, "{example}");
    *example
}
