//! Histories of a key, anomaly by anomaly.
#![allow(clippy::unwrap_used)]

mod common;

use common::{linearizable, violation};
use grid_check::Register;

#[test]
fn operations_one_after_the_other_answer_what_is_there() {
    linearizable::<Register>(
        "1 0 1 get -> -
         1 2 3 contains -> false
         1 4 5 put 5 -> -
         1 6 7 put 6 -> 5
         1 8 9 set 7 -> ok
         1 10 11 get -> 7
         1 12 13 contains -> true
         1 14 15 put-if-absent 8 -> 7
         1 16 17 replace 9 -> 7
         1 18 19 remove -> 9
         1 20 21 remove -> -
         1 22 23 replace 10 -> -
         1 24 25 put-if-absent 11 -> -
         1 26 27 delete -> ok
         1 28 29 cas - 12 -> true
         1 30 31 cas - 13 -> false
         1 32 33 cas 12 14 -> true
         1 34 35 cas 12 15 -> false
         1 36 37 cas 14 - -> true
         1 38 39 add 5 -> 5
         1 40 41 add -2 -> 3
         1 42 43 get -> 3",
    );
}

#[test]
fn concurrent_writes_may_come_in_either_order() {
    for last in [1, 2] {
        linearizable::<Register>(&format!(
            "1 0 10 set 1 -> ok
             2 5 15 set 2 -> ok
             1 20 30 get -> {last}"
        ));
    }
}

#[test]
fn an_operation_that_returns_when_another_is_invoked_overlaps_it() {
    linearizable::<Register>("1 0 10 set 1 -> ok\n2 10 20 get -> -");
    violation::<Register>("1 0 10 set 1 -> ok\n2 11 20 get -> -", &["1 set 1", "2 get"]);
}

#[test]
fn a_stale_read() {
    violation::<Register>(
        "1 0 10 set 1 -> ok
         2 5 12 get -> 1
         1 20 30 set 2 -> ok
         3 25 35 get -> 2
         2 40 50 get -> 1
         3 60 70 get -> 2",
        &["1 set 1", "1 set 2", "2 get"],
    );
}

#[test]
fn two_reads_that_go_back() {
    // The second write overlaps both reads, which must still agree on when it came.
    violation::<Register>(
        "1 0 10 set 1 -> ok
         1 20 90 set 2 -> ok
         2 30 40 get -> 2
         3 50 60 get -> 1",
        &["1 set 1", "1 set 2", "2 get", "3 get"],
    );
}

#[test]
fn a_lost_update() {
    // Both replaced 1: one of them is lost.
    violation::<Register>(
        "1 0 10 set 1 -> ok
         2 20 40 put 2 -> 1
         3 25 45 put 3 -> 1",
        &["1 set 1", "2 put 2", "3 put 3"],
    );
}

#[test]
fn a_write_that_was_acknowledged_is_gone() {
    violation::<Register>("1 0 10 set 1 -> ok\n2 20 30 get -> -", &["1 set 1", "2 get"]);
}

#[test]
fn a_dirty_read_shows_the_write_that_was_refused() {
    let example = violation::<Register>(
        "1 0 10 set 1 -> ok
         2 20 ! set 2
         3 21 ! set 3
         4 30 40 get -> 2",
        &["2 set 2", "4 get"],
    );
    assert_eq!(example.context(), [0]);
    assert!(example.to_string().contains("set 2 -> not applied"), "{example}");
}

#[test]
fn a_read_before_the_write() {
    violation::<Register>("2 0 10 get -> 1\n1 20 30 set 1 -> ok", &["2 get", "1 set 1"]);
}

#[test]
fn a_value_from_nowhere() {
    violation::<Register>("1 0 10 set 1 -> ok\n2 5 15 get -> 7", &["2 get"]);
}

