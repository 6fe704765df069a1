//! Tests of the encoding as a whole.

mod composites;
mod evolution;
mod golden;
mod keys;
mod serde_types;

use super::{BlobBuf, DataResult, Decode, Encode, TypeTag};
use crate::error::Kind;
use bytes::Bytes;

fn blob(tag: TypeTag, payload: &[u8]) -> BlobBuf {
    BlobBuf { tag, payload: Bytes::copy_from_slice(payload) }
}

fn encoded<T: Encode + ?Sized>(value: &T) -> BlobBuf {
    BlobBuf::of(value).expect("encodes")
}

#[track_caller]
fn check_round_trip<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(encoded(value).decode::<T>().as_ref(), Ok(value));
}

#[track_caller]
fn check_error<T: std::fmt::Debug>(result: DataResult<T>, kind: Kind, detail: &str) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.detail().contains(detail), "{error}");
    assert_eq!(crate::Error::from(error).kind(), kind);
}

/// `"0a 0b"` as bytes.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
