//! Where a key goes: its partition as the grid computes it, and the worker that owns it.

use crate::key::StreamKey;

/// Partition of a hash and worker of a partition, without a division per item.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    partitions: u32,
    /// `2^64 / partitions` rounded up: `hash % partitions` by two multiplications.
    inverse: u64,
    owner: Vec<u16>,
}

/// A key's hash and the partition that follows from it; travels with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) hash: u32,
    pub(crate) partition: u16,
}

impl Place {
    /// The hash for the table of a partition: spreads hashes that agree modulo the number of
    /// partitions. 2^64 by the golden ratio.
    #[inline]
    pub(crate) fn table_hash(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The worker that runs the keyed tasklets of `partition`.
pub(crate) fn tasklet_of(partition: u16, workers: usize) -> usize {
    usize::from(partition) % workers
}

impl Route {
    pub(crate) fn new(partitions: u16, workers: usize) -> Self {
        let owner = (0..partitions)
            .map(|p| u16::try_from(tasklet_of(p, workers)).unwrap_or(u16::MAX))
            .collect();
        let partitions = u32::from(partitions);
        Route { partitions, inverse: (u64::MAX / u64::from(partitions)).wrapping_add(1), owner }
    }

    #[inline]
    pub(crate) fn place<K: StreamKey>(&self, key: &K) -> Place {
        let hash = key.partition_hash();
        Place { hash, partition: self.partition(hash) }
    }

    /// The same as the grid's `partition_of`, which its test compares it with.
    #[inline]
    fn partition(&self, hash: u32) -> u16 {
        let hash = hash.cast_signed();
        let hash = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
        let low = self.inverse.wrapping_mul(u64::from(hash));
        #[allow(clippy::cast_possible_truncation)]
        let partition = ((u128::from(low) * u128::from(self.partitions)) >> 64) as u16;
        debug_assert_eq!(u32::from(partition), hash % self.partitions);
        partition
    }

    #[inline]
    pub(crate) fn worker(&self, place: Place) -> usize {
        usize::from(self.owner[usize::from(place.partition)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::partitioning::partition_of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn partitions_are_those_of_the_grid(hash: u32, partitions in 1u16..16_384) {
            let route = Route::new(partitions, 2);
            for hash in [hash, 0, u32::MAX, i32::MIN.cast_unsigned(), i32::MAX.cast_unsigned()] {
                prop_assert_eq!(route.partition(hash), partition_of(hash, partitions).0);
            }
        }
    }
}
