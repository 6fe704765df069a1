//! Buffers for operands and answers: each thread keeps one of either kind for its next operation.

use std::cell::Cell;
use std::thread::LocalKey;

const KEPT_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static OPERANDS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ANSWERS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer for operands.
#[inline(always)]
pub(super) fn operands() -> Vec<u8> {
    take(&OPERANDS)
}

/// An empty buffer for an answer.
#[inline(always)]
pub(super) fn answer() -> Vec<u8> {
    take(&ANSWERS)
}

/// Keeps a buffer of operands for the next operation of this thread.
#[inline(always)]
pub(super) fn keep_operands(buffer: Vec<u8>) {
    keep(&OPERANDS, buffer);
}

/// Keeps a buffer of an answer for the next operation of this thread.
#[inline(always)]
pub(super) fn keep_answer(buffer: Vec<u8>) {
    keep(&ANSWERS, buffer);
}

#[inline(always)]
fn take(kept: &'static LocalKey<Cell<Vec<u8>>>) -> Vec<u8> {
    kept.try_with(Cell::take).unwrap_or_default()
}

#[inline(always)]
fn keep(kept: &'static LocalKey<Cell<Vec<u8>>>, mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES_MAX {
        buffer.clear();
        // While a thread ends there is nowhere to keep it.
        let _ = kept.try_with(|kept| kept.set(buffer));
    }
}
