//! Load generators. They speak to a running member and report throughput, latency, errors and CPU
//! time.
//!
//! [`map`] is what `grid bench map` runs, [`failover`] what `grid bench failover` does. [`generator`] is the
//! core of the first, for any protocol that has keyed gets and sets, so that other servers can be measured
//! by the same means.

pub mod failover;
pub mod generator;
pub mod keys;
pub mod map;
pub mod process;
pub mod report;
pub mod watch;

mod connection;
mod grid;
mod phases;
#[cfg(test)]
mod tests;
mod typed;
mod window;
