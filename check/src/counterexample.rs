//! Counterexamples, as people read them.

use crate::history::{History, OpOf, Outcome};
use crate::model::Model;
use std::fmt;

/// More operations than this are printed without bars, which would be too wide.
const BARS_MAX: usize = 24;

/// Of the longest part of a linearization, this many operations are printed: the last.
const PREFIX_MAX: usize = 12;

/// Operations of a history that have no linearization, as few as were found to show it.
///
/// Prints as a timeline, a line per operation, and the longest part of a linearization:
///
/// ```text
/// not linearizable since 60: 3 of 57 operations show it, from None
///   p1 [10, 20]  set 5 -> ok  |--|
///   p2 [30, 40]  set 6 -> ok       |--|
///   p3 [50, 60]  get   -> 5             |--|  *
/// possible up to: set 5 -> ok, set 6 -> ok; the state is then Some(6), and what is marked * cannot follow
/// ```
pub struct Counterexample<M: Model> {
    history: History<M>,
    of: usize,
    end: u64,
    context: Vec<usize>,
    prefix: Vec<usize>,
    state: M::State,
}

impl<M: Model> Counterexample<M> {
    /// A history of a few of `of` operations, up to the time `end`, of which `prefix` have a
    /// linearization.
    pub(crate) fn new(
        history: History<M>,
        of: usize,
        end: u64,
        context: Vec<usize>,
        prefix: Vec<usize>,
    ) -> Self {
        let mut state = history.initial().clone();
        for op in prefix.iter().map(|&index| &history.ops()[index]) {
            state = M::step(&state, op.input(), op.output()).unwrap_or(state);
        }
        Counterexample { history, of, end, context, prefix, state }
    }

    /// The operations, as a history that is itself not linearizable. Answers that came later than the
    /// first one that cannot be explained are left out.
    #[must_use]
    pub fn history(&self) -> &History<M> {
        &self.history
    }

    /// The time of the first answer that has no explanation: up to then, the history is linearizable.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Operations that are shown because others refer to their effects: indices. The others would be
    /// a violation even if these were free to happen at any time or never. One that is known to have
    /// had no effect, or was invoked later, is shown if it would explain all otherwise.
    #[must_use]
    pub fn context(&self) -> &[usize] {
        &self.context
    }

    /// The longest part of a linearization that was found: indices into the operations, in the
    /// order in which they take effect.
    #[must_use]
    pub fn prefix(&self) -> &[usize] {
        &self.prefix
    }

    /// The state after [`prefix`](Self::prefix).
    #[must_use]
    pub fn state(&self) -> &M::State {
        &self.state
    }
}

impl<M: Model> fmt::Display for Counterexample<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops = self.history.ops();
        let initial = self.history.initial();
        writeln!(
            f,
            "not linearizable since {}: {} of {} operations show it, from {initial:?}",
            self.end,
            ops.len(),
            self.of
        )?;
        let stuck: Vec<bool> = (0..ops.len())
            .map(|index| ops[index].output().is_some() && !self.prefix.contains(&index))
            .collect();
        for line in timeline::<M>(ops, &stuck) {
            writeln!(f, "{line}")?;
        }
        f.write_str("possible up to: ")?;
        let left_out = self.prefix.len().saturating_sub(PREFIX_MAX);
        match (self.prefix.len(), left_out) {
            (0, _) => f.write_str("the beginning")?,
            (_, 0) => {}
            (_, left_out) => write!(f, "{left_out} more, ")?,
        }
        for (place, &index) in self.prefix.iter().skip(left_out).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{}", call::<M>(&ops[index]))?;
        }
        write!(f, "; the state is then {:?}, and what is marked * cannot follow", self.state)
    }
}

impl<M: Model> fmt::Debug for Counterexample<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn answer<M: Model>(op: &OpOf<M>) -> String {
    match op.outcome() {
        Outcome::Answered { output, .. } => format!("{output:?}"),
        Outcome::Unanswered => "?".into(),
        Outcome::NotApplied => "not applied".into(),
    }
}

fn call<M: Model>(op: &OpOf<M>) -> String {
    format!("{:?} -> {}", op.input(), answer::<M>(op))
}

/// A line for each operation: process, times, input, output, bar.
fn timeline<M: Model>(ops: &[OpOf<M>], stuck: &[bool]) -> Vec<String> {
    let columns: Vec<[String; 5]> = ops
        .iter()
        .map(|op| {
            [
                format!("p{}", op.process()),
                op.invoked().to_string(),
                op.returned().map_or("?".into(), |at| at.to_string()),
                format!("{:?}", op.input()),
                answer::<M>(op),
            ]
        })
        .collect();
    let width = |column: usize| {
        columns.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let bars = bars::<M>(ops);
    let mut lines = Vec::new();
    for ((cells, bar), stuck) in columns.iter().zip(bars).zip(stuck) {
        let [process, from, to, input, output] = cells;
        let [p, a, b, i, o] = widths;
        let star = if *stuck { "  *" } else { "" };
        let line = format!(
            "  {process:<p$} [{from:>a$}, {to:>b$}]  {input:<i$} -> {output:<o$}  {bar}{star}"
        );
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// For each operation, a bar from its invocation to its answer. Each time is a column.
fn bars<M: Model>(ops: &[OpOf<M>]) -> Vec<String> {
    if ops.len() > BARS_MAX {
        return vec![String::new(); ops.len()];
    }
    let mut times: Vec<u64> =
        ops.iter().flat_map(|op| [Some(op.invoked()), op.returned()]).flatten().collect();
    times.sort_unstable();
    times.dedup();
    let column = |time: u64| 2 * times.partition_point(|&t| t < time);
    let end = 2 * times.len();
    ops.iter()
        .map(|op| {
            let from = column(op.invoked());
            let (to, close) = match op.outcome() {
                Outcome::Answered { at, .. } => (column(*at), '|'),
                Outcome::Unanswered => (end, '?'),
                Outcome::NotApplied => (from + 1, 'x'),
            };
            let mut bar = " ".repeat(from);
            bar.push('|');
            bar.extend(std::iter::repeat_n('-', to.saturating_sub(from + 1)));
            if to > from {
                bar.push(close);
            }
            bar.extend(std::iter::repeat_n(' ', end.saturating_sub(bar.chars().count() - 1)));
            bar
        })
        .collect()
}
