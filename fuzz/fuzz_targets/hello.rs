//! See `entries/hello.rs`.
#![no_main]

#[path = "../entries/hello.rs"]
mod hello;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hello::run(bytes));
