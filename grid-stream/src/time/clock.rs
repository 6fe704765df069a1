//! Bounded-lag watermarks of the partitions of a source.

use super::{END, EventTime, IDLE, NONE};

/// What a partition of a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The items that follow come from it.
    Active,
    /// It has had nothing for a while; do not wait for its time.
    Idle,
    /// Nothing follows from it.
    Ended,
}

/// Largest time seen per partition, less a lag, combined by minimum.
#[derive(Clone, Debug)]
pub struct PartClock {
    lag: i64,
    parts: Vec<EventTime>,
    current: usize,
    newest: EventTime,
    last: EventTime,
}

impl PartClock {
    /// A clock whose watermark stays `lag` milliseconds behind the newest item of each partition.
    #[must_use]
    pub fn new(lag: i64) -> Self {
        PartClock { lag, parts: vec![NONE], current: 0, newest: NONE, last: NONE }
    }

    /// An item of the current partition has this time.
    #[inline]
    pub fn observe(&mut self, time: EventTime) {
        if time > self.newest {
            self.newest = time;
        }
    }

    /// Partition `part` changes its state.
    pub fn part(&mut self, part: usize, state: PartState) {
        if part >= self.parts.len() {
            self.parts.resize(part + 1, NONE);
        }
        if let Some(slot) = self.parts.get_mut(self.current)
            && *slot < IDLE
        {
            *slot = self.newest;
        }
        self.current = part;
        let slot = &mut self.parts[part];
        match state {
            PartState::Active => {
                if *slot == IDLE {
                    *slot = NONE;
                }
                self.newest = *slot;
            }
            PartState::Idle => *slot = IDLE,
            PartState::Ended => *slot = END,
        }
    }

    /// Newest time of a partition.
    #[must_use]
    pub fn newest_of(&self, part: usize) -> EventTime {
        let newest = self.parts.get(part).copied().unwrap_or(NONE);
        if part == self.current && newest < IDLE { self.newest } else { newest }
    }

    /// The watermark: never runs backwards except from [`IDLE`].
    pub fn watermark(&mut self) -> EventTime {
        if self.parts[self.current] < IDLE {
            self.parts[self.current] = self.newest;
        }
        let min = self.parts.iter().copied().min().unwrap_or(END);
        if min >= IDLE {
            return min;
        }
        self.last = self.last.max(min.saturating_sub(self.lag));
        self.last
    }
}

/// Watermarks of several inputs combined by minimum into one that never runs backwards.
#[derive(Clone, Debug, Default)]
pub struct Combined {
    inputs: Vec<EventTime>,
    last: Option<EventTime>,
}

impl Combined {
    /// All inputs start without a watermark.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Combined { inputs: vec![NONE; inputs], last: None }
    }

    /// Input `input` now has this watermark. Returns the combined one if it advanced.
    pub fn update(&mut self, input: usize, watermark: EventTime) -> Option<EventTime> {
        let slot = self.inputs.get_mut(input)?;
        if *slot == watermark || *slot == END {
            return None;
        }
        *slot = watermark;
        let min = self.inputs.iter().copied().min().unwrap_or(END);
        let advanced = min != IDLE && self.last.is_none_or(|last| min > last) && min > NONE;
        advanced.then(|| {
            self.last = Some(min);
            min
        })
    }

    /// The combined watermark.
    #[must_use]
    pub fn current(&self) -> EventTime {
        self.last.unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_partition_holds_the_watermark() {
        let mut clock = PartClock::new(10);
        clock.part(0, PartState::Active);
        clock.observe(100);
        assert_eq!(clock.watermark(), 90);
        clock.part(1, PartState::Active);
        assert_eq!(clock.watermark(), 90, "never backwards");
        clock.observe(95);
        clock.part(0, PartState::Active);
        clock.observe(500);
        assert_eq!(clock.watermark(), 90);
        clock.part(1, PartState::Idle);
        clock.part(0, PartState::Active);
        assert_eq!(clock.watermark(), 490, "an idle partition holds nobody back");
        clock.part(1, PartState::Ended);
        clock.part(0, PartState::Ended);
        assert_eq!(clock.watermark(), END);
    }

    #[test]
    fn inputs_combine_by_minimum_and_idle_ones_do_not_count() {
        let mut all = Combined::new(2);
        assert_eq!(all.update(0, 50), None);
        assert_eq!(all.update(1, 30), Some(30));
        assert_eq!(all.update(1, IDLE), Some(50));
        assert_eq!(all.update(1, 40), None, "never backwards");
        assert_eq!(all.update(0, IDLE), None);
        assert_eq!(all.update(0, END), None);
        assert_eq!(all.update(1, END), Some(END));
    }
}
