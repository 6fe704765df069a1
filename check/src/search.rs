//! The search for a linearization, after Wing & Gong (1993) and Lowe (2017).
//!
//! A configuration is the set of operations that have taken effect, and the state. An operation may
//! be next if no other one that is still to come must end before it begins. The search goes depth
//! first, and remembers configurations that lead nowhere ([`Memo`]). What makes it fast:
//!
//! - Spans are sorted by their beginning, and `lo` is the first that has not taken effect. Everything
//!   before it has, and nothing that begins after its end can have: so a key holds only the bits
//!   between, however long the history is.
//! - Reads take effect as soon as they can; there is nothing to choose.
//! - A configuration is remembered when it is left, not when it is met. Until the first wrong turn
//!   nothing is hashed.
//! - A model may know blocks of operations, and a second precedence ([`Model::narrow`]): what
//!   breaks them is not tried.
//! - Of the operations that may or may not happen, equal ones are used in the order of their
//!   invocations, and none is used that changes nothing or whose effect the next one hides.

use crate::history::OpOf;
use crate::memo::{Key, Memo};
use crate::model::{Decision, Model};
use crate::span::{BLOCK_INITIAL, NEVER, Span, UNORDERED};
use std::hash::Hash;

/// More operations that may or may not happen than this are not compared with each other.
const TWINS_MAX: usize = 512;

/// A search and its buffers, which the next one uses again.
pub(crate) struct Search<S> {
    /// What takes effect for sure, by `from`.
    musts: Vec<Span>,
    /// What may happen or not, by `from`.
    maybes: Vec<Span>,
    /// For each of `maybes`, the last one before it with the same input.
    twins: Vec<Option<u32>>,
    /// Those of `musts` whose `order` ends, by its end.
    ordered: Vec<u32>,
    /// Bits: which of `musts` have taken effect.
    done: Vec<u64>,
    /// Bits: which of `maybes` have taken effect.
    used: Vec<u64>,
    /// For each block, how many of `musts` belong to it and are still to come.
    missing: Vec<u32>,
    /// What has taken effect, in this order.
    taken: Vec<Move>,
    /// The configurations from the first to the current one.
    frames: Vec<Frame<S>>,
    /// What may be next, for each frame.
    moves: Vec<Move>,
    dead_ends: Memo<S>,
    /// The largest `lo` of a dead end.
    dead_lo: Option<usize>,
    key: Vec<u64>,
}

/// A configuration on the way to the current one.
struct Frame<S> {
    state: S,
    lo: u32,
    /// All of `ordered` before this one have taken effect.
    ordered_lo: u32,
    taken: u32,
    /// The block that has begun last.
    block: u32,
    moves_from: u32,
    moves_next: u32,
    /// Whether the last operation was one that may happen or not, and nothing followed by itself.
    by_maybe: bool,
}

/// How a configuration follows from the one before.
#[derive(Clone, Copy)]
struct Entry {
    lo: u32,
    ordered_lo: u32,
    block: u32,
    by_maybe: bool,
}

/// An index into `musts` or `maybes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move(u32);

impl Entry {
    const FIRST: Entry = Entry { lo: 0, ordered_lo: 0, block: BLOCK_INITIAL, by_maybe: false };
}

const MAYBE: u32 = 1 << 31;

impl Move {
    #[inline]
    fn is_maybe(self) -> bool {
        self.0 & MAYBE != 0
    }

    #[inline]
    fn index(self) -> usize {
        (self.0 & !MAYBE) as usize
    }
}

enum Entered {
    Fresh,
    Known,
    Complete,
}

impl<S: Clone + Eq + Hash> Search<S> {
    pub(crate) fn new() -> Self {
        Search {
            musts: Vec::new(),
            maybes: Vec::new(),
            twins: Vec::new(),
            ordered: Vec::new(),
            done: Vec::new(),
            used: Vec::new(),
            missing: Vec::new(),
            taken: Vec::new(),
            frames: Vec::new(),
            moves: Vec::new(),
            dead_ends: Memo::new(),
            dead_lo: None,
            key: Vec::new(),
        }
    }

