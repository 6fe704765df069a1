//! The state of a window stage on one worker and its two movements: items into panes, and panes
//! into results as the watermark passes.

use super::spec::Windows;
use super::{Partial, Row, WindowResult};
use crate::aggregate::Aggregate;
use crate::flow::Emit;
use crate::state::panes::{Panes, slots};
use crate::time::{EventTime, NONE};
use grid_core::{Error, Kind, Result};
use std::hash::Hash;

/// Panes that there is room for at first: one that fills while another one fires.
const RING_MIN: usize = 2;
/// Where an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Located {
    /// Into this place of the ring; and into the running total that already contains the pane.
    Pane { ring: usize, running: bool },
    /// All its windows have fired.
    Late,
    /// It is in no window.
    Outside,
}

/// Keyed panes of the partitions of one worker.
pub(crate) struct WindowState<K, T, A: Aggregate<T>> {
    windows: Windows,
    agg: A,
    /// By partition; those of other workers stay empty.
    parts: Vec<Panes<K, A::Acc>>,
    /// The pane in each place of the ring.
    ring: Vec<Option<i64>>,
    /// Place that holds the total of the panes that the last window fired contains.
    running: Option<usize>,
    /// First pane of the next window to fire.
    next: i64,
    /// The running total contains the panes before this one.
    entered: i64,
    /// Where the last item went, and for which times that is right.
    here: Located,
    here_start: EventTime,
    here_end: EventTime,
    firing: Option<Firing>,
}

/// A window that is being fired, and how far that is.
#[derive(Clone, Debug)]
struct Firing {
    first: i64,
    /// Places of its panes that are open: those that are new in it, and those that it is the last
    /// window of.
    panes: Vec<usize>,
    entering: Vec<usize>,
    leaving: Vec<usize>,
    part: usize,
    word: usize,
}

impl<K: Hash + Eq + Clone, T, A: Aggregate<T>> WindowState<K, T, A> {
    pub(crate) fn new(windows: Windows, agg: A, partitions: u16) -> Self {
        let running = (A::DEDUCTS && windows.size > 1).then_some(0);
        let mut ring = vec![None; RING_MIN];
        if running.is_some() {
            ring.push(None);
        }
        WindowState {
            windows,
            agg,
            parts: (0..partitions).map(|_| Panes::new(ring.len())).collect(),
            ring,
            running,
            next: i64::MIN,
            entered: i64::MIN,
            here: Located::Outside,
            here_start: 0,
            here_end: 0,
            firing: None,
        }
    }

    /// Adds items; says which of them are late.
    pub(crate) fn add(&mut self, rows: &[Row<K, T>], late: &mut Vec<usize>) -> Result<()> {
        for (at, row) in rows.iter().enumerate() {
            if row.time < self.here_start || row.time >= self.here_end {
                self.locate(row.time)?;
            }
            let Located::Pane { ring, running } = self.here else {
                if self.here == Located::Late {
                    late.push(at);
                }
                continue;
            };
            let part = &mut self.parts[usize::from(row.place.partition)];
            let slot = part.slot(row.place.table_hash(), &row.key);
            self.agg.accumulate(part.touch(ring, slot), &row.item);
            if let (true, Some(total)) = (running, self.running) {
                self.agg.accumulate(part.touch(total, slot), &row.item);
            }
        }
        Ok(())
    }

    /// Adds what a sender combined. Whether it was in time.
    #[inline]
    pub(crate) fn add_partial(&mut self, partial: &Partial<K, A::Acc>) -> Result<bool> {
        let time = self.windows.start_of(partial.pane);
        if time < self.here_start || time >= self.here_end {
            self.locate(time)?;
        }
        let Located::Pane { ring, running } = self.here else {
            return Ok(self.here != Located::Late);
        };
        let part = &mut self.parts[usize::from(partial.place.partition)];
        let slot = part.slot(partial.place.table_hash(), &partial.key);
        self.agg.combine(part.touch(ring, slot), &partial.acc);
        if let (true, Some(total)) = (running, self.running) {
            self.agg.combine(part.touch(total, slot), &partial.acc);
        }
        Ok(true)
    }

