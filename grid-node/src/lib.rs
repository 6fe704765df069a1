//! The member.
#![forbid(unsafe_code)]

pub mod config;
