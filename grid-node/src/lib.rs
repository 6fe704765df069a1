//! A member of the grid: embedded in a program with [`Member::builder`], or as the binary `grid`.
//!
//! The shell around `grid-core`: sockets, threads, timers. It executes what the core decides.
#![forbid(unsafe_code)]

mod agreed;
pub mod bench;
mod cell;
mod clock;
pub mod cluster;
pub mod config;
mod cores;
mod counters;
mod elsewhere;
mod entropy;
pub mod http;
mod jobs;
mod leave;
mod links;
mod local;
pub mod logging;
mod member;
pub mod metrics;
mod observe;
mod outbox;
mod plane;
mod serve;
mod sessions;
mod settings;
mod shared;
mod start;
pub mod status;
pub mod test_backup;

pub use member::{Builder, Member};
