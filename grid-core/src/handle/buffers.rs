//! Buffers for operands and answers, a few kept by each thread.

use std::cell::RefCell;

const KEPT_MAX: usize = 64;
const KEPT_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
#[inline]
pub(super) fn take() -> Vec<u8> {
    KEPT.try_with(|kept| kept.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Gives a buffer back for the next operation of this thread.
#[inline]
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= KEPT_BYTES_MAX {
        buffer.clear();
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}