#[test]
fn a_doubled_increment() {
    linearizable::<Register>("1 0 10 add 1 -> 1\n2 5 ? add 1\n3 20 30 get -> 2");
    violation::<Register>(
        "1 0 10 add 1 -> 1
         2 5 ? add 1
         3 20 30 get -> 3",
        &["3 get"],
    );
    violation::<Register>("1 0 10 add 1 -> 1\n2 5 15 add 1 -> 1", &["1 add 1", "2 add 1"]);
}

#[test]
fn a_compare_and_set_that_took_the_wrong_value() {
    violation::<Register>("1 0 10 set 1 -> ok\n2 20 30 cas 2 3 -> true", &["2 cas 2 3"]);
    violation::<Register>("1 0 10 set 1 -> ok\n2 20 30 cas - 3 -> true", &["1 set 1", "2 cas - 3"]);
}

#[test]
fn a_compare_and_set_that_missed_what_was_there() {
    violation::<Register>(
        "1 0 10 set 1 -> ok\n2 20 30 cas 1 3 -> false",
        &["1 set 1", "2 cas 1 3"],
    );
    linearizable::<Register>("1 0 10 set 1 -> ok\n3 5 ? set 4\n2 20 30 cas 1 3 -> false");
}

#[test]
fn two_compare_and_sets_that_both_won() {
    violation::<Register>(
        "1 0 10 cas - 1 -> true\n2 0 10 cas - 2 -> true",
        &["1 cas - 1", "2 cas - 2"],
    );
}

#[test]
fn an_indeterminate_write_may_take_effect_late() {
    linearizable::<Register>(
        "1 0 ? set 1
         2 10 20 set 2 -> ok
         3 30 40 get -> 2
         3 1000 1010 get -> 1",
    );
}

#[test]
fn an_indeterminate_write_takes_effect_once() {
    violation::<Register>(
        "1 0 ? set 1
         3 30 40 get -> 1
         2 50 60 set 2 -> ok
         3 70 80 get -> 2
         3 90 95 get -> 1",
        &["1 set 1", "3 get", "2 set 2", "3 get"],
    );
}

#[test]
fn an_indeterminate_write_may_never_take_effect() {
    linearizable::<Register>(
        "1 0 ? set 1\n1 0 ? delete\n2 10 20 set 2 -> ok\n3 30 40 get -> 2\n3 50 60 get -> 2",
    );
}

#[test]
fn an_indeterminate_write_takes_no_effect_before_it_was_invoked() {
    violation::<Register>("3 10 20 get -> 1\n1 30 ? set 1", &["3 get", "1 set 1"]);
}

#[test]
fn an_indeterminate_read_tells_nothing() {
    linearizable::<Register>("1 0 ? get\n2 0 ? contains\n1 10 20 get -> -");
}

#[test]
fn a_delete_is_seen_by_those_that_come_after() {
    violation::<Register>(
        "1 0 10 set 1 -> ok\n2 20 30 delete -> ok\n3 40 50 get -> 1",
        &["1 set 1", "2 delete", "3 get"],
    );
}

#[test]
fn the_state_in_the_beginning_counts() {
    linearizable::<Register>("history register 7\n1 0 10 get -> 7");
    violation::<Register>("history register 7\n1 0 10 get -> -", &["1 get"]);
}

#[test]
fn a_long_write_beside_thousands_of_short_ones() {
    let mut lines = String::from("9 0 100000 set 77777 -> ok\n");
    for step in 0..3_000 {
        let (from, to) = (10 * step + 1, 10 * step + 5);
        lines += &format!("1 {from} {to} set {step} -> ok\n");
        lines += &format!("2 {from} {to} get -> {step}\n");
    }
    let last = "2 200000 200001 get -> ";
    linearizable::<Register>(&format!("{lines}{last}77777"));
    linearizable::<Register>(&format!("{lines}{last}2999"));
    let shown = ["1 set 2998", "1 set 2999", "2 get"];
    violation::<Register>(&format!("{lines}{last}2998"), &shown);
}
