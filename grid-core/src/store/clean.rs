//! The cleaner: empties blocks that are mostly dead, a few chunks with every write, so that memory
//! of sizes that nobody asks for any more does not stay with the store.

use super::Store;
use super::arena::Chunk;
use super::mem::Ref;
use super::record::Shape;

/// Chunks looked at, and granules moved, in one step.
const CHUNKS_PER_STEP: usize = 32;
const GRANULES_PER_STEP: u32 = 1024;

impl Store {
    /// One step of the cleaner. Without memory to move a record to, it waits.
    #[cold]
    pub(super) fn clean(&mut self) {
        if self.arena.victim.is_none() {
            self.arena.choose_victim();
        }
        let mut moved = 0;
        for _ in 0..CHUNKS_PER_STEP {
            let Some(mut victim) = self.arena.victim else { return };
            let end = victim.loan.start.granule() + victim.loan.granules();
            let at = Ref::new(victim.cursor);
            if victim.cursor == end {
                if victim.moving {
                    return self.arena.return_victim(victim.loan);
                }
                victim.moving = true;
                victim.cursor = victim.loan.start.granule();
                self.arena.victim = Some(victim);
                continue;
            }
            let chunk = self.arena.chunk(at);
            match chunk {
                Chunk::Free { granules, listed: true } => self.arena.unlist(at, granules),
                Chunk::Free { listed: false, .. } => {}
                Chunk::Record(_) if !victim.moving => {}
                Chunk::Record(shape) => {
                    let granules = shape.granules();
                    let paid = self.arena.credit.min(GRANULES_PER_STEP - moved);
                    let first = moved == 0 && self.arena.credit > 0;
                    if (paid < granules && !first) || !self.evacuate(at, shape) {
                        return;
                    }
                    moved += granules.min(GRANULES_PER_STEP - moved);
                    self.arena.credit = self.arena.credit.saturating_sub(granules);
                }
            }
            victim.cursor += chunk.granules();
            self.arena.victim = Some(victim);
        }
    }

    /// Moves a record to another block.
    fn evacuate(&mut self, at: Ref, shape: Shape) -> bool {
        let hash = self.hash_at(at);
        let Some((slot, _)) = self.index.find(hash, |entry| entry == at) else {
            debug_assert!(false, "a record that the index does not know");
            return false;
        };
        let granules = shape.granules();
        let Ok(to) = self.arena.alloc(granules) else { return false };
        self.arena.mem.copy(at, to, shape.bytes());
        self.index.replace(slot, to);
        self.arena.vacate(at, granules);
        true
    }
}
