//! Configurations of a search from which no linearization can be completed.

use hashbrown::HashTable;
use std::hash::{Hash, Hasher};

/// Tables that grew larger than this are not kept for the next search: clearing them would cost
/// more than it.
const KEPT_MAX: usize = 1 << 12;

/// A set of dead ends.
///
/// A configuration is which operations have taken effect, and the state. Having used more of those
/// that may happen or not is never better, so a dead end covers all configurations that differ from
/// it only in having used more of them.
pub(crate) struct Memo<S> {
    table: HashTable<u32>,
    ends: Vec<DeadEnd<S>>,
    /// The keys of all dead ends, one after the other.
    words: Vec<u64>,
}

struct DeadEnd<S> {
    hash: u64,
    words_from: usize,
    state: S,
}

/// Which operations have taken effect: the words `used` of those that may happen or not, then what
/// identifies the set of the others.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) words: &'a [u64],
    pub(crate) used: usize,
}

impl<S: Eq + Hash> Memo<S> {
    pub(crate) fn new() -> Self {
        Memo { table: HashTable::new(), ends: Vec::new(), words: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        if self.table.capacity() > KEPT_MAX {
            *self = Memo::new();
        } else if !self.ends.is_empty() {
            self.table.clear();
            self.ends.clear();
            self.words.clear();
        }
    }

    /// Whether a dead end covers this configuration.
    pub(crate) fn covers(&self, key: Key<'_>, state: &S) -> bool {
        let Key { words, used } = key;
        let covers = |&index: &u32| {
            let index = index as usize;
            let known = self.key_words(index);
            known[used..] == words[used..]
                && known[..used].iter().zip(words).all(|(known, now)| known & !now == 0)
                && self.ends[index].state == *state
        };
        self.table.find(hash(key, state), covers).is_some()
    }

    /// Adds a dead end.
    pub(crate) fn insert(&mut self, key: Key<'_>, state: S) {
        let hash = hash(key, &state);
        let Ok(index) = u32::try_from(self.ends.len()) else { return };
        let words_from = self.words.len();
        self.words.extend_from_slice(key.words);
        self.ends.push(DeadEnd { hash, words_from, state });
        let ends = &self.ends;
        self.table.insert_unique(hash, index, |&index| ends[index as usize].hash);
    }

    fn key_words(&self, index: usize) -> &[u64] {
        let from = self.ends[index].words_from;
        let to = self.ends.get(index + 1).map_or(self.words.len(), |next| next.words_from);
        &self.words[from..to]
    }
}

/// The hash leaves out what `covers` compares by inclusion.
fn hash<S: Hash>(key: Key<'_>, state: &S) -> u64 {
    let mut fold = Fold(0);
    for &word in &key.words[key.used..] {
        fold.write_u64(word);
    }
    state.hash(&mut fold);
    fold.finish()
}

/// A hasher for few words: multiply and rotate, the same in every run.
struct Fold(u64);

impl Hasher for Fold {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
