//! `grid bench`: measures a running cluster.

use super::{Failure, Result};
use clap::Args;

/// Measure a cluster (not there yet)
#[derive(Debug, Args)]
#[command(hide = true, disable_help_flag = true)]
pub(super) struct Bench {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub(super) fn run(self) -> Result {
        let verb = self.arguments.first().map(|verb| format!(" {verb}")).unwrap_or_default();
        Err(Failure::new(format!("bench{verb}: this version of the binary measures nothing yet")))
    }
}