    /// Searches for a linearization of `spans`. `budget` is the number of operations that may still
    /// be tried, and is reduced by those that were; `Open` if it is used up.
    pub(crate) fn run<M: Model<State = S>>(
        &mut self,
        initial: &S,
        ops: &[OpOf<M>],
        spans: &[Span],
        budget: &mut u64,
    ) -> Decision {
        self.find::<M>(initial, ops, spans, budget, None)
    }

    /// The same, and the longest part of a linearization that was found, as indices of operations.
    pub(crate) fn longest<M: Model<State = S>>(
        &mut self,
        initial: &S,
        ops: &[OpOf<M>],
        spans: &[Span],
        budget: &mut u64,
    ) -> Vec<usize> {
        let mut longest = Vec::new();
        self.find::<M>(initial, ops, spans, budget, Some(&mut longest));
        longest
    }

    fn find<M: Model<State = S>>(
        &mut self,
        initial: &S,
        ops: &[OpOf<M>],
        spans: &[Span],
        budget: &mut u64,
        mut longest: Option<&mut Vec<usize>>,
    ) -> Decision {
        self.load::<M>(ops, spans);
        if let Entered::Complete = self.enter::<M>(ops, initial.clone(), Entry::FIRST) {
            return Decision::Linearizable;
        }
        while let Some(frame) = self.frames.last_mut() {
            let Some(&next) = self.moves.get(frame.moves_next as usize) else {
                if let Some(longest) = longest.as_deref_mut() {
                    self.note(longest);
                }
                self.leave();
                continue;
            };
            frame.moves_next += 1;
            if *budget == 0 {
                return Decision::Open;
            }
            *budget -= 1;
            if let Entered::Complete = self.try_move::<M>(ops, next) {
                return Decision::Linearizable;
            }
        }
        Decision::Violation
    }

    fn load<M: Model<State = S>>(&mut self, ops: &[OpOf<M>], spans: &[Span]) {
        let Search { musts, maybes, missing, ordered, .. } = self;
        musts.clear();
        maybes.clear();
        let (mut blocks, mut orders) = (0, false);
        for span in spans {
            if span.must { &mut *musts } else { &mut *maybes }.push(*span);
            blocks = blocks.max(span.block).max(span.begins);
            orders |= span.order != UNORDERED;
        }
        for spans in [&mut *musts, maybes] {
            if !spans.is_sorted_by_key(|span| span.from) {
                spans.sort_by_key(|span| span.from);
            }
        }
        for (bits, spans) in [(&mut self.done, &*musts), (&mut self.used, &*maybes)] {
            bits.clear();
            bits.resize(spans.len().div_ceil(64), 0);
        }
        missing.clear();
        missing.resize(1 + blocks.max(BLOCK_INITIAL) as usize, 0);
        ordered.clear();
        if blocks > 0 {
            for span in musts.iter().filter(|span| span.block != 0) {
                missing[span.block as usize] += 1;
            }
        }
        if orders {
            let ends = |i: u32| musts[i as usize].order.1;
            ordered.extend((0..musts.len() as u32).filter(|&i| ends(i) < NEVER));
            ordered.sort_by_key(|&i| ends(i));
        }
        self.pair_twins::<M>(ops);
        self.taken.clear();
        self.frames.clear();
        self.moves.clear();
        self.dead_ends.clear();
        self.dead_lo = None;
    }

    fn pair_twins<M: Model<State = S>>(&mut self, ops: &[OpOf<M>]) {
        let maybes = &self.maybes;
        self.twins.clear();
        self.twins.resize(maybes.len(), None);
        if maybes.len() > TWINS_MAX {
            return;
        }
        for (later, twin) in self.twins.iter_mut().enumerate() {
            // An `order` may allow the later one first.
            let same = |earlier: &usize| {
                maybes[*earlier].input(ops) == maybes[later].input(ops)
                    && maybes[*earlier].order == maybes[later].order
            };
            *twin = (0..later).rev().find(same).map(|earlier| earlier as u32);
        }
    }

