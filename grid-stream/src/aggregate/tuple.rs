//! Several aggregates at once.

use super::Aggregate;

macro_rules! tuples {
    ($(($($name:ident $at:tt),+))+) => {$(
        impl<T, $($name: Aggregate<T>),+> Aggregate<T> for ($($name,)+) {
            type Acc = ($($name::Acc,)+);
            type Out = ($($name::Out,)+);
            const DEDUCTS: bool = $($name::DEDUCTS)&&+;
            #[inline]
            fn accumulate(&self, acc: &mut Self::Acc, item: &T) {
                $(self.$at.accumulate(&mut acc.$at, item);)+
            }
            #[inline]
            fn combine(&self, acc: &mut Self::Acc, other: &Self::Acc) {
                $(self.$at.combine(&mut acc.$at, &other.$at);)+
            }
            #[inline]
            fn deduct(&self, acc: &mut Self::Acc, other: &Self::Acc) {
                $(self.$at.deduct(&mut acc.$at, &other.$at);)+
            }
            fn finish(&self, acc: &Self::Acc) -> Self::Out {
                ($(self.$at.finish(&acc.$at),)+)
            }
        }
    )+};
}
tuples! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
