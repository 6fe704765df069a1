//! `grid bench`: measures a running cluster.

use super::{Failure, Result, say};
use clap::{Args, Subcommand};
use grid_node::bench::map::{self, MapArgs};

/// Measure a running cluster
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Gets and sets on a map
    Map(MapArgs),
}

impl Bench {
    pub(super) fn run(self) -> Result {
        let What::Map(args) = self.what;
        let report = map::run(&args)?;
        if args.json {
            let json = serde_json::to_string(&report).map_err(|e| Failure::new(e.to_string()))?;
            return say(&json);
        }
        say(&report.to_string())
    }
}
