//! A named network namespace.

use crate::error::{Error, Result};
use crate::shell;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

const DIRECTORY: &str = "/run/netns";

/// A network namespace, which is removed when this is dropped. The processes in it keep it alive until they
/// end, without a name.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(super) fn create(name: String) -> Result<Self> {
        shell::run("ip", &["netns", "add", &name])?;
        Ok(Namespace { name })
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into it, for good. Threads and processes that it starts from then on are
    /// there too.
    ///
    /// # Errors
    /// If the namespace has gone, or the system refuses.
    pub fn enter(&self) -> Result<()> {
        let what = format!("entering the network namespace {}", self.name);
        let file = File::open(Path::new(DIRECTORY).join(&self.name));
        let file = file.map_err(|error| Error::failed(&what, error))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Error::failed(&what, error))
    }

    /// Runs something in it, on a thread of its own.
    ///
    /// # Errors
    /// As [`Namespace::enter`].
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| self.enter().map(|()| work())).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = shell::run("ip", &["netns", "delete", &self.name]) {
            eprintln!("grid-faults: {error}");
        }
    }
}
