//! The check of a history, and of the histories of many keys.

use crate::counterexample::Counterexample;
use crate::history::{History, OpOf};
use crate::model::{Decision, Model};
use crate::search::Search;
use crate::shrink::shrink;
use crate::span::Span;
use std::fmt;

/// The budget of [`check`]: for a history that is hopeless, a second or less and some 100 MB.
pub const BUDGET: u64 = 2_000_000;

/// What a check found.
pub enum Verdict<M: Model> {
    /// There is an order of the operations, consistent with their times, in which every answer is
    /// that of the sequential object.
    Linearizable,
    /// There is none.
    Violation(Box<Counterexample<M>>),
    /// The budget was used up before either was known.
    Unknown,
}

/// Checks histories, one after the other, in the same buffers.
pub struct Checker<M: Model> {
    budget: u64,
    tries: u64,
    spans: Vec<Span>,
    search: Search<M::State>,
}

/// When a search turns to [`Model::narrow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Narrow {
    /// When it turns out to be hard.
    Late,
    /// At once.
    First,
    /// Not at all.
    #[cfg(test)]
    Never,
}

impl<M: Model> Checker<M> {
    /// A checker that gives up on a history after trying `budget` operations, each in one state.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Checker { budget, tries: 0, spans: Vec::new(), search: Search::new() }
    }

    /// Checks a history. A violation is explained, which takes many more checks of parts of it.
    #[must_use]
    pub fn check(&mut self, history: &History<M>) -> Verdict<M> {
        match self.decide(history) {
            Decision::Open => Verdict::Unknown,
            Decision::Linearizable => Verdict::Linearizable,
            Decision::Violation => Verdict::Violation(Box::new(shrink(self, history))),
        }
    }

    /// Whether a history is linearizable; `Open` if the budget was used up.
    #[must_use]
    pub fn decide(&mut self, history: &History<M>) -> Decision {
        let mut spans = std::mem::take(&mut self.spans);
        spans.clear();
        let ops = history.ops();
        spans.extend(ops.iter().enumerate().filter_map(|(i, op)| Span::of::<M>(i, op)));
        let mut budget = self.budget;
        let decision =
            self.decide_spans(history.initial(), ops, &mut spans, Narrow::Late, &mut budget);
        self.spans = spans;
        self.tries = self.budget - budget;
        decision
    }

    /// How many operations the last check or decision tried, of the budget.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.tries
    }

    /// Whether `spans` have a linearization. Narrows them if that is needed.
    pub(crate) fn decide_spans(
        &mut self,
        initial: &M::State,
        ops: &[OpOf<M>],
        spans: &mut Vec<Span>,
        narrow: Narrow,
        budget: &mut u64,
    ) -> Decision {
        let mut first = match narrow {
            Narrow::Late if M::NARROW_FIRST => 0,
            Narrow::Late => (2 * spans.len() as u64).max(64).min(*budget),
            Narrow::First => 0,
            #[cfg(test)]
            Narrow::Never => *budget,
        };
        if first > 0 {
            *budget -= first;
            let decision = self.search.run::<M>(initial, ops, spans, &mut first);
            *budget += first;
            if decision != Decision::Open {
                return decision;
            }
        }
        if *budget == 0 {
            return Decision::Open;
        }
        let mut initial = initial.clone();
        let decision = M::narrow(&mut initial, ops, spans);
        if decision != Decision::Open {
            return decision;
        }
        if spans.iter().any(|span| span.from > span.until) {
            return Decision::Violation;
        }
        self.search.run::<M>(&initial, ops, spans, budget)
    }

    /// The longest part of a linearization that a search finds, as indices of operations.
    pub(crate) fn longest(&mut self, history: &History<M>, mut budget: u64) -> Vec<usize> {
        let (initial, ops) = (history.initial(), history.ops());
        let spans: Vec<Span> =
            ops.iter().enumerate().filter_map(|(i, op)| Span::of::<M>(i, op)).collect();
        self.search.longest::<M>(initial, ops, &spans, &mut budget)
    }
}

/// Checks a history with the budget [`BUDGET`].
#[must_use]
pub fn check<M: Model>(history: &History<M>) -> Verdict<M> {
    Checker::new(BUDGET).check(history)
}

/// What the checks of the histories of many keys found.
pub struct Keyed<K, M: Model> {
    /// How many histories there were.
    pub checked: usize,
    /// Those that are not linearizable, with the reason.
    pub violations: Vec<(K, Counterexample<M>)>,
    /// Those that the budget was too small for.
    pub unknown: Vec<K>,
}

impl<K, M: Model> Keyed<K, M> {
    /// Whether all histories are known to be linearizable.
    #[must_use]
    pub fn all_linearizable(&self) -> bool {
        self.violations.is_empty() && self.unknown.is_empty()
    }
}

/// Checks the histories of independent objects: a whole is linearizable if and only if each of its
/// parts is. `budget` is for each of them.
pub fn check_keyed<'a, K, M: Model + 'a>(
    histories: impl IntoIterator<Item = (K, &'a History<M>)>,
    budget: u64,
) -> Keyed<K, M> {
    let mut checker = Checker::new(budget);
    let mut found = Keyed { checked: 0, violations: Vec::new(), unknown: Vec::new() };
    for (key, history) in histories {
        found.checked += 1;
        match checker.check(history) {
            Verdict::Linearizable => {}
            Verdict::Violation(example) => found.violations.push((key, *example)),
            Verdict::Unknown => found.unknown.push(key),
        }
    }
    found
}

impl<M: Model> Verdict<M> {
    /// Whether it is [`Verdict::Linearizable`].
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Verdict::Linearizable)
    }

    /// Whether it is [`Verdict::Violation`].
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(self, Verdict::Violation(_))
    }
}

impl<M: Model> fmt::Display for Verdict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Linearizable => f.write_str("linearizable"),
            Verdict::Violation(example) => example.fmt(f),
            Verdict::Unknown => f.write_str("unknown: the budget was used up"),
        }
    }
}

impl<M: Model> fmt::Debug for Verdict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
