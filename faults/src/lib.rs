//! Real faults on real members of the grid.
#![forbid(unsafe_code)]

pub mod audit;
pub mod clean;
pub mod cluster;
pub mod detours;
pub mod disk;
pub mod error;
pub mod history;
pub mod http;
pub mod log;
pub mod nemesis;
pub mod net;
pub mod process;
pub mod proxy;
pub mod rng;
pub mod run;
pub mod run_id;
pub mod shell;
pub mod workload;

pub use error::{Error, Result};
