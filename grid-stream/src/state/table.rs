//! The slot of a key: buckets of eight tags that are compared at once in one word, each with the
//! number of its key's slot. Slots are given out in turn, so that keys and whatever belongs to them
//! lie densely: beside the key, where one load gets both, or in other arrays.

/// One bit per byte.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Keys per bucket on average at most, of eight: few keys are not where they are looked for first.
const FILL_MAX: usize = 4;
/// Places in a bucket.
const BUCKET: usize = 8;
/// Slot in a free place; no key has it.
const FREE: u32 = u32::MAX;

/// Keys with a value each in slots `0 .. len`. Hashes are good from bit 24 up.
#[derive(Clone, Debug)]
pub(crate) struct KeyTable<K, V = ()> {
    buckets: Vec<Bucket>,
    /// By slot, as the hashes.
    entries: Vec<(K, V)>,
    hashes: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// A byte per place: part of the key's hash. Places are taken in turn.
    tags: u64,
    slots: [u32; BUCKET],
}

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: 0, slots: [FREE; BUCKET] };
}

impl<K: Eq, V> KeyTable<K, V> {
    pub(crate) fn new() -> Self {
        KeyTable { buckets: vec![Bucket::EMPTY], entries: Vec::new(), hashes: Vec::new() }
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn key(&self, slot: usize) -> Option<&K> {
        self.entries.get(slot).map(|(key, _)| key)
    }

    /// Key and value of a slot.
    #[inline]
    pub(crate) fn entry(&mut self, slot: usize) -> Option<(&K, &mut V)> {
        self.entries.get_mut(slot).map(|(key, value)| (&*key, value))
    }

    #[inline]
    fn tag(hash: u64) -> u64 {
        (hash >> 24) & 0xff
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        #[allow(clippy::cast_possible_truncation)]
        {
            (hash >> 32) as usize & (self.buckets.len() - 1)
        }
    }

    /// The slot that `key` is in if it is where it is looked for first; some slot or none if not.
    #[inline]
    fn guess(&self, hash: u64) -> usize {
        let bucket = &self.buckets[self.bucket(hash)];
        // The lowest byte found to match really does; bytes above it may not.
        let same = bucket.tags ^ Self::tag(hash).wrapping_mul(LOW);
        let found = same.wrapping_sub(LOW) & !same & HIGH;
        bucket.slots[(found.trailing_zeros() / 8) as usize % BUCKET] as usize
    }

    /// The slot of `key` if it is where it is looked for first; nearly always if it is known.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<usize> {
        let slot = self.guess(hash);
        (self.entries.get(slot)?.0 == *key).then_some(slot)
    }

    /// The value of `key` if that is where it is looked for first, as [`KeyTable::find`].
    #[inline]
    pub(crate) fn find_value(&mut self, hash: u64, key: &K) -> Option<&mut V> {
        let slot = self.guess(hash);
        let (known, value) = self.entries.get_mut(slot)?;
        (known == key).then_some(value)
    }

    /// The slot of `key`, a new one with the default value if it has none. Looks everywhere, unlike
    /// [`KeyTable::find`]. There must be room.
    pub(crate) fn slot(&mut self, hash: u64, key: K) -> usize
    where
        V: Default,
    {
        let mut at = self.bucket(hash);
        loop {
            for slot in self.buckets[at].slots {
                match self.entries.get(slot as usize) {
                    Some((known, _)) if *known == key => return slot as usize,
                    Some(_) => {}
                    None => {
                        self.entries.push((key, V::default()));
                        self.hashes.push(hash);
                        self.enter(self.len() - 1);
                        return self.len() - 1;
                    }
                }
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Enters a slot that is not there into the first bucket with a free place.
    fn enter(&mut self, slot: usize) {
        let hash = self.hashes[slot];
        let mut at = self.bucket(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.slots.iter().position(|slot| *slot == FREE) {
                bucket.tags |= Self::tag(hash) << (8 * place);
                bucket.slots[place] = u32::try_from(slot).unwrap_or(FREE);
                return;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Whether there is no room for another key before [`KeyTable::rebuild`].
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.buckets.len() * FILL_MAX
    }

    /// Keeps the keys whose slot and value `keep` is true for, in their order in the first slots, with room
    /// for at least as many again. Returns the slots that they had.
    pub(crate) fn rebuild(&mut self, keep: impl Fn(usize, &V) -> bool) -> Vec<usize> {
        let kept = self.entries.iter().enumerate().filter(|(slot, (_, value))| keep(*slot, value));
        let kept: Vec<usize> = kept.map(|(slot, _)| slot).collect();
        for (to, from) in kept.iter().enumerate() {
            self.entries.swap(to, *from);
            self.hashes.swap(to, *from);
        }
        self.entries.truncate(kept.len());
        self.hashes.truncate(kept.len());
        let buckets = (kept.len() * 2).div_ceil(FILL_MAX).next_power_of_two();
        self.buckets = vec![Bucket::EMPTY; buckets];
        (0..kept.len()).for_each(|slot| self.enter(slot));
        kept
    }

    /// Takes out everything. Keeps the memory, as long as it is used.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        if self.len() < self.buckets.len() / 4 {
            self.buckets.truncate(self.buckets.len() / 2);
        }
        self.buckets.fill(Bucket::EMPTY);
        self.hashes.clear();
        self.entries.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn slot(table: &mut KeyTable<u64>, hash: u64, key: u64) -> usize {
        table.find(hash, &key).unwrap_or_else(|| {
            if table.is_full() {
                table.rebuild(|_, ()| true);
            }
            table.slot(hash, key)
        })
    }

    proptest! {
        #[test]
        fn slots_are_those_of_a_naive_map(
            keys in prop::collection::vec(0u64..300, 1..800),
            weak in any::<bool>(),
        ) {
            // A weak hash makes buckets overflow and tags collide.
            let hash = |k: u64| if weak { k % 3 } else { k.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
            let mut table = KeyTable::new();
            let mut naive: HashMap<u64, usize> = HashMap::new();
            // A table that was emptied, and is smaller then, is as good as a new one.
            for keys in [&keys[..], &keys[..keys.len() / 20], &keys[..1], &keys[..]] {
                prop_assert_eq!(table.drain().count(), naive.drain().count());
                for k in keys {
                    let got = slot(&mut table, hash(*k), *k);
                    let next = naive.len();
                    prop_assert_eq!(*naive.entry(*k).or_insert(next), got);
                    prop_assert_eq!(table.key(got), Some(k));
                    prop_assert_eq!(table.len(), naive.len());
                }
            }
            let kept = table.rebuild(|slot, ()| slot % 2 == 0);
            prop_assert_eq!(&kept, &(0..naive.len()).step_by(2).collect::<Vec<_>>());
            prop_assert_eq!(table.len(), kept.len());
            for (k, old) in naive.iter().filter(|(_, slot)| **slot % 2 == 0) {
                prop_assert_eq!(slot(&mut table, hash(*k), *k), old / 2);
            }
        }
    }
}
