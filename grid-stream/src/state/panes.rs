//! Accumulators of keys in panes: per pane a dense array by slot and a bit per slot that says
//! whether it was touched; and per slot a bit that says whether it changed since the last snapshot.

use super::table::KeyTable;

/// Keyed accumulators of one partition (or of one sender that combines).
#[derive(Clone, Debug)]
pub(crate) struct Panes<K, A> {
    pub(crate) table: KeyTable<K>,
    /// Pane-major: `accs[pane * capacity + slot]`.
    accs: Vec<A>,
    /// A bit per slot, in words, pane-major.
    present: Vec<u64>,
    /// A bit per slot.
    dirty: Vec<u64>,
    /// Slots per pane that there is room for; a multiple of 64.
    capacity: usize,
    panes: usize,
}

impl<K: Eq, A: Default> Panes<K, A> {
    pub(crate) fn new(panes: usize) -> Self {
        Panes {
            table: KeyTable::new(),
            accs: Vec::new(),
            present: Vec::new(),
            dirty: Vec::new(),
            capacity: 0,
            panes,
        }
    }

    fn words(&self) -> usize {
        self.capacity / 64
    }

    /// The slot of a key and room for it in all panes.
    #[inline]
    pub(crate) fn slot(&mut self, hash: u32, key: K) -> usize {
        match self.table.find(hash, &key) {
            Some(slot) => slot,
            None => self.insert(hash, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u32, key: K) -> usize {
        self.make_room();
        let slot = self.table.slot(hash, key);
        if slot >= self.capacity {
            self.resize(self.panes, (slot + 1).next_multiple_of(64).max(self.capacity * 2));
        }
        slot
    }

    /// The accumulator of a slot in a pane, about to be changed.
    #[inline]
    pub(crate) fn touch(&mut self, pane: usize, slot: usize) -> &mut A {
        let bit = 1u64 << (slot % 64);
        self.dirty[slot / 64] |= bit;
        let word = pane * (self.capacity / 64) + slot / 64;
        self.present[word] |= bit;
        &mut self.accs[pane * self.capacity + slot]
    }

    #[cold]
    #[inline(never)]
    fn resize(&mut self, panes: usize, capacity: usize) {
        let (old, old_capacity, old_panes) = (self.words(), self.capacity, self.panes);
        let mut accs = Vec::new();
        accs.resize_with(panes * capacity, A::default);
        let mut present = vec![0; panes * capacity / 64];
        for pane in 0..old_panes.min(panes) {
            for slot in 0..old_capacity.min(capacity) {
                let acc = &mut self.accs[pane * old_capacity + slot];
                accs[pane * capacity + slot] = std::mem::take(acc);
            }
            for word in 0..old.min(capacity / 64) {
                present[pane * capacity / 64 + word] = self.present[pane * old + word];
            }
        }
        self.dirty.resize(capacity / 64, 0);
        (self.accs, self.present) = (accs, present);
        (self.panes, self.capacity) = (panes, capacity);
    }

    /// Room for more panes.
    pub(crate) fn grow_panes(&mut self, panes: usize) {
        self.resize(panes, self.capacity);
    }

    /// Words of 64 slots in use.
    pub(crate) fn words_used(&self) -> usize {
        self.table.len().div_ceil(64)
    }

    /// Which of 64 slots were touched in a pane.
    pub(crate) fn present(&self, pane: usize, word: usize) -> u64 {
        self.present[pane * self.words() + word]
    }

    pub(crate) fn acc(&self, pane: usize, slot: usize) -> &A {
        &self.accs[pane * self.capacity + slot]
    }

    /// The accumulator of a slot in two different panes.
    pub(crate) fn acc_pair(&mut self, to: usize, from: usize, slot: usize) -> (&mut A, &A) {
        let (to, from) = (to * self.capacity + slot, from * self.capacity + slot);
        let (low, high) = self.accs.split_at_mut(to.max(from));
        if to < from { (&mut low[to], &high[0]) } else { (&mut high[0], &low[from]) }
    }

    /// Empties the accumulators of the slots in `bits` of one word of a pane.
    pub(crate) fn reset(&mut self, pane: usize, word: usize, bits: u64) {
        self.dirty[word] |= bits;
        let at = pane * self.words() + word;
        self.present[at] &= !bits;
        for slot in slots(word, bits) {
            self.accs[pane * self.capacity + slot] = A::default();
        }
    }

    /// If the next new key would make the table grow: forgets the keys that are in no pane,
    /// provided that this frees a quarter of it.
    fn make_room(&mut self) {
        if !self.table.is_full() || self.table.len() < 64 {
            return;
        }
        let words = self.words();
        let live: Vec<u64> = (0..words)
            .map(|word| (0..self.panes).fold(0, |all, pane| all | self.present(pane, word)))
            .collect();
        let kept: usize = live.iter().map(|word| word.count_ones() as usize).sum();
        if kept > self.table.len() * 3 / 4 {
            return;
        }
        let is_live = |slot: usize| live[slot / 64] >> (slot % 64) & 1 == 1;
        for pane in 0..self.panes {
            let mut to = 0;
            for slot in (0..self.table.len()).filter(|slot| is_live(*slot)) {
                self.accs.swap(pane * self.capacity + to, pane * self.capacity + slot);
                let bit = self.present(pane, slot / 64) >> (slot % 64) & 1;
                let word = &mut self.present[pane * words + to / 64];
                *word = *word & !(1 << (to % 64)) | bit << (to % 64);
                to += 1;
            }
            for slot in to..self.table.len() {
                self.present[pane * words + slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.table.retain(is_live);
        self.dirty.fill(u64::MAX);
    }
}

/// The slots of the bits that are set in a word.
pub(crate) fn slots(word: usize, bits: u64) -> impl Iterator<Item = usize> {
    let mut bits = bits;
    std::iter::from_fn(move || {
        let slot = (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        slot
    })
}
