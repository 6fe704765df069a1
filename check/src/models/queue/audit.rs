//! Checks of a queue that scale to any history, and find only what is truly wrong.
//!
//! The patterns are those of Henzinger, Sezgin & Vafeiadis, "Aspect-oriented linearizability proofs"
//! (2013): if items are unique, all is answered, and there are only offers and polls without a bound,
//! a history that shows none of them is linearizable.

use super::Queue;
use super::lives::{Life, Lives, Taken};
use crate::Value;
use crate::history::{History, OpId, OpOf};
use crate::span::{NEVER, Span};

/// What is wrong with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// An item was seen that nobody had offered by then.
    Phantom {
        /// The poll or peek that returned it.
        seen: OpId,
    },
    /// An item was seen again after a poll had taken it.
    Doubled {
        /// The poll that took it.
        first: OpId,
        /// The poll or peek that returned it again.
        again: OpId,
    },
    /// An item was seen although one that was offered after it had been seen before.
    Inverted {
        /// The poll or peek that returned the one that was offered later.
        early: OpId,
        /// The poll or peek that returned the one that was offered earlier.
        late: OpId,
    },
    /// An item whose offer had succeeded is gone, and no poll has it: neither an answered one, nor
    /// one of the unanswered ones, which have taken other items.
    Lost {
        /// The item.
        item: Value,
        /// Its offer; none if the item was there in the beginning.
        offer: Option<OpId>,
        /// The poll or peek that should have met it, and found a later item, or none.
        seen: OpId,
    },
    /// A poll or peek found nothing although there was an item at every time.
    NotEmpty {
        /// The poll or peek.
        poll: OpId,
        /// The item that was there when it began.
        item: Value,
    },
}

/// Searches a history for anomalies, in n log n. If there is one, it is not linearizable.
///
/// Items should be unique: others are only counted. To find what was lost, end a test with polls
/// until the queue is empty. None of the anomalies implies another; a wrong answer often shows as
/// several.
#[must_use]
pub fn audit(history: &History<Queue>) -> Vec<Anomaly> {
    let ops = history.ops();
    let spans: Vec<Span> =
        ops.iter().enumerate().filter_map(|(i, op)| Span::of::<Queue>(i, op)).collect();
    let mut lives = Lives::of(history.initial(), ops, &spans);
    anomalies(&mut lives, &spans)
}

/// The anomalies of `lives`, which are those of `spans`. Notes what unanswered polls have taken.
pub(super) fn anomalies(lives: &mut Lives, spans: &[Span]) -> Vec<Anomaly> {
    let id = |span: usize| OpId::new(spans[span].op);
    let mut found: Vec<Anomaly> =
        lives.phantoms.iter().map(|&seen| Anomaly::Phantom { seen: id(seen) }).collect();
    for &(first, again) in &lives.doubled {
        found.push(Anomaly::Doubled { first: id(first), again: id(again) });
    }
    for life in &lives.lives {
        if life.seen_until.0 < life.offered_from {
            found.push(Anomaly::Phantom { seen: id(life.seen_until.1) });
        }
        if let (Some(first), Some((from, again))) = (life.poll, life.seen_from)
            && spans[first].until.saturating_add(lives.shift) < from
        {
            found.push(Anomaly::Doubled { first: id(first), again: id(again) });
        }
    }
    order(lives, spans, &mut found);
    let sure = lives.takers.is_empty() && lives.cleared_from == NEVER;
    emptiness(lives, spans, &mut found, |life| match life.seen_from {
        None => {
            if sure {
                NEVER
            } else {
                0
            }
        }
        Some((from, _)) => {
            if sure && life.poll.is_none() {
                NEVER
            } else {
                from
            }
        }
    });
    found
}

/// For each time, the first end of what was seen of anything that began later.
struct Later(Vec<(u64, u64, usize)>);

impl Later {
    /// `seen`: beginning, end, and the span that saw it.
    fn new(mut seen: Vec<(u64, u64, usize)>) -> Self {
        seen.sort_unstable();
        let mut first = (NEVER, 0);
        for (_, until, span) in seen.iter_mut().rev() {
            first = first.min((*until, *span));
            (*until, *span) = first;
        }
        Later(seen)
    }

    fn after(&self, time: u64) -> (u64, usize) {
        let place = self.0.partition_point(|(from, ..)| *from <= time);
        self.0.get(place).map_or((NEVER, 0), |&(_, until, span)| (until, span))
    }
}

