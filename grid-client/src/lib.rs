//! The thin client of the grid: the handles of [`grid_core::handle`] over one connection per member.
//!
//! ```no_run
//! # async fn example() -> grid_core::Result<()> {
//! let client = grid_client::Client::builder().address("127.0.0.1:5701").connect().await?;
//! let orders = client.map::<u64, String>("orders");
//! orders.set(&42, "paid").await?;
//! assert_eq!(orders.get(&42).await?.as_deref(), Some("paid"));
//! # Ok(()) }
//! ```
//!
//! Requests of all threads and tasks share the connection: they are batched and pipelined by
//! themselves. An operation that lost its connection is sent again under the same request id, which
//! takes effect once, until its deadline; an error says whether it can have been applied.
#![forbid(unsafe_code)]

mod backoff;
mod builder;
mod client;
mod invoke;
mod io;
mod link;
mod subscriptions;
mod window;

pub use builder::Builder;
pub use client::Client;
