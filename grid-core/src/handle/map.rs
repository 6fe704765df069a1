//! Maps.

use super::named::Named;
use super::op::{Prepared, Query, Update, Write, encode_value, keyed, millis};
use crate::data::{Blob, Encode, GridData, Key, KeyOf};
use crate::error::{Error, Kind, Result};
use crate::ids::Millis;
use crate::op::OpCode;
use crate::partition::value_of;
use crate::wire::bytes::Reader;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A map that is spread over the partitions of the grid. Operations on one key are linearizable; those
/// on many keys are so for each key (and [`Map::put_all`] for all keys of one partition).
///
/// `set` and `delete` are the cheap writes; `put`, `remove` and `replace` return the old value.
pub struct Map<K, V> {
    pub(super) named: Arc<Named>,
    types: PhantomData<fn(K) -> V>,
}

/// An entry with what the grid knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryView<V> {
    /// The value.
    pub value: V,
    /// Grows with every write of the entry; of two writes in one partition the later has the higher.
    pub version: u64,
    /// When the entry ends unless it is accessed or written before.
    pub expires_at: Option<Millis>,
}

impl<K: Key + GridData, V: GridData> Map<K, V> {
    pub(super) fn new(named: Arc<Named>) -> Self {
        Map { named, types: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.named.name()
    }

    #[inline(always)]
    fn on_key<Q: KeyOf<K> + ?Sized, T>(
        &self,
        code: OpCode,
        key: &Q,
        decode: fn(&[u8]) -> Result<T>,
    ) -> Prepared<'_, T> {
        let operands = keyed(self.named.invoke.partitions(), key, |_| Ok(()));
        Prepared::new(&self.named, code, operands, decode)
    }

    #[inline(always)]
    fn with_value<Q, W, T>(
        &self,
        code: OpCode,
        key: &Q,
        value: &W,
        decode: fn(&[u8]) -> Result<T>,
    ) -> Prepared<'_, T>
    where
        Q: KeyOf<K> + ?Sized,
        W: Encode + ?Sized,
    {
        let operands = keyed(self.named.invoke.partitions(), key, |body| encode_value(value, body));
        Prepared::new(&self.named, code, operands, decode)
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get<Q: KeyOf<K> + ?Sized>(&self, key: &Q) -> Query<'_, Option<V>> {
        Query(self.on_key(OpCode::MapGet, key, option::<V>))
    }

