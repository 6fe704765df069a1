//! Runs the flights example as a program: on the sample, on made-up months, on bad input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_node::Member;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RESULTS: [&str; 3] = ["anomalies.csv", "carriers.csv", "hourly.csv"];
const FLIGHTS_HEADER: &str =
    "year,month,day,dep_time,dep_delay,arr_delay,carrier,tailnum,origin,minute,time_hour\n";

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The example's binary. Built here, because no test target makes cargo build an example, and a stale one would do
/// as well as a fresh one without anybody noticing.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test
            .parent()
            .and_then(Path::parent)
            .and_then(Path::file_name)
            .unwrap()
            .to_str()
            .unwrap();
        let profile = if profile == "debug" { "dev" } else { profile };
        let build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--example",
                "flights",
                "--profile",
                profile,
                "--message-format",
                "json",
            ])
            .current_dir(package(""))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(build.status.success(), "the example does not build");
        String::from_utf8(build.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(|message| {
                message["target"]["name"] == "flights" && message["executable"].is_string()
            })
            .and_then(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the executable")
    })
}

fn flights(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs on a data directory; returns the results' directory and what was printed.
fn run(data: &Path) -> (TempDir, String) {
    let out = tempfile::tempdir().unwrap();
    let output =
        flights(&["--data", data.to_str().unwrap(), "--out", out.path().to_str().unwrap()]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);
    assert_eq!(stderr, "", "no progress bar and no complaint without a terminal");
    assert!(!stdout.contains('\r'), "no progress bar without a terminal");
    (out, stdout)
}

/// Runs on a data directory that cannot be used; returns the message.
fn refused(data: &Path) -> String {
    let out = tempfile::tempdir().unwrap();
    let output =
        flights(&["--data", data.to_str().unwrap(), "--out", out.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "no results without input");
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The results are exactly these files, byte for byte.
fn assert_results(actual: &Path, expected: &Path) {
    let mut files: Vec<_> = fs::read_dir(actual)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, RESULTS);
    for file in RESULTS {
        let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap();
        let (actual, expected) = (read(actual), read(expected));
        let differs = (1..)
            .zip(actual.lines().zip(expected.lines()))
            .find(|(_, (actual, expected))| actual != expected);
        if let Some((line, (actual, expected))) = differs {
            panic!("{file} line {line}: {actual} should be {expected}");
        }
        assert_eq!(actual.len(), expected.len(), "{file} ends elsewhere");
    }
}

/// Runs one of the Python scripts beside the example. False, and said so, if there is no Python.
fn python(script: &str, arguments: &[&str]) -> bool {
    let output =
        match Command::new("python3").arg(package("flights").join(script)).args(arguments).output()
        {
            Ok(output) => output,
            Err(error) => {
                // Not `eprintln`, which is kept back when a test passes.
                let _ = writeln!(
                    std::io::stderr(),
                    "\nSKIPPED, not tested: python3 cannot be run: {error}\n"
                );
                return false;
            }
        };
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
    true
}

/// Makes up a month, runs on it, compares with the independent computation.
fn made_up_month(arguments: &[&str]) {
    let (data, expected) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, expected) = (data.path().to_str().unwrap(), expected.path().to_str().unwrap());
    if python("generate.py", &[&[data], arguments].concat())
        && python("expect.py", &[data, expected])
    {
        let (out, _) = run(Path::new(data));
        assert_results(out.path(), Path::new(expected));
        let anomalies = fs::read_to_string(Path::new(expected).join("anomalies.csv")).unwrap();
        assert!(anomalies.lines().count() > 1, "a month without anomalies tests too little");
    }
}

/// A data directory with a little of everything but flights.
fn small_data(flights: &str) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    for (file, content) in [
        ("planes.csv", "tailnum,seats\nN1,100\nN2,NA\n"),
        ("airlines.csv", "carrier,name\nUA,\"United, \"\"the\"\" Airline\"\n"),
        ("airports.csv", "faa,name\nEWR,Newark\n"),
        ("flights.csv", flights),
    ] {
        fs::write(data.path().join(file), content).unwrap();
    }
    data
}

