//! What probes have seen, and what follows from it: how long a partition was out of reach, and whether a read
//! was stale.

use std::collections::BTreeMap;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done: the number that was written or read; none if there was nothing to read.
    Done(Option<u64>),
    /// It failed: what kind of error it was.
    Failed(String),
}

/// One operation of a probe. Times are nanoseconds of one clock.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Which of the targets.
    pub(super) target: usize,
    pub(super) write: bool,
    /// When it should have been begun.
    pub(super) due: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
    /// What a write was to write.
    pub(super) number: u64,
}

impl Sample {
    fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_))
    }
}

/// The longest time from when an operation of one kind was due within `window` until it was done; or, if it
/// failed, until one that was due later was. `end`: when the probes ended, which stands for what never was
/// done. 0 without any operation.
pub(super) fn longest_wait(
    samples: &[Sample],
    write: bool,
    window: std::ops::Range<u64>,
    end: u64,
) -> u64 {
    let mut by_target: BTreeMap<usize, Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.write == write) {
        by_target.entry(sample.target).or_default().push(sample);
    }
    let mut longest = 0;
    for probe in by_target.values_mut() {
        probe.sort_unstable_by_key(|sample| sample.due);
        let mut next_done = end;
        for sample in probe.iter().rev() {
            let until = if sample.is_done() {
                next_done = next_done.min(sample.ended);
                sample.ended
            } else {
                next_done
            };
            if window.contains(&sample.due) {
                longest = longest.max(until.saturating_sub(sample.due));
            }
        }
    }
    longest
}

/// The number of reads that returned a value which had been overwritten for certain before they began: some
/// write was acknowledged before the read began, and was itself begun after the one that was read had been
/// acknowledged. Numbers are unique, and each target was written once before it was read.
pub(super) fn stale_reads(samples: &[Sample]) -> usize {
    let mut targets: BTreeMap<usize, (Vec<&Sample>, Vec<&Sample>)> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.is_done()) {
        let (writes, reads) = targets.entry(sample.target).or_default();
        if sample.write { writes.push(sample) } else { reads.push(sample) }
    }
    let mut stale = 0;
    for (writes, reads) in targets.values_mut() {
        writes.sort_unstable_by_key(|write| write.ended);
        reads.sort_unstable_by_key(|read| read.began);
        let acknowledged: BTreeMap<u64, u64> =
            writes.iter().map(|write| (write.number, write.ended)).collect();
        // The latest beginning of a write that was acknowledged before the read began.
        let (mut newest, mut done) = (0, writes.iter().peekable());
        for read in reads.iter() {
            while let Some(write) = done.next_if(|write| write.ended < read.began) {
                newest = newest.max(write.began);
            }
            let Outcome::Done(found) = read.outcome else { continue };
            stale += usize::from(match found {
                // One whose acknowledgement never came may take effect at any time.
                Some(number) => acknowledged.get(&number).is_some_and(|ended| *ended < newest),
                None => newest > 0,
            });
        }
    }
    stale
}

/// How often each kind of error came.
pub(super) fn errors(samples: &[Sample], into: &mut BTreeMap<String, u64>) {
    for sample in samples {
        if let Outcome::Failed(kind) = &sample.outcome {
            let what = if sample.write { "write" } else { "read" };
            *into.entry(format!("{what}: {kind}")).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(write: bool, due: u64, ended: u64, outcome: Outcome) -> Sample {
        Sample { target: 0, write, due, began: due, ended, outcome, number: due }
    }

    fn write(due: u64, ended: u64) -> Sample {
        sample(true, due, ended, Outcome::Done(None))
    }

    fn read(due: u64, ended: u64, found: Option<u64>) -> Sample {
        sample(false, due, ended, Outcome::Done(found))
    }

    #[test]
    fn a_wait_lasts_until_the_operation_is_done_or_a_later_one_if_it_failed() {
        let failed = Outcome::Failed("Timeout".into());
        let samples = [
            write(10, 12),
            sample(true, 20, 80, failed.clone()),
            write(30, 95),
            write(40, 94),
            write(50, 51),
            read(20, 25, None),
        ];
        assert_eq!(longest_wait(&samples, true, 0..100, 200), 65, "the one due at 30");
        assert_eq!(longest_wait(&samples, true, 20..30, 200), 31, "failed; one due at 50 was done");
        assert_eq!(longest_wait(&samples, true, 0..20, 200), 2);
        assert_eq!(longest_wait(&samples, false, 0..100, 200), 5);
        let never = [write(10, 12), sample(true, 20, 80, failed)];
        assert_eq!(longest_wait(&never, true, 0..100, 200), 180, "until the probes ended");
        assert_eq!(longest_wait(&[], true, 0..100, 200), 0);
    }

    #[test]
    fn a_read_is_stale_only_if_what_it_saw_was_overwritten_for_certain() {
        let writes = [write(1, 2), write(10, 20), write(15, 30), write(40, 50)];
        let stale = |began, found| {
            let mut samples = writes.to_vec();
            samples.push(read(began, began + 5, found));
            stale_reads(&samples)
        };
        assert_eq!(stale(21, Some(1)), 1, "10 was done before, and begun after 1 was done");
        assert_eq!(stale(19, Some(1)), 0, "10 was under way");
        assert_eq!(stale(35, Some(10)), 0, "10 and 15 were under way together");
        assert_eq!(stale(45, Some(15)), 0);
        assert_eq!(stale(51, Some(15)), 1);
        assert_eq!(stale(51, Some(40)), 0);
        assert_eq!(stale(51, Some(7777)), 0, "of a write whose acknowledgement never came");
        assert_eq!(stale(3, None), 1, "a value that is gone");
    }

    #[test]
    fn errors_are_counted_by_kind() {
        let mut errors_by_kind = BTreeMap::new();
        let failed = |write| sample(write, 1, 2, Outcome::Failed("Timeout".into()));
        errors(&[failed(true), failed(true), failed(false), write(1, 2)], &mut errors_by_kind);
        let expected = [("read: Timeout".to_owned(), 1), ("write: Timeout".to_owned(), 2)];
        assert_eq!(errors_by_kind, expected.into());
    }
}
