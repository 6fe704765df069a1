//! Histories of some keys that are read together.
#![allow(clippy::unwrap_used)]

mod common;

use common::{history, linearizable, violation};
use grid_check::text::read;
use grid_check::{MapOfKeys, Queue, Register, check_keyed};

#[test]
fn operations_one_after_the_other_answer_what_is_there() {
    linearizable::<MapOfKeys>(
        "1 0 1 scan -> -
         1 2 3 2: set 20 -> ok
         1 4 5 1: put 10 -> -
         1 6 7 scan -> 1=10,2=20
         1 8 9 size -> 2
         1 10 11 put-all 2=21,3=30 -> ok
         1 12 13 2: remove -> 21
         1 14 15 scan -> 1=10,3=30
         1 16 17 clear -> ok
         1 18 19 size -> 0
         1 20 21 1: get -> -",
    );
}

#[test]
fn a_scan_sees_one_moment() {
    let lines = "1 0 10 1: set 10 -> ok
        1 20 30 2: set 20 -> ok
        2 5 40 scan -> 2=20";
    violation::<MapOfKeys>(lines, &["1 1: set 10", "1 2: set 20", "2 scan"]);
    for seen in ["-", "1=10", "1=10,2=20"] {
        linearizable::<MapOfKeys>(&lines.replace("-> 2=20", &format!("-> {seen}")));
    }
}

#[test]
fn entries_put_together_are_seen_together() {
    violation::<MapOfKeys>("1 0 10 put-all 1=10,2=20 -> ok\n2 5 15 size -> 1", &["2 size"]);
}

#[test]
fn a_clear_that_left_something() {
    violation::<MapOfKeys>(
        "history map 1=10\n1 0 10 clear -> ok\n2 20 30 1: get -> 10",
        &["1 clear", "2 1: get"],
    );
    linearizable::<MapOfKeys>("history map 1=10\n1 0 ? clear\n2 20 30 1: get -> 10");
}

#[test]
fn keys_are_checked_each_for_itself() {
    let text = "@a 1 0 10 set 1 -> ok
        @b 1 20 30 get -> -
        @a 2 40 50 get -> -
        @c 3 40 50 get -> 9
        @b 1 60 70 get -> -";
    let histories = read::<Register>(text.as_bytes()).unwrap();
    let found = check_keyed(histories.iter(), 1_000);
    assert!(!found.all_linearizable());
    assert_eq!(found.checked, 3);
    let keys: Vec<&str> = found.violations.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "c"]);
    assert!(found.unknown.is_empty());
}

#[test]
fn a_budget_that_is_too_small_is_no_verdict() {
    // Sixteen concurrent offers that are not unique, and a size that is wrong.
    let mut lines = String::new();
    for process in 0..16 {
        lines += &format!("{process} 0 100 offer {} -> true\n", process / 2);
    }
    lines += "20 200 210 size -> 15\n";
    let histories = [("q", history::<Queue>(&lines))];
    let found = check_keyed(histories.iter().map(|(key, history)| (*key, history)), 1_000);
    assert_eq!(found.unknown, ["q"]);
    assert!(found.violations.is_empty());
}
