//! The control log as the rest of the member sees it.

use grid_core::control::{Command, Outcome};
use grid_core::error::Result;
use grid_core::ids::{Index, NodeId};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;

/// A future behind a pointer.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A replicated log of commands that lead to the `ControlState` of a cluster.
pub trait ControlLog: Send + Sync {
    /// Puts a command into the log, wherever its leader is, and returns what applying it did, once this
    /// member has applied it too. A command that the state machine refused is an `Ok`.
    ///
    /// # Errors
    /// `NoQuorum` if too few members are reachable; `Timeout` and others if it is not known in time. The
    /// error says whether the command may have been, or may still be, applied.
    fn propose(&self, command: Command, within: Duration) -> Pending<'_, Result<Outcome>>;

    /// Returns when this member has applied everything that was committed anywhere before the call, and up
    /// to where that is.
    ///
    /// # Errors
    /// `NoQuorum`, `Timeout`.
    fn barrier(&self, within: Duration) -> Pending<'_, Result<Index>>;

    /// Position of the last entry that this member has applied.
    fn applied(&self) -> watch::Receiver<Index>;

    /// The node that leads, as far as this one knows.
    fn leader(&self) -> Option<NodeId>;

    /// The nodes whose majority decides; while they change, all of before and after.
    fn voters(&self) -> Vec<NodeId>;
}
