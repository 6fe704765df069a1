//! Aggregates: what a window or a key is reduced to.

mod count;
mod extreme;
mod mean;
mod reduce;
mod sum;
mod tuple;

pub use count::{Count, count};
pub use extreme::{Max, Min, max, min};
pub use mean::{Mean, mean};
pub use reduce::{Reduce, reduce};
pub use sum::{Sum, Summable, sum};

/// Reduces items of type `T`. The order of items is not defined, so the result should not depend
/// on it. Tuples of aggregates are aggregates: several results at once.
///
/// ```
/// use grid_stream::aggregate::{self, Aggregate};
///
/// /// The longest text.
/// #[derive(Clone)]
/// struct Longest;
///
/// impl Aggregate<String> for Longest {
///     type Acc = String;
///     type Out = String;
///     fn accumulate(&self, acc: &mut String, item: &String) {
///         if item.len() > acc.len() {
///             acc.clone_from(item);
///         }
///     }
///     fn combine(&self, acc: &mut String, other: &String) {
///         self.accumulate(acc, other);
///     }
///     fn finish(&self, acc: &String) -> String {
///         acc.clone()
///     }
/// }
/// let both = (aggregate::count(), Longest);
/// let mut acc = Default::default();
/// for text in ["a", "abc", "ab"] {
///     both.accumulate(&mut acc, &text.to_string());
/// }
/// assert_eq!(both.finish(&acc), (3, "abc".to_string()));
/// ```
pub trait Aggregate<T>: Clone + Send + 'static {
    /// What is kept per key and window; its default is that of no items.
    type Acc: Default + Clone + Send + 'static;
    /// The result.
    type Out: Send + 'static;
    /// Whether [`Aggregate::deduct`] undoes [`Aggregate::combine`] exactly. Sliding windows then
    /// cost the same whatever their length.
    const DEDUCTS: bool = false;
    /// Adds an item.
    fn accumulate(&self, acc: &mut Self::Acc, item: &T);
    /// Adds what another accumulator holds.
    fn combine(&self, acc: &mut Self::Acc, other: &Self::Acc);
    /// Takes away what `other` holds, which was combined before.
    fn deduct(&self, acc: &mut Self::Acc, other: &Self::Acc) {
        let _ = (acc, other);
    }
    /// The result of what was added.
    fn finish(&self, acc: &Self::Acc) -> Self::Out;
}
