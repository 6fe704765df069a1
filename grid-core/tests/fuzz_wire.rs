//! The entries of the wire's fuzz targets, run on random, on valid and on mutated bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "../../fuzz/entries/frame.rs"]
mod frame;
#[path = "../../fuzz/entries/hello.rs"]
mod hello;
#[path = "../../fuzz/entries/op.rs"]
mod op;
#[path = "../../fuzz/entries/record.rs"]
mod record;

use grid_core::control::{MapConfig, StructureConfig, StructureKind};
use grid_core::data::{Blob, TypeTag};
use grid_core::error::{Error, Kind};
use grid_core::ids::{Index, MemberId, PartitionId, RequestId, SessionId, StructureId, Term};
use grid_core::op::Op;
use grid_core::wire::control::{Control, ControlReply};
use grid_core::wire::hello::{Answer, Hello, PeerKind, Welcome};
use grid_core::wire::request::RequestHeader;
use grid_core::wire::{FrameKind, control, end_frame, event, reply, request, split_frame};
use proptest::prelude::*;

/// One frame of each kind.
fn frames() -> Vec<u8> {
    let mut out = Vec::new();
    let header = RequestHeader {
        code: 4,
        partition: PartitionId(3),
        structure: StructureId(1),
        request: RequestId(9),
        floor: RequestId(7),
        term: Term(2),
        applied: Index(40),
    };
    request::encode(&header, b"operands", &mut out);
    let at = reply::begin(RequestId(9), Index(41), &mut out);
    out.extend_from_slice(b"answer");
    end_frame(&mut out, at);
    let at = reply::begin(RequestId(10), Index(41), &mut out);
    reply::fail(&Error::with(Kind::Timeout, "too late").maybe_applied(), at, &mut out);
    let item = Blob::new(TypeTag(-11), b"item");
    event::encode(5, event::Event::Item { seq: 77, item }, &mut out);
    event::encode(5, event::Event::Gap { missed: 3 }, &mut out);
    let declare = Control::Declare { name: "orders".into(), kind: StructureKind::Queue };
    control::encode(FrameKind::Control, 1, &declare, &mut out).unwrap();
    let config = StructureConfig::Map(MapConfig { ttl_ms: Some(5), max_idle_ms: None });
    let declared = ControlReply::Declared { structure: StructureId(8), config };
    control::encode(FrameKind::ControlReply, 1, &declared, &mut out).unwrap();
    out
}

fn hellos() -> [Vec<u8>; 2] {
    let hello = Hello {
        cluster: "dev".into(),
        kind: PeerKind::Client,
        name: "test".into(),
        session: Some((SessionId(7), 1)),
    };
    let welcome = Answer::Welcome(Welcome {
        cluster_life: 1,
        member: MemberId(2),
        session: SessionId(3),
        session_timeout_ms: 4,
        partitions: 5,
        frame_bytes_max: 6,
        applied: Index(7),
    });
    let mut out = [Vec::new(), Vec::new()];
    grid_core::wire::hello::encode(&hello, &mut out[0]).unwrap();
    grid_core::wire::hello::encode(&welcome, &mut out[1]).unwrap();
    out
}

fn mutate(mut bytes: Vec<u8>, edits: &[(u16, u8, u8)]) -> Vec<u8> {
    for (at, what, with) in edits {
        let at = usize::from(*at) % bytes.len().max(1);
        match what % 3 {
            _ if bytes.is_empty() => {}
            0 => bytes[at] = *with,
            1 => drop(bytes.drain(at..(at + usize::from(*with)).min(bytes.len()))),
            _ => bytes.insert(at, *with),
        }
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(u16, u8, u8)>> {
    proptest::collection::vec(any::<(u16, u8, u8)>(), 1..6)
}

#[test]
fn what_is_valid_is_accepted() {
    let frames = frames();
    frame::run(&frames);
    let (mut rest, mut count) = (&frames[..], 0);
    while let Some((_, used)) = split_frame(rest, 1 << 16).unwrap() {
        (rest, count) = (&rest[used..], count + 1);
    }
    assert_eq!((count, rest.len()), (7, 0));
    hellos().iter().for_each(|bytes| hello::run(bytes));
    record::run(&[1]);
    record::run(&[&[0], record::valid()].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_understood(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        frame::run(&bytes);
        op::run(&bytes);
        hello::run(&bytes);
        record::run(&bytes);
    }

    #[test]
    fn mutated_frames_and_handshakes_are_refused_or_understood(edits in edits()) {
        frame::run(&mutate(frames(), &edits));
        hellos().into_iter().for_each(|bytes| hello::run(&mutate(bytes, &edits)));
    }

    #[test]
    fn mutated_records_are_refused_whole_or_applied(
        edits in proptest::collection::vec(any::<[u8; 4]>(), 1..6),
        at in 0..80usize,
        bit in 0..8u8,
    ) {
        record::run(&[&[1][..], edits.as_flattened()].concat());
        // Single bits in the header and effects of each record.
        let mut records = record::valid().to_vec();
        let mut start = 0;
        while let Ok(Some((frame, used))) = split_frame(&record::valid()[start..], usize::MAX) {
            let place = start + 4 + at % frame.len();
            records[place] ^= 1 << bit;
            record::run(&[&[0], &records[..]].concat());
            records[place] ^= 1 << bit;
            start += used;
        }
    }

    #[test]
    fn operations_come_out_as_they_went_in(cmd in commands::cmd(), edits in edits()) {
        let sent = cmd.send(None, 77);
        let decoded = Op::decode(sent.code as u8, &sent.body).unwrap();
        let mut again = Vec::new();
        prop_assert_eq!(grid_core::op::encode(&decoded, &mut again), sent.code);
        prop_assert_eq!(&again, &sent.body);
        op::run(&[&[sent.code as u8], &sent.body[..]].concat());
        op::run(&mutate([&[sent.code as u8], &sent.body[..]].concat(), &edits));
        // Cut anywhere or longer, it is no operation.
        for cut in [0, sent.body.len() / 2, sent.body.len().saturating_sub(1)] {
            if cut < sent.body.len() {
                prop_assert!(Op::decode(sent.code as u8, &sent.body[..cut]).is_err());
            }
        }
        prop_assert!(Op::decode(sent.code as u8, &[&sent.body[..], &[0]].concat()).is_err());
    }

    #[test]
    fn errors_come_out_as_they_went_in(
        code in 1..20u8, maybe in any::<bool>(), retry in any::<u32>(), detail in ".{0,40}",
    ) {
        let mut error = Error::new(Kind::from_code(code));
        if !detail.is_empty() {
            error = Error::with(Kind::from_code(code), detail);
        }
        let error = error.retry_in(std::time::Duration::from_millis(retry.into()));
        let error = if maybe { error.maybe_applied() } else { error };
        let mut out = Vec::new();
        reply::put_error(&error, &mut out);
        prop_assert_eq!(reply::error(&out), error);
    }
}
