//! Randomness for what must differ between two lives: the hash seed and the life of the data.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Two numbers from the system's randomness (which seeds the standard library's hash maps).
pub(crate) fn random() -> (u64, u64) {
    let one = || RandomState::new().build_hasher().finish() | 1;
    (one(), one())
}