    /// Whether the key has a value.
    pub fn contains<Q: KeyOf<K> + ?Sized>(&self, key: &Q) -> Query<'_, bool> {
        Query(self.on_key(OpCode::MapContains, key, boolean))
    }

    /// The value of a key with its version and life.
    pub fn entry<Q: KeyOf<K> + ?Sized>(&self, key: &Q) -> Query<'_, Option<EntryView<V>>> {
        Query(self.on_key(OpCode::MapView, key, view::<V>))
    }

    /// Writes a value.
    #[inline(always)]
    pub fn set<Q: KeyOf<K> + ?Sized, W: ValueOf<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
    ) -> Write<'_, ()> {
        Write::new(self.with_value(OpCode::MapSet, key, value, unit))
    }

    /// Writes a value and returns the old one.
    pub fn put<Q: KeyOf<K> + ?Sized, W: ValueOf<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
    ) -> Write<'_, Option<V>> {
        Write::new(self.with_value(OpCode::MapPut, key, value, option::<V>))
    }

    /// Writes a value if the key has none. Returns the value that it has; none if this one was written.
    pub fn put_if_absent<Q, W>(&self, key: &Q, value: &W) -> Write<'_, Option<V>>
    where
        Q: KeyOf<K> + ?Sized,
        W: ValueOf<V> + ?Sized,
    {
        Write::new(self.with_value(OpCode::MapPutIfAbsent, key, value, option::<V>))
    }

    /// Writes a value if the key has one, and returns that. The entry's life begins anew, as the map is
    /// configured.
    pub fn replace<Q: KeyOf<K> + ?Sized, W: ValueOf<V> + ?Sized>(
        &self,
        key: &Q,
        value: &W,
    ) -> Update<'_, Option<V>> {
        Update(self.with_value(OpCode::MapReplace, key, value, option::<V>))
    }

    /// Writes a value if the key's present one has the same bytes as `expected`. Returns whether it did.
    pub fn replace_if_same<Q, W>(&self, key: &Q, expected: &W, value: &W) -> Update<'_, bool>
    where
        Q: KeyOf<K> + ?Sized,
        W: ValueOf<V> + ?Sized,
    {
        let operands = keyed(self.named.invoke.partitions(), key, |body| {
            encode_value(expected, body)?;
            encode_value(value, body)
        });
        Update(Prepared::new(&self.named, OpCode::MapReplaceIfSame, operands, boolean))
    }

    /// Removes an entry and returns its value.
    pub fn remove<Q: KeyOf<K> + ?Sized>(&self, key: &Q) -> Update<'_, Option<V>> {
        Update(self.on_key(OpCode::MapRemove, key, option::<V>))
    }

    /// Removes an entry if its value has the same bytes as `expected`. Returns whether it did.
    pub fn remove_if_same<Q: KeyOf<K> + ?Sized, W: ValueOf<V> + ?Sized>(
        &self,
        key: &Q,
        expected: &W,
    ) -> Update<'_, bool> {
        Update(self.with_value(OpCode::MapRemoveIfSame, key, expected, boolean))
    }

    /// Removes an entry.
    pub fn delete<Q: KeyOf<K> + ?Sized>(&self, key: &Q) -> Update<'_, ()> {
        Update(self.on_key(OpCode::MapDelete, key, unit))
    }

    /// Gives an entry a new time-to-live from now on, rounded up to milliseconds, zero: for ever. Returns whether there is one.
    pub fn set_ttl<Q: KeyOf<K> + ?Sized>(&self, key: &Q, ttl: Duration) -> Update<'_, bool> {
        let ttl_ms = millis(ttl);
        let operands = keyed(self.named.invoke.partitions(), key, |body| {
            body.extend_from_slice(&ttl_ms.to_le_bytes());
            Ok(())
        });
        Update(Prepared::new(&self.named, OpCode::MapSetTtl, operands, boolean))
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Map { named: Arc::clone(&self.named), types: PhantomData }
    }
}

impl<K, V> std::fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Map").field(&self.named.name()).finish()
    }
}

/// A value that can be written where values of type `V` are stored: it has the tag and bytes of the
/// equal `V`.
pub trait ValueOf<V: ?Sized>: Encode {}

impl<V: Encode + ?Sized> ValueOf<V> for V {}
impl ValueOf<String> for str {}
impl<T> ValueOf<Vec<T>> for [T] where [T]: Encode {}

/// An optional value.
#[inline]
pub(super) fn option<V: GridData>(answer: &[u8]) -> Result<Option<V>> {
    match value_of(answer)? {
        None => Ok(None),
        Some(blob) => Ok(Some(V::decode(blob)?)),
    }
}

#[allow(clippy::unnecessary_wraps)] // one signature for all answers
pub(super) fn unit(_: &[u8]) -> Result<()> {
    Ok(())
}

pub(super) fn boolean(answer: &[u8]) -> Result<bool> {
    match answer {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Error::with(Kind::Malformed, "an answer that is neither yes nor no")),
    }
}

pub(super) fn count(answer: &[u8]) -> Result<u64> {
    Reader::new(answer).u64()
}

fn view<V: GridData>(answer: &[u8]) -> Result<Option<EntryView<V>>> {
    let mut r = Reader::new(answer);
    if r.u8()? == 0 {
        return Ok(None);
    }
    let (version, expires_at) = (r.u64()?, r.u64()?);
    let tag = crate::data::TypeTag(r.u32()?.cast_signed());
    let value = V::decode(Blob { tag, payload: r.rest() })?;
    let expires_at = (expires_at != 0).then_some(Millis(expires_at));
    Ok(Some(EntryView { value, version, expires_at }))
}