    fn try_move<M: Model<State = S>>(&mut self, ops: &[OpOf<M>], next: Move) -> Entered {
        let Some(frame) = self.frames.last() else { return Entered::Known };
        let spans = if next.is_maybe() { &self.maybes } else { &self.musts };
        let span = &spans[next.index()];
        let last_of_block = u32::from(span.must && span.block == frame.block);
        if frame.block != 0 && self.missing[frame.block as usize] > last_of_block {
            return Entered::Known;
        }
        let Some(state) = span.step::<M>(ops, &frame.state) else { return Entered::Known };
        if next.is_maybe() && (state == frame.state || self.hides_last::<M>(ops, span, &state)) {
            return Entered::Known;
        }
        let (lo, ordered_lo, block) = (frame.lo, frame.ordered_lo, span.begins);
        self.take(next);
        self.enter::<M>(ops, state, Entry { lo, ordered_lo, block, by_maybe: next.is_maybe() })
    }

    /// Whether `state`, which `span` leaves, would be the same without the operation before, which
    /// need not have happened.
    fn hides_last<M: Model<State = S>>(&self, ops: &[OpOf<M>], span: &Span, state: &S) -> bool {
        match self.frames.as_slice() {
            [.., before, last] if last.by_maybe => {
                span.step::<M>(ops, &before.state).as_ref() == Some(state)
            }
            _ => false,
        }
    }

    /// Makes the configuration with what is taken, after all reads that are possible in it, the
    /// current one, unless it is known to lead nowhere.
    fn enter<M: Model<State = S>>(&mut self, ops: &[OpOf<M>], state: S, entry: Entry) -> Entered {
        let (taken, moves_from) = (self.taken.len(), self.moves.len());
        let end = self.gather::<M>(ops, &state, entry.lo as usize);
        let lo = self.skip_done(entry.lo as usize);
        if lo == self.musts.len() {
            return Entered::Complete;
        }
        if self.dead_lo.is_some_and(|dead| lo <= dead) {
            self.write_key(lo);
            if self.dead_ends.covers(Key { words: &self.key, used: self.used.len() }, &state) {
                self.moves.truncate(moves_from);
                self.give_back();
                return Entered::Known;
            }
        }
        let ordered_lo = self.sort_moves(moves_from, entry.ordered_lo as usize, end);
        self.frames.push(Frame {
            state,
            lo: lo as u32,
            ordered_lo: ordered_lo as u32,
            taken: self.taken.len() as u32,
            block: entry.block,
            moves_from: moves_from as u32,
            moves_next: moves_from as u32,
            by_maybe: entry.by_maybe && self.taken.len() == taken,
        });
        Entered::Fresh
    }

    /// Takes all reads that are possible, and collects what else may be next. Returns the first end
    /// of what is still to come: nothing that begins later may be next.
    fn gather<M: Model<State = S>>(&mut self, ops: &[OpOf<M>], state: &S, lo: usize) -> u64 {
        let mut end = NEVER;
        let mut base = lo & !63;
        let mut left = !0 << (lo % 64);
        while let Some(done) = self.done.get(base / 64) {
            left &= !done;
            while left != 0 {
                let index = base + left.trailing_zeros() as usize;
                left &= left - 1;
                let Some(span) = self.musts.get(index) else { return end };
                if span.from > end {
                    return end;
                }
                if !span.reads {
                    self.moves.push(Move(index as u32));
                } else if span.step::<M>(ops, state).is_some() {
                    self.take(Move(index as u32));
                    continue;
                }
                end = end.min(span.until);
            }
            base += 64;
            left = !0;
        }
        end
    }

