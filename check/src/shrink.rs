//! From a history that is not linearizable to the few operations that show it.
//!
//! Merely leaving operations out would mislead: without the write, every read of its value is a
//! violation. So an operation is left out only if that stays true even were it free to happen at any
//! time or never, as a ghost ([`Span::ghost`]); it then explains nothing. Reads change nothing, and
//! a part of the operations up to a time is a history of its own: these go first, without ghosts.
//! In the end those ghosts come back without which what is left would be wrong for another, simpler
//! reason: its context.

use crate::checker::{Checker, Narrow};
use crate::counterexample::Counterexample;
use crate::history::{History, OpOf, Outcome};
use crate::model::{Decision, Model};
use crate::span::{NEVER, Span};
use std::ops::Range;

/// Most that is spent on one question, and on all.
const QUESTION: u64 = 50_000;
const ALL: u64 = 20_000_000;

struct Shrink<'a, M: Model> {
    checker: &'a mut Checker<M>,
    initial: &'a M::State,
    ops: &'a [OpOf<M>],
    /// Spans that are part of the explanation so far.
    kept: Vec<Span>,
    /// What was left out, but changes the state.
    ghosts: Vec<Span>,
    budget: u64,
    buffer: Vec<Span>,
}

/// The smallest violation found in `history`, which is one.
pub(crate) fn shrink<M: Model>(
    checker: &mut Checker<M>,
    history: &History<M>,
) -> Counterexample<M> {
    let ops = history.ops();
    let kept = ops.iter().enumerate().filter_map(|(i, op)| Span::of::<M>(i, op)).collect();
    let mut shrink = Shrink {
        checker,
        initial: history.initial(),
        ops,
        kept,
        ghosts: Vec::new(),
        budget: ALL,
        buffer: Vec::new(),
    };
    let end = shrink.cut();
    shrink.drop_while_violated(true);
    shrink.drop_while_violated(false);
    shrink.drop_ghosts();
    let explains = shrink.would_explain(end);
    let context: Vec<usize> = shrink.ghosts.iter().map(|span| span.op).chain(explains).collect();
    let mut shown: Vec<usize> = shrink.kept.iter().map(|span| span.op).collect();
    shown.extend(&context);
    shown.sort_unstable();
    let mut few = History::starting_at(history.initial().clone());
    for &index in &shown {
        let op = ops[index].clone();
        let under_way = op.invoked() <= end && op.returned().is_some_and(|at| at > end);
        few.push(if under_way { op.unanswered() } else { op });
    }
    let context = context.iter().filter_map(|index| shown.binary_search(index).ok()).collect();
    let longest = checker.longest(&few, 20 * QUESTION);
    Counterexample::new(few, history.len(), end, context, longest)
}

