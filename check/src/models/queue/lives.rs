//! What a history tells about each item: when it was offered, and when it was seen at the head.

use super::{In, Out, Queue, QueueState};
use crate::Value;
use crate::history::OpOf;
use crate::span::{NEVER, Span};

/// One item.
///
/// Times are later by [`Lives::shift`] than in the history, so that the items of the beginning, which
/// were offered one after the other, have times of their own.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) item: Value,
    /// The span of the offer; none if the item was there in the beginning.
    pub(super) offer: Option<usize>,
    /// It was offered at this time or later.
    pub(super) offered_from: u64,
    /// It was offered at this time or earlier; [`NEVER`] if it need not have been.
    pub(super) offered_until: u64,
    /// The span of the poll that returned it.
    pub(super) poll: Option<usize>,
    /// It was at the head for the first time at this time or earlier, by the span behind it.
    pub(super) seen_until: (u64, usize),
    /// It was at the head for the last time at this time or later, by the span behind it.
    pub(super) seen_from: Option<(u64, usize)>,
    /// When an unanswered poll took it, for it is missed at the end.
    pub(super) taken: Option<Taken>,
}

/// When an unanswered poll took an item. There may be several that can have, and other items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The beginning of one of them, if each item is to have another one.
    pub(super) from: u64,
    /// It was gone at this time.
    pub(super) until: u64,
}

/// All that concerns the items of a history.
pub(super) struct Lives {
    /// Items that were offered once.
    pub(super) lives: Vec<Life>,
    /// Items that were polled or peeked, but never offered: the spans.
    pub(super) phantoms: Vec<usize>,
    /// Items that were polled more often than offered: spans of two polls.
    pub(super) doubled: Vec<(usize, usize)>,
    /// Spans of polls that found nothing.
    pub(super) empty: Vec<usize>,
    /// Beginnings of unanswered polls, ascending.
    pub(super) takers: Vec<u64>,
    /// The earliest beginning of a clear.
    pub(super) cleared_from: u64,
    /// Whether all items differ.
    pub(super) unique: bool,
    /// Whether an answer depends on the number of items.
    pub(super) counted: bool,
    /// How much later the times are.
    pub(super) shift: u64,
}

/// Something that concerns an item. Names spans by their index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trace {
    /// It was there in the beginning, at this place.
    Initial(u64),
    Offer(usize),
    Poll(usize),
    Peek(usize),
}

impl Lives {
    pub(super) fn of(initial: &QueueState, ops: &[OpOf<Queue>], spans: &[Span]) -> Self {
        let mut lives = Lives {
            lives: Vec::with_capacity(spans.len()),
            phantoms: Vec::new(),
            doubled: Vec::new(),
            empty: Vec::new(),
            takers: Vec::new(),
            cleared_from: NEVER,
            unique: true,
            counted: false,
            shift: initial.items.len() as u64,
        };
        let mut traces = Vec::with_capacity(spans.len() + initial.items.len());
        traces.extend(initial.items.iter().zip(0..).map(|(&item, at)| (item, Trace::Initial(at))));
        for (index, span) in spans.iter().enumerate() {
            traces.extend(lives.trace(index, span, ops));
        }
        traces.sort_unstable();
        for traces in traces.chunk_by(|a, b| a.0 == b.0) {
            lives.settle(traces, spans);
        }
        lives.takers.sort_unstable();
        lives
    }

    /// The item that a span concerns, or notes what it tells of all.
    fn trace(&mut self, index: usize, span: &Span, ops: &[OpOf<Queue>]) -> Option<(Value, Trace)> {
        match (span.input(ops), span.output(ops)) {
            (In::Offer(_), Some(Out::Flag(false))) | (In::Size, Some(_)) => self.counted = true,
            (In::Offer(item), _) => return Some((*item, Trace::Offer(index))),
            (In::Poll, Some(Out::Item(Some(item)))) => return Some((*item, Trace::Poll(index))),
            (In::Peek, Some(Out::Item(Some(item)))) => return Some((*item, Trace::Peek(index))),
            (In::Poll | In::Peek, Some(Out::Item(None))) => self.empty.push(index),
            (In::Poll, None) => self.takers.push(span.from + self.shift),
            (In::Clear, _) => {
                self.cleared_from = self.cleared_from.min(span.from + self.shift);
            }
            (In::Poll | In::Peek | In::Size, _) => {}
        }
        None
    }

    /// Makes a life of the traces of an item, if it was offered once.
    fn settle(&mut self, traces: &[(Value, Trace)], spans: &[Span]) {
        let item = traces[0].0;
        let traces = || traces.iter().map(|&(_, trace)| trace);
        let offers = traces().filter(|trace| matches!(trace, Trace::Initial(_) | Trace::Offer(_)));
        let offers = offers.count();
        let polls = traces().filter_map(|trace| match trace {
            Trace::Poll(span) => Some(span),
            Trace::Initial(_) | Trace::Offer(_) | Trace::Peek(_) => None,
        });
        let seen = || {
            traces().filter_map(|trace| match trace {
                Trace::Poll(span) | Trace::Peek(span) => Some(span),
                Trace::Initial(_) | Trace::Offer(_) => None,
            })
        };
        if offers == 0 {
            self.phantoms.extend(seen().next());
            return;
        }
        if polls.clone().count() > offers {
            let mut polls: Vec<usize> = polls.clone().collect();
            polls.sort_by_key(|&poll| spans[poll].from);
            self.doubled.push((polls[0], polls[offers]));
        }
        if offers > 1 {
            self.unique = false;
            return;
        }
        let until = |span: usize| spans[span].until.saturating_add(self.shift);
        let from = |span: usize| spans[span].from + self.shift;
        let seen_until = seen().map(|span| (until(span), span)).min().unwrap_or((NEVER, 0));
        let (offer, offered_from, offered_until) = match traces().next() {
            Some(Trace::Offer(offer)) => (Some(offer), from(offer), until(offer).min(seen_until.0)),
            Some(Trace::Initial(place)) => (None, place, place),
            Some(Trace::Poll(_) | Trace::Peek(_)) | None => return,
        };
        let poll = polls.clone().next();
        let seen_from = seen().map(|span| (from(span), span)).max();
        self.lives.push(Life {
            item,
            offer,
            offered_from,
            offered_until,
            poll,
            seen_until,
            seen_from,
            taken: None,
        });
    }
}
