//! See `entries/op.rs`.
#![no_main]

#[path = "../entries/op.rs"]
mod op;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| op::run(bytes));