impl<M: Model> Shrink<'_, M> {
    /// Whether what `spans` makes of the spans and the ghosts is a violation, as far as the budget
    /// tells.
    fn violated(&mut self, spans: impl FnOnce(&[Span], &[Span], &mut Vec<Span>)) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        spans(&self.kept, &self.ghosts, &mut buffer);
        let mut budget = QUESTION.max(4 * buffer.len() as u64).min(self.budget);
        self.budget -= budget;
        let decision = self.checker.decide_spans(
            self.initial,
            self.ops,
            &mut buffer,
            Narrow::First,
            &mut budget,
        );
        self.budget += budget;
        self.buffer = buffer;
        decision == Decision::Violation
    }

    /// Forgets what comes after the first answer that makes the history a violation, and returns the
    /// time of that answer.
    fn cut(&mut self) -> u64 {
        let mut times: Vec<u64> =
            self.kept.iter().map(|span| span.until).filter(|&until| until != NEVER).collect();
        times.sort_unstable();
        times.dedup();
        let (mut low, mut high) = (0, times.len());
        while low < high {
            let middle = low.midpoint(high);
            let ops = self.ops;
            if self.violated(|spans, _, out| cut_at::<M>(times[middle], ops, spans, out)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let end = times.get(low).or(times.last()).copied().unwrap_or(NEVER);
        let mut cut = Vec::new();
        cut_at::<M>(end, self.ops, &self.kept, &mut cut);
        self.kept = cut;
        end
    }

    /// Leaves out reads, or what is not one, in ever smaller pieces.
    fn drop_while_violated(&mut self, reads: bool) {
        let mut piece = self.kept.len().div_ceil(2).max(1);
        loop {
            let mut end = self.kept.len();
            while end > 0 {
                let from = end.saturating_sub(piece);
                self.try_without(from..end, reads);
                end = from;
            }
            if piece == 1 {
                return;
            }
            piece = piece.div_ceil(2);
        }
    }

    fn try_without(&mut self, range: Range<usize>, reads: bool) {
        let goes = |span: &Span| span.reads == reads;
        if self.budget == 0 || !self.kept[range.clone()].iter().any(goes) {
            return;
        }
        let violated = self.violated(|spans, ghosts, out| {
            out.extend_from_slice(ghosts);
            for (index, span) in spans.iter().enumerate() {
                if !range.contains(&index) || !goes(span) {
                    out.push(*span);
                } else if !span.reads {
                    out.push(span.ghost());
                }
            }
        });
        if violated {
            let mut index = 0;
            let ghosts = &mut self.ghosts;
            self.kept.retain(|span| {
                let left_out = range.contains(&index) && goes(span);
                index += 1;
                if left_out && !span.reads {
                    ghosts.push(span.ghost());
                }
                !left_out
            });
        }
    }

    /// Forgets the ghosts without which every other operation is still needed.
    fn drop_ghosts(&mut self) {
        let mut piece = self.ghosts.len();
        while piece > 0 {
            let mut end = self.ghosts.len();
            while end > 0 {
                let from = end.saturating_sub(piece);
                if self.all_needed_without(from..end) {
                    self.ghosts.drain(from..end);
                }
                end = from;
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
    }

    fn all_needed_without(&mut self, left_out: Range<usize>) -> bool {
        (0..self.kept.len()).all(|index| {
            self.budget > 0
                && !self.violated(|spans, ghosts, out| {
                    out.extend_from_slice(&ghosts[..left_out.start]);
                    out.extend_from_slice(&ghosts[left_out.end..]);
                    out.extend_from_slice(&spans[..index]);
                    out.extend_from_slice(&spans[index + 1..]);
                    out.extend((!spans[index].reads).then(|| spans[index].ghost()));
                })
        })
    }

    /// An operation that would explain all, were it not known to have had no effect, or had it not
    /// been invoked later than `end`.
    fn would_explain(&mut self, end: u64) -> Option<usize> {
        (0..self.ops.len()).find(|&index| {
            let op = &self.ops[index];
            let span = match op.outcome() {
                Outcome::NotApplied => Span::maybe(index, op.invoked()),
                Outcome::Answered { .. } if op.invoked() > end => {
                    Span { answered: true, ..Span::maybe(index, 0) }
                }
                Outcome::Unanswered if op.invoked() > end => Span::maybe(index, 0),
                Outcome::Answered { .. } | Outcome::Unanswered => return false,
            };
            self.budget > 0
                && !M::reads(op.input(), span.output(self.ops))
                && !self.violated(|spans, ghosts, out| {
                    out.extend_from_slice(spans);
                    out.extend_from_slice(ghosts);
                    out.push(span);
                })
        })
    }
}

/// What is known at `time`: later operations are not, and what is under way has no answer.
fn cut_at<M: Model>(time: u64, ops: &[OpOf<M>], spans: &[Span], out: &mut Vec<Span>) {
    for &span in spans.iter().filter(|span| span.from <= time) {
        if span.until <= time || !span.must {
            out.push(span);
        } else if !M::reads(span.input(ops), None) {
            out.push(Span::maybe(span.op, span.from));
        }
    }
}
