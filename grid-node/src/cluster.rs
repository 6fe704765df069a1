//! The control plane of a member: the control log that all members agree on, and the connections that it
//! needs. Nothing of the data is here.
//!
//! ```text
//! ControlNode   starts everything: data directory, bootstrap, consensus, and the leader's tasks
//!  ├ raft/      openraft over our own log file, state machine and messages
//!  ├ peers/     control connections between members
//!  ├ bootstrap  forms a cluster or joins one
//!  ├ voters     who votes (leader)
//!  ├ roster     what members tell one another of themselves
//!  └ controller who should hold what (leader)
//! ```
//!
//! A member hands connections whose hello says `Member` and `Control` to [`ControlNode::serve`]. It is told
//! what the log decides by a callback, in log order, and proposes through [`ControlLog`].

mod bootstrap;
mod control_log;
mod controller;
mod data_dir;
mod force;
mod leader;
mod log;
mod node;
mod peers;
mod quorum;
mod raft;
mod roster;
mod service;
#[cfg(test)]
mod tests;
mod timing;
mod view;
mod voters;

pub use control_log::{ControlLog, Pending};
pub use node::{ControlConfig, ControlNode};
pub use roster::{Brief, ClockView, CopyBrief, Heard, Share};
pub(crate) use roster::{COPIES_MAX, SHARES_MAX};
pub use timing::Timing;
pub use view::LogView;

use grid_core::control::{Command, Outcome, Record};
use grid_core::ids::{Index, MemberId, PartitionId, SessionId};
use grid_core::lease::{Beacon, BeaconReply};

/// What the log decided, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub enum ControlEvent<'a> {
    /// One command was applied. Positions without a command are not told.
    Entry {
        /// Its position.
        index: Index,
        /// The command.
        command: &'a Command,
        /// What it did.
        outcome: &'a Outcome,
        /// The records that it changed, as they are now.
        changed: &'a [(PartitionId, Record)],
    },
    /// Everything may have changed: the state was replaced by a newer one.
    Snapshot,
}

/// Is told what the log decided, on the control thread, after the state has changed. It must not block.
pub type Events = Box<dyn FnMut(ControlEvent<'_>) + Send>;

/// What the rest of the member does for the control plane. All of it is called on the control thread and must
/// not block.
pub trait Host: Send + Sync + 'static {
    /// A primary wants to know whether it still holds its lease.
    fn on_beacon(&self, from: MemberId, beacon: Beacon) -> BeaconReply;

    /// Bytes that are left of the memory budget.
    fn memory_free(&self) -> u64;

    /// The sessions that were heard of since this was asked last.
    fn sessions_heard(&self) -> Vec<SessionId>;

    /// Copies of partitions that it sends now, no more than are told to others. It may lock partitions: it is
    /// not called on the control thread.
    fn copies(&self) -> Vec<CopyBrief>;

    /// What it has of structures, as far as that is told to others. As [`Host::copies`].
    fn shares(&self) -> Vec<Share>;
}
