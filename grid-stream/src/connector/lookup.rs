//! What enrichment asks: something that can be looked up by key, usually a map of the grid.

use grid_core::Result;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::hash::Hash;
use std::sync::Arc;

/// Looks values up by key without blocking.
pub trait MapLookup<K, V>: Clone + Send + 'static {
    /// A lookup under way. Should be ready at once where the value is local.
    type Lookup: Future<Output = Result<Option<V>>> + Unpin + Send + 'static;
    /// Begins a lookup.
    fn look_up(&self, key: &K) -> Self::Lookup;
}

impl<K, V> MapLookup<K, V> for Arc<HashMap<K, V>>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Lookup = Ready<Result<Option<V>>>;
    fn look_up(&self, key: &K) -> Self::Lookup {
        ready(Ok(self.get(key).cloned()))
    }
}

impl<K, V> MapLookup<K, V> for Arc<RwLock<HashMap<K, V>>>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Lookup = Ready<Result<Option<V>>>;
    fn look_up(&self, key: &K) -> Self::Lookup {
        ready(Ok(self.read().get(key).cloned()))
    }
}
