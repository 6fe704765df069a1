//! Which partition a key belongs to, computed exactly as Hazelcast does, so that other clients of
//! that family can share data: Murmur3 x86_32 over the payload, seed `0x0100_0193`.

use crate::ids::PartitionId;

const SEED: u32 = 0x0100_0193;
const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

#[inline]
fn mix(h: u32, block: u32) -> u32 {
    let k = block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    (h ^ k).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Murmur3 x86_32 (Austin Appleby) of `bytes` with the grid's seed.
#[inline]
#[must_use]
pub fn partition_hash(bytes: &[u8]) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut h = SEED;
    for block in blocks {
        h = mix(h, u32::from_le_bytes(*block));
    }
    if !tail.is_empty() {
        let mut last = 0u32;
        for (i, byte) in tail.iter().enumerate() {
            last |= u32::from(*byte) << (8 * i);
        }
        h ^= last.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    }
    #[allow(clippy::cast_possible_truncation)]
    {
        h ^= bytes.len() as u32;
    }
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The partition of a hash: its absolute value as a signed number, `i32::MIN` counting as 0, modulo
/// the number of partitions.
#[inline]
#[must_use]
pub fn partition_of(hash: u32, partitions: u16) -> PartitionId {
    let hash = hash.cast_signed();
    let hash = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    #[allow(clippy::cast_possible_truncation)]
    PartitionId((hash % u32::from(partitions)) as u16)
}

/// The partition of a structure that lives in one partition as a whole (queue, topic): that of the
/// part of its name after the first `@`, or else of the whole name, encoded as a string.
#[must_use]
pub fn partition_of_name(name: &str, partitions: u16) -> PartitionId {
    let part = name.split_once('@').map_or(name, |(_, affinity)| affinity);
    let mut payload = Vec::with_capacity(4 + part.len());
    #[allow(clippy::cast_possible_truncation)]
    payload.extend_from_slice(&(part.len() as u32).to_be_bytes());
    payload.extend_from_slice(part.as_bytes());
    partition_of(partition_hash(&payload), partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors taken from a Hazelcast 5 member: payload, hash as a signed number, partition of 271.
    #[test]
    fn hashes_and_partitions_are_those_of_hazelcast() {
        let mut umlaut = vec![0, 0, 0, 6];
        umlaut.extend_from_slice("ä😀".as_bytes());
        let uuid = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let vectors: [(&[u8], i32, u16); 8] = [
            (b"\0\0\0\x03foo", 947_302_427, 247),
            (b"\0\0\0\0", 923_237_662, 11),
            (&[0, 0, 0, 1], 768_969_306, 31),
            (&[1], 535_970_202, 223),
            (&1.5f64.to_be_bytes(), -867_000_382, 109),
            (&[0, 0, 0, 2, 1, 2], 1_680_580_340, 127),
            (&umlaut, -857_060_859, 53),
            (&uuid, 1_006_687_446, 223),
        ];
        for (payload, hash, partition) in vectors {
            let got = partition_hash(payload);
            assert_eq!(got.cast_signed(), hash, "hash of {payload:02x?}");
            assert_eq!(partition_of(got, 271).0, partition, "partition of {payload:02x?}");
        }
        assert_eq!(partition_of(i32::MIN.cast_unsigned(), 271).0, 0);
        assert_eq!(partition_of_name("foo", 271).0, 247);
        assert_eq!(partition_of_name("orders@foo", 271).0, 247);
    }
}