    /// Adds what may happen or not to the moves from `from` on, and sorts out those that the
    /// spans' second precedence forbids.
    fn sort_moves(&mut self, from: usize, mut ordered_lo: usize, end: u64) -> usize {
        let Search { musts, maybes, moves, ordered, done, used, twins, .. } = self;
        let mut order_end = NEVER;
        if !ordered.is_empty() {
            while ordered.get(ordered_lo).is_some_and(|&i| bit(done, i as usize)) {
                ordered_lo += 1;
            }
            // What is first does not come before itself.
            let mut left = ordered[ordered_lo..].iter().filter(|&&i| !bit(done, i as usize));
            let ends = |i: Option<&u32>| i.map_or(NEVER, |&i| musts[i as usize].order.1);
            let first = left.next();
            let second_end = ends(left.next());
            order_end = ends(first);
            let mut kept = from;
            for at in from..moves.len() {
                let next = moves[at];
                let is_first = first == Some(&next.0);
                if musts[next.index()].order.0 <= if is_first { second_end } else { order_end } {
                    moves[kept] = next;
                    kept += 1;
                }
            }
            moves.truncate(kept);
            moves[from..].sort_by_key(|next| {
                let span = &musts[next.index()];
                if span.order == UNORDERED { span.until } else { span.order.1 }
            });
        }
        for (index, span) in maybes.iter().enumerate().take_while(|(_, span)| span.from <= end) {
            let twin_used = twins[index].is_none_or(|twin| bit(used, twin as usize));
            if !bit(used, index) && twin_used && span.order.0 <= order_end {
                moves.push(Move(index as u32 | MAYBE));
            }
        }
        ordered_lo
    }

    /// Leaves the current configuration, from which nothing leads further, for the one before.
    fn leave(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.moves.truncate(frame.moves_from as usize);
        self.write_key(frame.lo as usize);
        self.dead_lo = self.dead_lo.max(Some(frame.lo as usize));
        self.dead_ends.insert(Key { words: &self.key, used: self.used.len() }, frame.state);
        self.give_back();
    }

    #[inline]
    fn take(&mut self, next: Move) {
        self.flip(next, |missing| missing - 1);
        self.taken.push(next);
    }

    /// Undoes what was taken since the last frame.
    fn give_back(&mut self) {
        let to = self.frames.last().map_or(0, |frame| frame.taken as usize);
        while self.taken.len() > to {
            if let Some(next) = self.taken.pop() {
                self.flip(next, |missing| missing + 1);
            }
        }
    }

    #[inline]
    fn flip(&mut self, next: Move, missing: impl Fn(u32) -> u32) {
        let index = next.index();
        let bits = if next.is_maybe() { &mut self.used } else { &mut self.done };
        bits[index / 64] ^= 1 << (index % 64);
        if !next.is_maybe() && self.musts[index].block != 0 {
            let block = &mut self.missing[self.musts[index].block as usize];
            *block = missing(*block);
        }
    }

    /// The first from `lo` on that has not taken effect.
    fn skip_done(&self, lo: usize) -> usize {
        let mut base = lo & !63;
        let mut left = !0 << (lo % 64);
        while let Some(done) = self.done.get(base / 64) {
            left &= !done;
            if left != 0 {
                return self.musts.len().min(base + left.trailing_zeros() as usize);
            }
            base += 64;
            left = !0;
        }
        self.musts.len()
    }

    /// Writes the key of what is taken: bits of `used`, `lo`, bits of `done` from `lo` to the last
    /// that can be set before `lo` is.
    fn write_key(&mut self, lo: usize) {
        let until = self.musts[lo].until;
        let end = lo + self.musts[lo..].partition_point(|span| span.from <= until);
        self.key.clear();
        self.key.extend_from_slice(&self.used);
        self.key.push(lo as u64);
        self.key.extend_from_slice(&self.done[lo / 64..end.div_ceil(64)]);
    }

    fn note(&self, longest: &mut Vec<usize>) {
        if self.taken.len() > longest.len() {
            longest.clear();
            longest.extend(self.taken.iter().map(|next| {
                let spans = if next.is_maybe() { &self.maybes } else { &self.musts };
                spans[next.index()].op
            }));
        }
    }
}

#[inline]
fn bit(bits: &[u64], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}
