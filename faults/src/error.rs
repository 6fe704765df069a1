//! What can go wrong with the harness itself, as opposed to the members that it tests.

use std::fmt;

/// Result of a step of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the harness cannot go on.
#[derive(Debug)]
pub enum Error {
    /// This machine lacks what the run needs; nothing was tested.
    Missing(String),
    /// A step has failed.
    Failed(String),
}

impl Error {
    /// A step has failed: what it was, and why.
    pub fn failed(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Error::Failed(format!("{what}: {why}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(text) => write!(f, "this machine cannot run it: {text}"),
            Error::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
