//! The deterministic heart of the grid.
//!
//! No I/O, no clock, no randomness, no runtime: time is an argument, effects are values. What a
//! member does with sockets and threads lives in `grid-node`, what a client does in `grid-client`.

pub mod control;
pub mod data;
pub mod error;
pub mod handle;
pub mod ids;
pub mod lease;
pub mod limits;
pub mod mutant;
pub mod op;
pub mod partition;
pub mod partitioning;
mod read;
pub mod replica;
pub mod store;
pub mod time;
pub mod wire;

pub use data::GridData;
pub use error::{Applied, Error, Kind, Result};
pub use grid_derive::GridData;
pub use handle::{ClusterEvent, Grid, Map, Queue, Topic, block_on};
pub use ids::*;
pub use read::Read;

// For the derive macro, whose output names this crate.
#[allow(unused_extern_crates)]
extern crate self as grid_core;
