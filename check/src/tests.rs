//! The checker beside one that tries everything.
#![allow(clippy::unwrap_used)]

mod agreement;
mod brute;
mod cases;
mod executions;
mod shrinking;

use crate::checker::{Checker, Narrow};
use crate::history::History;
use crate::model::{Decision, Model};
use crate::span::Span;

/// What the checker says, narrowing the search when it is told to.
fn decide<M: Model>(history: &History<M>, narrow: Narrow, mut budget: u64) -> Decision {
    let ops = history.ops();
    let mut spans =
        ops.iter().enumerate().filter_map(|(index, op)| Span::of::<M>(index, op)).collect();
    Checker::<M>::new(0).decide_spans(history.initial(), ops, &mut spans, narrow, &mut budget)
}
