//! The binary `check-history`.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit status, standard output, standard error.
fn run(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_check-history"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_linearizable_file() {
    let text = "history register -\n@a 1 0 10 set 1 -> ok\n@b 1 20 30 get -> -\n";
    let expected = "2 operations on 2 keys: 2 linearizable, 0 not, 0 unknown\n";
    assert_eq!(run(&["-"], text), (0, expected.into(), String::new()));
    assert_eq!(run(&["-", "--model", "register"], text).0, 0);
}

#[test]
fn a_violation_of_a_key() {
    let text = "@a 1 0 10 set 1 -> ok\n@b 1 20 30 get -> 5\n";
    let (status, out, err) = run(&["-", "--model", "register"], text);
    assert_eq!((status, err.as_str()), (1, ""));
    assert!(out.starts_with("@b: not linearizable since 30: 1 of 1 operations show it"), "{out}");
    assert!(out.ends_with("2 operations on 2 keys: 1 linearizable, 1 not, 0 unknown\n"), "{out}");
}

#[test]
fn a_violation_of_a_queue_with_its_anomalies() {
    let text = "history queue -\n1 0 10 offer 1 -> true\n1 20 30 poll -> -\n";
    let (status, out, _) = run(&["-"], text);
    assert_eq!(status, 1);
    assert!(out.contains("  lost: p1 [0, 10] offer 1 -> true, missed by p1"), "{out}");
}

#[test]
fn a_map() {
    assert_eq!(run(&["-"], "history map -\n1 0 10 1: set 1 -> ok\n1 20 30 size -> 1\n").0, 0);
    assert_eq!(run(&["-"], "history map -\n1 0 10 1: set 1 -> ok\n1 20 30 size -> 0\n").0, 1);
}

#[test]
fn a_budget_that_is_too_small() {
    let mut text = String::from("history queue -\n");
    for process in 0..16 {
        text += &format!("{process} 0 100 offer {} -> true\n", process / 2);
    }
    text += "20 200 210 size -> 15\n";
    let (status, out, _) = run(&["-", "--budget", "500"], &text);
    assert_eq!(status, 3);
    assert!(out.starts_with("unknown after 500 tries, 17 operations\n"), "{out}");
}

#[test]
fn what_cannot_be_read() {
    for (args, input, expected) in [
        (&["-"][..], "1 0 1 get -> -", "-: does not say its model"),
        (&["-", "--model", "queue"], "history register -", "-: histories of a register, not of a"),
        (&["-", "--model", "tree"], "1 0 1 get -> -", "unknown model `tree`"),
        (&["-"], "history register -\n1 0 x get -> 1", "-: line 2: expected a time, found `x`"),
        (&["/no/such/file"], "", "/no/such/file: "),
        (&[], "", "no file"),
        (&["a", "b"], "", "one file, not also b"),
        (&["-", "--fast"], "", "unknown option --fast"),
        (&["-", "--model"], "", "--model needs a value"),
        (&["-", "--budget", "many"], "", "--budget `many` is no number"),
    ] {
        let (status, out, err) = run(args, input);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}");
        assert!(err.starts_with(&format!("check-history: {expected}")), "{args:?}: {err}");
    }
}

#[test]
fn help() {
    let (status, out, _) = run(&["--help"], "");
    assert_eq!(status, 0);
    assert!(out.starts_with("usage: check-history FILE"), "{out}");
}
