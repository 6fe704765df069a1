//! Any bytes as any type.
#![no_main]

#[path = "../entries/data.rs"]
mod data;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| data::run(bytes));
