//! A bound on nesting, so that no blob can exhaust the stack.

use super::{DataError, DataResult};
use std::cell::Cell;

/// Most levels of lists, maps, tuples, options and records inside each other.
const DEPTH_MAX: u32 = 128;

thread_local! {
    /// Levels that the running encoder or decoder is in. Zero outside of them, also after a panic.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// One level; leaving it is dropping this. (Not an argument of every encoder, so that hand-written
/// ones are counted too and need not know of it.)
#[derive(Debug)]
pub(crate) struct Level(());

impl Level {
    #[inline]
    pub(crate) fn enter() -> DataResult<Self> {
        let depth = DEPTH.get();
        if depth == DEPTH_MAX {
            return Err(DataError::too_large(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        DEPTH.set(depth + 1);
        Ok(Level(()))
    }

    /// `bytes`, shared among the levels that are open: a decoder that reserves no more than this for
    /// its level keeps all levels together linear in the bytes (up to a logarithm), whatever
    /// counts they claim.
    #[inline]
    pub(crate) fn share(bytes: usize) -> usize {
        bytes / DEPTH.get().max(1) as usize
    }
}

impl Drop for Level {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
