//! Processes of the shell stand in for members.

use super::*;
use std::path::Path;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-{name}", RunId::own()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shell(dir: &Path, script: &str) -> Process {
    let spec = Spec {
        name: "member 1".into(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("COLOUR".into(), "green".into())],
        log: dir.join("log"),
    };
    Process::new(spec, RunId::own())
}

/// The state that the kernel shows: R running, S sleeping, T stopped.
fn state(id: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn wait_for_log(process: &Process, text: &str) {
    loop {
        let log = std::fs::read_to_string(&process.spec.log).unwrap_or_default();
        if log.contains(text) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn lives_share_a_log_and_know_their_run() {
    let dir = Dir::new("lives");
    let mut process = shell(
        &dir.0,
        "echo $COLOUR $FAULTS_RUN; echo bad >&2; read x </dev/tty || exec sleep 1000",
    );
    process.start(None).unwrap();
    let first = process.id().unwrap();
    wait_for_log(&process, &format!("green {}\nbad\n", RunId::own()));
    process.kill().unwrap();
    assert!(process.id().is_none() && state(first).is_none());
    process.start(None).unwrap();
    assert_ne!(process.id(), Some(first));
    wait_for_log(&process, "--- life 2 of member 1: /bin/sh -c echo");
    let second = process.id().unwrap();
    drop(process);
    assert_eq!(state(second), None, "a dropped process is killed");
}

#[test]
fn a_paused_one_does_nothing_until_it_is_resumed() {
    let dir = Dir::new("pause");
    let mut process = shell(&dir.0, "echo up; while :; do :; done");
    process.start(None).unwrap();
    wait_for_log(&process, "up\n");
    process.pause().unwrap();
    // The signal is delivered to all threads a little later.
    while state(process.id().unwrap()) != Some('T') {
        std::thread::yield_now();
    }
    assert!(process.is_paused());
    process.resume().unwrap();
    while state(process.id().unwrap()) == Some('T') {
        std::thread::yield_now();
    }
    process.pause().unwrap();
    process.kill().unwrap();
    assert!(!process.is_paused());
}

#[test]
fn who_ends_by_itself_is_noticed_once() {
    let dir = Dir::new("ended");
    let mut process = shell(&dir.0, "exit 3");
    process.start(None).unwrap();
    let status = loop {
        if let Some(status) = process.ended() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(3));
    assert!(process.ended().is_none() && process.id().is_none());
}

#[test]
fn sigterm_is_obeyed_or_followed_by_sigkill() {
    let dir = Dir::new("term");
    let mut process = shell(&dir.0, "trap 'exit 0' TERM; echo up; while :; do :; done");
    process.start(None).unwrap();
    wait_for_log(&process, "up\n");
    let status = process.terminate(Duration::from_secs(60)).unwrap().unwrap();
    assert!(status.success());
    let mut stubborn = shell(&dir.0, "trap '' TERM; echo deaf; while :; do :; done");
    stubborn.start(None).unwrap();
    wait_for_log(&stubborn, "deaf\n");
    let id = stubborn.id().unwrap();
    let error = stubborn.terminate(Duration::from_millis(20)).unwrap_err().to_string();
    assert!(error.contains("has not ended"), "{error}");
    assert_eq!(state(id), None);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = Dir::new("absent");
    let mut process = shell(&dir.0, "");
    process.spec.program = "/no/such/grid".into();
    let error = process.start(None).unwrap_err().to_string();
    assert!(error.contains("member 1") && error.contains("/no/such/grid"), "{error}");
}
