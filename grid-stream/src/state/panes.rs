//! Accumulators of keys in panes: per pane a plain array by slot and a bit per slot that says
//! whether it was touched; and per slot a bit that says whether it changed since the last snapshot.

use super::table::KeyTable;

/// Keyed accumulators of one partition (or of one sender that combines).
#[derive(Clone, Debug)]
pub(crate) struct Panes<K, A> {
    pub(crate) table: KeyTable<K>,
    /// Pane-major: `accs[pane * capacity + slot]`.
    accs: Vec<A>,
    /// Per word of 64 slots: a word of bits per pane, then the one of changed slots.
    bits: Vec<u64>,
    /// Slots per pane: those of the table, in whole words.
    capacity: usize,
    panes: usize,
}

impl<K: Eq + Clone, A: Default> Panes<K, A> {
    pub(crate) fn new(panes: usize) -> Self {
        let table = KeyTable::new();
        Panes { table, accs: Vec::new(), bits: Vec::new(), capacity: 0, panes }
    }

    /// The slot of a key.
    #[inline]
    pub(crate) fn slot(&mut self, hash: u32, key: &K) -> usize {
        match self.table.find(hash, key) {
            Some(slot) => slot,
            None => self.insert(hash, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u32, key: &K) -> usize {
        if self.table.is_full() {
            self.make_room();
        }
        if self.capacity == 0 {
            self.resize(self.panes, Some);
        }
        self.table.slot(hash, key.clone())
    }

    /// The accumulator of a slot in a pane, about to be changed.
    #[inline]
    pub(crate) fn touch(&mut self, pane: usize, slot: usize) -> &mut A {
        let bit = 1u64 << (slot % 64);
        let word = slot / 64 * (self.panes + 1);
        self.bits[word + pane] |= bit;
        self.bits[word + self.panes] |= bit;
        &mut self.accs[pane * self.capacity + slot]
    }

    /// Room for another key: more slots, and forgets the keys that are in no pane if those are a
    /// quarter of all.
    fn make_room(&mut self) {
        let live: Vec<u64> = (0..self.words())
            .map(|word| (0..self.panes).fold(0, |all, pane| all | self.present(pane, word)))
            .collect();
        let kept: usize = live.iter().map(|word| word.count_ones() as usize).sum();
        let all = kept > self.table.len() * 3 / 4;
        let moved = self.table.rebuild(|slot| all || live[slot / 64] >> (slot % 64) & 1 == 1);
        self.resize(self.panes, |slot| moved.get(slot).copied().flatten().map(|to| to as usize));
    }

    /// Room for more panes.
    pub(crate) fn grow_panes(&mut self, panes: usize) {
        self.resize(panes, Some);
    }

    /// Arrays for `panes` and for the slots of the table; `moved` says where a slot went.
    fn resize(&mut self, panes: usize, moved: impl Fn(usize) -> Option<usize>) {
        let capacity = self.table.capacity().next_multiple_of(64);
        let mut new = Panes {
            table: KeyTable::new(),
            accs: Vec::new(),
            bits: vec![0; capacity / 64 * (panes + 1)],
            capacity,
            panes,
        };
        new.accs.resize_with(panes * capacity, A::default);
        for word in 0..self.words() {
            for pane in 0..self.panes.min(panes) {
                for slot in slots(word, self.present(pane, word)) {
                    if let Some(to) = moved(slot) {
                        let acc = &mut self.accs[pane * self.capacity + slot];
                        *new.touch(pane, to) = std::mem::take(acc);
                    }
                }
            }
        }
        std::mem::swap(&mut new.table, &mut self.table);
        *self = new;
    }

    /// Words of 64 slots.
    pub(crate) fn words(&self) -> usize {
        self.capacity / 64
    }

    /// Which of 64 slots were touched in a pane.
    pub(crate) fn present(&self, pane: usize, word: usize) -> u64 {
        self.bits[word * (self.panes + 1) + pane]
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
        let at = word * (self.panes + 1);
        self.bits[at + self.panes] |= bits;
        self.bits[at + pane] &= !bits;
        for slot in slots(word, bits) {
            self.accs[pane * self.capacity + slot] = A::default();
        }
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
