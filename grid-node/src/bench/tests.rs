//! The load on maps against members and impostors in this process.

use super::generator::{self, Load};
use super::grid::Target;
use super::map::{Client, MapArgs, MapReport, run};
use crate::Member;
use clap::Parser;
use grid_core::{Error, Kind};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: MapArgs,
}

/// Arguments as on the command line, with a load that is over soon.
fn args(address: impl std::fmt::Display, more: &str) -> MapArgs {
    let line = format!(
        "map --addr {address} --connections 4 --pipeline 8 --threads 2 --keys 500 --seconds 0.25 --warmup 0 {more}"
    );
    Line::try_parse_from(line.split_ascii_whitespace()).unwrap().args
}

fn member() -> Member {
    Member::builder().cores(1).start_blocking().unwrap()
}

fn check(report: &MapReport) {
    assert!(report.operations > 0, "{report}");
    assert!(report.errors.is_empty(), "{report}");
    assert_eq!(report.missing, 0, "{report}");
}

#[test]
fn a_mixed_load_is_answered_without_errors_and_with_the_values_of_the_keys() {
    let member = member();
    let report = run(&args(member.address(), "--reads 50 --value-size 33")).unwrap();
    check(&report);
    let (get, set) = (report.get_us.unwrap(), report.set_us.unwrap());
    assert!(get.p50 <= get.p99 && get.p99 <= get.p999 && get.p999 <= get.max, "{get:?}");
    assert!(set.p50 > 0.0);
    assert_eq!(report.addresses, [member.address().to_string()]);
}

#[test]
fn gets_of_keys_that_nobody_wrote_are_told() {
    let member = member();
    let report = run(&args(member.address(), "--load false --reads 100")).unwrap();
    assert!(report.operations > 0);
    assert_eq!(report.missing, report.operations);
}

#[test]
fn values_that_are_not_those_of_the_load_count_as_errors() {
    let member = member();
    check(&run(&args(member.address(), "--value-size 10")).unwrap());
    let load = Load {
        addresses: vec![member.address()],
        connections: 1,
        pipeline: 4,
        threads: 1,
        keys: 500,
        value_bytes: 20,
        reads_percent: 100,
        measure: Duration::from_millis(250),
        warmup: Duration::ZERO,
        fill: false,
        rate: None,
        verify: true,
    };
    let target = Target { cluster: "dev".into(), map: "bench".into() };
    let measured = generator::run(&load, target).unwrap();
    assert_eq!(measured.operations(), 0);
    assert!(measured.errors["wrong value"] > 0);
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let member = member();
    for client in ["raw", "typed"] {
        let more = format!("--reads 50 --rate 2000 --client {client}");
        let report = run(&args(member.address(), &more)).unwrap();
        check(&report);
        assert!(report.operations + report.unsent <= 500, "{report}");
    }
}

#[test]
fn typed_handles_go_through_the_same_load() {
    let member = member();
    for size in [100, 7] {
        let more = format!("--reads 50 --client typed --value-size {size} --map m{size}");
        let args = args(member.address(), &more);
        assert_eq!(args.client, Client::Typed);
        check(&run(&args).unwrap());
    }
}

fn refused(args: &MapArgs) -> Error {
    run(args).unwrap_err()
}

#[test]
fn what_cannot_be_measured_is_said_clearly() {
    let member = member();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for client in ["raw", "typed"] {
        let other = refused(&args(member.address(), &format!("--cluster other --client {client}")));
        assert_eq!(other.kind(), Kind::WrongCluster, "{other}");
    }
    let nobody = refused(&args(free, ""));
    assert_eq!(nobody.kind(), Kind::Io);
    assert!(nobody.to_string().contains(&free.to_string()), "{nobody}");
    for (more, flaw) in [
        ("--connections 0", "0 connections"),
        ("--pipeline 0", "pipeline of 0"),
        ("--keys 0", "0 keys"),
        ("--reads 101", "101 percent"),
        ("--seconds 0", "no time"),
        ("--seconds -1", "--seconds -1"),
        ("--rate 0", "rate"),
        ("--value-size 99999999", "99999999 bytes"),
    ] {
        let line = args(member.address(), "");
        let error = refused(&overridden(line, more));
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.to_string().contains(flaw), "{error}");
    }
}

fn overridden(mut args: MapArgs, more: &str) -> MapArgs {
    let (flag, value) = more.split_once(' ').unwrap();
    match flag {
        "--connections" => args.connections = value.parse().unwrap(),
        "--pipeline" => args.pipeline = value.parse().unwrap(),
        "--keys" => args.keys = value.parse().unwrap(),
        "--reads" => args.reads = value.parse().unwrap(),
        "--seconds" => args.seconds = value.parse().unwrap(),
        "--rate" => args.rate = Some(value.parse().unwrap()),
        "--value-size" => args.value_size = value.parse().unwrap(),
        flag => panic!("{flag}"),
    }
    args
}

/// Something that listens and says `greeting` to everybody.
fn impostor(greeting: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // Kept open, so that a connection ends for what was said.
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(greeting);
            kept.push(stream);
        }
    });
    address
}

#[test]
fn other_protocols_and_versions_are_told_apart() {
    let web = refused(&args(impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ""));
    assert_eq!(web.kind(), Kind::Malformed, "{web}");
    let newer = refused(&args(impostor(b"GRID\x63\x00\x00\x00"), ""));
    assert_eq!(newer.kind(), Kind::WrongVersion, "{newer}");
}