#[test]
fn the_sample_gives_the_expected_results() {
    let output = tempfile::tempdir().unwrap();
    let out = output.path().join("new/folder");
    let output = flights(&["--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_results(&out, &package("flights/expected"));
    let stdout = text(&output.stdout);
    for part in
        ["26,398 departures, 606 rows skipped", " 0 malformed", "Newark Liberty Intl", "events/s"]
    {
        assert!(stdout.contains(part), "{part:?} is missing in\n{stdout}");
    }
}

#[test]
fn the_expected_results_are_what_the_script_computes() {
    let out = tempfile::tempdir().unwrap();
    let data = package("data/nycflights13");
    if python("expect.py", &[data.to_str().unwrap(), out.path().to_str().unwrap()]) {
        assert_results(out.path(), &package("flights/expected"));
    }
}

#[test]
fn the_order_of_days_in_the_file_does_not_matter() {
    let sample = package("data/nycflights13");
    let data = tempfile::tempdir().unwrap();
    for file in ["planes.csv.gz", "airlines.csv.gz", "airports.csv.gz"] {
        fs::copy(sample.join(file), data.path().join(file)).unwrap();
    }
    let mut flights = String::new();
    let gzipped = fs::File::open(sample.join("flights.csv.gz")).unwrap();
    flate2::read::GzDecoder::new(gzipped).read_to_string(&mut flights).unwrap();
    let (header, rows) = flights.split_once('\n').unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    let day = |row: &str| row.split(',').nth(2).unwrap().parse::<u32>().unwrap();
    rows.sort_by_key(|row| std::cmp::Reverse(day(row)));
    fs::write(data.path().join("flights.csv"), format!("{header}\n{}", rows.join("\n"))).unwrap();
    assert_results(run(data.path()).0.path(), &package("flights/expected"));
}

#[test]
fn a_shuffled_month_with_malformed_rows() {
    made_up_month(&["--month", "2014-07", "--shuffle", "--malformed", "60"]);
}

#[test]
fn a_gzipped_month_with_a_leap_day_and_carriage_returns() {
    made_up_month(&["--month", "2016-02", "--seed", "2", "--gzip", "--crlf"]);
}

#[test]
fn a_busy_month_that_ends_in_another_year() {
    made_up_month(&["--month", "2019-12", "--seed", "3", "--per-day", "600", "--malformed", "3"]);
}

#[test]
fn a_month_before_1970() {
    made_up_month(&["--month", "1969-12", "--seed", "4", "--shuffle", "--gzip"]);
}

#[test]
fn missing_and_malformed_values_row_by_row() {
    let data = small_data(
        &(FLIGHTS_HEADER.to_owned()
            + "2013,1,1,500,-1,0,UA,N1,EWR,0,2013-01-01T10:00:00Z\n\
               2013,1,1,510,17,0,UA,NA,EWR,10,2013-01-01T10:00:00Z\n\
               2013,1,1,NA,NA,NA,UA,N1,EWR,10,2013-01-01T10:00:00Z\n\
               2013,1,1,510,5,,UA,N1,EWR,10,2013-01-01T10:00:00Z\n\
               2013,1,1,510,soon,5,UA,N1,EWR,10,2013-01-01T10:00:00Z\n\
               2013,1,1\n\
               2013,1,1,\"510,5,5,UA,N1,EWR,10,2013-01-01T10:00:00Z\n\
               2013,1,1,520,16,0,Q8,N2,EWR,20,2013-01-01T10:00:00Z\n\
               2013,1,1,530,15,0,Q8,N3,EWR,30,2013-01-01T10:00:00Z\n"),
    );
    let (out, stdout) = run(data.path());
    let result = |file| fs::read_to_string(out.path().join(file)).unwrap();
    assert_eq!(
        result("hourly.csv"),
        "origin,window_start,flights,mean_dep_delay,seats,unknown_planes\n\
         EWR,2013-01-01T09:00:00Z,1,-1.00,100,0\n\
         EWR,2013-01-01T10:00:00Z,3,16.00,0,2\n"
    );
    assert_eq!(
        result("carriers.csv"),
        "carrier,name,window_start,flights,delayed_share,max_dep_delay\n\
         Q8,Q8,2013-01-01T00:00:00Z,2,0.5000,16\n\
         UA,\"United, \"\"the\"\" Airline\",2013-01-01T00:00:00Z,2,0.5000,17\n"
    );
    assert_eq!(result("anomalies.csv"), "origin,window_start,mean_dep_delay,expected,sigma\n");
    for part in [
        "4 departures, 2 rows skipped",
        "3 malformed",
        "line 6: dep_delay is not a number: \"soon\"",
        "line 7: 3 fields, not 11",
        "line 8: a quote that is not closed",
    ] {
        assert!(stdout.contains(part), "{part:?} is missing in\n{stdout}");
    }
}

#[test]
fn a_month_without_flights_gives_results_without_rows() {
    let (out, _) = run(small_data(FLIGHTS_HEADER).path());
    for file in RESULTS {
        assert_eq!(fs::read_to_string(out.path().join(file)).unwrap().lines().count(), 1, "{file}");
    }
}

#[test]
fn a_missing_file_is_named() {
    for file in ["flights", "planes", "airlines", "airports"] {
        let data = small_data(FLIGHTS_HEADER);
        fs::remove_file(data.path().join(format!("{file}.csv"))).unwrap();
        let message =
            format!("flights: no {file}.csv or {file}.csv.gz in {}\n", data.path().display());
        assert_eq!(refused(data.path()), message);
    }
    assert_eq!(
        refused(Path::new("/nowhere")),
        "flights: no flights.csv or flights.csv.gz in /nowhere\n"
    );
}

#[test]
fn a_malformed_file_is_named_with_its_fault() {
    for (content, fault) in [
        ("", "no column `year` in its first line"),
        ("<html>\n", "no column `year` in its first line"),
        (&FLIGHTS_HEADER.replace("minute", "second"), "no column `minute` in its first line"),
        (
            &format!("{FLIGHTS_HEADER}x\ny\n"),
            "none of its 2 rows can be read; line 2: 1 fields, not 11",
        ),
        ("\u{1f}\u{8b}", "no column `year` in its first line"),
    ] {
        let message = refused(small_data(content).path());
        assert!(
            message.contains("flights.csv is malformed: ") && message.contains(fault),
            "{message}"
        );
    }
    let data = small_data("");
    fs::write(data.path().join("flights.csv"), b"\x1f\x8b\x08\x00cut off").unwrap();
    let message = refused(data.path());
    assert!(
        message.starts_with("flights: cannot read ") && message.contains("flights.csv: "),
        "{message}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let data = small_data(FLIGHTS_HEADER);
    let blocked = data.path().join("planes.csv/out");
    let output =
        flights(&["--data", data.path().to_str().unwrap(), "--out", blocked.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.starts_with(&format!("flights: cannot write {}", blocked.display())),
        "{message}"
    );
}

#[test]
fn wrong_usage_is_status_2_and_help_is_not() {
    for arguments in [&["--month", "1"][..], &["--data"], &["--workers", "none"], &["extra"]] {
        assert_eq!(flights(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = flights(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("--data <DIR>"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let out = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary())
        .args(["--out", out.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_results(out.path(), &package("flights/expected"));
}

/// So many members of one cluster in this process.
fn cluster(count: usize) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..count {
        let builder = Member::builder().cores(1).memory_budget(128 << 20);
        let builder = builder.join(members.first().map(Member::address));
        members.push(builder.start_blocking().unwrap());
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while members.iter().any(|member| member.status().partitions.full < 271) {
        assert!(Instant::now() < deadline, "{}", members[0].status());
        std::thread::sleep(Duration::from_millis(10));
    }
    members
}

#[test]
fn a_cluster_that_loses_a_member_meanwhile_gives_the_same_results() {
    let mut members = cluster(3);
    let addresses: Vec<String> = members.iter().map(|m| m.address().to_string()).collect();
    let out = tempfile::tempdir().unwrap();
    let arguments = ["--connect", &addresses.join(","), "--out", out.path().to_str().unwrap()];
    let mut running = Command::new(binary())
        .args(arguments)
        .args(["--workers", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Half-way through what it writes, one member stops without a word.
    let written = |member: &Member| {
        let status = member.status();
        let hours = status.structures.iter().find(|structure| structure.name == "hours");
        hours.map_or(0, |hours| hours.entries)
    };
    while members.iter().map(written).sum::<u64>() < 500 {
        assert!(running.try_wait().unwrap().is_none(), "it has ended too early to tell anything");
    }
    drop(members.remove(1));
    assert!(running.try_wait().unwrap().is_none(), "it had ended before the member did");
    let output = running.wait_with_output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);
    assert_results(out.path(), &package("flights/expected"));
    let taken: u64 = members.iter().map(|m| m.status().totals.roles.takeovers).sum();
    assert!(taken > 0, "the others took over from the member that stopped");
    // What an earlier run has left does not show.
    let again = tempfile::tempdir().unwrap();
    let connect = addresses[0].as_str();
    let output = flights(&["--connect", connect, "--out", again.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_results(again.path(), &package("flights/expected"));
}
