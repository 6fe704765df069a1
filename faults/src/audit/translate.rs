//! Histories in the words of `grid-check`.

use crate::history::{Call, Operation, Outcome};
use grid_check::{History, Model, Queue, QueueIn, QueueOut, Register, RegisterIn, RegisterOut};
use std::collections::HashSet;

/// The history of a key.
pub(super) fn entry(operations: &[Operation]) -> History<Register> {
    translate(
        operations,
        |call| {
            Some(match call {
                Call::Get => RegisterIn::Get,
                Call::Put(value) => RegisterIn::Put(value),
                Call::Set(value) => RegisterIn::Set(value),
                Call::Remove => RegisterIn::Remove,
                Call::PutIfAbsent(value) => RegisterIn::PutIfAbsent(value),
                Call::ReplaceIfSame { expected, value } => {
                    RegisterIn::CompareAndSet { expected: Some(expected), new: Some(value) }
                }
                Call::RemoveIfSame(expected) => {
                    RegisterIn::CompareAndSet { expected: Some(expected), new: None }
                }
                Call::Wipe => RegisterIn::Delete,
                Call::Offer(_) | Call::Poll => return None,
            })
        },
        |outcome| match outcome {
            Outcome::Done => Some(RegisterOut::Done),
            Outcome::Value(value) => Some(RegisterOut::Value(value)),
            Outcome::Flag(flag) => Some(RegisterOut::Flag(flag)),
            Outcome::NotApplied | Outcome::Maybe => None,
        },
    )
}

/// The history of a queue.
pub(super) fn queue(operations: &[Operation]) -> History<Queue> {
    translate(
        operations,
        |call| match call {
            Call::Offer(item) => Some(QueueIn::Offer(item)),
            Call::Poll => Some(QueueIn::Poll),
            Call::Wipe => Some(QueueIn::Clear),
            _ => None,
        },
        |outcome| match outcome {
            Outcome::Done => Some(QueueOut::Done),
            Outcome::Value(item) => Some(QueueOut::Item(item)),
            Outcome::Flag(flag) => Some(QueueOut::Flag(flag)),
            Outcome::NotApplied | Outcome::Maybe => None,
        },
    )
}

fn translate<M: Model>(
    operations: &[Operation],
    input: impl Fn(Call) -> Option<M::In>,
    output: impl Fn(Outcome) -> Option<M::Out>,
) -> History<M> {
    let mut history = History::new();
    for op in operations {
        let Some(input) = input(op.call) else { continue };
        let id = history.invoke(op.process, input, op.called);
        match output(op.outcome) {
            Some(output) => history.ret(id, output, op.returned),
            None if op.outcome == Outcome::NotApplied => history.never(id),
            None => history.maybe(id),
        }
    }
    history
}

/// The history of a queue since its data was lost for the last time; none if it never was. What was offered
/// while it was being lost may be there or not.
pub(super) fn since_last_loss(operations: &[Operation]) -> Option<Vec<Operation>> {
    let loss = operations.iter().filter(|op| op.call == Call::Wipe).max_by_key(|op| op.returned)?;
    let since = |op: &&Operation| op.call != Call::Wipe && op.returned > loss.called;
    let mut rest: Vec<Operation> = operations.iter().filter(since).copied().collect();
    for op in &mut rest {
        if matches!(op.call, Call::Offer(_)) && op.called < loss.returned && op.is_done() {
            op.outcome = Outcome::Maybe;
        }
    }
    let offers = rest.iter().filter_map(|op| match op.call {
        Call::Offer(item) => Some(item),
        _ => None,
    });
    let offers: HashSet<u64> = offers.collect();
    rest.retain(|op| match (op.call, op.outcome) {
        (Call::Poll, Outcome::Value(Some(item))) => offers.contains(&item),
        _ => true,
    });
    Some(rest)
}
