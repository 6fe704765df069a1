//! Looks for what must never be in a history: answers that no order of the operations explains, acknowledged
//! writes that are lost, effects that are doubled.
//!
//! Each key is checked for linearizability by `grid-check`, each queue for lost, doubled, invented and overtaking
//! items. Members that are alone lose their data with their process: where that is expected, each such loss is
//! an operation of its own in every history ([`Call::Wipe`]), which happens at some time during the fault. So a
//! lone member is audited as strictly as several ones.

mod translate;

#[cfg(test)]
mod tests;

use crate::history::{Call, Operation, Outcome, Target};
use grid_check::text::Writer;
use grid_check::{BUDGET, Checker, Decision, Queue, QueueState, Register};
use std::collections::BTreeMap;
use std::io::{self, Write};
use translate::{entry, queue, since_last_loss};

/// Violations that are explained; that takes many checks each.
const EXPLAINED_MAX: usize = 50;

/// Histories by target, each in the order of calls.
#[derive(Debug, Default)]
pub struct Histories(BTreeMap<Target, Vec<Operation>>);

/// What an audit found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Keys and queues.
    pub targets: usize,
    /// Operations that were done.
    pub done: usize,
    /// Operations in the longest history of a key.
    pub longest: usize,
    /// What is wrong, and why.
    pub violations: Vec<(Target, String)>,
    /// Keys that were too hard to decide.
    pub unknown: Vec<Target>,
}

impl Histories {
    /// Sorts the operations of a run in which all data was lost at some time within each of `losses`
    /// (from, to).
    #[must_use]
    pub fn new(operations: &[Operation], losses: &[(u64, u64)]) -> Self {
        let mut all: BTreeMap<Target, Vec<Operation>> = BTreeMap::new();
        for operation in operations {
            all.entry(operation.target).or_default().push(*operation);
        }
        for (target, history) in &mut all {
            history.extend(losses.iter().map(|(called, returned)| Operation {
                target: *target,
                process: 0,
                called: *called,
                returned: *returned,
                call: Call::Wipe,
                outcome: Outcome::Done,
            }));
            history.sort_by_key(|op| (op.called, op.returned));
        }
        Histories(all)
    }

    /// Whether anything is wrong: an audit without explanations.
    #[must_use]
    pub fn are_broken(&self) -> bool {
        let mut checker = Checker::<Register>::new(BUDGET);
        self.0.iter().any(|(target, history)| match target {
            Target::Queue { .. } => misqueued(history).is_some(),
            _ => checker.decide(&entry(history)) == Decision::Violation,
        })
    }

    /// Audits them.
    #[must_use]
    pub fn audit(&self) -> Findings {
        let mut checker = Checker::<Register>::new(BUDGET);
        let mut found = Findings { targets: self.0.len(), ..Findings::default() };
        for (target, history) in &self.0 {
            found.done += history.iter().filter(|op| op.process > 0 && op.is_done()).count();
            let wrong = match target {
                Target::Queue { .. } => misqueued(history),
                Target::Entry { .. } | Target::Counter { .. } => {
                    found.longest = found.longest.max(history.len());
                    let is_explained = found.violations.len() < EXPLAINED_MAX;
                    unordered(&mut checker, history, is_explained).unwrap_or_else(|Undecided| {
                        found.unknown.push(*target);
                        None
                    })
                }
            };
            let counter = matches!(target, Target::Counter { .. });
            let miscounted = if counter { miscounted(history) } else { None };
            // A counter says in a line what its counterexample says in many.
            let wrong = miscounted.into_iter().chain(wrong).reduce(|all, more| all + "\n" + &more);
            found.violations.extend(wrong.map(|why| (*target, why)));
        }
        found
    }

    /// Writes those of keys and counters, as `check-history` reads them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_entries(&self, out: impl Write) -> io::Result<()> {
        let mut out = Writer::<Register, _>::new(out, &None)?;
        for (target, history) in &self.0 {
            if !matches!(target, Target::Queue { .. }) {
                let name = target.to_string();
                entry(history).ops().iter().try_for_each(|op| out.op(&name, op))?;
            }
        }
        out.into_inner().flush()
    }

    /// Writes those of queues, as `check-history` reads them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_queues(&self, out: impl Write) -> io::Result<()> {
        let mut out = Writer::<Queue, _>::new(out, &QueueState::unbounded())?;
        for (target, history) in &self.0 {
            if matches!(target, Target::Queue { .. }) {
                let name = target.to_string();
                queue(history).ops().iter().try_for_each(|op| out.op(&name, op))?;
            }
        }
        out.into_inner().flush()
    }
}

/// The budget of a check was used up.
struct Undecided;

/// Why a key is not linearizable, if it is not.
fn unordered(
    checker: &mut Checker<Register>,
    history: &[Operation],
    is_explained: bool,
) -> Result<Option<String>, Undecided> {
    let history = entry(history);
    match checker.decide(&history) {
        Decision::Linearizable => Ok(None),
        Decision::Open => Err(Undecided),
        Decision::Violation if is_explained => Ok(Some(checker.check(&history).to_string())),
        Decision::Violation => Ok(Some("not linearizable".into())),
    }
}

/// What is wrong with a queue.
fn misqueued(history: &[Operation]) -> Option<String> {
    let mut parts = vec![queue(history)];
    // An item that came after the last loss has no excuse.
    parts.extend(since_last_loss(history).map(|rest| queue(&rest)));
    let explained = |part| -> Vec<String> {
        grid_check::audit(part).iter().map(|anomaly| anomaly.explain(part)).collect()
    };
    let found: Vec<String> = parts.iter().flat_map(explained).collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

/// What is wrong with the last value of a counter: it must be how often it was counted up.
fn miscounted(history: &[Operation]) -> Option<String> {
    if history.iter().any(|op| op.call == Call::Wipe) {
        return None;
    }
    let last = history.iter().rfind(|op| op.call == Call::Get && op.is_done())?;
    let Outcome::Value(value) = last.outcome else { return None };
    let counts = |op: &&Operation| match (op.call, op.outcome) {
        (Call::PutIfAbsent(_), outcome) => outcome == Outcome::Value(None),
        (Call::ReplaceIfSame { .. }, outcome) => outcome == Outcome::Flag(true),
        _ => false,
    };
    let certain = history.iter().filter(counts).filter(|op| op.returned < last.called).count();
    let may_count =
        |op: &&Operation| counts(op) || op.outcome == Outcome::Maybe && op.call != Call::Get;
    let most = history.iter().filter(may_count).filter(|op| op.called < last.returned).count();
    let value = value.unwrap_or(0);
    if value < certain as u64 {
        Some(format!("counted up {certain} times, but it is {value}: acknowledged writes are lost"))
    } else if value > most as u64 {
        Some(format!("counted up at most {most} times, but it is {value}: effects are doubled"))
    } else {
        None
    }
}
