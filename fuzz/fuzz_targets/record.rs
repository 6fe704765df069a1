//! See `entries/record.rs`.
#![no_main]

#[path = "../entries/record.rs"]
mod record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| record::run(bytes));
