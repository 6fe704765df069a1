//! Window stages against a naive reference, with out-of-order input, in hostile circumstances.

use grid_stream::aggregate::{self, Aggregate};
use grid_stream::testkit::{Input, check_unordered, circumstances, drive};
use grid_stream::{
    Flow, Pipeline, Sliding, Stage, Tumbling, WindowResult, Windows, sinks, sources,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Key, time, value.
type Item = (u64, i64, u64);

/// Count and sum of a window.
type Totals = WindowResult<u64, (u64, u64)>;

const LAG_MS: i64 = 50;

fn ms(n: i64) -> Duration {
    Duration::from_millis(n.unsigned_abs())
}

/// Sum and count per key and window, computed the slow way.
fn naive(items: &[Item], size: i64, slide: i64) -> Vec<Totals> {
    let mut windows: BTreeMap<(i64, u64), (u64, u64)> = BTreeMap::new();
    for (key, time, value) in items {
        let mut start = time.div_euclid(slide) * slide;
        while start + size > *time {
            let (count, sum) = windows.entry((start, *key)).or_default();
            *count += 1;
            *sum += value;
            start -= slide;
        }
    }
    let result = |((start, key), value)| WindowResult { key, start, end: start + size, value };
    windows.into_iter().map(result).collect()
}

fn windowed<A: Aggregate<Item, Out = (u64, u64)>>(
    stage: Input<Item>,
    windows: impl Into<Windows>,
    agg: A,
    combining: bool,
) -> Stage<Totals, impl Flow<Out = Totals>> {
    stage
        .with_timestamps(|item| item.1, ms(LAG_MS))
        .key_by(|item| item.0)
        .window(windows)
        .aggregate(agg)
        .combining(combining)
        .named("windows")
}

/// The sum without a way back.
#[derive(Clone)]
struct OneWay;

impl Aggregate<Item> for OneWay {
    type Acc = (u64, u64);
    type Out = (u64, u64);
    fn accumulate(&self, acc: &mut (u64, u64), item: &Item) {
        *acc = (acc.0 + 1, acc.1 + item.2);
    }
    fn combine(&self, acc: &mut (u64, u64), other: &(u64, u64)) {
        *acc = (acc.0 + other.0, acc.1 + other.1);
    }
    fn finish(&self, acc: &(u64, u64)) -> (u64, u64) {
        *acc
    }
}

fn both_ways() -> impl Aggregate<Item, Out = (u64, u64)> {
    (aggregate::count(), aggregate::sum(|item: &Item| item.2))
}

/// Items in an order that is off by at most the lag, over a time with gaps.
fn disordered() -> Vec<Item> {
    let mut items: Vec<Item> =
        (0..160u64).map(|n| (n * n % 7, (n * 7 + n / 40 * 1000).cast_signed() - 200, n)).collect();
    items.sort_by_key(|(_, time, n)| time + (n * 31 % 50).cast_signed());
    items
}

#[test]
fn windows_are_those_of_the_naive_reference() {
    let items = disordered();
    for combining in [false, true] {
        for (size, slide) in [(100, 100), (100, 20), (90, 60), (70, 30), (20, 50)] {
            let expect = naive(&items, size, slide);
            let windows = Sliding::of(ms(size), ms(slide));
            check_unordered(|s| windowed(s, windows, both_ways(), combining), &items, &expect);
            check_unordered(|s| windowed(s, windows, OneWay, combining), &items, &expect);
        }
    }
}

#[test]
fn strings_are_keys_too() {
    let words = "the quick fox and the slow fox and the dog";
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    check_unordered(
        |s| s.key_by(|word: &String| word.clone()).count().named("words").map(|r| (r.key, r.value)),
        &words,
        &[("the", 3), ("quick", 1), ("fox", 2), ("and", 2), ("slow", 1), ("dog", 1)]
            .map(|(word, n)| (word.to_owned(), n)),
    );
}

#[test]
fn late_items_are_counted_and_given_out() {
    for how in circumstances() {
        let p = Pipeline::new();
        let (sink, results) = sinks::collect();
        let (late_sink, late) = sinks::collect();
        // The second item closes the first window; the third is too late for it.
        let items: Vec<Item> = vec![(1, 10, 1), (1, 250, 1), (1, 20, 7), (1, 150, 1), (1, 260, 1)];
        let mut windows = windowed_stage(p.read(sources::items(items).in_order()));
        windows.late().write(late_sink);
        windows.map(|r| (r.start, r.value)).write(sink);
        let mut one = how;
        // With larger batches the third item is not behind the watermark yet.
        one.batch = 1;
        let report = drive(p, one).unwrap();
        assert_eq!(late.take(), [(1, 20, 7)], "{one:?}");
        assert_eq!(report.stage("late-windows").unwrap().late, 1);
        assert_eq!(results.take_sorted(), [(0, 1), (100, 1), (200, 2)], "{one:?}");
    }
}

fn windowed_stage(
    stage: Input<Item>,
) -> Stage<WindowResult<u64, u64>, grid_stream::operator::WindowFlow<u64, Item, aggregate::Count>> {
    stage
        .with_timestamps(|item| item.1, ms(100))
        .key_by(|item| item.0)
        .window(Tumbling::of(ms(100)))
        .count()
        .named("late-windows")
}

#[test]
fn a_window_without_timestamps_says_what_is_missing() {
    let p = Pipeline::new();
    let (sink, _) = sinks::collect();
    p.read(sources::items(vec![1u64]))
        .key_by(|n| *n)
        .window(Tumbling::of(ms(10)))
        .count()
        .named("timeless")
        .write(sink);
    let error = grid_stream::run_local(p, 1).unwrap().join().wait().unwrap_err();
    assert!(error.to_string().contains("with_timestamps"), "{error}");
    assert!(error.stage().starts_with("timeless"));
}

#[test]
fn many_keys_bypass_combining_and_are_forgotten() {
    let p = Pipeline::new();
    let (sink, results) = sinks::collect();
    let events = 200_000u64;
    p.read(sources::generate(|n| (n, n.cast_signed() / 100)).count(events))
        .with_timestamps(|item: &(u64, i64)| item.1, Duration::ZERO)
        .key_by(|item| item.0)
        .window(Tumbling::of(ms(10)))
        .count()
        .named("unique")
        .map(|r| (r.key, r.value))
        .write(sink);
    grid_stream::run_local(p, 2).unwrap().join().wait().unwrap();
    let got = results.take_sorted();
    assert_eq!(got.len() as u64, events);
    assert!(got.iter().zip(0..).all(|((key, count), n)| *key == n && *count == 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the order of the items within the lag, and wherever they are combined, the results
    /// are the same and none is late.
    #[test]
    fn any_order_within_the_lag_gives_the_same_windows(
        items in prop::collection::vec((0u64..5, 0i64..600, 0u64..9, 0..LAG_MS), 1..150),
        size in 1i64..120,
        slide in 1i64..120,
        workers in 1usize..4,
        combining in any::<bool>(),
        how in 0usize..8,
    ) {
        // Sorted by time plus something less than the lag: never further behind than that.
        let mut items = items;
        items.sort_by_key(|item| item.1 + item.3);
        let items: Vec<Item> = items.into_iter().map(|item| (item.0, item.1, item.2)).collect();
        let mut how = circumstances().nth(how).unwrap();
        how.workers = workers;
        let p = Pipeline::new();
        let (sink, results) = sinks::collect();
        let windows = Sliding::of(ms(size), ms(slide));
        windowed(p.read(sources::items(items.clone()).in_order()), windows, both_ways(), combining)
            .write(sink);
        let report = drive(p, how).unwrap();
        prop_assert_eq!(report.stage("windows").unwrap().late, 0);
        let mut expect = naive(&items, size, slide);
        expect.sort();
        prop_assert_eq!(results.take_sorted(), expect);
    }
}
