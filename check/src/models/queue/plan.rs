//! What a narrowed search knows about the items of a queue.

use super::{In, Out};
use crate::Value;
use hashbrown::HashMap;
use std::sync::Arc;

/// How an item leaves the queue, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// An answered poll returns it.
    Polled,
    /// An unanswered poll takes it.
    Taken,
}

/// How items leave the queue. Rules out states from which they cannot.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) ends: Arc<HashMap<Value, End>>,
    /// How many items are still to be offered that an unanswered poll takes.
    pub(super) to_take: usize,
    /// How many unanswered polls have not taken anything.
    pub(super) takers: usize,
}

impl Plan {
    /// The plan after an operation on a queue with these items and room for one more; none if the
    /// plan cannot be kept then.
    pub(super) fn step(&self, items: &[Value], input: &In, output: Option<&Out>) -> Option<Plan> {
        let polled = |item: &Value| self.ends.get(item) == Some(&End::Polled);
        let mut next = self.clone();
        match (input, output) {
            (In::Offer(item), _) if polled(item) => {
                // All that stands before it and is not polled must be taken.
                let before = items.iter().filter(|item| !polled(item)).count();
                return (before + self.to_take <= self.takers).then_some(next);
            }
            (In::Offer(item), _) => {
                let taken = self.ends.get(item) == Some(&End::Taken);
                next.to_take -= usize::from(taken && next.to_take > 0);
            }
            (In::Poll, None) => {
                let head = items.first()?;
                if polled(head) {
                    return None;
                }
                next.takers = next.takers.saturating_sub(1);
            }
            (In::Clear, _) if items.iter().any(polled) => return None,
            (In::Clear | In::Poll | In::Peek | In::Size, _) => {}
        }
        Some(next)
    }
}