    /// Finds where items of this time go. Once per change of pane, not per item.
    #[cold]
    #[inline(never)]
    fn locate(&mut self, time: EventTime) -> Result<()> {
        if time == NONE && !self.windows.is_global() {
            let text = "the items have no event time: call `with_timestamps` before the window";
            return Err(Error::with(Kind::Invalid, text));
        }
        let pane = self.windows.pane_of(time);
        self.here_start = self.windows.start_of(pane);
        self.here_end = self.windows.start_of(pane.saturating_add(1));
        self.here = if !self.windows.has(pane) {
            Located::Outside
        } else if self.windows.last_window(pane) < self.next {
            Located::Late
        } else {
            Located::Pane { ring: self.open(pane), running: pane < self.entered }
        };
        Ok(())
    }

    /// The place of a pane, which is opened if it is not open.
    fn open(&mut self, pane: i64) -> usize {
        if let Some(at) = self.ring.iter().position(|open| *open == Some(pane)) {
            return at;
        }
        let is_free = |at: &usize| self.ring[*at].is_none() && Some(*at) != self.running;
        let at = (0..self.ring.len()).find(is_free).unwrap_or_else(|| {
            self.ring.push(None);
            let ring = self.ring.len().next_power_of_two();
            self.ring.resize(ring, None);
            self.parts.iter_mut().for_each(|part| part.grow_panes(ring));
            (0..ring).find(|at| self.ring[*at].is_none() && Some(*at) != self.running).unwrap_or(0)
        });
        self.ring[at] = Some(pane);
        at
    }

    /// The next window that holds anything, if it ends by `watermark`.
    fn due(&self, watermark: EventTime) -> Option<i64> {
        let oldest = self.ring.iter().flatten().min()?;
        let first = self.next.max(self.windows.first_window(*oldest));
        let ended = self.windows.ended_before(watermark);
        (first.saturating_add(self.windows.size) <= ended).then_some(first)
    }

    fn begin(&self, first: i64) -> Firing {
        let end = first.saturating_add(self.windows.size);
        let next = first.saturating_add(self.windows.slide);
        let places = |from: i64, to: i64| -> Vec<usize> {
            let within = |at: &usize| self.ring[*at].is_some_and(|pane| from <= pane && pane < to);
            (0..self.ring.len()).filter(within).collect()
        };
        Firing {
            first,
            panes: places(first, end),
            entering: places(first.max(self.entered), end),
            leaving: places(first, next.min(end)),
            part: 0,
            word: 0,
        }
    }

    /// Fires the windows that end by `watermark`, as far as there is room. Counts the results.
    /// Whether all that are due have fired.
    pub(crate) fn fire<E>(&mut self, watermark: EventTime, out: &mut E, count: &mut usize) -> bool
    where
        A: Aggregate<T>,
        E: Emit<WindowResult<K, A::Out>>,
    {
        self.here_end = self.here_start;
        loop {
            let firing = match self.firing.take() {
                Some(firing) => Some(firing),
                None => self.due(watermark).map(|first| self.begin(first)),
            };
            let Some(mut firing) = firing else { break };
            if !self.fire_window(&mut firing, out, count) {
                self.firing = Some(firing);
                return false;
            }
            for at in firing.leaving {
                self.ring[at] = None;
            }
            self.next = firing.first.saturating_add(self.windows.slide);
            self.entered = firing.first.saturating_add(self.windows.size);
        }
        // Windows without items count as fired, too: what comes for them now is late.
        let ended = self.windows.ended_before(watermark);
        if ended > i64::MIN {
            let past = self.windows.last_window(ended.saturating_sub(self.windows.size));
            self.next = self.next.max(past.saturating_add(self.windows.slide));
        }
        true
    }

