//! The thin client.
#![forbid(unsafe_code)]
