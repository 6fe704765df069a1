//! Large values: each in an allocation of its own, reached by a slot number that its record holds.

use super::StoreFull;
use super::ledger::{Charge, Ledger};
use std::sync::Arc;

/// Slots grow by pages, so that no growth copies them all.
const PAGE: usize = 256;

#[derive(Debug)]
enum Slot {
    Taken(Box<[u8]>),
    Free { next: Option<u32> },
}

#[derive(Debug)]
pub(super) struct Large {
    pages: Vec<Vec<Slot>>,
    free: Option<u32>,
    taken: usize,
    charge: Charge,
}

fn copy_of(value: &[u8]) -> Result<Box<[u8]>, StoreFull> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(value.len()).map_err(|_| StoreFull)?;
    bytes.extend_from_slice(value);
    Ok(bytes.into_boxed_slice())
}

impl Large {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { pages: Vec::new(), free: None, taken: 0, charge: Charge::new(ledger, 0) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.charge.bytes()
    }

    pub(super) fn get(&self, slot: u32) -> &[u8] {
        match self.pages.get(slot as usize / PAGE).and_then(|page| page.get(slot as usize % PAGE)) {
            Some(Slot::Taken(value)) => value,
            _ => &[],
        }
    }

    fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.pages[slot as usize / PAGE][slot as usize % PAGE]
    }

    /// Keeps a copy of `value`, in `slot` instead of the value there if one is given.
    pub(super) fn put(&mut self, slot: Option<u32>, value: &[u8]) -> Result<u32, StoreFull> {
        if let Some(slot) = slot
            && let Slot::Taken(old) = self.slot_mut(slot)
            && old.len() == value.len()
        {
            old.copy_from_slice(value);
            return Ok(slot);
        }
        let copy = copy_of(value)?;
        let slot = match slot {
            Some(slot) => {
                self.charge.sub(self.get(slot).len() as u64);
                slot
            }
            None => self.vacant_slot(),
        };
        self.charge.add(value.len() as u64);
        *self.slot_mut(slot) = Slot::Taken(copy);
        Ok(slot)
    }

    fn vacant_slot(&mut self) -> u32 {
        self.taken += 1;
        if let Some(slot) = self.free
            && let Slot::Free { next } = *self.slot_mut(slot)
        {
            self.free = next;
            return slot;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            // The first page grows, the others are whole.
            let room = if self.pages.is_empty() { 1 } else { PAGE };
            self.pages.push(Vec::with_capacity(room));
        }
        let pages = self.pages.len();
        let page = &mut self.pages[pages - 1];
        page.push(Slot::Free { next: None });
        ((pages - 1) * PAGE + page.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let next = self.free;
        if let Slot::Taken(value) = std::mem::replace(self.slot_mut(slot), Slot::Free { next }) {
            self.charge.sub(value.len() as u64);
            self.free = Some(slot);
            self.taken -= 1;
        }
        if self.taken == 0 {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        (self.pages, self.free, self.taken) = (Vec::new(), None, 0);
        self.charge.sub(self.charge.bytes());
    }
}

#[cfg(test)]
impl Large {
    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_and_bytes_charged() {
        let ledger = Arc::new(Ledger::new(u64::MAX));
        let mut large = Large::new(Arc::clone(&ledger));
        let slots: Vec<u32> =
            (0..600u32).map(|i| large.put(None, &[i as u8; 10]).unwrap()).collect();
        assert_eq!(slots, (0..600).collect::<Vec<_>>());
        assert_eq!((large.get(599), ledger.used()), (&[87u8; 10][..], 6000));
        large.remove(300);
        large.remove(4);
        assert_eq!((large.put(None, &[1]).unwrap(), large.put(None, &[2]).unwrap()), (4, 300));
        assert_eq!(large.put(Some(5), &[3; 20]), Ok(5));
        assert_eq!((large.get(5), large.bytes()), (&[3u8; 20][..], 6000 - 20 + 2 + 10));
        for slot in slots {
            large.remove(slot);
        }
        assert_eq!((large.pages.len(), ledger.used()), (0, 0));
    }
}
