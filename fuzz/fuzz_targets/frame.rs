//! See `entries/frame.rs`.
#![no_main]

#[path = "../entries/frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frame::run(bytes));
