//! The slot of a key: buckets of eight tags that are compared at once in one word, and keys dense
//! by slot number. Slots never move, so that whatever belongs to a key lies in plain arrays.

/// One bit per byte.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// 2^64 by the golden ratio: spreads hashes that agree modulo the number of partitions.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Keys per bucket on average at most, of eight.
const FILL_MAX: usize = 5;

/// Keys and their slots, `0 .. len`.
#[derive(Clone, Debug)]
pub(crate) struct KeyTable<K> {
    /// A byte per place: 0 is free, else part of the key's hash.
    tags: Vec<u64>,
    slots: Vec<[u32; 8]>,
    keys: Vec<K>,
    hashes: Vec<u32>,
}

impl<K: Eq> KeyTable<K> {
    pub(crate) fn new() -> Self {
        KeyTable { tags: vec![0], slots: vec![[0; 8]], keys: Vec::new(), hashes: Vec::new() }
    }

    /// Number of slots in use.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, slot: usize) -> &K {
        &self.keys[slot]
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> &[K] {
        &self.keys
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
            (spread >> 32) as usize & (self.tags.len() - 1)
        }
    }

    /// The slot of `key` if it is where it is looked for first; nearly always if it is known.
    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &K) -> Option<usize> {
        let spread = Self::spread(hash);
        let bucket = self.bucket(spread);
        // The lowest byte found to match really does; bytes above it may not.
        let same = self.tags[bucket] ^ (Self::tag(spread).wrapping_mul(LOW));
        let found = same.wrapping_sub(LOW) & !same & HIGH;
        let place = (found.trailing_zeros() / 8) as usize & 7;
        let slot = self.slots[bucket][place] as usize;
        let right = found != 0 && self.keys.get(slot).is_some_and(|k| k == key);
        right.then_some(slot)
    }

    /// The slot of `key`, a new one if it has none. Looks everywhere, unlike [`KeyTable::find`].
    pub(crate) fn slot(&mut self, hash: u32, key: K) -> usize {
        let spread = Self::spread(hash);
        let mut bucket = self.bucket(spread);
        loop {
            let tags = self.tags[bucket].to_le_bytes();
            for (place, tag) in tags.iter().enumerate() {
                let slot = self.slots[bucket][place] as usize;
                if u64::from(*tag) == Self::tag(spread) && self.keys[slot] == key {
                    return slot;
                }
            }
            if tags.contains(&0) {
                break;
            }
            bucket = (bucket + 1) & (self.tags.len() - 1);
        }
        if self.keys.len() >= self.tags.len() * FILL_MAX {
            self.resize(self.tags.len() * 2);
        }
        let slot = self.keys.len();
        self.keys.push(key);
        self.hashes.push(hash);
        self.place(slot);
        slot
    }

    /// Enters `slot` into the first bucket with a free place.
    fn place(&mut self, slot: usize) {
        let spread = Self::spread(self.hashes[slot]);
        let mut bucket = self.bucket(spread);
        loop {
            let mut tags = self.tags[bucket].to_le_bytes();
            if let Some(free) = tags.iter().position(|tag| *tag == 0) {
                tags[free] = Self::tag(spread).to_le_bytes()[0];
                self.tags[bucket] = u64::from_le_bytes(tags);
                self.slots[bucket][free] = u32::try_from(slot).unwrap_or(u32::MAX);
                return;
            }
            bucket = (bucket + 1) & (self.tags.len() - 1);
        }
    }

    fn resize(&mut self, buckets: usize) {
        self.tags.clear();
        self.tags.resize(buckets, 0);
        self.slots.clear();
        self.slots.resize(buckets, [0; 8]);
        for slot in 0..self.keys.len() {
            self.place(slot);
        }
    }

    /// Whether the next new key makes the table grow.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() >= self.tags.len() * FILL_MAX
    }

    /// Keeps the slots for which `keep` is true; they move down in order.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut slot = 0;
        self.hashes.retain(|_| {
            slot += 1;
            keep(slot - 1)
        });
        slot = 0;
        self.keys.retain(|_| {
            slot += 1;
            keep(slot - 1)
        });
        let buckets = self.keys.len().div_ceil(FILL_MAX / 2).next_power_of_two();
        self.resize(buckets.max(1));
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.hashes.clear();
        self.tags.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn slots_are_those_of_a_naive_map(
            keys in prop::collection::vec(0u64..300, 1..800),
            weak in any::<bool>(),
        ) {
            // A weak hash makes buckets overflow and tags collide.
            let hash = |k: u64| if weak { (k % 3) as u32 } else { (k as u32).wrapping_mul(0x9e37_79b1) };
            let mut table = KeyTable::new();
            let mut naive = HashMap::new();
            for k in &keys {
                let next = naive.len();
                let slot = *naive.entry(*k).or_insert(next);
                prop_assert_eq!(table.slot(hash(*k), *k), slot);
            }
            table.retain(|slot| slot % 2 == 0);
            let kept: Vec<u64> = table.keys().to_vec();
            for (slot, k) in kept.iter().enumerate() {
                prop_assert_eq!(table.slot(hash(*k), *k), slot);
                prop_assert_eq!(naive[k], slot * 2);
            }
            prop_assert_eq!(table.len(), naive.len().div_ceil(2));
        }
    }
}
