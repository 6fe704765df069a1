//! What the items tell about the order of operations, if each is offered at most once.

use super::audit::{anomalies, can_be_empty};
use super::lives::Lives;
use super::plan::{End, Plan};
use super::{In, Out, Queue, QueueState};
use crate::history::OpOf;
use crate::model::{Decision, Model};
use crate::span::{NEVER, Span};
use std::sync::Arc;

/// Narrows spans by when the items were seen: an offer comes before the polls and peeks of its item,
/// and offers come in the order of the polls. Finds all that the audit finds. Decides histories of
/// nothing but offers and polls, if there is room for all items.
pub(super) fn narrow(
    initial: &mut QueueState,
    ops: &[OpOf<Queue>],
    spans: &mut Vec<Span>,
) -> Decision {
    let mut lives = Lives::of(initial, ops, spans);
    if !anomalies(&mut lives, spans).is_empty() {
        return Decision::Violation;
    }
    if !lives.unique {
        return Decision::Open;
    }
    let can_be_empty = can_be_empty(&lives, spans);
    order_offers(&lives, spans);
    alike(&lives, spans);
    drop_idle(&lives, ops, spans);
    let plain = |span: &Span| {
        matches!(
            (span.input(ops), span.output(ops)),
            (In::Offer(_), Some(Out::Flag(true)) | None) | (In::Poll, Some(Out::Item(_)) | None)
        )
    };
    let room = initial.capacity() >= lives.lives.len() as u64;
    if room && spans.iter().all(plain) && can_be_empty {
        return Decision::Linearizable;
    }
    initial.plan = Some(plan(&lives));
    Decision::Open
}

/// Items that nobody saw, and that must have been taken or need not, are all the same: one stands for
/// all.
fn alike(lives: &Lives, spans: &mut [Span]) {
    let mut standing = [None; 3];
    for life in lives.lives.iter().filter(|life| life.seen_from.is_none()) {
        let Some(offer) = life.offer else { continue };
        let kind = usize::from(spans[offer].answered) + usize::from(life.taken.is_some());
        let standing = &mut standing[kind];
        spans[offer].op = *standing.get_or_insert(spans[offer].op);
    }
}

fn order_offers(lives: &Lives, spans: &mut [Span]) {
    let time = |shifted: u64| if shifted == NEVER { NEVER } else { shifted - lives.shift };
    let taker_from = lives.takers.first().copied().unwrap_or(NEVER);
    for life in &lives.lives {
        if let Some((_, last)) = life.seen_from {
            let from = life.offered_from.saturating_sub(lives.shift);
            spans[last].from = spans[last].from.max(from);
        }
        let Some(offer) = life.offer else { continue };
        spans[offer].must |= life.seen_from.is_some();
        spans[offer].until = time(life.offered_until);
        // It was at the head at the latest at the end of `order`, and still at its beginning.
        let seen_from = life.seen_from.map_or(0, |(from, _)| from);
        let seen_until = life.seen_until.0;
        let (from, until) = match (life.poll, life.taken) {
            (Some(_), _) => (seen_from, seen_until),
            (None, Some(taken)) => (seen_from.max(taker_from), seen_until.min(taken.until)),
            // An unanswered poll may have taken it, or nothing that comes later is polled.
            (None, None) if lives.cleared_from == NEVER => (seen_from.max(taker_from), seen_until),
            (None, None) => (seen_from, seen_until),
        };
        spans[offer].order = (from.saturating_sub(lives.shift), time(until));
        if from == NEVER {
            spans[offer].order.0 = NEVER;
        }
    }
}

/// What the search shall know about items.
fn plan(lives: &Lives) -> Plan {
    let ends = lives.lives.iter().filter_map(|life| match (life.poll, life.taken) {
        (Some(_), _) => Some((life.item, End::Polled)),
        (None, Some(_)) => Some((life.item, End::Taken)),
        (None, None) => None,
    });
    let to_take =
        lives.lives.iter().filter(|life| life.offer.is_some() && life.taken.is_some()).count();
    let takers = if lives.cleared_from == NEVER { lives.takers.len() } else { usize::MAX };
    Plan { ends: Arc::new(ends.collect()), to_take, takers }
}

/// Removes unanswered operations without which the verdict is the same: offers of items that nobody
/// saw, unless an answer depends on their number; and if all that was offered was polled, polls and
/// clears.
fn drop_idle(lives: &Lives, ops: &[OpOf<Queue>], spans: &mut Vec<Span>) {
    if !lives.counted {
        spans.retain(|span| span.must || !matches!(span.input(ops), In::Offer(_)));
    }
    let offers = spans.iter().filter(|span| matches!(span.input(ops), In::Offer(_)));
    let offered = offers.filter(|span| !Queue::reads(span.input(ops), span.output(ops))).count()
        as u64
        + lives.shift;
    let polled = lives.lives.iter().filter(|life| life.poll.is_some()).count() as u64;
    if offered == polled {
        spans.retain(|span| span.must || !matches!(span.input(ops), In::Poll | In::Clear));
    }
}
