//! Shapes of windows. A window is a run of panes; a pane is the longest piece of time that no
//! window divides.

use crate::time::{END, EventTime, NONE};
use grid_core::{Error, Kind, Result};
use std::time::Duration;

/// Windows of one length side by side, the first of them at the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Tumbling {
    size: Duration,
}

impl Tumbling {
    /// Windows of this length, in whole milliseconds.
    #[must_use]
    pub fn of(size: Duration) -> Self {
        Tumbling { size }
    }
}

/// Windows of one length that begin every `slide`.
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    size: Duration,
    slide: Duration,
}

impl Sliding {
    /// Windows of length `size`, one every `slide`, both in whole milliseconds.
    #[must_use]
    pub fn of(size: Duration, slide: Duration) -> Self {
        Sliding { size, slide }
    }
}

/// Any of the shapes of windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Length of a pane in milliseconds; 0 for the one window that is all of time.
    pane: i64,
    /// Panes in a window.
    pub(crate) size: i64,
    /// Panes from one window's start to the next.
    pub(crate) slide: i64,
}

impl From<Tumbling> for Windows {
    fn from(tumbling: Tumbling) -> Self {
        Sliding::of(tumbling.size, tumbling.size).into()
    }
}

impl From<Sliding> for Windows {
    fn from(sliding: Sliding) -> Self {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let (size, slide) = (ms(sliding.size), ms(sliding.slide));
        let pane = greatest_common_divisor(size, slide);
        if size == 0 || slide == 0 {
            return Windows { pane: -1, size: 1, slide: 1 };
        }
        Windows { pane, size: size / pane, slide: slide / pane }
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Windows {
    /// One window for all of time: it fires when the input ends.
    pub(crate) const GLOBAL: Windows = Windows { pane: 0, size: 1, slide: 1 };

    pub(crate) fn check(self) -> Result<()> {
        if self.pane < 0 {
            return Err(Error::with(Kind::Invalid, "a window and its slide need a length"));
        }
        Ok(())
    }

    pub(crate) fn is_global(self) -> bool {
        self.pane == 0
    }

    /// The pane of a time.
    pub(crate) fn pane_of(self, time: EventTime) -> i64 {
        if self.is_global() { 0 } else { time.div_euclid(self.pane) }
    }

    /// First time of a pane.
    pub(crate) fn start_of(self, pane: i64) -> EventTime {
        if !self.is_global() {
            return pane.saturating_mul(self.pane);
        }
        if pane <= 0 { NONE } else { END }
    }

    /// The panes before this one have ended.
    pub(crate) fn ended_before(self, watermark: EventTime) -> i64 {
        match watermark {
            END => i64::MAX,
            NONE => i64::MIN,
            _ if self.is_global() => i64::MIN,
            time => time.div_euclid(self.pane),
        }
    }

    /// First pane of the last window that begins at or before `pane`.
    pub(crate) fn last_window(self, pane: i64) -> i64 {
        pane.div_euclid(self.slide) * self.slide
    }

    /// First pane of the first window that ends behind `pane`.
    pub(crate) fn first_window(self, pane: i64) -> i64 {
        self.last_window(pane.saturating_sub(self.size)).saturating_add(self.slide)
    }

    /// Whether any window has this pane; sliding by more than their length leaves gaps.
    pub(crate) fn has(self, pane: i64) -> bool {
        pane - self.last_window(pane) < self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_made_of_panes() {
        let ms = Duration::from_millis;
        let w = Windows::from(Sliding::of(ms(15), ms(10)));
        assert_eq!((w.pane, w.size, w.slide), (5, 3, 2));
        // Windows [-10, 5), [0, 15), [10, 25): panes -2.., 0.., 2..
        assert_eq!((w.first_window(0), w.last_window(0)), (-2, 0));
        assert_eq!((w.first_window(1), w.last_window(1)), (0, 0));
        assert_eq!((w.first_window(2), w.last_window(2)), (0, 2));
        let gaps = Windows::from(Sliding::of(ms(10), ms(30)));
        assert_eq!(
            (0..4).map(|pane| gaps.has(pane)).collect::<Vec<_>>(),
            [true, false, false, true]
        );
        assert!(Windows::from(Tumbling::of(ms(0))).check().is_err());
        assert_eq!(Windows::from(Tumbling::of(ms(10))).pane_of(-1), -1);
    }
}
