//! Keys: types with canonical bytes, and the partition they ask for.

use super::{Blob, DataError, DataResult, Decode, Encode, TypeTag};
use crate::error::Kind;
use crate::partitioning::partition_hash;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// A type whose equal values have equal bytes, always and everywhere.
///
/// The grid compares keys as bytes. Types without this promise are no keys: floats (`0.0 == -0.0`,
/// `NaN != NaN`), hash maps and sets, [`Serde`](super::Serde), [`Json`](super::Json).
///
/// ```
/// fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&7u64);
/// key("name");
/// key(&("tenant".to_string(), [1u8; 16], Some(3i32)));
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&1.5f64);
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&("a", 1.5f32));
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&std::collections::HashMap::<u8, u8>::new());
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&std::collections::HashSet::<u8>::new());
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&grid_core::data::Serde(7u64));
/// ```
/// ```compile_fail,E0277
/// # fn key<K: grid_core::data::Key + ?Sized>(_: &K) {}
/// key(&grid_core::data::Json(7u64));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key: its bytes are not known to be canonical",
    note = "keys are integers, bool, char, strings, bytes, tuples, options and lists of keys, and \
            `#[derive(GridData)]` types with `#[grid(key)]`"
)]
pub trait Key: Encode {
    /// Partition hash that takes the place of the hash of the key's own payload, so that keys with
    /// the same one live in the same partition. Must follow from the key alone, or be carried by
    /// it as in [`Affinity`]. Only the whole key is asked, never a part of it.
    #[inline]
    fn affinity(&self) -> Option<u32> {
        None
    }
}

/// A key by which entries with keys of type `K` can be looked up: it has the same tag and the same
/// bytes as the equal `K`.
///
/// `K: Borrow<Q>` does not promise that (`[u8; 16]: Borrow<[u8]>`, but their bytes differ), hence
/// a trait of its own.
///
/// ```
/// use grid_core::data::KeyOf;
/// fn get<K, Q: KeyOf<K> + ?Sized>(_key: &Q) {}
/// get::<String, _>("name");
/// get::<Vec<u8>, _>(&[1, 2][..]);
/// get::<u64, _>(&7);
/// ```
/// ```compile_fail,E0277
/// # use grid_core::data::KeyOf;
/// # fn get<K, Q: KeyOf<K> + ?Sized>(_key: &Q) {}
/// get::<[u8; 16], _>(&[0u8; 16][..]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used to look up entries with keys of type `{K}`"
)]
pub trait KeyOf<K: ?Sized>: Key {}

impl<K: Key + ?Sized> KeyOf<K> for K {}
impl KeyOf<String> for str {}
impl<T: Key> KeyOf<Vec<T>> for [T] {}
impl<K: Key + ?Sized> KeyOf<Box<K>> for K {}
impl<K: Key + ?Sized> KeyOf<Arc<K>> for K {}
impl<K: Key + ?Sized> KeyOf<Rc<K>> for K {}
impl<K: Key + ToOwned + ?Sized> KeyOf<Cow<'_, K>> for K {}

/// The partition hash of a key: its [`Key::affinity`], or else the hash of its payload.
///
/// ```
/// use grid_core::{data, partitioning};
/// let hash = data::key_hash("foo")?;
/// assert_eq!(partitioning::partition_of(hash, 271).0, 247);
/// # Ok::<(), data::DataError>(())
/// ```
pub fn key_hash<K: Key + ?Sized>(key: &K) -> DataResult<u32> {
    if let Some(hash) = key.affinity() {
        return Ok(hash);
    }
    let mut payload = Vec::new();
    key.encode(&mut payload)?;
    Ok(partition_hash(&payload))
}

/// A key `K` that lives in the partition of another key, of type `P`.
///
/// Its bytes are those of `K`; the partition hash of the other key goes with the entry. Who looks
/// the entry up must give the same partition key: the grid searches in that partition only. Derived
/// keys that contain their partition key use `#[grid(affinity = "field")]` instead.
///
/// It can only be a whole key, not a part of a tuple or struct.
///
/// ```
/// use grid_core::data::{Affinity, Decode, BlobBuf, Key, key_hash};
/// let order: Affinity<u64, String> = Affinity::new(7, "customer-3");
/// assert_eq!(order.affinity(), Some(key_hash("customer-3")?));
/// let blob = BlobBuf::of(&order)?;
/// assert_eq!(blob, BlobBuf::of(&7u64)?);
/// assert_eq!(Affinity::decode_key(blob.as_blob(), order.affinity())?, order);
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
pub struct Affinity<K, P: ?Sized> {
    key: K,
    /// `None` if the partition key could not be encoded; encoding this key fails then.
    hash: Option<u32>,
    partition_key: PhantomData<fn(&P)>,
}

impl<K: Key, P: ?Sized> Affinity<K, P> {
    /// The key `key` in the partition of `partition_key`.
    pub fn new<Q: KeyOf<P> + ?Sized>(key: K, partition_key: &Q) -> Self {
        Affinity { key, hash: key_hash(partition_key).ok(), partition_key: PhantomData }
    }

    /// The key itself.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The key itself, by value.
    pub fn into_key(self) -> K {
        self.key
    }
}

impl<K: Key, P: ?Sized> Encode for Affinity<K, P> {
    #[inline]
    fn tag(&self) -> TypeTag {
        self.key.tag()
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        if self.hash.is_none() {
            return Err(DataError::too_large("the partition key cannot be encoded"));
        }
        self.key.encode(out)
    }
}

impl<K: Decode, P: ?Sized> Decode for Affinity<K, P> {
    fn decode(_: Blob<'_>) -> DataResult<Self> {
        let detail = "an `Affinity` key can only be decoded together with its partition hash";
        Err(DataError::new(Kind::Invalid, detail))
    }

    fn decode_key(blob: Blob<'_>, affinity: Option<u32>) -> DataResult<Self> {
        let hash = affinity.unwrap_or_else(|| partition_hash(blob.payload));
        Ok(Affinity { key: K::decode(blob)?, hash: Some(hash), partition_key: PhantomData })
    }
}

impl<K: Key, P: ?Sized> Key for Affinity<K, P> {
    #[inline]
    fn affinity(&self) -> Option<u32> {
        self.hash
    }
}

impl<K: Clone, P: ?Sized> Clone for Affinity<K, P> {
    fn clone(&self) -> Self {
        Affinity { key: self.key.clone(), hash: self.hash, partition_key: PhantomData }
    }
}

impl<K: Copy, P: ?Sized> Copy for Affinity<K, P> {}

impl<K: PartialEq, P: ?Sized> PartialEq for Affinity<K, P> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.hash == other.hash
    }
}

impl<K: Eq, P: ?Sized> Eq for Affinity<K, P> {}

impl<K: std::hash::Hash, P: ?Sized> std::hash::Hash for Affinity<K, P> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.hash.hash(state);
    }
}

impl<K: std::fmt::Debug, P: ?Sized> std::fmt::Debug for Affinity<K, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Affinity").field("key", &self.key).field("hash", &self.hash).finish()
    }
}
