//! See `entries/copy.rs`.
#![no_main]

#[path = "../entries/copy.rs"]
mod copy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| copy::run(bytes));
