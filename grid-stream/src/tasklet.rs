//! Cooperative execution: a [`Tasklet`] does a small bounded piece of work per step and says what
//! came of it; a [`Worker`](worker::Worker) steps its tasklets in turn and sleeps when none has
//! anything to do.

pub(crate) mod notify;
pub(crate) mod segment;
pub(crate) mod worker;

use grid_core::Result;
use std::task::Waker;
use std::time::Instant;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing could be done; step again after a wake-up.
    None,
    /// Something was done; there may be more.
    Made,
    /// All is done; do not step again.
    Done,
}

impl Progress {
    /// `Made` if something was done, else `None`.
    #[must_use]
    pub fn of(made: bool) -> Self {
        if made { Progress::Made } else { Progress::None }
    }
}

/// A piece of a job on one worker.
pub(crate) trait Tasklet: Send {
    /// Does a bounded piece of work. Never blocks.
    fn step(&mut self, cx: &mut StepCx<'_>) -> Result<Progress>;
    /// Name of the stage for people.
    fn label(&self) -> &str;
}

/// What a step may use.
#[derive(Debug)]
pub struct StepCx<'a> {
    /// Items that the step should not exceed by much.
    pub budget: u32,
    waker: &'a Waker,
    deadline: &'a mut Option<Instant>,
}

impl<'a> StepCx<'a> {
    pub(crate) fn new(budget: u32, waker: &'a Waker, deadline: &'a mut Option<Instant>) -> Self {
        StepCx { budget, waker, deadline }
    }

    /// Wakes the worker, from any thread.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        self.waker
    }

    /// Asks for a step at `at` even if nothing else happens.
    pub fn wake_at(&mut self, at: Instant) {
        *self.deadline = Some(self.deadline.map_or(at, |d| d.min(at)));
    }
}
