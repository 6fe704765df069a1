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
//! A client knows from the table which member is the primary of each partition, and has one connection to
//! each member that it needs, all in one session. Requests of all threads and tasks share the connections:
//! they are batched and pipelined by themselves. An operation that lost its connection, met a member that
//! does not serve its partition, or gets no answer for longer than a lease and some more, is sent again under
//! the same request id to whom a newer table names. It takes effect once; it is tried until its deadline; an
//! error says whether it can have been applied.
//!
//! **Order.** Operations on one key whose futures are awaited one after the other take effect in that order,
//! always. Those that are under way together are sent in the order in which they were begun, and again in
//! that order after a lost connection; but while their partition moves or is overloaded, a later one can
//! take effect before an earlier one that was refused and waits. Partitions are independent of each other.
//!
//! **Bounds.** At most 65 536 operations and 256 MiB wait at a time, and for one member its share of that, so
//! that one that is gone holds up nobody else: beyond that an operation is refused as `Overloaded`.
#![forbid(unsafe_code)]

mod ask;
mod backoff;
mod builder;
mod change;
mod client;
mod connect;
mod controls;
mod detour;
mod driver;
mod effects;
mod exchange;
mod invoke;
mod lane;
mod refresh;
mod requests;
mod route;
mod session;
mod shared;
mod state;
mod subscriptions;
mod tick;

pub use builder::Builder;
pub use client::Client;
