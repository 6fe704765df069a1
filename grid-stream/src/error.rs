//! Why a job failed.

use grid_core::Error;

/// The failure of a job and the stage where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    stage: String,
    error: Error,
}

impl JobError {
    /// A failure of this stage.
    pub fn new(stage: impl Into<String>, error: Error) -> Self {
        JobError { stage: stage.into(), error }
    }

    /// Name of the stage; a sink follows what it is fed by: `counts > out.csv`.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// What happened there.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl std::fmt::Display for JobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stage `{}`: {}", self.stage, self.error)
    }
}

impl std::error::Error for JobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
