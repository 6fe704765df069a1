//! Whole clusters on one thread from one seed: the replicas, leases and control state of the product,
//! an ideal control log, clients, and everything that can go wrong between them. An observer checks
//! the invariants after each step, and at the end whether every history of clients is linearizable and
//! everything has healed. The same seed does the same, bit for bit.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]

pub mod check;
mod client;
pub mod event;
pub mod history;
mod log;
pub mod member;
mod nemesis;
pub mod plan;
pub mod rng;
pub mod run;
pub mod search;
pub mod world;

pub use plan::Plan;
pub use rng::Rng;
pub use world::World;
