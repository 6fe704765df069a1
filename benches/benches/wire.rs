//! Time of the data path's encoding and decoding alone: frames of a map's get and set.
//!
//! `cargo bench -p grid-benches --bench wire [-- --rounds N]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{VALUE_BYTES, key, median, ns_per_op, number};
use grid_core::Read;
use grid_core::data::{Blob, TypeTag};
use grid_core::op::{self, Life, Op};
use grid_core::wire::bytes::KeyRef;
use grid_core::wire::request::RequestHeader;
use grid_core::wire::{self, reply, request};
use grid_core::{Index, PartitionId, RequestId, StructureId};
use std::hint::black_box;

const FRAMES: u64 = 64;
const LEN_MAX: usize = 1 << 20;

fn header(code: u8, n: u64) -> RequestHeader {
    RequestHeader {
        code,
        partition: PartitionId(7),
        structure: StructureId(1),
        request: RequestId(n),
        floor: RequestId(0),
        attempt: 0,
        read: Read::Linearizable,
        applied: Index(1),
    }
}

fn encode(set: bool, body: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.clear();
    for n in 0..FRAMES {
        let payload = key(n);
        let key =
            KeyRef { blob: Blob { tag: TypeTag::FIXED_BYTES, payload: &payload }, affinity: None };
        let value = Blob { tag: TypeTag::FIXED_BYTES, payload: &[b'x'; VALUE_BYTES] };
        let op = if set { Op::MapSet(key, value, Life::default()) } else { Op::MapGet(key) };
        body.clear();
        let code = op::encode(&op, body);
        request::encode(&header(code as u8, n), body, out);
    }
}

fn decode(mut bytes: &[u8]) {
    while let Some((frame, used)) = wire::split_frame(bytes, LEN_MAX).unwrap() {
        let (header, body) = request::decode(frame).unwrap();
        black_box((header, Op::decode(header.code, body).unwrap()));
        bytes = &bytes[used..];
    }
}

fn encode_replies(value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for n in 0..FRAMES {
        let at = reply::begin(RequestId(n), 0, Index(1), out);
        out.extend_from_slice(value);
        wire::end_frame(out, at);
    }
}

fn decode_replies(mut bytes: &[u8]) {
    while let Some((frame, used)) = wire::split_frame(bytes, LEN_MAX).unwrap() {
        black_box(reply::decode(frame).unwrap());
        bytes = &bytes[used..];
    }
}

fn main() {
    let (rounds, batches) = (number("--rounds", 7), number("--ops", 2_000_000) / FRAMES);
    println!(
        "batches of {FRAMES} frames, 16 byte keys, {VALUE_BYTES} byte values; ns per frame, median of {rounds}"
    );
    let row = |name: &str, run: &mut dyn FnMut()| {
        let times: Vec<f64> = (0..rounds)
            .map(|_| ns_per_op(batches * FRAMES, || (0..batches).for_each(|_| run())))
            .collect();
        println!("{name:<32}{:>8.1}", median(&times));
    };
    let (mut body, mut get, mut set, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    encode(false, &mut body, &mut get);
    encode(true, &mut body, &mut set);
    let value = [1u8; 1 + 4 + VALUE_BYTES];
    row("encode a get", &mut || encode(false, &mut body, black_box(&mut out)));
    row("decode a get", &mut || decode(black_box(&get)));
    row("encode a set", &mut || encode(true, &mut body, black_box(&mut out)));
    row("decode a set", &mut || decode(black_box(&set)));
    row("encode the reply to a get", &mut || encode_replies(&value, black_box(&mut out)));
    encode_replies(&value, &mut out);
    row("decode the reply to a get", &mut || decode_replies(black_box(&out)));
    let mut short = Vec::new();
    row("encode the reply to a set", &mut || encode_replies(&[], black_box(&mut short)));
    row("decode the reply to a set", &mut || decode_replies(black_box(&short)));
}
