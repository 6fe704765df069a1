//! Histories of concurrent operations, and whether they are linearizable.
//!
//! A test records what its processes ask and are answered ([`History`]), and asks whether some
//! sequence of the operations, consistent with their times, explains all answers ([`check`]; a
//! simulator with many histories uses one [`Checker`]). What the object is, a [`Model`] says:
//!
//! | model | object | operations |
//! |---|---|---|
//! | [`Register`] | one key of a map | get, put, set, put-if-absent, replace, remove, delete, compare-and-set, add |
//! | [`MapOfKeys`] | some keys of one partition | those of a key, put-all, size, scan, clear |
//! | [`Queue`] | a bounded FIFO queue | offer, poll, peek, size, clear |
//!
//! ```
//! use grid_check::{History, Register, RegisterIn, RegisterOut, check};
//!
//! let mut history = History::<Register>::new();
//! let set = history.invoke(1, RegisterIn::Set(5), 10); // process 1, at time 10
//! history.ret(set, RegisterOut::Done, 20);
//! let lost = history.invoke(2, RegisterIn::Set(6), 30);
//! history.maybe(lost); // no answer: it may take effect later, or never
//! let get = history.invoke(1, RegisterIn::Get, 40);
//! history.ret(get, RegisterOut::Value(Some(6)), 50);
//! assert!(check(&history).is_linearizable());
//!
//! let get = history.invoke(3, RegisterIn::Get, 60);
//! history.ret(get, RegisterOut::Value(Some(5)), 70);
//! println!("{}", check(&history)); // a counterexample: 5 is stale
//! ```
//!
//! A history of many keys is linearizable if that of each key is: [`check_keyed`]. Histories of
//! queues, however long, can be searched for certain [`Anomaly`]s by [`audit`]. [`text`] writes
//! histories to files and reads them; the binary `check-history` checks such files.
//!
//! # Code map
//!
//! `history` what happened · `model` and `models/` what should · `span` an operation as the search
//! sees it · `search` and `memo` the search · `checker` when to narrow it, budgets, verdicts ·
//! `shrink` and `counterexample` why not · `text` and `models/*/text` files.

mod checker;
mod counterexample;
mod history;
mod memo;
mod model;
mod models;
mod search;
mod shrink;
mod span;
pub mod text;

pub use self::checker::{BUDGET, Checker, Keyed, Verdict, check, check_keyed};
pub use self::counterexample::Counterexample;
pub use self::history::{History, Op, OpId, OpOf, Outcome};
pub use self::model::{Decision, Model};
pub use self::models::map::{MapIn, MapOfKeys, MapOut};
pub use self::models::queue::audit::{Anomaly, audit};
pub use self::models::queue::{Queue, QueueIn, QueueOut, QueueState};
pub use self::models::register::{Register, RegisterIn, RegisterOut};
pub use self::span::{BLOCK_INITIAL, NEVER, Span, TIME_MAX, UNORDERED};

/// What a key or an item is worth in a test: a number. Checks are fastest, and violations clearest,
/// if no number is written twice.
pub type Value = u64;

#[cfg(test)]
mod tests;
