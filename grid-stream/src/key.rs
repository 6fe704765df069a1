//! Keys of a stream: routed by the grid's own partitioning, so that the state of a key lives where
//! the map entries of that key live.

use grid_core::data::Key;
use grid_core::partitioning::partition_hash;
use std::any::Any;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};

/// A type that items can be keyed by: every key of the grid that can be compared and cloned.
pub trait StreamKey: Key + Hash + Eq + Clone + Send + 'static {
    /// Hash that decides the partition, the same as for a map entry with this key.
    #[inline]
    fn partition_hash(&self) -> u32 {
        integer_hash(self).unwrap_or_else(|| encoded_hash(self))
    }

    /// Hash for tables that are private to one tasklet; cheaper than the other one.
    #[inline]
    fn table_hash(&self) -> u64 {
        let mut hasher = TableHasher(0);
        self.hash(&mut hasher);
        hasher.0
    }
}

impl<K: Key + Hash + Eq + Clone + Send + 'static> StreamKey for K {}

/// The hash of an integer without a buffer: its payload are its bytes, the highest first. Decided
/// when it is compiled.
#[inline]
fn integer_hash<K: 'static>(key: &K) -> Option<u32> {
    let key: &dyn Any = key;
    macro_rules! try_as {
        ($($int:ty)*) => {$(
            if let Some(key) = key.downcast_ref::<$int>() {
                return Some(partition_hash(&key.to_be_bytes()));
            }
        )*};
    }
    try_as!(u64 i64 u32 i32 u16 i16 u128 i128);
    None
}

fn encoded_hash<K: Key>(key: &K) -> u32 {
    thread_local! {
        static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if let Some(hash) = key.affinity() {
        return hash;
    }
    PAYLOAD.with_borrow_mut(|payload| {
        payload.clear();
        // A key that cannot be encoded has no place in the grid; in a stream any will do.
        match key.encode(payload) {
            Ok(()) => partition_hash(payload),
            Err(_) => 0,
        }
    })
}

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
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::data::key_hash;

    fn check<K: StreamKey>(key: &K) {
        assert_eq!(key.partition_hash(), key_hash(key).unwrap());
    }

    #[test]
    fn keys_go_where_map_entries_go() {
        check(&7u64);
        check(&-7i64);
        check(&7u32);
        check(&-1i32);
        check(&7u16);
        check(&-7i16);
        check(&(1u128 << 100));
        check(&-1i128);
        check(&true);
        check(&"foo");
        check(&"x".repeat(100));
        check(&("EWR".to_string(), 5u8));
        assert_eq!(grid_core::partitioning::partition_of("foo".partition_hash(), 271).0, 247);
    }
}
