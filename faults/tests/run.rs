//! Whole runs on a real member: the binary `grid` beside this test's own. `cargo test --workspace` builds it;
//! where it is missing these tests say so and test nothing.

#![allow(clippy::unwrap_used)]

use grid_faults::nemesis::{Patience, Profile};
use grid_faults::run::{Config, Outcome, run};
use grid_faults::run_id::RunId;
use grid_faults::{cluster, workload};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Runs of one process have one identity, and each wants to leave nothing behind.
static ONE: Mutex<()> = Mutex::new(());

fn binary() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("grid");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED, nothing was tested: there is no {}", path.display());
    None
}

fn try_out(name: &str, change: impl FnOnce(&mut Config)) -> Option<(Outcome, String, String)> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = std::env::temp_dir().join(format!("{}-{name}", RunId::own()));
    let minute = Duration::from_secs(60);
    let mut config = Config {
        cluster: cluster::Config {
            members: 1,
            program: binary()?,
            arguments: Vec::new(),
            environment: Vec::new(),
            direct: true,
            detours: false,
            disk_mebibytes: 1,
            out: out.clone(),
        },
        workload: workload::Config {
            addresses: Vec::new(),
            clients: 3,
            tasks: 4,
            rate: 3_000,
            timeout: Duration::from_secs(5),
            steady: false,
            closing: minute,
            seed: 1,
        },
        seed: 1,
        faults: 3,
        profile: Profile::Kill,
        flips: false,
        lasts: None,
        lasts_max: Some(Duration::from_millis(1_500)),
        down_max: 1,
        expect_loss: true,
        safe_page: "safe".into(),
        patience: Patience { ready: minute, safe: minute, stop: minute },
        calm: Duration::from_millis(300),
    };
    change(&mut config);
    let outcome = run(&config, &AtomicBool::new(false)).unwrap();
    let log = std::fs::read_to_string(out.join("events.log")).unwrap();
    let queues = std::fs::read_to_string(out.join("queues.history")).unwrap();
    std::fs::remove_dir_all(out).unwrap();
    Some((outcome, log, queues))
}

#[test]
fn a_lone_member_loses_its_data_with_its_process_and_does_nothing_else_wrong() {
    let Some((outcome, log, _)) = try_out("expected", |_| {}) else { return };
    assert_eq!(outcome.wrong, Vec::<String>::new(), "{log}");
    assert!(log.contains(" losses were expected; the audit sees them"), "{log}");
}

#[test]
fn a_loss_that_was_not_expected_is_found() {
    let Some((outcome, log, _)) = try_out("found", |config| {
        (config.expect_loss, config.faults) = (false, 1);
    }) else {
        return;
    };
    assert!(outcome.wrong.iter().any(|wrong| wrong.contains(" violations, ")), "{log}");
    assert!(log.contains("VIOLATION map-"), "{log}");
}

#[test]
fn a_pause_does_no_harm() {
    let Some((outcome, log, queues)) = try_out("pause", |config| {
        (config.expect_loss, config.profile) = (false, Profile::Pause);
    }) else {
        return;
    };
    assert_eq!(outcome.wrong, Vec::<String>::new(), "{log}");
    // Lines are in the order of calls: the last one of each queue found nothing more.
    let lines = queues.lines().filter(|line| line.starts_with('@'));
    let last: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    assert!(last.len() >= 30 && last.values().all(|op| op.ends_with("poll -> -")), "{last:?}");
}

#[test]
fn a_profile_without_a_possible_fault_is_refused() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = std::env::temp_dir().join(format!("{}-refused", RunId::own()));
    let path = out.to_string_lossy().into_owned();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_grid-faults"))
        .args(["run", "--grid", "/nowhere/grid", "--direct", "--profile", "cut", "--out", &path])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("no fault of this profile is possible"), "{said}");
    std::fs::remove_dir_all(out).unwrap();
}