    fn fire_window<E>(&mut self, firing: &mut Firing, out: &mut E, count: &mut usize) -> bool
    where
        E: Emit<WindowResult<K, A::Out>>,
    {
        while firing.part < self.parts.len() {
            while firing.word < self.parts[firing.part].words() {
                if out.is_full() {
                    return false;
                }
                *count += match self.running {
                    None if self.windows.size == 1 => self.fire_pane(firing, out),
                    None => self.fire_panes(firing, out),
                    Some(total) => self.fire_running(total, firing, out),
                };
                firing.word += 1;
            }
            firing.word = 0;
            firing.part += 1;
        }
        true
    }

    /// A window of one pane: each accumulator is a result.
    fn fire_pane<E>(&mut self, firing: &Firing, out: &mut E) -> usize
    where
        E: Emit<WindowResult<K, A::Out>>,
    {
        let Some(&pane) = firing.panes.first() else { return 0 };
        let part = &mut self.parts[firing.part];
        let bits = part.present(pane, firing.word);
        if bits == 0 {
            return 0;
        }
        let emit = Results { windows: self.windows, first: firing.first, agg: &self.agg };
        for slot in slots(firing.word, bits) {
            emit.emit(part.table.key(slot), part.acc(pane, slot), out);
        }
        part.reset(pane, firing.word, bits);
        bits.count_ones() as usize
    }

    /// A window of several panes: combined per key.
    fn fire_panes<E>(&mut self, firing: &Firing, out: &mut E) -> usize
    where
        E: Emit<WindowResult<K, A::Out>>,
    {
        let (part, word) = (&mut self.parts[firing.part], firing.word);
        let all = firing.panes.iter().fold(0, |all, pane| all | part.present(*pane, word));
        let emit = Results { windows: self.windows, first: firing.first, agg: &self.agg };
        for slot in slots(word, all) {
            let mut acc = A::Acc::default();
            for pane in &firing.panes {
                if part.present(*pane, word) >> (slot % 64) & 1 == 1 {
                    self.agg.combine(&mut acc, part.acc(*pane, slot));
                }
            }
            emit.emit(part.table.key(slot), &acc, out);
        }
        for pane in &firing.leaving {
            part.reset(*pane, word, part.present(*pane, word));
        }
        all.count_ones() as usize
    }

    /// A window of several panes by its running total: what is new comes in, what is old goes out.
    fn fire_running<E>(&mut self, total: usize, firing: &Firing, out: &mut E) -> usize
    where
        E: Emit<WindowResult<K, A::Out>>,
    {
        let (part, word) = (&mut self.parts[firing.part], firing.word);
        for pane in &firing.entering {
            for slot in slots(word, part.present(*pane, word)) {
                part.touch(total, slot);
                let (sum, new) = part.acc_pair(total, *pane, slot);
                self.agg.combine(sum, new);
            }
        }
        let all = part.present(total, word);
        let emit = Results { windows: self.windows, first: firing.first, agg: &self.agg };
        for slot in slots(word, all) {
            emit.emit(part.table.key(slot), part.acc(total, slot), out);
        }
        for pane in &firing.leaving {
            let bits = part.present(*pane, word);
            for slot in slots(word, bits) {
                let (sum, old) = part.acc_pair(total, *pane, slot);
                self.agg.deduct(sum, old);
            }
            part.reset(*pane, word, bits);
        }
        let stay = firing.panes.iter().fold(0, |all, pane| all | part.present(*pane, word));
        part.reset(total, word, all & !stay);
        all.count_ones() as usize
    }
}

/// Emits the results of one window.
struct Results<'a, A> {
    windows: Windows,
    first: i64,
    agg: &'a A,
}

impl<A> Results<'_, A> {
    #[inline]
    fn emit<K, T, E>(&self, key: Option<&K>, acc: &A::Acc, out: &mut E)
    where
        K: Clone,
        A: Aggregate<T>,
        E: Emit<WindowResult<K, A::Out>>,
    {
        let Some(key) = key else { return };
        let start = self.windows.start_of(self.first);
        let end = self.windows.start_of(self.first.saturating_add(self.windows.size));
        let time = if self.windows.is_global() { NONE } else { end - 1 };
        let value = self.agg.finish(acc);
        out.emit(WindowResult { key: key.clone(), start, end, value }, time);
    }
}
