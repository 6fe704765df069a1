//! `grid status`: what a member tells of itself.

use super::target::Target;
use super::{Failure, Result, block_on, say};
use clap::Args;
use grid_core::wire::control::{Control, ControlReply};

/// Show the cluster, as the member at --addr sees it, and that member
///
/// It is answered by any member, also by one that waits for others to form a cluster or has no quorum.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) fn run(self) -> Result {
        block_on(async {
            // Without a session: it is answered where the cluster cannot agree on one, or is not formed yet.
            let reply = self.target.builder().ask(Control::Status).await?;
            let ControlReply::Status(json) = reply else {
                return Err(Failure::new(format!("the member answered {reply:?}")));
            };
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
