//! The member that a command talks to.

use super::Result;
use clap::Args;
use grid_node::config::Address;

/// Where a command goes, and how it answers.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// A member of the cluster
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:5701")]
    pub(super) addr: Address,
    /// The name of the cluster
    #[arg(long, global = true, value_name = "NAME", default_value = "dev")]
    pub(super) cluster: String,
    /// Answer with one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Target {
    /// Connects as a client.
    pub(super) async fn connect(&self) -> Result<Client> {
        Err(super::Failure::new(format!("the client is not there yet ({} of {})", self.addr, self.cluster)))
    }
}

/// Stands for `grid_client::Client`.
pub(super) struct Client(grid_core::Grid);

impl Client {
    pub(super) async fn status(&self) -> grid_core::Result<String> {
        Ok(String::new())
    }
}

impl std::ops::Deref for Client {
    type Target = grid_core::Grid;

    fn deref(&self) -> &grid_core::Grid {
        &self.0
    }
}
