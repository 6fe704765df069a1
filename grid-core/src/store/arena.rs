//! The chunks of one store, in blocks from the pool.
//!
//! New chunks come off the end of the current block; freed ones go into lists by size and are
//! reused for exactly that size. What that cannot reuse is reclaimed block by block: `clean` moves
//! the records out of the emptiest block, and the block goes back to the pool.
//!
//! A free chunk says so in the flags and can be walked over like a record:
//! ```text
//! 0  flags u8 (FREE, LISTED), granules u24, previous in list u32
//! 8  next in list u32              only if two granules or more
//! ```

use super::StoreFull;
use super::buddy::{BLOCK_BYTES_MIN, CLASS_MAX};
use super::mem::{GRANULE, Mem, Ref};
use super::pool::{Loan, Pool};
use super::record::{FREE, Shape};
use std::sync::Arc;

const LISTED: u8 = 1;
const NIL: u32 = u32::MAX;
/// Granules of the largest chunk that is kept for reuse by size.
const LISTED_GRANULES_MAX: u32 = 1024;
/// Blocks are at most 64 KiB unless records are large.
const BLOCK_BYTES_USUAL_MAX: u64 = 64 << 10;
/// Granules that the cleaner may move for each granule freed: an eighth of a block dead is worth
/// moving the other seven.
const MOVES_PER_FREED: u32 = 8;
const CREDIT_MAX: u32 = 1 << 16;
/// Blocks looked at for the emptiest.
const CANDIDATES: usize = 128;

#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) loan: Loan,
    /// Granules of its free chunks.
    dead: u32,
}

/// What the cleaner is at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Victim {
    pub(super) loan: Loan,
    /// The next chunk to look at.
    pub(super) cursor: u32,
    /// First its free chunks leave the lists, then its records leave it.
    pub(super) moving: bool,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Record(Shape),
    Free { granules: u32, listed: bool },
}

impl Chunk {
    pub(super) fn granules(self) -> u32 {
        match self {
            Self::Record(shape) => shape.granules(),
            Self::Free { granules, .. } => granules,
        }
    }
}

#[derive(Debug)]
pub(super) struct Arena {
    pub(super) mem: Mem,
    /// The unused rest of the current block.
    bump: u32,
    limit: u32,
    /// Heads of the lists of free chunks, by granules.
    heads: Vec<u32>,
    /// By address.
    blocks: Vec<Block>,
    /// Granules of all blocks, and of all free chunks in them.
    held: u64,
    dead: u64,
    pub(super) victim: Option<Victim>,
    /// Granules that the cleaner may still move.
    pub(super) credit: u32,
    next_candidate: usize,
    pool: Arc<Pool>,
}

