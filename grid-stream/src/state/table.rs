//! The slot of a key: buckets of eight tags that are compared at once in one word, each with room
//! for eight keys. A slot is a place in a bucket, so that whatever belongs to a key lies at the
//! slot's number in plain arrays, found without waiting for another load.

/// One bit per byte.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// 2^64 by the golden ratio: spreads hashes that agree modulo the number of partitions.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Keys per bucket on average at most, of eight: few keys are not where they are looked for first.
const FILL_MAX: usize = 3;
/// Keys in a bucket.
pub(crate) const BUCKET: usize = 8;

/// Keys and their slots, `0 .. capacity`, most of them free.
#[derive(Clone, Debug)]
pub(crate) struct KeyTable<K> {
    buckets: Vec<Bucket<K>>,
    len: usize,
    hashes: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Bucket<K> {
    /// A byte per place: 0 is free, else part of the key's hash.
    tags: u64,
    keys: [Option<K>; BUCKET],
}

impl<K> Bucket<K> {
    fn new() -> Self {
        Bucket { tags: 0, keys: [const { None }; BUCKET] }
    }
}

/// Where each slot went, by its old number; `None` if it was free or dropped.
pub(crate) type Moved = Vec<Option<u32>>;

impl<K: Eq> KeyTable<K> {
    pub(crate) fn new() -> Self {
        KeyTable { buckets: vec![Bucket::new()], len: 0, hashes: vec![0; BUCKET] }
    }

    /// Number of slots, free ones included.
    pub(crate) fn capacity(&self) -> usize {
        self.buckets.len() * BUCKET
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn key(&self, slot: usize) -> Option<&K> {
        self.buckets[slot / BUCKET].keys[slot % BUCKET].as_ref()
    }

    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(SPREAD)
    }

    #[inline]
    fn tag(spread: u64) -> u64 {
        ((spread >> 24) & 0xff).max(1)
    }

    #[inline]
    fn bucket(&self, spread: u64) -> usize {
        #[allow(clippy::cast_possible_truncation)]
        {
            (spread >> 32) as usize & (self.buckets.len() - 1)
        }
    }

    /// The slot of `key` if it is where it is looked for first; nearly always if it is known.
    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &K) -> Option<usize> {
        let spread = Self::spread(hash);
        let at = self.bucket(spread);
        let bucket = &self.buckets[at];
        // The lowest byte found to match really does; bytes above it may not.
        let same = bucket.tags ^ Self::tag(spread).wrapping_mul(LOW);
        let found = same.wrapping_sub(LOW) & !same & HIGH;
        let place = (found.trailing_zeros() / 8) as usize % BUCKET;
        // Without a match this is some key or none: the comparison says so.
        (bucket.keys[place].as_ref() == Some(key)).then_some(at * BUCKET + place)
    }

    /// The slot of `key`, a new one if it has none. Looks everywhere, unlike [`KeyTable::find`].
    /// There must be room.
    pub(crate) fn slot(&mut self, hash: u32, key: K) -> usize {
        let spread = Self::spread(hash);
        let mut at = self.bucket(spread);
        loop {
            let bucket = &self.buckets[at];
            if let Some(place) = bucket.keys.iter().position(|k| k.as_ref() == Some(&key)) {
                return at * BUCKET + place;
            }
            if bucket.keys.iter().any(Option::is_none) {
                return self.enter(hash, key);
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Enters a key that is not there into the first bucket with a free place.
    fn enter(&mut self, hash: u32, key: K) -> usize {
        let spread = Self::spread(hash);
        let mut at = self.bucket(spread);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.keys.iter().position(Option::is_none) {
                bucket.tags |= Self::tag(spread) << (8 * place);
                bucket.keys[place] = Some(key);
                self.hashes[at * BUCKET + place] = hash;
                self.len += 1;
                return at * BUCKET + place;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Whether there is no room for another key before [`KeyTable::rebuild`].
    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.buckets.len() * FILL_MAX
    }

    /// Keeps the keys whose slot `keep` is true for, with room for at least as many again.
    pub(crate) fn rebuild(&mut self, keep: impl Fn(usize) -> bool) -> Moved {
        let kept = (0..self.capacity()).filter(|s| self.key(*s).is_some() && keep(*s)).count();
        let buckets = (kept * 2).div_ceil(FILL_MAX).next_power_of_two();
        let old = std::mem::take(&mut self.buckets);
        let hashes = std::mem::replace(&mut self.hashes, vec![0; buckets * BUCKET]);
        self.buckets.resize_with(buckets, Bucket::new);
        self.len = 0;
        old.into_iter()
            .flat_map(|bucket| bucket.keys)
            .zip(hashes)
            .enumerate()
            .map(|(slot, (key, hash))| {
                let key = key.filter(|_| keep(slot))?;
                u32::try_from(self.enter(hash, key)).ok()
            })
            .collect()
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.fill_with(Bucket::new);
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn slot(table: &mut KeyTable<u64>, hash: u32, key: u64) -> (usize, Option<Moved>) {
        match table.find(hash, &key) {
            Some(slot) => (slot, None),
            None => {
                let moved = table.is_full().then(|| table.rebuild(|_| true));
                (table.slot(hash, key), moved)
            }
        }
    }

    proptest! {
        #[test]
        fn slots_are_those_of_a_naive_map(
            keys in prop::collection::vec(0u64..300, 1..800),
            weak in any::<bool>(),
        ) {
            // A weak hash makes buckets overflow and tags collide.
            let hash = |k: u64| if weak { (k % 3) as u32 } else { (k as u32).wrapping_mul(0x9e37_79b1) };
            let mut table = KeyTable::new();
            let mut naive: HashMap<u64, usize> = HashMap::new();
            for k in &keys {
                let (got, moved) = slot(&mut table, hash(*k), *k);
                for place in naive.values_mut() {
                    if let Some(moved) = &moved {
                        *place = moved[*place].unwrap() as usize;
                    }
                }
                prop_assert_eq!(*naive.entry(*k).or_insert(got), got);
                prop_assert_eq!(table.key(got), Some(k));
                prop_assert_eq!(table.len(), naive.len());
            }
            let even: Vec<usize> = naive.values().copied().filter(|s| s % 2 == 0).collect();
            let moved = table.rebuild(|slot| slot % 2 == 0);
            prop_assert_eq!(table.len(), even.len());
            for (k, old) in naive.iter().filter(|(_, s)| **s % 2 == 0) {
                prop_assert_eq!(table.key(moved[*old].unwrap() as usize), Some(k));
            }
        }
    }
}
