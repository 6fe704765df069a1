//! The deterministic heart of the grid.
//!
//! No I/O, no clock, no randomness, no runtime: time is an argument, effects are values. What a
//! member does with sockets and threads lives in `grid-node`, what a client does in `grid-client`.

pub mod error;
pub mod ids;
pub mod limits;
pub mod partitioning;
pub mod store;

pub use error::{Applied, Error, Kind, Result};
pub use ids::*;
