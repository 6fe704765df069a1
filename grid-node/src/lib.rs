//! A member of the grid: embedded in a program with [`Member::builder`], or as the binary `grid`.
//!
//! The shell around `grid-core`: sockets, threads, timers. It executes what the core decides.
#![forbid(unsafe_code)]

pub mod bench;
mod cell;
mod clock;
mod control;
mod cores;
mod counters;
mod entropy;
mod link;
mod local;
mod member;
mod outbox;
mod serve;
mod sessions;
mod settings;
mod shared;
mod status;
pub mod test_backup;

pub use member::{Builder, Member};
