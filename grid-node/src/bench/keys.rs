//! Keys, values and random choices of a load, all cheap: the generator must not be what is measured.

/// Bytes of every key.
pub const KEY_BYTES: usize = 16;
/// Most keys that the format of a key can tell apart.
pub const KEYS_MAX: u64 = 1_000_000_000_000;
/// Bytes at the start of a value that say whose it is.
const MARK_BYTES: usize = 8;

/// Key number `n`: `key:` and twelve decimal digits. Stored as two words, so that a reader of words does
/// not stall on single bytes that are still being stored.
#[inline]
#[must_use]
pub fn key(n: u64) -> [u8; KEY_BYTES] {
    let (high, low) = (n / 100_000_000, n % 100_000_000);
    let head = u64::from(u32::from_le_bytes(*b"key:")) | ((digits(high) >> 32) << 32);
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&head.to_le_bytes());
    key[8..].copy_from_slice(&digits(low).to_le_bytes());
    key
}

/// The eight decimal digits of `n`, the first in the lowest byte.
#[inline]
fn digits(n: u64) -> u64 {
    let fours = (n / 10_000) | ((n % 10_000) << 32);
    let high = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = ((fours - 100 * high) << 16) + high;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens + ((twos - 10 * tens) << 8)) + 0x3030_3030_3030_3030
}

/// Makes `value` the value of key `n`: the number first, as far as there is room.
#[inline]
pub fn mark(value: &mut [u8], n: u64) {
    if let Some(mark) = value.first_chunk_mut::<MARK_BYTES>() {
        *mark = n.to_le_bytes();
    }
}

/// Whether `value` is one of key `n` with this length. Values too short for a mark are all alike.
#[inline]
#[must_use]
pub fn is_value_of(value: &[u8], n: u64, len: usize) -> bool {
    value.len() == len
        && value.first_chunk().is_none_or(|mark: &[u8; MARK_BYTES]| *mark == n.to_le_bytes())
}

/// A xorshift generator: uniform enough to choose keys, and free.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Another stream of numbers for every seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[allow(clippy::cast_possible_truncation)] // the high half of the product is below `end`
        {
            ((u128::from(self.0) * u128::from(end)) >> 64) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_number_in_decimal() {
        for n in [0, 7, 42, 9_999, 10_000, 99_999_999, 100_000_000, 123_456_789_012, KEYS_MAX - 1] {
            assert_eq!(key(n), format!("key:{n:012}").as_bytes(), "{n}");
        }
        let mut random = Random::new(3);
        for _ in 0..10_000 {
            let n = random.below(KEYS_MAX);
            assert_eq!(key(n), format!("key:{n:012}").as_bytes());
        }
    }

    #[test]
    fn a_value_tells_whose_it_is() {
        let mut value = [0; 20];
        mark(&mut value, 77);
        assert!(is_value_of(&value, 77, 20));
        assert!(!is_value_of(&value, 78, 20));
        assert!(!is_value_of(&value[..19], 77, 20));
        assert!(is_value_of(&[1, 2], 77, 2));
    }

    #[test]
    fn random_numbers_cover_their_range_evenly() {
        let mut random = Random::new(0);
        let mut seen = [0u32; 10];
        (0..10_000).for_each(|_| seen[random.below(10) as usize] += 1);
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
