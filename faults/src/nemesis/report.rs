//! What was broken, and what clients felt of it.

use super::fault::{Fault, Kind};
use crate::history::{Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// A fault that is over.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Its number in the schedule.
    pub number: usize,
    /// What it was.
    pub fault: Fault,
    /// When it was begun, in nanoseconds of the run's clock; not later.
    pub begun: u64,
    /// When it was over and its target ready again; not earlier.
    pub over: u64,
    /// Whether its target was started again, with nothing in its memory.
    pub restarted: bool,
    /// How long the target took from its start until it was ready.
    pub back: Option<Duration>,
}

/// A line for each kind of fault: how many, how long members took to return, and, of the operations that
/// were under way or called while it lasted, how many failed and the longest time that one took which was
/// done.
#[must_use]
pub fn table(done: &[Done], operations: &[Operation]) -> String {
    let mut kinds: BTreeMap<Kind, Row> = BTreeMap::new();
    for fault in done {
        let row = kinds.entry(fault.fault.kind).or_default();
        row.count += 1;
        row.back = row.back.max(fault.back);
        for op in operations.iter().filter(|op| op.called < fault.over && op.returned > fault.begun)
        {
            row.operations += 1;
            match op.outcome {
                Outcome::NotApplied => row.not_applied += 1,
                Outcome::Maybe => row.maybe += 1,
                _ => row.slowest = row.slowest.max(op.returned - op.called),
            }
        }
    }
    let mut text = format!(
        "{:<12} {:>6} {:>14} {:>11} {:>12} {:>8} {:>15}\n",
        "fault", "count", "ready after", "operations", "not applied", "maybe", "slowest done"
    );
    for (kind, row) in kinds {
        let back = row.back.map_or("-".into(), |back| format!("{} ms", back.as_millis()));
        let slowest = format!("{} ms", row.slowest / 1_000_000);
        let Row { count, operations, not_applied, maybe, .. } = row;
        let _ = writeln!(
            text,
            "{kind:<12} {count:>6} {back:>14} {operations:>11} {not_applied:>12} {maybe:>8} {slowest:>15}"
        );
    }
    text
}

#[derive(Default)]
struct Row {
    count: u64,
    back: Option<Duration>,
    operations: u64,
    not_applied: u64,
    maybe: u64,
    slowest: u64,
}