/// Items that were seen too late, or never.
fn order(lives: &mut Lives, spans: &[Span], found: &mut Vec<Anomaly>) {
    let id = |span: usize| OpId::new(spans[span].op);
    let overtakers = Later::new(
        lives
            .lives
            .iter()
            .filter(|life| life.seen_from.is_some())
            .map(|life| (life.offered_from, life.seen_until.0, life.seen_until.1))
            .collect(),
    );
    let empty = Later::new(
        lives
            .empty
            .iter()
            .map(|&e| (spans[e].from + lives.shift, spans[e].until.saturating_add(lives.shift), e))
            .collect(),
    );
    let mut missing: Vec<(u64, usize, &mut Life)> = Vec::new();
    for life in &mut lives.lives {
        let (gone_until, early) = overtakers.after(life.offered_until);
        if let Some((from, late)) = life.seen_from
            && gone_until < from
        {
            found.push(Anomaly::Inverted { early: id(early), late: id(late) });
        }
        if life.poll.is_none() {
            let (gone_until, seen) = (gone_until, early).min(empty.after(life.offered_until));
            if gone_until < lives.cleared_from {
                missing.push((gone_until, seen, life));
            }
        }
    }
    // Each must have been taken by another unanswered poll, which began before it was missed.
    missing.sort_by_key(|&(gone_until, ..)| gone_until);
    let mut takers = lives.takers.iter().peekable();
    for (gone_until, seen, life) in missing {
        match takers.next_if(|from| **from <= gone_until) {
            Some(&from) => life.taken = Some(Taken { from, until: gone_until }),
            None => {
                let offer = life.offer.map(id);
                found.push(Anomaly::Lost { item: life.item, offer, seen: id(seen) });
            }
        }
    }
}

/// Whether every poll that found nothing is possible, if unanswered polls took what they did.
pub(super) fn can_be_empty(lives: &Lives, spans: &[Span]) -> bool {
    let mut found = Vec::new();
    emptiness(lives, spans, &mut found, |life| match (life.poll, life.seen_from) {
        (Some(_), Some((from, _))) => from,
        _ => life.taken.map_or(NEVER, |taken| taken.from),
    });
    found.is_empty()
}

/// Polls that found nothing while something was there. Each item is there between its offer and
/// `until`, the ends excepted.
fn emptiness(
    lives: &Lives,
    spans: &[Span],
    found: &mut Vec<Anomaly>,
    until: impl Fn(&Life) -> u64,
) {
    if lives.empty.is_empty() {
        return;
    }
    let mut there: Vec<(u64, u64, Value)> = lives
        .lives
        .iter()
        .map(|life| (life.offered_until, until(life), life.item))
        .filter(|(from, until, _)| from < until)
        .collect();
    there.sort_unstable();
    let mut merged: Vec<(u64, u64, Value)> = Vec::with_capacity(there.len());
    for (from, until, item) in there {
        match merged.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(until),
            _ => merged.push((from, until, item)),
        }
    }
    for &poll in &lives.empty {
        let from = spans[poll].from + lives.shift;
        let until = spans[poll].until.saturating_add(lives.shift);
        let before = merged.partition_point(|(begin, ..)| *begin < from);
        if let Some(&(_, end, item)) = before.checked_sub(1).and_then(|last| merged.get(last))
            && until < end
        {
            found.push(Anomaly::NotEmpty { poll: OpId::new(spans[poll].op), item });
        }
    }
}

impl Anomaly {
    /// The anomaly in words, with the operations of `history` that show it.
    #[must_use]
    pub fn explain(&self, history: &History<Queue>) -> String {
        let op = |id: OpId| {
            let op: &OpOf<Queue> = history.op(id);
            let until = op.returned().map_or("?".into(), |at| at.to_string());
            let output = op.output().map_or("?".into(), |output| format!("{output:?}"));
            let (input, from) = (op.input(), op.invoked());
            format!("p{} [{from}, {until}] {input:?} -> {output}", op.process())
        };
        match *self {
            Anomaly::Phantom { seen } => format!("never offered by then: {}", op(seen)),
            Anomaly::Doubled { first, again } => {
                format!("seen again after it was polled: {}, {}", op(first), op(again))
            }
            Anomaly::Inverted { early, late } => {
                format!("offered before what {} returned: {}", op(early), op(late))
            }
            Anomaly::Lost { item, offer, seen } => {
                let offer = offer.map_or(format!("item {item} of the beginning"), op);
                format!("lost: {offer}, missed by {}", op(seen))
            }
            Anomaly::NotEmpty { poll, item } => {
                format!("the queue was not empty, it had {item}: {}", op(poll))
            }
        }
    }
}
