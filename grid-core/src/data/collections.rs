//! Maps and sets. Their entries are sorted by bytes, so that equal collections have equal bytes
//! whatever order they iterate in: compare-and-set works on them.

use super::depth::Level;
use super::item::{Bytes, capacity, least_bytes, put_count, put_item, put_tag};
use super::{Blob, DataError, DataResult, Decode, Encode, TypeTag};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::ops::Range;

/// `count`, the tag of all items or 0, items.
fn encode_set<'a, T: Encode + 'a>(
    items: impl ExactSizeIterator<Item = &'a T>,
    out: &mut Vec<u8>,
) -> DataResult<()> {
    let _level = Level::enter()?;
    put_count(items.len(), out)?;
    let tag = T::item_tag();
    put_tag(tag, out);
    let start = out.len();
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let at = out.len() - start;
        put_item(item, tag, out)?;
        entries.push(Entry { key: at..out.len() - start, end: out.len() - start });
    }
    sort(start, entries, out);
    Ok(())
}

/// `count`, the tag of all keys or 0, the tag of all values or 0, keys and values in turn.
fn encode_map<'a, K: Encode + 'a, V: Encode + 'a>(
    items: impl ExactSizeIterator<Item = (&'a K, &'a V)>,
    out: &mut Vec<u8>,
) -> DataResult<()> {
    let _level = Level::enter()?;
    put_count(items.len(), out)?;
    let (key_tag, value_tag) = (K::item_tag(), V::item_tag());
    put_tag(key_tag, out);
    put_tag(value_tag, out);
    let start = out.len();
    let mut entries = Vec::with_capacity(items.len());
    for (key, value) in items {
        let at = out.len() - start;
        put_item(key, key_tag, out)?;
        let key = at..out.len() - start;
        put_item(value, value_tag, out)?;
        entries.push(Entry { key, end: out.len() - start });
    }
    sort(start, entries, out);
    Ok(())
}

/// Where an encoded entry is: its key, and up to where its value goes.
struct Entry {
    key: Range<usize>,
    end: usize,
}

/// Sorts the entries behind `start` by the bytes of their keys.
fn sort(start: usize, mut entries: Vec<Entry>, out: &mut Vec<u8>) {
    let bytes = &out[start..];
    if entries.is_sorted_by(|a, b| bytes[a.key.clone()] <= bytes[b.key.clone()]) {
        return;
    }
    entries.sort_unstable_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
    let unsorted = out.split_off(start);
    for entry in entries {
        out.extend_from_slice(&unsorted[entry.key.start..entry.end]);
    }
}

#[cold]
fn twice() -> DataError {
    DataError::malformed("the same key or item twice")
}

fn decode_set<T: Decode, C>(
    blob: Blob<'_>,
    new: impl FnOnce(usize) -> C,
    insert: impl Fn(&mut C, T) -> bool,
) -> DataResult<C> {
    if blob.tag != TypeTag::SET {
        return Err(DataError::wrong_type(TypeTag::SET, blob.tag));
    }
    let _level = Level::enter()?;
    let mut bytes = Bytes(blob.payload);
    let (count, tag) = bytes.list()?;
    let mut items = new(capacity::<T>(count, bytes.0.len()));
    for _ in 0..count {
        if !insert(&mut items, T::decode(bytes.item(tag)?)?) {
            return Err(twice());
        }
    }
    bytes.end()?;
    Ok(items)
}

fn decode_map<K: Decode, V: Decode, C>(
    blob: Blob<'_>,
    new: impl FnOnce(usize) -> C,
    insert: impl Fn(&mut C, K, V) -> bool,
) -> DataResult<C> {
    if blob.tag != TypeTag::MAP {
        return Err(DataError::wrong_type(TypeTag::MAP, blob.tag));
    }
    let _level = Level::enter()?;
    let mut bytes = Bytes(blob.payload);
    let count = bytes.count()?;
    let (key_tag, value_tag) = (bytes.item_tag()?, bytes.item_tag()?);
    bytes.expect_items(count, least_bytes(key_tag) + least_bytes(value_tag))?;
    let mut items = new(capacity::<(K, V)>(count, bytes.0.len()));
    for _ in 0..count {
        let key = K::decode(bytes.item(key_tag)?)?;
        let value = V::decode(bytes.item(value_tag)?)?;
        if !insert(&mut items, key, value) {
            return Err(twice());
        }
    }
    bytes.end()?;
    Ok(items)
}

macro_rules! collection {
    ($tag:ident $encode:ident [$($params:tt)*] $type:ty) => {
        impl<$($params)*> Encode for $type {
            #[inline]
            fn tag(&self) -> TypeTag {
                TypeTag::$tag
            }
            fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
                $encode(self.iter(), out)
            }
            #[inline]
            fn item_tag() -> Option<TypeTag> {
                Some(TypeTag::$tag)
            }
        }
    };
}

collection!(SET encode_set [T: Encode] BTreeSet<T>);
collection!(SET encode_set [T: Encode, S] HashSet<T, S>);
collection!(MAP encode_map [K: Encode, V: Encode] BTreeMap<K, V>);
collection!(MAP encode_map [K: Encode, V: Encode, S] HashMap<K, V, S>);

impl<T: Decode + Ord> Decode for BTreeSet<T> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        decode_set(blob, |_| BTreeSet::new(), BTreeSet::insert)
    }
}

impl<T: Decode + Eq + Hash, S: BuildHasher + Default> Decode for HashSet<T, S> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let new = |capacity| HashSet::with_capacity_and_hasher(capacity, S::default());
        decode_set(blob, new, HashSet::insert)
    }
}

impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        decode_map(blob, |_| BTreeMap::new(), |map, key, value| map.insert(key, value).is_none())
    }
}

impl<K: Decode + Eq + Hash, V: Decode, S: BuildHasher + Default> Decode for HashMap<K, V, S> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let new = |capacity| HashMap::with_capacity_and_hasher(capacity, S::default());
        decode_map(blob, new, |map: &mut Self, key, value| map.insert(key, value).is_none())
    }
}
