//! What random executions meet too rarely, narrowed at once.

use super::brute::is_linearizable;
use super::decide;
use crate::checker::Narrow;
use crate::model::Decision;
use crate::models::queue::Queue;
use crate::models::register::Register;
use crate::text::{TextModel, read};

/// That the narrowed search finds that `lines` are linearizable, or are not.
#[track_caller]
fn agrees<M: TextModel>(expected: Decision, lines: &str) {
    let history = read::<M>(lines.as_bytes()).unwrap().remove("").unwrap();
    assert_eq!(is_linearizable(&history, true), expected == Decision::Linearizable, "wrong case");
    assert_eq!(decide(&history, Narrow::First, 1_000_000), expected);
}

#[test]
fn an_unread_write_that_a_compare_and_set_missed() {
    // 2 is there from 20 on; it is not the same as 1, though nobody read either.
    agrees::<Register>(
        Decision::Linearizable,
        "1 0 ? set 1
         2 0 ? set 2
         3 0 10 set 9 -> ok
         3 20 30 cas 9 5 -> false
         3 40 50 cas 1 6 -> false",
    );
}

#[test]
fn an_unread_write_that_an_unanswered_compare_and_set_found() {
    agrees::<Register>(
        Decision::Linearizable,
        "1 0 ? set 1
         2 0 ? cas 1 2
         3 20 30 get -> 2",
    );
    agrees::<Register>(
        Decision::Violation,
        "2 0 ? cas 1 2
         1 20 ? set 1
         3 10 15 get -> 2",
    );
}

#[test]
fn an_unread_write_that_an_unanswered_replace_found() {
    agrees::<Register>(
        Decision::Linearizable,
        "1 0 ? set 1
         2 0 ? replace 2
         3 20 30 get -> 2",
    );
}

#[test]
fn the_beginning_is_before_every_write() {
    agrees::<Register>(Decision::Violation, "1 0 10 set 1 -> ok\n2 20 30 get -> -");
    agrees::<Register>(
        Decision::Violation,
        "history register 4\n1 0 10 set 1 -> ok\n2 20 30 get -> 4\n2 40 50 get -> 1",
    );
}

#[test]
fn a_queue_that_was_empty_though_an_unanswered_poll_came_later() {
    // The unanswered poll takes 1 after 30 only: then 2 was there.
    agrees::<Queue>(
        Decision::Violation,
        "1 0 10 offer 1 -> true
         1 20 25 offer 2 -> true
         2 12 60 poll -> -
         3 30 ? poll
         4 70 80 poll -> 2",
    );
    agrees::<Queue>(
        Decision::Linearizable,
        "1 0 10 offer 1 -> true
         1 20 25 offer 2 -> true
         2 12 60 poll -> -
         3 18 ? poll
         4 70 80 poll -> 2",
    );
}

#[test]
fn items_that_were_taken_and_items_that_stayed() {
    // 1 must have been taken, 3 cannot have been.
    agrees::<Queue>(
        Decision::Linearizable,
        "1 0 10 offer 1 -> true
         2 5 15 offer 2 -> true
         3 5 30 offer 3 -> true
         4 0 ? poll
         4 20 40 peek -> 2
         5 50 60 poll -> 2
         5 70 80 size -> 1",
    );
}

#[test]
fn dead_ends_are_told_apart_far_behind_an_operation_under_way() {
    // The first one cannot take effect before the end. Then a wrong turn, 8 before 7, leaves the
    // same state as the right one.
    let mut lines = String::from("1 0 9000 cas 900 901 -> true\n");
    for step in 0..70 {
        let from = 10 * step + 1;
        lines += &format!("2 {from} {} set 1 -> ok\n", from + 5);
    }
    lines += "8 1000 5000 set 5 -> ok
        7 1001 1010 set 5 -> ok
        6 1002 1010 set 6 -> ok
        5 1020 1030 get -> 6
        5 2000 2010 get -> 5
        4 6000 6010 set 900 -> ok
        4 7000 7010 get -> 901";
    let history = read::<Register>(lines.as_bytes()).unwrap().remove("").unwrap();
    for mode in [Narrow::Never, Narrow::First, Narrow::Late] {
        assert_eq!(decide(&history, mode, 100_000), Decision::Linearizable);
    }
}

#[test]
fn the_order_of_polls_that_meet_in_time_is_free() {
    agrees::<Queue>(
        Decision::Linearizable,
        "1 0 5 offer 1 -> true
         1 10 15 offer 2 -> true
         2 16 18 size -> 2
         3 30 40 poll -> 2
         4 40 50 poll -> 1",
    );
}

#[test]
fn an_item_is_taken_before_what_overtakes_it_and_after_what_it_follows() {
    agrees::<Queue>(
        Decision::Linearizable,
        "1 0 5 offer 1 -> true
         1 10 15 offer 2 -> true
         1 20 25 offer 3 -> true
         2 26 28 size -> 3
         4 0 ? poll
         3 30 40 poll -> 1
         3 45 50 poll -> 3",
    );
}
