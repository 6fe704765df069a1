//! `grid status`: what a member tells of itself.

use super::target::Target;
use super::{Failure, Result, block_on, say};
use clap::Args;

/// Show a member, its cluster and its structures
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) fn run(self) -> Result {
        block_on(async {
            let json = self.target.connect().await?.status().await?;
            if self.target.json {
                return say(json);
            }
            let status: grid_node::status::Status = serde_json::from_str(&json).map_err(|e| {
                Failure::new(format!("the member tells something else than a status: {e}"))
            })?;
            say(status)
        })
    }
}
