//! The number of items.

use super::Aggregate;

/// The number of items.
#[must_use]
pub fn count() -> Count {
    Count
}

/// See [`count`].
#[derive(Clone, Copy, Debug)]
pub struct Count;

impl<T> Aggregate<T> for Count {
    type Acc = u64;
    type Out = u64;
    const DEDUCTS: bool = true;
    #[inline]
    fn accumulate(&self, acc: &mut u64, _: &T) {
        *acc += 1;
    }
    #[inline]
    fn combine(&self, acc: &mut u64, other: &u64) {
        *acc += other;
    }
    #[inline]
    fn deduct(&self, acc: &mut u64, other: &u64) {
        *acc -= other;
    }
    fn finish(&self, acc: &u64) -> u64 {
        *acc
    }
}
