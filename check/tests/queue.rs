//! Histories of a queue, anomaly by anomaly, as the check and the audit find them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{history, linearizable, violation};
use grid_check::{Anomaly, Queue, audit};

/// The anomalies, by the lines of the operations that show them.
fn audited(lines: &str) -> Vec<(&'static str, Vec<usize>)> {
    let found = audit(&history::<Queue>(lines));
    found
        .into_iter()
        .map(|anomaly| match anomaly {
            Anomaly::Phantom { seen } => ("phantom", vec![seen.index()]),
            Anomaly::Doubled { first, again } => ("doubled", vec![first.index(), again.index()]),
            Anomaly::Inverted { early, late } => ("inverted", vec![early.index(), late.index()]),
            Anomaly::Lost { offer, seen, .. } => {
                ("lost", offer.iter().map(|id| id.index()).chain([seen.index()]).collect())
            }
            Anomaly::NotEmpty { poll, .. } => ("not empty", vec![poll.index()]),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn operations_one_after_the_other_answer_what_is_there() {
    let lines = "history queue 2
        1 0 1 poll -> -
        1 2 3 offer 5 -> true
        1 4 5 offer 6 -> true
        1 6 7 offer 7 -> false
        1 8 9 size -> 2
        1 10 11 peek -> 5
        1 12 13 poll -> 5
        1 14 15 offer 8 -> true
        1 16 17 poll -> 6
        1 18 19 clear -> ok
        1 20 21 poll -> -
        1 22 23 peek -> -
        1 24 25 size -> 0";
    linearizable::<Queue>(lines);
    assert_eq!(audited(lines), []);
}

#[test]
fn concurrent_offers_may_come_in_either_order() {
    for (first, second) in [(1, 2), (2, 1)] {
        let lines = format!(
            "1 0 10 offer 1 -> true
             2 5 15 offer 2 -> true
             3 20 25 poll -> {first}
             3 30 35 poll -> {second}"
        );
        linearizable::<Queue>(&lines);
        assert_eq!(audited(&lines), []);
    }
}

#[test]
fn a_lost_element() {
    let lines = "1 0 10 offer 1 -> true
        1 20 30 offer 2 -> true
        2 40 50 poll -> 2
        2 60 70 poll -> -";
    violation::<Queue>(lines, &["1 offer 1", "1 offer 2", "2 poll"]);
    assert_eq!(audited(lines), [("lost", vec![0, 2]), ("not empty", vec![3])]);
}

#[test]
fn an_element_that_is_lost_before_a_drain() {
    let lines = "1 0 10 offer 1 -> true\n2 20 30 poll -> -";
    violation::<Queue>(lines, &["1 offer 1", "2 poll"]);
    assert_eq!(audited(lines), [("lost", vec![0, 1]), ("not empty", vec![1])]);
}

#[test]
fn an_unanswered_poll_may_have_the_element() {
    for poll in ["3 15 ? poll", "3 0 ? poll", "3 25 ? poll", "3 30 ? poll"] {
        let lines = format!("1 0 10 offer 1 -> true\n2 20 30 poll -> -\n{poll}");
        linearizable::<Queue>(&lines);
        assert_eq!(audited(&lines), []);
    }
    // Known to have had no effect, or too late: then it is shown.
    for poll in ["3 35 ? poll", "3 15 ! poll"] {
        let lines = format!("1 0 10 offer 1 -> true\n2 20 30 poll -> -\n{poll}");
        assert_eq!(audited(&lines)[0], ("lost", vec![0, 1]), "{poll}");
        violation::<Queue>(&lines, &["1 offer 1", "2 poll", "3 poll"]);
    }
}

#[test]
fn an_unanswered_poll_has_one_element_only() {
    let lines = "1 0 10 offer 1 -> true
        1 20 30 offer 2 -> true
        3 40 ? poll
        2 50 60 poll -> -";
    violation::<Queue>(lines, &["1 offer 1", "1 offer 2", "3 poll", "2 poll"]);
    assert_eq!(audited(lines), [("lost", vec![1, 3])]);
}

#[test]
fn a_doubled_element() {
    let lines = "1 0 10 offer 1 -> true\n2 20 30 poll -> 1\n3 40 50 poll -> 1";
    violation::<Queue>(lines, &["1 offer 1", "2 poll", "3 poll"]);
    assert_eq!(audited(lines)[0], ("doubled", vec![1, 2]));
    let lines = "1 0 10 offer 1 -> true\n2 20 30 poll -> 1\n3 40 50 peek -> 1";
    violation::<Queue>(lines, &["1 offer 1", "2 poll", "3 peek"]);
    assert_eq!(audited(lines), [("doubled", vec![1, 2])]);
}

#[test]
fn elements_that_are_not_unique_are_counted() {
    let lines = "1 0 10 offer 1 -> true
        1 11 15 offer 1 -> true
        2 20 30 poll -> 1
        3 20 30 poll -> 1";
    linearizable::<Queue>(lines);
    assert_eq!(audited(lines), []);
    let again = format!("{lines}\n4 20 30 poll -> 1");
    assert_eq!(audited(&again), [("doubled", vec![2, 4])]);
}

#[test]
fn an_inversion() {
    let lines = "1 0 10 offer 1 -> true
        1 20 30 offer 2 -> true
        2 40 50 poll -> 2
        3 60 70 poll -> 1";
    violation::<Queue>(lines, &["1 offer 1", "1 offer 2", "2 poll", "3 poll"]);
    assert_eq!(audited(lines), [("inverted", vec![2, 3])]);
}

#[test]
fn a_phantom() {
    violation::<Queue>("1 0 10 offer 1 -> true\n2 20 30 poll -> 7", &["2 poll"]);
    assert_eq!(audited("2 20 30 poll -> 7"), [("phantom", vec![0])]);
    let early = "2 0 10 poll -> 7\n1 20 30 offer 7 -> true";
    assert_eq!(audited(early), [("phantom", vec![0])]);
}

#[test]
fn an_item_that_was_refused_but_polled() {
    let lines = "history queue 1
        1 0 10 offer 1 -> true
        1 20 30 offer 2 -> false
        2 40 50 poll -> 1
        2 60 70 poll -> 2";
    violation::<Queue>(lines, &["2 poll"]);
    assert_eq!(audited(lines), [("phantom", vec![3])]);
}

#[test]
fn a_queue_that_was_empty_while_items_took_turns() {
    // 2 was there before 1 was gone.
    let lines = "1 0 10 offer 1 -> true
        1 20 30 offer 2 -> true
        4 15 60 poll -> -
        2 50 55 poll -> 1
        2 70 80 poll -> 2";
    violation::<Queue>(lines, &["1 offer 1", "1 offer 2", "4 poll", "2 poll", "2 poll"]);
    assert_eq!(audited(lines), [("not empty", vec![2])]);
}

#[test]
fn a_queue_that_was_empty_between_two_items() {
    // At 30, when the poll of 1 begins and the offer of 2 ends.
    let lines = "1 0 10 offer 1 -> true
        1 20 30 offer 2 -> true
        4 15 40 poll -> -
        2 30 50 poll -> 1
        2 60 70 poll -> 2";
    linearizable::<Queue>(lines);
    assert_eq!(audited(lines), []);
}

#[test]
fn a_bound_that_was_not_kept() {
    violation::<Queue>(
        "history queue 1\n1 0 10 offer 1 -> true\n1 20 30 offer 2 -> true",
        &["1 offer 1", "1 offer 2"],
    );
    violation::<Queue>("history queue 1\n1 20 30 offer 2 -> false", &["1 offer 2"]);
}

#[test]
fn an_indeterminate_offer_may_take_effect_late_or_never() {
    let lines = "1 0 ? offer 1
        2 10 20 offer 2 -> true
        2 30 40 poll -> 2
        2 50 60 poll -> -
        2 70 80 poll -> 1";
    linearizable::<Queue>(lines);
    assert_eq!(audited(lines), []);
    linearizable::<Queue>("1 0 ? offer 1\n2 30 40 poll -> -\n2 50 60 size -> 1");
    violation::<Queue>(
        "1 0 ? offer 1\n2 30 40 size -> 1\n2 50 60 poll -> -\n",
        &["1 offer 1", "2 size", "2 poll"],
    );
}

#[test]
fn items_of_the_beginning_are_polled_first() {
    linearizable::<Queue>("history queue - 8 9\n1 0 5 offer 1 -> true\n1 10 15 poll -> 8");
    let lines = "history queue - 8 9\n1 0 5 poll -> 9";
    violation::<Queue>(lines, &["1 poll"]);
    assert_eq!(audited(lines), [("lost", vec![0])]);
}

#[test]
fn an_anomaly_explains_itself() {
    let history = history::<Queue>("1 0 10 offer 1 -> true\n2 20 30 poll -> -");
    let words: Vec<String> = audit(&history).iter().map(|found| found.explain(&history)).collect();
    assert_eq!(
        words,
        [
            "lost: p1 [0, 10] offer 1 -> true, missed by p2 [20, 30] poll -> -",
            "the queue was not empty, it had 1: p2 [20, 30] poll -> -",
        ]
    );
}
