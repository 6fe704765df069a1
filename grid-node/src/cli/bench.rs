//! `grid bench`: measures a running cluster.

use super::{Failure, Result, remark, say};
use clap::{Args, Subcommand};
use grid_node::bench::failover::{self, FailoverArgs};
use grid_node::bench::map::{self, MapArgs};
use serde::Serialize;
use std::fmt::Display;

/// Measure a cluster
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Gets and sets on a map of a running cluster
    Map(MapArgs),
    /// How long partitions are out of reach when a member ends or stands still; starts members of its own
    Failover(FailoverArgs),
}

impl Bench {
    pub(super) fn run(self) -> Result {
        match self.what {
            What::Map(args) => tell(&map::run(&args)?, args.json),
            What::Failover(args) => {
                let report = failover::run(&args, &mut remark)?;
                tell(&report, args.json)?;
                report.failure.map_or(Ok(()), |failure| Err(Failure::new(failure)))
            }
        }
    }
}

fn tell(report: &(impl Serialize + Display), json: bool) -> Result {
    if !json {
        return say(report);
    }
    say(serde_json::to_string(report).map_err(|e| Failure::new(e.to_string()))?)
}
