//! `grid job`: not there yet. The name is taken, so that scripts get a plain answer, and hidden, so that
//! nobody is promised anything.

use super::{Failure, Result};
use clap::Args;

/// Stream jobs (not there yet)
#[derive(Debug, Args)]
#[command(hide = true, disable_help_flag = true)]
pub(super) struct Job {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

impl Job {
    pub(super) fn run(self) -> Result {
        let verb = self.arguments.first().map(|verb| format!(" {verb}")).unwrap_or_default();
        Err(Failure::new(format!("job{verb}: this version of the binary runs no stream jobs yet")))
    }
}
