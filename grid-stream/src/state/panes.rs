//! Accumulators of keys in panes: per pane an array by slot and a bit per slot that says whether it
//! was touched.

use super::table::KeyTable;

/// Slots that share a word of bits.
const WORD: usize = 64;

/// Keyed accumulators of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Panes<K, A> {
    pub(crate) table: KeyTable<K>,
    /// Per word of slots one for each pane.
    words: Vec<Word<A>>,
    panes: usize,
}

/// What a pane has for a word of slots.
#[derive(Clone, Debug)]
struct Word<A> {
    touched: u64,
    accs: [A; WORD],
}

impl<A: Default> Word<A> {
    fn new() -> Self {
        Word { touched: 0, accs: std::array::from_fn(|_| A::default()) }
    }
}

impl<K: Eq + Clone, A: Default> Panes<K, A> {
    pub(crate) fn new(panes: usize) -> Self {
        Panes { table: KeyTable::new(), words: Vec::new(), panes }
    }

    /// The slot of a key.
    #[inline]
    pub(crate) fn slot(&mut self, hash: u64, key: &K) -> usize {
        match self.table.find(hash, key) {
            Some(slot) => slot,
            None => self.insert(hash, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u64, key: &K) -> usize {
        if self.table.is_full() {
            self.make_room();
        }
        let slot = self.table.slot(hash, key.clone());
        if slot / WORD >= self.words() {
            self.words.resize_with((slot / WORD + 1) * self.panes, Word::new);
        }
        slot
    }

    /// The accumulator of a slot in a pane, about to be changed.
    #[inline]
    pub(crate) fn touch(&mut self, pane: usize, slot: usize) -> &mut A {
        let word = &mut self.words[slot / WORD * self.panes + pane];
        word.touched |= 1 << (slot % WORD);
        &mut word.accs[slot % WORD]
    }

    /// Room for another key: more of it, and forgets the keys that are in no pane if those are a
    /// quarter of all.
    fn make_room(&mut self) {
        let live: Vec<u64> = (0..self.words())
            .map(|word| (0..self.panes).fold(0, |all, pane| all | self.present(pane, word)))
            .collect();
        let is_live = |slot: usize| live[slot / WORD] >> (slot % WORD) & 1 == 1;
        let kept: usize = live.iter().map(|word| word.count_ones() as usize).sum();
        if kept > self.table.len() * 3 / 4 {
            self.table.rebuild(|_, ()| true);
            return;
        }
        let kept = self.table.rebuild(|slot, ()| is_live(slot));
        let words = kept.len().div_ceil(WORD) * self.panes;
        let mut old = std::mem::take(&mut self.words);
        self.words.resize_with(words, Word::new);
        for (to, from) in kept.into_iter().enumerate() {
            for pane in 0..self.panes {
                let word = &mut old[from / WORD * self.panes + pane];
                if word.touched >> (from % WORD) & 1 == 1 {
                    *self.touch(pane, to) = std::mem::take(&mut word.accs[from % WORD]);
                }
            }
        }
    }

    /// Room for more panes.
    pub(crate) fn grow_panes(&mut self, panes: usize) {
        let mut old = std::mem::take(&mut self.words).into_iter().peekable();
        while old.peek().is_some() {
            self.words.extend(old.by_ref().take(self.panes));
            self.words.extend((self.panes..panes).map(|_| Word::new()));
        }
        self.panes = panes;
    }

    /// Words of 64 slots.
    pub(crate) fn words(&self) -> usize {
        self.words.len() / self.panes
    }

    /// Which of 64 slots were touched in a pane.
    pub(crate) fn present(&self, pane: usize, word: usize) -> u64 {
        self.words[word * self.panes + pane].touched
    }

    pub(crate) fn acc(&self, pane: usize, slot: usize) -> &A {
        &self.words[slot / WORD * self.panes + pane].accs[slot % WORD]
    }

    /// The accumulator of a slot in two different panes.
    pub(crate) fn acc_pair(&mut self, to: usize, from: usize, slot: usize) -> (&mut A, &A) {
        let words = &mut self.words[slot / WORD * self.panes..][..self.panes];
        let (low, high) = words.split_at_mut(to.max(from));
        let (to, from) =
            if to < from { (&mut low[to], &high[0]) } else { (&mut high[0], &low[from]) };
        (&mut to.accs[slot % WORD], &from.accs[slot % WORD])
    }

    /// Empties the accumulators of the slots in `bits` of one word of a pane.
    pub(crate) fn reset(&mut self, pane: usize, word: usize, bits: u64) {
        let at = word * self.panes + pane;
        self.words[at].touched &= !bits;
        for slot in slots(0, bits) {
            self.words[at].accs[slot] = A::default();
        }
    }
}

/// The slots of the bits that are set in a word.
pub(crate) fn slots(word: usize, bits: u64) -> impl Iterator<Item = usize> {
    let mut bits = bits;
    std::iter::from_fn(move || {
        let slot = (bits != 0).then(|| word * WORD + bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        slot
    })
}
