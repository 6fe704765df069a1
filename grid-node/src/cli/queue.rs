//! `grid queue`: single items of a queue, as text.

use super::map::show;
use super::target::Target;
use super::{Failure, Result, block_on, say};
use clap::{Args, Subcommand};
use serde_json::json;

/// Fill and empty a queue whose items are text
#[derive(Debug, Args)]
pub(super) struct Queue {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add an item at the tail; fails if the queue is full
    Offer {
        /// Name of the queue
        name: String,
        /// Item, as text
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Take the item at the head and show it
    Poll {
        /// Name of the queue
        name: String,
    },
    /// Show the number of items
    Size {
        /// Name of the queue
        name: String,
    },
}

impl Queue {
    pub(super) fn run(self) -> Result {
        let Queue { target, verb } = self;
        block_on(async {
            let client = target.connect().await?;
            let queue = |name: &str| client.queue::<String>(name);
            match verb {
                Verb::Offer { name, value } => {
                    let accepted = queue(&name).offer(&*value).await?;
                    if target.json {
                        say(json!({ "accepted": accepted }))?;
                    }
                    if accepted {
                        Ok(())
                    } else {
                        Err(Failure::new(format!("the queue '{name}' is full")))
                    }
                }
                Verb::Poll { name } => show(&target, "value", queue(&name).poll().await?),
                Verb::Size { name } => {
                    let size = queue(&name).size().await?;
                    if target.json { say(json!({ "size": size })) } else { say(size) }
                }
            }
        })
    }
}
