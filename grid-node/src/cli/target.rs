//! The member that a command talks to.

use super::Result;
use clap::Args;
use grid_client::{Builder, Client};
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
        Ok(self.builder().connect().await?)
    }

    /// A client that is not connected yet.
    pub(super) fn builder(&self) -> Builder {
        let builder = Client::builder().address(self.addr.to_string()).cluster(&self.cluster);
        builder.name("grid-cli")
    }
}
