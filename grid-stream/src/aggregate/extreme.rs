//! The least and the greatest value per item.

use super::Aggregate;

macro_rules! extreme {
    ($fun:ident, $type:ident, $text:literal, $replaces:tt) => {
        #[doc = $text]
        ///
        /// Values that do not compare with themselves (NaN) are passed over; `None` if there are
        /// no others.
        pub fn $fun<M>(of: M) -> $type<M> {
            $type { of }
        }

        #[doc = concat!("See [`", stringify!($fun), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type<M> {
            of: M,
        }

        impl<M> $type<M> {
            #[inline]
            fn offer<V: PartialOrd>(acc: &mut Option<V>, value: V) {
                #[allow(clippy::eq_op)]
                let comparable = value == value;
                if comparable && acc.as_ref().is_none_or(|best| value $replaces *best) {
                    *acc = Some(value);
                }
            }
        }

        impl<T, V, M> Aggregate<T> for $type<M>
        where
            V: PartialOrd + Clone + Send + 'static,
            M: Fn(&T) -> V + Clone + Send + 'static,
        {
            type Acc = Option<V>;
            type Out = Option<V>;
            #[inline]
            fn accumulate(&self, acc: &mut Option<V>, item: &T) {
                Self::offer(acc, (self.of)(item));
            }
            #[inline]
            fn combine(&self, acc: &mut Option<V>, other: &Option<V>) {
                if let Some(value) = other {
                    Self::offer(acc, value.clone());
                }
            }
            fn finish(&self, acc: &Option<V>) -> Option<V> {
                acc.clone()
            }
        }
    };
}

extreme!(min, Min, "The least `of` over the items.", <);
extreme!(max, Max, "The greatest `of` over the items.", >);
