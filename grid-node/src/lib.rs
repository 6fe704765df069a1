//! A member of the grid: embedded in a program with [`Member::builder`], or as the binary `grid`.
//!
//! The shell around `grid-core`: sockets, threads, timers. It executes what the core decides.
#![forbid(unsafe_code)]

pub mod bench;
mod cell;
mod clock;
pub mod config;
mod control;
mod cores;
mod counters;
mod entropy;
pub mod http;
mod jobs;
mod link;
mod local;
pub mod logging;
mod member;
pub mod metrics;
mod observe;
mod outbox;
mod serve;
mod sessions;
mod settings;
mod shared;
pub mod status;
pub mod test_backup;

pub use member::{Builder, Member};
