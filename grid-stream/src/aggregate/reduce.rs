//! Items merged two by two.

use super::Aggregate;

/// The items merged by `merge`, which must not depend on their order. The result is `None` only
/// for no items, which no window has.
pub fn reduce<M>(merge: M) -> Reduce<M> {
    Reduce { merge }
}

/// See [`reduce`].
#[derive(Clone, Copy, Debug)]
pub struct Reduce<M> {
    merge: M,
}

impl<T, M> Aggregate<T> for Reduce<M>
where
    T: Clone + Send + 'static,
    M: Fn(&T, &T) -> T + Clone + Send + 'static,
{
    type Acc = Option<T>;
    type Out = Option<T>;
    fn accumulate(&self, acc: &mut Option<T>, item: &T) {
        *acc = Some(acc.as_ref().map_or_else(|| item.clone(), |acc| (self.merge)(acc, item)));
    }
    fn combine(&self, acc: &mut Option<T>, other: &Option<T>) {
        if let Some(item) = other {
            self.accumulate(acc, item);
        }
    }
    fn finish(&self, acc: &Option<T>) -> Option<T> {
        acc.clone()
    }
}
