//! The stream engine.
#![forbid(unsafe_code)]
