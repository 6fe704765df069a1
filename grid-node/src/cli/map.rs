//! `grid map`: single entries of a map, with keys and values as text.

use super::target::Target;
use super::{Result, block_on, remark, say};
use clap::{Args, Subcommand};
use serde_json::json;

/// Read and write a map whose keys and values are text
#[derive(Debug, Args)]
pub(super) struct Map {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the value of a key
    Get {
        /// Name of the map
        name: String,
        /// Key, as text
        key: String,
    },
    /// Write a value
    Set {
        /// Name of the map
        name: String,
        /// Key, as text
        key: String,
        /// Value, as text
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Write a value and show the old one
    Put {
        /// Name of the map
        name: String,
        /// Key, as text
        key: String,
        /// Value, as text
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Remove an entry and show its value
    Remove {
        /// Name of the map
        name: String,
        /// Key, as text
        key: String,
    },
    /// Show the number of entries
    Size {
        /// Name of the map
        name: String,
    },
}

impl Map {
    pub(super) fn run(self) -> Result {
        let Map { target, verb } = self;
        block_on(async {
            let client = target.connect().await?;
            let map = |name: &str| client.map::<String, String>(name);
            match verb {
                Verb::Get { name, key } => show(&target, "value", map(&name).get(&*key).await?),
                Verb::Set { name, key, value } => {
                    map(&name).set(&*key, &*value).await?;
                    if target.json { say(json!({ "done": true })) } else { Ok(()) }
                }
                Verb::Put { name, key, value } => {
                    show(&target, "old", map(&name).put(&*key, &*value).await?)
                }
                Verb::Remove { name, key } => show(&target, "old", map(&name).remove(&*key).await?),
                Verb::Size { name } => {
                    let size = map(&name).size().await?;
                    if target.json { say(json!({ "size": size })) } else { say(size) }
                }
            }
        })
    }
}

/// Shows a value. That there is none is an answer, not an error: nothing on standard output, null in JSON.
pub(super) fn show(target: &Target, label: &str, value: Option<String>) -> Result {
    match value {
        value if target.json => say(json!({ label: value })),
        Some(value) => say(value),
        None => {
            remark("(none)");
            Ok(())
        }
    }
}
