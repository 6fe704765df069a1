//! Counterexamples as they are printed, and recording what cannot have been.
#![allow(clippy::unwrap_used)]

mod common;

use common::history;
use grid_check::{History, NEVER, Register, RegisterIn, RegisterOut, TIME_MAX, check};

#[test]
fn a_counterexample_is_a_timeline_and_what_is_possible() {
    let lines = "history register 4
        7 0 5 get -> 4
        1 10 20 set 5 -> ok
        12 15 30 set 6 -> ok
        2 50 60 get -> 6
        2 58 70 get -> 5
        7 90 95 get -> 5
        3 75 ? set 9";
    let printed = check(&history::<Register>(lines)).to_string();
    let expected = "\
not linearizable since 70: 4 of 7 operations show it, from Some(4)
  p1  [10, 20]  set 5 -> ok  |---|
  p12 [15, 30]  set 6 -> ok    |---|
  p2  [50, 60]  get   -> 6           |---|
  p2  [58, 70]  get   -> 5             |---|    *
possible up to: set 5 -> ok, set 6 -> ok, get -> 6; the state is then Some(6), and what is marked * cannot follow";
    assert_eq!(printed, expected);
}

#[test]
fn what_was_under_way_at_the_violation_has_no_answer() {
    let lines = "1 0 100 put 5 -> -\n2 10 20 get -> 5\n3 30 40 get -> -\n4 35 ! delete";
    let printed = check(&history::<Register>(lines)).to_string();
    let expected = "\
not linearizable since 40: 4 of 4 operations show it, from None
  p1 [ 0,  ?]  put 5  -> ?            |-----------?
  p2 [10, 20]  get    -> 5              |-|
  p3 [30, 40]  get    -> -                  |---|    *
  p4 [35,  ?]  delete -> not applied          |x
possible up to: put 5 -> ?, get -> 5; the state is then Some(5), and what is marked * cannot follow";
    assert_eq!(printed, expected);
}

#[test]
#[should_panic(expected = "cannot return at 4")]
fn an_answer_before_the_invocation() {
    let mut history = History::<Register>::new();
    let get = history.invoke(1, RegisterIn::Get, 5);
    history.ret(get, RegisterOut::Value(None), 4);
}

#[test]
#[should_panic(expected = "has ended")]
fn two_answers() {
    let mut history = History::<Register>::new();
    let get = history.invoke(1, RegisterIn::Get, 5);
    history.ret(get, RegisterOut::Value(None), 6);
    history.ret(get, RegisterOut::Value(None), 7);
}

#[test]
#[should_panic(expected = "has ended")]
fn an_answer_to_what_had_no_effect() {
    let mut history = History::<Register>::new();
    let get = history.invoke(1, RegisterIn::Get, 5);
    history.never(get);
    history.ret(get, RegisterOut::Value(None), 7);
}

#[test]
#[should_panic(expected = "is over the latest")]
fn a_time_without_end() {
    const { assert!(TIME_MAX < NEVER) };
    History::<Register>::new().invoke(1, RegisterIn::Get, TIME_MAX + 1);
}

#[test]
fn a_late_answer_counts() {
    let mut history = History::<Register>::new();
    let set = history.invoke(1, RegisterIn::Set(1), 5);
    history.maybe(set);
    history.ret(set, RegisterOut::Done, 7);
    let get = history.invoke(1, RegisterIn::Get, 8);
    history.ret(get, RegisterOut::Value(None), 9);
    assert!(check(&history).is_violation());
    history.clear();
    assert!(history.is_empty() && check(&history).is_linearizable());
}
