//! The entries of the wire's fuzz targets, run on random, on valid and on mutated bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "../../fuzz/entries/copy.rs"]
mod copy;
#[path = "../../fuzz/entries/frame.rs"]
mod frame;
#[path = "../../fuzz/entries/hello.rs"]
mod hello;
#[path = "../../fuzz/entries/op.rs"]
mod op;
#[path = "../../fuzz/entries/record.rs"]
mod record;

use grid_core::Read;
use grid_core::control::{MapConfig, StructureConfig, StructureKind};
use grid_core::data::{Blob, TypeTag};
use grid_core::error::{Error, Kind};
use grid_core::ids::{Index, MemberId, PartitionId, RequestId, SessionId, StructureId};
use grid_core::op::Op;
use grid_core::wire::control::{AdminCommand, Control, ControlReply};
use grid_core::wire::hello::{Answer, Hello, PeerKind, Welcome};
use grid_core::wire::request::RequestHeader;
use grid_core::wire::table::{MemberAddress, TableView};
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
        attempt: 3,
        read: Read::Stale(std::time::Duration::from_millis(50)),
        applied: Index(40),
    };
    request::encode(&header, b"operands", &mut out);
    let at = reply::begin(RequestId(9), 3, Index(41), &mut out);
    out.extend_from_slice(b"answer");
    end_frame(&mut out, at);
    let at = reply::begin(RequestId(10), 0, Index(41), &mut out);
    reply::fail(&Error::with(Kind::Timeout, "too late").maybe_applied(), at, &mut out);
    let item = Blob::new(TypeTag(-11), b"item");
    event::encode(5, event::Event::Item { seq: 77, item }, &mut out);
    event::encode(5, event::Event::Gap { missed: 3 }, &mut out);
    let declare = Control::Declare { name: "orders".into(), kind: StructureKind::Queue };
    control::encode(FrameKind::Control, 1, &declare, &mut out).unwrap();
    let config = StructureConfig::Map(MapConfig { ttl_ms: Some(5), ..MapConfig::default() });
    let declared = ControlReply::Declared { structure: StructureId(8), config, since: Index(7) };
    control::encode(FrameKind::ControlReply, 1, &declared, &mut out).unwrap();
    control::encode(FrameKind::Control, 2, &Control::Table { known: Index(3) }, &mut out).unwrap();
    for command in [
        AdminCommand::ResetLost { partition: PartitionId(5), from_last_removed: true },
        AdminCommand::AcceptLoss { name: "orders".into() },
        AdminCommand::ForceNewCluster,
        AdminCommand::RemoveMember { member: MemberId(2) },
    ] {
        control::encode(FrameKind::Control, 3, &Control::Admin(command), &mut out).unwrap();
    }
    for reply in [ControlReply::Unchanged, ControlReply::Table(table())] {
        control::encode(FrameKind::ControlReply, 2, &reply, &mut out).unwrap();
    }
    out
}

fn table() -> TableView {
    let at = |n: u64| MemberAddress { member: MemberId(n), address: format!("10.0.0.{n}:5701") };
    let partitions: [&[u16]; 3] = [&[0, 1], &[1], &[]];
    TableView::new(Index(7), 1, vec![at(2), at(5)], partitions).unwrap()
}

fn hellos() -> [Vec<u8>; 3] {
    let hello = Hello {
        cluster: "dev".into(),
        kind: PeerKind::Client,
        name: "test".into(),
        session: Some((SessionId(7), 1)),
        table: Index(9),
    };
    let welcome = Answer::Welcome(Welcome {
        cluster_life: 1,
        member: MemberId(2),
        session: SessionId(3),
        session_timeout_ms: 4,
        partitions: 5,
        frame_bytes_max: 6,
        applied: Index(7),
        lease_ms: 400,
        table: Some(table()),
    });
    let operator = Hello { kind: PeerKind::Operator, session: None, ..hello.clone() };
    let mut out = [Vec::new(), Vec::new(), Vec::new()];
    grid_core::wire::hello::encode(&hello, &mut out[0]).unwrap();
    grid_core::wire::hello::encode(&welcome, &mut out[1]).unwrap();
    grid_core::wire::hello::encode(&operator, &mut out[2]).unwrap();
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
    assert_eq!((count, rest.len()), (14, 0));
    hellos().iter().for_each(|bytes| hello::run(bytes));
    record::run(&[1]);
    record::run(&[&[0], record::valid()].concat());
    copy::run(&[1]);
    copy::run(&[&[0], &copy::valid()[..]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_understood(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        frame::run(&bytes);
        op::run(&bytes);
        hello::run(&bytes);
        record::run(&bytes);
        copy::run(&bytes);
        // As a piece, behind the head of a first one.
        let mut message = vec![0; 5];
        message[4] = 1;
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&[0; 24]);
        message.extend_from_slice(&bytes);
        end_frame(&mut message, 0);
        copy::run(&[&[0], &message[..]].concat());
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
    fn mutated_copies_are_refused_whole_or_taken_in(
        edits in proptest::collection::vec(any::<[u8; 4]>(), 1..6),
        at in any::<u16>(),
        bit in 0..8u8,
    ) {
        copy::run(&[&[1][..], edits.as_flattened()].concat());
        let mut messages = copy::valid();
        let at = usize::from(at) % messages.len();
        messages[at] ^= 1 << bit;
        copy::run(&[&[0], &messages[..]].concat());
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
    fn requests_come_out_as_they_went_in(
        ids in any::<(u8, u16, u32, u64, u64, u64)>(),
        attempt in any::<u16>(),
        manner in 0..3u8,
        bound in any::<u32>(),
        edits in edits(),
    ) {
        let (code, partition, structure, request, floor, applied) = ids;
        let header = RequestHeader {
            code,
            partition: PartitionId(partition),
            structure: StructureId(structure),
            request: RequestId(request),
            floor: RequestId(floor),
            attempt,
            read: match manner {
                0 => Read::Linearizable,
                1 => Read::Confirmed,
                _ => Read::Stale(std::time::Duration::from_millis(bound.into())),
            },
            applied: Index(applied),
        };
        let mut out = Vec::new();
        request::encode(&header, b"operands", &mut out);
        prop_assert_eq!(request::decode(&out[4..]), Ok((header, &b"operands"[..])));
        // Bits that mean nothing are refused, so that they can mean something later.
        for bit in 2..16 {
            let mut bad = out.clone();
            bad[4 + 24 + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(request::decode(&bad[4..]).is_err(), "bit {}", bit);
        }
        frame::run(&mutate(out, &edits));
    }

    #[test]
    fn any_table_is_refused_or_consistent(
        counts in proptest::collection::vec(0..4u8, 0..40),
        replicas in proptest::collection::vec(0..6u16, 0..100),
        members in 0..6u64,
    ) {
        let at = |n: u64| MemberAddress { member: MemberId(n), address: "host:1".into() };
        let mut rest = &replicas[..];
        let owners: Vec<&[u16]> = counts.iter().map(|count| {
            let (head, tail) = rest.split_at(usize::from(*count).min(rest.len()));
            rest = tail;
            head
        }).collect();
        let view = TableView::new(Index(1), 1, (0..members).map(at).collect(), owners.clone());
        let Ok(view) = view else { return Ok(()) };
        prop_assert_eq!(usize::from(view.partitions()), owners.len());
        for (n, owners) in (0u16..).zip(owners) {
            prop_assert_eq!(view.replicas(PartitionId(n)), owners);
            prop_assert!(owners.iter().all(|at| view.members().get(usize::from(*at)).is_some()));
        }
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
