//! When to ask for the table: as soon as something is in trouble, and while it is; one question at a
//! time, with pauses.

use crate::backoff::Backoff;
use std::time::{Duration, Instant};

/// A subscriber hears nothing of its partition's move: the table is asked for this often.
const SUBSCRIBED: Duration = Duration::from_secs(1);

/// Shortest and longest pause. The answer that nothing has changed costs a member next to nothing; a longer
/// pause would add to every failover.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Refresh {
    /// The question under way: its lane, its connection, and when it was asked.
    asked: Option<(usize, u64, Instant)>,
    pauses: Backoff,
    /// When the next one may be asked, while there is trouble.
    next: Option<Instant>,
    last: Instant,
}

impl Refresh {
    pub(crate) fn new() -> Self {
        let pauses = Backoff::new(PAUSES.0, PAUSES.1);
        Refresh { asked: None, pauses, next: None, last: Instant::now() }
    }

    /// Whether the table is to be asked for now. `trouble`: something waits for a newer table;
    /// `subscribed`: a newer one would not be noticed otherwise; `patience`: for how long an answer is
    /// waited for.
    pub(crate) fn is_due(
        &mut self,
        (trouble, subscribed): (bool, bool),
        patience: Duration,
        now: Instant,
    ) -> bool {
        if self.asked.is_some_and(|(.., at)| now.saturating_duration_since(at) >= patience) {
            self.asked = None;
        }
        if !trouble {
            self.next = None;
            self.pauses.reset();
        }
        if self.asked.is_some() {
            return false;
        }
        if trouble {
            return *self.next.get_or_insert(now) <= now;
        }
        subscribed && now.saturating_duration_since(self.last) > SUBSCRIBED
    }

    /// It was asked for.
    pub(crate) fn asked(&mut self, lane: usize, number: u64, now: Instant) {
        (self.asked, self.last) = (Some((lane, number, now)), now);
        self.next = Some(now + self.pauses.next());
    }

    /// The answer has come; `newer`: with a table that is newer.
    pub(crate) fn answered(&mut self, newer: bool) {
        self.asked = None;
        if newer {
            self.pauses.reset();
        }
    }

    /// A connection was lost.
    pub(crate) fn lost(&mut self, lane: usize, number: u64) {
        if self.asked.is_some_and(|(at, by, _)| (at, by) == (lane, number)) {
            self.asked = None;
        }
    }

    /// When something is to be done: the next question, or that there was no answer to this one.
    pub(crate) fn next_due(&self, patience: Duration) -> Option<Instant> {
        self.asked.map(|(.., at)| at + patience).or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_one_at_a_time_with_growing_pauses_while_there_is_trouble() {
        let mut refresh = Refresh::new();
        let (start, patience) = (Instant::now(), Duration::from_secs(1));
        let mut asked = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            if refresh.is_due((true, false), patience, now) {
                asked += 1;
                refresh.asked(0, 1, now);
                assert!(!refresh.is_due((true, false), patience, now), "one at a time");
                refresh.answered(false);
            }
        }
        assert!((20..=50).contains(&asked), "{asked} questions in a second of trouble");
        let now = start + Duration::from_secs(2);
        assert!(!refresh.is_due((false, false), patience, now));
        assert_eq!(refresh.next_due(patience), None);
        assert!(refresh.is_due((false, true), patience, now), "for subscribers now and then");
        refresh.asked(3, 7, now);
        refresh.lost(3, 8);
        assert!(!refresh.is_due((true, false), patience, now + PAUSES.1));
        refresh.lost(3, 7);
        assert!(refresh.is_due((true, false), patience, now + PAUSES.1));
        refresh.asked(3, 9, now);
        let due = refresh.next_due(patience).unwrap();
        assert!(!refresh.is_due((true, false), patience, due - PAUSES.0));
        assert!(refresh.is_due((true, false), patience, due), "no answer");
    }
}
