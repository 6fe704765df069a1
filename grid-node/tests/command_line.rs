//! The binary `grid` from outside: what scripts rely on.
#![allow(clippy::unwrap_used)] // helpers of tests

use grid_core::error::Kind;
use grid_core::ids::{Index, MemberId, PartitionId, SessionId};
use grid_core::wire::control::{self, AdminCommand, Control, ControlReply};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind, Welcome};
use grid_core::wire::{FrameKind, split_frame};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

/// The binary without the settings of whoever runs the tests.
fn grid(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("GRID_") {
            command.env_remove(variable);
        }
    }
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    grid(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A member on free ports. It is killed at the end, if it has not ended.
struct Member {
    process: Child,
    stdout: BufReader<ChildStdout>,
    line: String,
    address: String,
    http: String,
}

impl Member {
    fn start(arguments: &[&str]) -> Self {
        let ports = ["start", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut command = grid(&[&ports, arguments].concat());
        let command = command.env("GRID_CORES", "1").env("GRID_MEMORY__BUDGET", "64MiB");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let after = |word: &str| {
            let rest = line.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {line:?}")).1;
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        let (address, http) = (after(" serves "), after(" http http://"));
        Member { process, stdout, line, address, http }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--addr", &self.address]].concat())
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_command_has_help_and_wrong_ones_end_with_2() {
    for command in [
        &["--help"][..],
        &["start", "--help"],
        &["status", "--help"],
        &["map", "get", "--help"],
        &["queue", "--help"],
        &["admin", "--help"],
    ] {
        let output = run(command);
        assert!(output.status.success() && out(&output).contains("Usage: grid"), "{command:?}");
    }
    for command in [
        &[][..],
        &["stop"],
        &["map", "get", "orders"],
        &["start", "--port", "1"],
        &["status", "--addr", "x"],
        &["admin", "--yes"],
        &["admin", "reset-lost", "16384", "--yes"],
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{command:?}");
    }
}

#[test]
fn an_impossible_configuration_ends_with_2_and_says_all_that_is_wrong() {
    let file = std::env::temp_dir().join(format!("grid-command-line-{}.toml", std::process::id()));
    std::fs::write(&file, "[cluster]\npartitions = 0\n").unwrap();
    let mut command =
        grid(&["start", "--config", file.to_str().unwrap(), "--bind", "x", "--join", "a:0"]);
    let output = command.env("GRID_CLUSTER__NMAE", "x").output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = err(&output);
    for part in
        ["toml:2: cluster.partitions is 0", "flag --bind", "flag --join", "GRID_CLUSTER__NAME?"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_member_that_the_others_could_not_reach_does_not_start() {
    let start = ["start", "--bind", "0.0.0.0:0", "--join", "grid-2:5701"];
    for (more, told) in [
        (&[][..], "flag --join: members to join cannot reach this one at 0.0.0.0:0 (bind)"),
        (&["--advertise", "localhost:5701"], "flag --advertise: grid-2:5701 (join) cannot reach"),
        (&["--advertise", "0.0.0.0:5701"], "flag --advertise: advertise is \"0.0.0.0:5701\""),
    ] {
        let output = run(&[&start[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(err(&output).contains(told), "{}", err(&output));
    }
}

#[test]
fn a_member_that_waits_for_others_says_for_whom_and_can_be_stopped() {
    let mut command = grid(&["start", "--bind", "127.0.0.1:0", "--http", "off"]);
    let command = command.args(["--join", "127.0.0.1:1"]).env("GRID_MEMORY__BUDGET", "64MiB");
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waits = log.find(|line| line.contains("waiting for") || line.contains("serving"));
    assert!(waits.is_some_and(|line| line.contains("waiting for an answer of 127.0.0.1:1 ")));
    let kill = format!("kill -TERM {}", process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    log.for_each(drop);
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*out(&output)), (Some(0), ""));
}

/// The orders of operators, with what each says that is lost, and what travels.
fn orders() -> [(&'static [&'static str], &'static str, AdminCommand); 5] {
    let reset = |from_last_removed| {
        let partition = PartitionId(12);
        AdminCommand::ResetLost { partition, from_last_removed }
    };
    [
        (&["reset-lost", "12"], "all that it held is lost", reset(false)),
        (
            &["reset-lost", "12", "--from-last-removed"],
            "writes that were acknowledged after that are lost",
            reset(true),
        ),
        (
            &["accept-loss", "orders"],
            "counts as never written",
            AdminCommand::AcceptLoss { name: "orders".into() },
        ),
        (
            &["force-new-cluster"],
            "what only the others know is lost",
            AdminCommand::ForceNewCluster,
        ),
        (
            &["remove", "7"],
            "what it alone had in sync is lost",
            AdminCommand::RemoveMember { member: MemberId(7) },
        ),
    ]
}

/// A member that takes one order of an operator, and answers it so.
fn commanded(reply: ControlReply) -> (String, JoinHandle<(Hello, Control)>) {
    fn read<T>(stream: &mut TcpStream, decode: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut bytes = Vec::new();
        loop {
            if let Some(message) = decode(&bytes) {
                return message;
            }
            let mut chunk = [0; 512];
            let n = stream.read(&mut chunk).unwrap();
            assert!(n > 0, "the command has left");
            bytes.extend_from_slice(&chunk[..n]);
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let member = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (hello, _) = read(&mut stream, |bytes| hello::decode::<Hello>(bytes).unwrap());
        let welcome = Welcome {
            cluster_life: 1,
            member: MemberId(2),
            session: SessionId(0),
            session_timeout_ms: 60_000,
            partitions: 271,
            frame_bytes_max: 1 << 20,
            applied: Index(2),
            lease_ms: 400,
            table: None,
        };
        let mut out = Vec::new();
        hello::encode(&Answer::Welcome(welcome), &mut out).unwrap();
        stream.write_all(&out).unwrap();
        let (call, message) = read(&mut stream, |bytes| {
            let (frame, _) = split_frame(bytes, 1 << 20).unwrap()?;
            Some(control::decode::<Control>(frame).unwrap())
        });
        out.clear();
        control::encode(FrameKind::ControlReply, call, &reply, &mut out).unwrap();
        stream.write_all(&out).unwrap();
        (hello, message)
    });
    (address, member)
}

#[test]
fn an_order_without_yes_says_what_is_lost_and_does_nothing() {
    for (words, told, _) in orders() {
        // Nobody is there to be asked.
        let output = run(&[&["admin", "--addr", "127.0.0.1:1"], words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let text = err(&output);
        assert!(text.contains("nothing was done; with --yes, ") && text.contains(told), "{text}");
        let help = out(&run(&["admin", words[0], "--help"]));
        assert!(help.contains("When: ") && help.contains("Lost: "), "{help}");
    }
}

#[test]
fn an_order_goes_to_the_member_of_the_address_without_a_session() {
    for (words, _, command) in orders() {
        let (address, member) = commanded(ControlReply::Obeyed("so".into()));
        let arguments = ["admin", "--yes", "--json", "--cluster", "shop", "--addr", &address];
        let output = run(&[&arguments, words].concat());
        assert!(output.status.success(), "{words:?}: {}", err(&output));
        assert_eq!(out(&output), "{\"done\":true,\"told\":\"so\"}\n");
        let (hello, message) = member.join().unwrap();
        assert_eq!((hello.kind, hello.session), (PeerKind::Operator, None));
        assert_eq!((&*hello.cluster, message), ("shop", Control::Admin(command)));
    }
    let refusal = ControlReply::Refused { kind: Kind::Invalid, detail: "a quorum is there".into() };
    let (address, _) = commanded(refusal);
    let output = run(&["admin", "force-new-cluster", "--yes", "--addr", &address]);
    assert_eq!((output.status.code(), &*out(&output)), (Some(1), ""));
    assert!(err(&output).contains("a quorum is there"), "{}", err(&output));
}

#[test]
fn what_is_not_there_yet_says_so() {
    let output = run(&["job", "submit", "--addr", "127.0.0.1:1", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no stream jobs yet"));
    assert!(!out(&run(&["--help"])).contains("job"));
    let output = run(&["admin", "drain", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no such order"));
    assert!(!out(&run(&["admin", "--help"])).contains("drain"));
}

#[test]
fn a_map_can_be_read_and_written() {
    let member = Member::start(&[]);
    let map = |arguments: &[&str]| {
        let output = member.ask(&[&["map"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", err(&output));
        out(&output)
    };
    assert_eq!(map(&["get", "orders", "k"]), "");
    assert_eq!(map(&["get", "orders", "k", "--json"]), "{\"value\":null}\n");
    assert_eq!(map(&["set", "orders", "k", "-1"]), "");
    assert_eq!(map(&["get", "orders", "k"]), "-1\n");
    assert_eq!(map(&["put", "orders", "k", "two"]), "-1\n");
    assert_eq!(map(&["set", "orders", "l", "", "--json"]), "{\"done\":true}\n");
    assert_eq!(map(&["size", "orders"]), "2\n");
    assert_eq!(map(&["size", "orders", "--json"]), "{\"size\":2}\n");
    assert_eq!(map(&["remove", "orders", "k"]), "two\n");
    assert_eq!(map(&["remove", "orders", "k", "--json"]), "{\"old\":null}\n");
    let wrong = member.ask(&["queue", "size", "orders"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("'orders' is a map"), "{}", err(&wrong));
    let wrong = member.ask(&["map", "size", "orders", "--cluster", "other"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn a_queue_is_first_in_first_out_and_can_be_full() {
    let file = std::env::temp_dir().join(format!("grid-queue-{}.toml", std::process::id()));
    std::fs::write(&file, "[queue.'in*']\nitems-max = 2\n").unwrap();
    let member = Member::start(&["--config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let queue = |arguments: &[&str]| out(&member.ask(&[&["queue"], arguments].concat()));
    assert_eq!(queue(&["offer", "inbox", "a"]), "");
    assert_eq!(queue(&["offer", "inbox", "b", "--json"]), "{\"accepted\":true}\n");
    let full = member.ask(&["queue", "offer", "inbox", "c"]);
    assert_eq!((full.status.code(), err(&full).contains("full")), (Some(1), true));
    assert_eq!(queue(&["size", "inbox"]), "2\n");
    assert_eq!(queue(&["poll", "inbox"]), "a\n");
    assert_eq!(queue(&["poll", "inbox", "--json"]), "{\"value\":\"b\"}\n");
    assert_eq!(queue(&["poll", "inbox"]), "");
}

#[test]
fn status_and_http_tell_the_same() {
    let member = Member::start(&["--cluster", "shop"]);
    assert!(member.line.contains("of cluster 'shop'"), "{}", member.line);
    let ask = |arguments: &[&str]| member.ask(&[arguments, &["--cluster", "shop"]].concat());
    assert!(ask(&["map", "set", "orders", "k", "v"]).status.success());
    let status = ask(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["cluster"]["name"], "shop");
    assert_eq!(status["member"]["address"], member.address.as_str());
    assert_eq!(status["member"]["http"], member.http.as_str());
    assert_eq!(status["structures"][0]["name"], "orders");
    assert_eq!(status["structures"][0]["entries"], 1);
    assert_eq!(status["clients"]["connections"], 0, "an operator is none");
    assert_eq!(status["cluster"]["members"][0]["address"], member.address.as_str());
    assert!(
        status["memory"]["used_bytes"].as_u64() > Some(0)
            && status["totals"]["received_bytes"].as_u64() > Some(0)
    );
    let text = out(&ask(&["status"]));
    assert!(
        text.contains("shop") && text.contains("orders") && text.contains("64.0 MiB"),
        "{text}"
    );
    for path in ["/health/live", "/health/ready"] {
        assert!(http(&member.http, path).starts_with("HTTP/1.1 200"), "{path}");
    }
    // It is alone: without it the data is gone.
    assert!(http(&member.http, "/health/safe").starts_with("HTTP/1.1 503"));
    let metrics = http(&member.http, "/metrics");
    assert!(
        metrics.contains("grid_structure_entries{kind=\"map\",name=\"orders\"} 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let member = Member::start(&[]);
    for arguments in [
        ["--bind", &*member.address, "--http", "off"],
        ["--bind", "127.0.0.1:0", "--http", &*member.http],
    ] {
        let output = run(&[&["start"][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(err(&output).contains("in use by another process"), "{}", err(&output));
    }
}

#[test]
fn a_signal_ends_the_member_in_peace() {
    for signal in ["TERM", "INT"] {
        let mut member = Member::start(&[]);
        assert!(member.ask(&["map", "set", "orders", "k", "v"]).status.success());
        member.signal(signal);
        let mut rest = String::new();
        member.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!((member.process.wait().unwrap().code(), &*rest), (Some(0), ""), "{signal}");
        assert!(TcpStream::connect(&member.address).is_err());
    }
}
