//! Which blocks of the pool's region are free: a buddy system over power-of-two sizes.

use std::collections::BTreeSet;

/// Bytes of the smallest block; a block of class `c` has `BLOCK_BYTES_MIN << c` bytes.
pub(super) const BLOCK_BYTES_MIN: usize = 1 << 10;
/// The largest class, blocks of 1 MiB.
pub(super) const CLASS_MAX: u8 = 10;

/// Free blocks by class. Offsets are in units of the smallest block.
#[derive(Debug)]
pub(super) struct Buddy {
    free: [BTreeSet<u32>; CLASS_MAX as usize + 1],
    /// Everything from here on was never handed out.
    top: u32,
    end: u32,
}

impl Buddy {
    pub(super) fn new(bytes: usize) -> Self {
        let end = u32::try_from(bytes / BLOCK_BYTES_MIN).unwrap_or(u32::MAX);
        Self { free: Default::default(), top: 0, end: end & !((1 << CLASS_MAX) - 1) }
    }

    /// A block of the class: the lowest free one, so that the region stays dense.
    pub(super) fn take(&mut self, class: u8) -> Option<u32> {
        let mut from = class;
        let offset = loop {
            match self.free.get_mut(usize::from(from)) {
                Some(free) => match free.pop_first() {
                    Some(offset) => break offset,
                    None => from += 1,
                },
                None if self.top < self.end => {
                    from = CLASS_MAX;
                    self.top += 1 << CLASS_MAX;
                    break self.top - (1 << CLASS_MAX);
                }
                None => return None,
            }
        };
        while from > class {
            from -= 1;
            self.free[usize::from(from)].insert(offset + (1 << from));
        }
        Some(offset)
    }

    /// Takes a block back; returns the free block that it is part of now.
    pub(super) fn give(&mut self, mut offset: u32, mut class: u8) -> (u32, u8) {
        while class < CLASS_MAX && self.free[usize::from(class)].remove(&(offset ^ (1 << class))) {
            offset &= !(1 << class);
            class += 1;
        }
        let fresh = self.free[usize::from(class)].insert(offset);
        debug_assert!(fresh, "block {offset} of class {class} given back twice");
        (offset, class)
    }

    /// Whether the block lies within a free one.
    pub(super) fn is_free(&self, offset: u32, class: u8) -> bool {
        (class..=CLASS_MAX).any(|c| self.free[usize::from(c)].contains(&(offset & !((1 << c) - 1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_split_and_merge() {
        let mut buddy = Buddy::new(2 << 20);
        let small: Vec<u32> = (0..3).map(|_| buddy.take(0).unwrap()).collect();
        assert_eq!(small, [0, 1, 2]);
        assert_eq!(buddy.take(10), Some(1024));
        assert_eq!(buddy.take(10), None);
        assert!(!buddy.is_free(0, 0) && buddy.is_free(3, 0) && buddy.is_free(4, 2));
        buddy.give(1, 0);
        buddy.give(2, 0);
        assert_eq!(buddy.give(0, 0), (0, 10));
        assert!(buddy.is_free(64, 6));
        assert_eq!(buddy.take(10), Some(0));
    }

    proptest! {
        #[test]
        fn taken_blocks_never_overlap(ops in prop::collection::vec((0u8..=10, any::<u16>()), 1..200)) {
            let mut buddy = Buddy::new(4 << 20);
            let mut taken: Vec<(u32, u8)> = Vec::new();
            for (class, pick) in ops {
                if pick % 2 == 0 {
                    if let Some(offset) = buddy.take(class) {
                        prop_assert_eq!(offset % (1 << class), 0);
                        for (o, c) in &taken {
                            prop_assert!(offset + (1 << class) <= *o || o + (1 << c) <= offset);
                        }
                        taken.push((offset, class));
                    }
                } else if !taken.is_empty() {
                    let (offset, class) = taken.swap_remove(usize::from(pick) % taken.len());
                    buddy.give(offset, class);
                }
            }
            for (offset, class) in taken {
                buddy.give(offset, class);
            }
            prop_assert!((0..4).all(|m| buddy.top <= m << 10 || buddy.is_free(m << 10, 10)));
        }
    }
}
