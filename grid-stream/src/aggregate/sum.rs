//! The sum of a number per item.

use super::Aggregate;

/// The sum of `of` over the items; integers in 64 bits, wrapping around.
pub fn sum<M>(of: M) -> Sum<M> {
    Sum { of }
}

/// See [`sum`].
#[derive(Clone, Copy, Debug)]
pub struct Sum<M> {
    of: M,
}

/// Numbers that can be summed.
pub trait Summable: Copy {
    /// Type of the sum.
    type Sum: Copy + Default + Send + 'static;
    /// Whether taking away undoes adding exactly.
    const EXACT: bool;
    /// As a sum of one.
    fn widen(self) -> Self::Sum;
    /// Sum of two.
    fn add(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// Difference of two.
    fn sub(a: Self::Sum, b: Self::Sum) -> Self::Sum;
}

macro_rules! integers {
    ($sum:ty: $($int:ty)*) => {$(
        impl Summable for $int {
            type Sum = $sum;
            const EXACT: bool = true;
            #[inline]
            fn widen(self) -> $sum {
                self.into()
            }
            #[inline]
            fn add(a: $sum, b: $sum) -> $sum {
                a.wrapping_add(b)
            }
            #[inline]
            fn sub(a: $sum, b: $sum) -> $sum {
                a.wrapping_sub(b)
            }
        }
    )*};
}
integers!(u64: u8 u16 u32 u64);
integers!(i64: i8 i16 i32 i64);

macro_rules! floats {
    ($($float:ty)*) => {$(
        impl Summable for $float {
            type Sum = f64;
            const EXACT: bool = false;
            #[inline]
            fn widen(self) -> f64 {
                self.into()
            }
            #[inline]
            fn add(a: f64, b: f64) -> f64 {
                a + b
            }
            #[inline]
            fn sub(a: f64, b: f64) -> f64 {
                a - b
            }
        }
    )*};
}
floats!(f32 f64);

impl<T, N, M> Aggregate<T> for Sum<M>
where
    N: Summable,
    M: Fn(&T) -> N + Clone + Send + 'static,
{
    type Acc = N::Sum;
    type Out = N::Sum;
    const DEDUCTS: bool = N::EXACT;
    #[inline]
    fn accumulate(&self, acc: &mut N::Sum, item: &T) {
        *acc = N::add(*acc, (self.of)(item).widen());
    }
    #[inline]
    fn combine(&self, acc: &mut N::Sum, other: &N::Sum) {
        *acc = N::add(*acc, *other);
    }
    #[inline]
    fn deduct(&self, acc: &mut N::Sum, other: &N::Sum) {
        *acc = N::sub(*acc, *other);
    }
    fn finish(&self, acc: &N::Sum) -> N::Sum {
        *acc
    }
}
