//! The arithmetic mean of a number per item.

use super::Aggregate;

/// The mean of `of` over the items.
pub fn mean<M>(of: M) -> Mean<M> {
    Mean { of }
}

/// See [`mean`].
#[derive(Clone, Copy, Debug)]
pub struct Mean<M> {
    of: M,
}

impl<T, N, M> Aggregate<T> for Mean<M>
where
    N: Into<f64>,
    M: Fn(&T) -> N + Clone + Send + 'static,
{
    type Acc = (f64, u64);
    type Out = f64;
    #[inline]
    fn accumulate(&self, acc: &mut (f64, u64), item: &T) {
        acc.0 += (self.of)(item).into();
        acc.1 += 1;
    }
    #[inline]
    fn combine(&self, acc: &mut (f64, u64), other: &(f64, u64)) {
        acc.0 += other.0;
        acc.1 += other.1;
    }
    #[allow(clippy::cast_precision_loss)]
    fn finish(&self, acc: &(f64, u64)) -> f64 {
        acc.0 / acc.1 as f64
    }
}
