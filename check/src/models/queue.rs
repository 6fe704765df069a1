//! A bounded FIFO queue.

pub(crate) mod audit;
mod facts;
mod lives;
mod plan;
mod text;

use self::plan::Plan;
use crate::Value;
use crate::history::OpOf;
use crate::model::{Decision, Model};
use crate::span::Span;
use std::hash::{Hash, Hasher};

/// A FIFO queue, bounded or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {}

/// The items of a queue.
#[derive(Clone)]
pub struct QueueState {
    capacity: u64,
    items: Vec<Value>,
    /// In a narrowed search, how the items leave. It depends on what has taken effect, and is no part
    /// of what is compared.
    plan: Option<Plan>,
}

impl PartialEq for QueueState {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items && self.capacity == other.capacity
    }
}

impl Eq for QueueState {}

impl Hash for QueueState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.items.hash(hasher);
    }
}

impl QueueState {
    /// An empty queue for any number of items.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::bounded(u64::MAX)
    }

    /// An empty queue for at most this number of items.
    #[must_use]
    pub fn bounded(capacity: u64) -> Self {
        QueueState { capacity, items: Vec::new(), plan: None }
    }

    /// The same queue with these items, the first at the head.
    #[must_use]
    pub fn with_items(mut self, items: impl IntoIterator<Item = Value>) -> Self {
        self.items = items.into_iter().collect();
        self
    }

    /// The most items.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The items, the first at the head.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }
}

/// An operation on a queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueIn {
    /// Adds an item at the tail, unless the queue is full: [`QueueOut::Flag`].
    Offer(Value),
    /// Takes the item at the head: [`QueueOut::Item`].
    Poll,
    /// Shows the item at the head: [`QueueOut::Item`].
    Peek,
    /// The number of items: [`QueueOut::Size`].
    Size,
    /// Removes all items: [`QueueOut::Done`].
    Clear,
}

/// An answer of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueOut {
    /// Whether the item was added.
    Flag(bool),
    /// An item, or none: the queue is empty.
    Item(Option<Value>),
    /// A number of items.
    Size(u64),
    /// It is done; there is nothing to tell.
    Done,
}

use QueueIn as In;
use QueueOut as Out;

impl Model for Queue {
    type State = QueueState;
    type In = QueueIn;
    type Out = QueueOut;

    const NARROW_FIRST: bool = true;

    fn init() -> QueueState {
        QueueState::unbounded()
    }

    fn step(state: &QueueState, input: &In, output: Option<&Out>) -> Option<QueueState> {
        let QueueState { capacity, items, plan } = state;
        let room = (items.len() as u64) < *capacity;
        let answer = match input {
            In::Offer(_) => Out::Flag(room),
            In::Poll | In::Peek => Out::Item(items.first().copied()),
            In::Size => Out::Size(items.len() as u64),
            In::Clear => Out::Done,
        };
        if output.is_some_and(|output| *output != answer) {
            return None;
        }
        let refused = matches!(input, In::Offer(_)) && !room;
        let plan = match plan {
            Some(plan) if !refused => Some(plan.step(items, input, output)?),
            plan => plan.clone(),
        };
        let items = match input {
            In::Offer(item) if room => {
                let mut next = Vec::with_capacity(items.len() + 1);
                next.extend_from_slice(items);
                next.push(*item);
                next
            }
            In::Poll => items.get(1..).unwrap_or_default().to_vec(),
            In::Clear => Vec::new(),
            In::Offer(_) | In::Peek | In::Size => items.clone(),
        };
        Some(QueueState { capacity: *capacity, items, plan })
    }

    fn reads(input: &In, output: Option<&Out>) -> bool {
        match (input, output) {
            (In::Peek | In::Size, _)
            | (In::Offer(_), Some(Out::Flag(false)))
            | (In::Poll, Some(Out::Item(None))) => true,
            (In::Offer(_) | In::Poll | In::Clear, _) => false,
        }
    }

    fn narrow(initial: &mut QueueState, ops: &[OpOf<Self>], spans: &mut Vec<Span>) -> Decision {
        facts::narrow(initial, ops, spans)
    }
}
