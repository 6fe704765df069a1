//! The times of blocks, after Gibbons & Korach, "Testing shared memories" (1997).
//!
//! A write and those that find its value take effect one after the other, with no other effect
//! between; the last of them may be the next effect. Such a block must come before another one if one
//! of its operations ends before one of the other begins: if its earliest end is before the other's
//! latest beginning. With nothing but reads and writes there is an order of the blocks unless two must
//! come before each other, and so the history is decided in n log n.

use super::facts::Source;
use crate::span::{BLOCK_INITIAL, NEVER, Span};

/// The earliest end and the latest beginning of the operations of a block.
#[derive(Clone, Copy)]
struct Zone {
    end_min: u64,
    from_max: u64,
}

/// The zones of the effect of each span, and of the value in the beginning.
pub(super) struct Zones {
    initial: Zone,
    zones: Vec<Zone>,
}

impl Zone {
    const EMPTY: Zone = Zone { end_min: NEVER, from_max: 0 };

    fn add(&mut self, span: &Span) {
        self.end_min = self.end_min.min(span.until);
        self.from_max = self.from_max.max(span.from);
    }

    /// Whether some operation ends before another begins: then nothing else may take effect in
    /// between.
    fn is_forward(&self) -> bool {
        self.end_min < self.from_max
    }
}

impl Zones {
    pub(super) fn new(spans: usize) -> Self {
        Zones { initial: Zone::EMPTY, zones: vec![Zone::EMPTY; spans] }
    }

    /// Adds a span to the block of `source`.
    pub(super) fn add(&mut self, source: Source, span: &Span) {
        match source {
            Source::Initial => self.initial.add(span),
            Source::Span(writer) => self.zones[writer].add(span),
            Source::Several | Source::Nobody => {}
        }
    }

    /// Whether two of the blocks must come before each other: two forward ones that overlap, or one
    /// that is not forward within a forward one; or one before that of the beginning.
    pub(super) fn conflict(&self) -> bool {
        if self.zones.iter().any(|zone| zone.end_min < self.initial.from_max) {
            return true;
        }
        let zones = self.zones.iter().filter(|zone| zone.end_min < NEVER);
        let (mut forward, backward): (Vec<&Zone>, Vec<&Zone>) =
            zones.partition(|zone| zone.is_forward());
        forward.sort_unstable_by_key(|zone| zone.end_min);
        if forward.windows(2).any(|pair| pair[1].end_min < pair[0].from_max) {
            return true;
        }
        backward.iter().any(|zone| {
            let before = forward.partition_point(|other| other.end_min < zone.from_max);
            before.checked_sub(1).is_some_and(|last| zone.end_min < forward[last].from_max)
        })
    }

    /// Tells the search what block the span `index` begins, if it has an effect for sure, and to
    /// which one it belongs.
    pub(super) fn narrow(&self, index: usize, begins: bool, source: Source, span: &mut Span) {
        let block = |index: usize| BLOCK_INITIAL + 1 + index as u32;
        if begins {
            let zone = self.zones[index];
            span.begins = block(index);
            span.order = (zone.from_max, zone.end_min);
        }
        span.block = match source {
            Source::Initial => BLOCK_INITIAL,
            Source::Span(writer) => block(writer),
            Source::Several | Source::Nobody => 0,
        };
    }
}
