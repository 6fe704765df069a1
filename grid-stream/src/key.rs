//! Keys of a stream: routed by the grid's own partitioning, so that the state of a key lives where
//! the map entries of that key live.

use grid_core::partitioning::partition_hash;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A type that items can be keyed by.
pub trait StreamKey: Hash + Eq + Clone + Send + 'static {
    /// Hash of the key's encoded payload, as the grid partitions map entries.
    fn partition_hash(&self) -> u32;

    /// Hash for tables that are private to one tasklet; cheaper than the other one.
    #[inline]
    fn table_hash(&self) -> u32 {
        let mut hasher = TableHasher(0);
        self.hash(&mut hasher);
        #[allow(clippy::cast_possible_truncation)]
        {
            (hasher.0 >> 32) as u32
        }
    }
}

macro_rules! integers {
    ($($int:ty)*) => {$(
        impl StreamKey for $int {
            #[inline]
            fn partition_hash(&self) -> u32 {
                partition_hash(&self.to_be_bytes())
            }
        }
    )*};
}
integers!(i8 u8 i16 u16 i32 u32 i64 u64 i128 u128);

fn text_hash(text: &str) -> u32 {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut short = [0u8; 64];
    if let Some(payload) = short.get_mut(..4 + text.len()) {
        payload[..4].copy_from_slice(&len);
        payload[4..].copy_from_slice(text.as_bytes());
        return partition_hash(payload);
    }
    partition_hash(&[&len[..], text.as_bytes()].concat())
}

macro_rules! texts {
    ($($text:ty)*) => {$(
        impl StreamKey for $text {
            fn partition_hash(&self) -> u32 {
                text_hash(self)
            }
        }
    )*};
}
texts!(String &'static str Arc<str> Box<str>);

/// Multiply and rotate, for private tables.
struct TableHasher(u64);

const MIX: u64 = 0xd6e8_feb8_6659_fd93;

impl Hasher for TableHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        self.write_u64(u64::from_le_bytes(last));
    }
    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }
    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }
    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(MIX);
    }
    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::partitioning::partition_of;

    #[test]
    fn keys_go_where_map_entries_go() {
        assert_eq!(partition_of("foo".partition_hash(), 271).0, 247);
        assert_eq!(partition_of(1i32.partition_hash(), 271).0, 31);
        let long = "x".repeat(100);
        let payload = [&100u32.to_be_bytes()[..], long.as_bytes()].concat();
        assert_eq!(long.partition_hash(), partition_hash(&payload));
    }
}