impl Arena {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self {
            mem: pool.mem(),
            bump: 0,
            limit: 0,
            heads: Vec::new(),
            blocks: Vec::new(),
            held: 0,
            dead: 0,
            victim: None,
            credit: 0,
            next_candidate: 0,
            pool: Arc::clone(pool),
        }
    }

    /// Bytes of the blocks held.
    pub(super) fn bytes(&self) -> u64 {
        self.held * GRANULE as u64
    }

    /// A chunk for a record, which the caller writes at once.
    #[inline]
    pub(super) fn alloc(&mut self, granules: u32) -> Result<Ref, StoreFull> {
        if let Some(&head) = self.heads.get(granules as usize)
            && head != NIL
        {
            return Ok(self.reuse(Ref::new(head), granules));
        }
        if self.limit - self.bump < granules {
            return self.alloc_in_new_block(granules);
        }
        self.bump += granules;
        Ok(Ref::new(self.bump - granules))
    }

    /// Bytes of the block that [`alloc`](Self::alloc) would take for such a chunk: 0 if there is room.
    pub(super) fn growth_for(&self, granules: u32) -> usize {
        let listed = self.heads.get(granules as usize).is_some_and(|head| *head != NIL);
        if listed || self.limit - self.bump >= granules {
            return 0;
        }
        BLOCK_BYTES_MIN << self.class_for(granules).0
    }

    /// Frees a chunk. `earns` credit for the cleaner, unless it is the cleaner that frees.
    pub(super) fn free(&mut self, at: Ref, granules: u32) {
        self.credit = (self.credit + (granules * MOVES_PER_FREED).min(CREDIT_MAX)).min(CREDIT_MAX);
        self.discard(at, granules);
    }

    /// Puts a chunk into the list of its size.
    fn discard(&mut self, at: Ref, granules: u32) {
        if granules == 0 {
            return;
        }
        let block = self.block_of(at);
        self.blocks[block].dead += granules;
        self.dead += u64::from(granules);
        let evacuated = self.victim.is_some_and(|v| v.loan == self.blocks[block].loan);
        if evacuated || !(2..=LISTED_GRANULES_MAX).contains(&granules) {
            self.mem.set_word(at, u64::from(FREE) | u64::from(granules) << 8);
            return;
        }
        let size = granules as usize;
        if self.heads.len() <= size {
            self.heads.resize(size + 1, NIL);
        }
        let next = self.heads[size];
        self.link(at, granules, NIL, next);
        if next != NIL {
            self.set_prev(Ref::new(next), at.granule());
        }
        self.heads[size] = at.granule();
    }

    fn reuse(&mut self, at: Ref, granules: u32) -> Ref {
        self.unlink(at, granules);
        let block = self.block_of(at);
        self.blocks[block].dead -= granules;
        self.dead -= u64::from(granules);
        at
    }

    fn link(&mut self, at: Ref, granules: u32, prev: u32, next: u32) {
        let word = u64::from(FREE | LISTED) | u64::from(granules) << 8 | u64::from(prev) << 32;
        self.mem.set_word(at, word);
        self.mem.set_u32(at, 8, next);
    }

    fn set_prev(&mut self, at: Ref, prev: u32) {
        self.mem.set_u32(at, 4, prev);
    }

    /// Takes a listed chunk out of its list; what it holds then is stale.
    fn unlink(&mut self, at: Ref, granules: u32) {
        let (prev, next) = (self.mem.u32(at, 4), self.mem.u32(at, 8));
        if prev == NIL {
            self.heads[granules as usize] = next;
        } else {
            self.mem.set_u32(Ref::new(prev), 8, next);
        }
        if next != NIL {
            self.set_prev(Ref::new(next), prev);
        }
    }

    /// Takes a listed chunk of the victim out of its list; it stays free.
    pub(super) fn unlist(&mut self, at: Ref, granules: u32) {
        self.unlink(at, granules);
        self.mem.set_word(at, u64::from(FREE) | u64::from(granules) << 8);
    }

    /// What starts at `at`, which must be the start of a chunk.
    pub(super) fn chunk(&self, at: Ref) -> Chunk {
        let word = self.mem.word(at);
        if word as u8 & FREE == 0 {
            return Chunk::Record(Shape::read(&self.mem, at));
        }
        Chunk::Free { granules: (word >> 8) as u32 & 0x00ff_ffff, listed: word as u8 & LISTED != 0 }
    }

    fn block_of(&self, at: Ref) -> usize {
        self.blocks.partition_point(|block| block.loan.start <= at) - 1
    }

    /// Classes of the next block, wanted and least: a 32nd of what is held, so that little of it is
    /// unused on average, but room for a few such records so that little is lost at its end.
    fn class_for(&self, granules: u32) -> (u8, u8) {
        let (held, record) = (self.bytes(), u64::from(granules) * GRANULE as u64);
        let want = (held / 32).min(BLOCK_BYTES_USUAL_MAX).max((held / 4).min(record * 8));
        let blocks = (want / BLOCK_BYTES_MIN as u64).max(1).ilog2() as u8;
        let least = record.div_ceil(BLOCK_BYTES_MIN as u64).next_power_of_two().ilog2() as u8;
        (blocks.max(least).min(CLASS_MAX), least)
    }

    #[cold]
    fn alloc_in_new_block(&mut self, granules: u32) -> Result<Ref, StoreFull> {
        let (class, least) = self.class_for(granules);
        let loan = self.pool.take(class, least)?;
        let place = self.blocks.partition_point(|block| block.loan.start < loan.start);
        self.blocks.insert(place, Block { loan, dead: 0 });
        self.held += u64::from(loan.granules());
        let at = loan.start;
        let (bump, limit) = (at.granule() + granules, at.granule() + loan.granules());
        // The larger of the two rests stays for what comes next, the other one is a free chunk.
        let (old, old_limit) = (self.bump, self.limit);
        if limit - bump >= old_limit - old {
            (self.bump, self.limit) = (bump, limit);
            self.discard(Ref::new(old), old_limit - old);
        } else {
            self.discard(Ref::new(bump), limit - bump);
        }
        Ok(at)
    }

    /// Whether more is dead than is worth keeping, and frees have paid for cleaning.
    #[inline]
    pub(super) fn wants_cleaning(&self) -> bool {
        self.credit > 0 && (self.victim.is_some() || self.dead * 8 > self.held + self.slack())
    }

    fn slack(&self) -> u64 {
        let block = (self.bytes() / 32).clamp(BLOCK_BYTES_MIN as u64, BLOCK_BYTES_USUAL_MAX);
        8 * block / GRANULE as u64
    }

    /// Chooses the emptiest of some blocks to be evacuated.
    pub(super) fn choose_victim(&mut self) {
        let current =
            if self.limit == 0 { None } else { Some(self.block_of(Ref::new(self.limit - 1))) };
        let count = self.blocks.len();
        let looked_at = (0..count.min(CANDIDATES)).map(|i| (self.next_candidate + i) % count);
        let dead_of = |i: usize| {
            let block = &self.blocks[i];
            u64::from(block.dead) * 1024 / u64::from(block.loan.granules())
        };
        let emptiest = looked_at.filter(|i| Some(*i) != current).max_by_key(|i| dead_of(*i));
        self.next_candidate = (self.next_candidate + CANDIDATES) % count.max(1);
        match emptiest {
            Some(i) if dead_of(i) >= 1024 / 8 => {
                let loan = self.blocks[i].loan;
                self.victim = Some(Victim { loan, cursor: loan.start.granule(), moving: false });
            }
            // Nothing is worth moving: wait for more to be freed.
            _ => self.credit = 0,
        }
    }

    /// A record has left its chunk in the victim.
    pub(super) fn vacate(&mut self, at: Ref, granules: u32) {
        self.discard(at, granules);
    }

    /// Gives the victim, empty now, back to the pool.
    pub(super) fn return_victim(&mut self, loan: Loan) {
        self.victim = None;
        let place = self.block_of(loan.start);
        let block = self.blocks.remove(place);
        debug_assert_eq!(block.dead, loan.granules(), "a block goes back with live records");
        self.dead -= u64::from(block.dead);
        self.held -= u64::from(loan.granules());
        self.pool.give([loan]);
    }

    /// Gives every block back, whatever is in it.
    pub(super) fn clear(&mut self) {
        self.pool.give(self.blocks.drain(..).map(|block| block.loan));
        (self.bump, self.limit, self.held, self.dead, self.credit) = (0, 0, 0, 0, 0);
        self.victim = None;
        self.heads = Vec::new();
        self.blocks = Vec::new();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
impl Loan {
    fn end(self) -> u32 {
        self.start.granule() + self.granules()
    }
}

#[cfg(test)]
impl Arena {
    /// Walks every chunk; asserts that all accounts agree. Returns the number of records.
    pub(super) fn check(&self) -> usize {
        let (mut records, mut held, mut dead, mut listed) = (0, 0, 0, 0);
        for (i, block) in self.blocks.iter().enumerate() {
            assert!(i == 0 || self.blocks[i - 1].loan.end() <= block.loan.start.granule());
            let current = self.bump < self.limit && self.limit == block.loan.end();
            let end = if current { self.bump } else { block.loan.end() };
            let (mut at, mut dead_here) = (block.loan.start.granule(), 0);
            while at < end {
                let chunk = self.chunk(Ref::new(at));
                match chunk {
                    Chunk::Record(_) => records += 1,
                    Chunk::Free { granules, listed: is_listed } => {
                        dead_here += granules;
                        listed += usize::from(is_listed);
                    }
                }
                at += chunk.granules();
            }
            assert_eq!((at, dead_here), (end, block.dead));
            held += u64::from(block.loan.granules());
            dead += u64::from(block.dead);
        }
        assert_eq!((held, dead), (self.held, self.dead));
        for (granules, head) in self.heads.iter().enumerate() {
            let (mut at, mut prev) = (*head, NIL);
            while at != NIL {
                let want = Chunk::Free { granules: granules as u32, listed: true };
                assert_eq!(self.chunk(Ref::new(at)), want);
                assert_eq!(self.mem.u32(Ref::new(at), 4), prev);
                listed -= 1;
                (prev, at) = (at, self.mem.u32(Ref::new(at), 8));
            }
        }
        assert_eq!(listed, 0, "a free chunk says that it is listed, but is not");
        records
    }

    pub(super) fn dead_bytes(&self) -> u64 {
        self.dead * GRANULE as u64
    }
}
