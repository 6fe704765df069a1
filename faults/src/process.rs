//! A process that is started, killed, paused and started again, with all its output in one log.

use crate::error::{Error, Result};
use crate::net::Namespace;
use crate::run_id::{RunId, VARIABLE};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How often an ending process is looked at.
const TICK: Duration = Duration::from_millis(5);

/// What to start, every time anew.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What to call it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its own variables. Of those of the harness it does not get the ones that begin with `GRID_`.
    pub environment: Vec<(String, String)>,
    /// Gets what it writes to standard output and standard error, all lives in one file.
    pub log: PathBuf,
}

/// A process, whether it runs or not. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    run: RunId,
    child: Option<Child>,
    paused: bool,
    lives: u32,
}

impl Process {
    /// One that does not run yet.
    #[must_use]
    pub fn new(spec: Spec, run: RunId) -> Self {
        Process { spec, run, child: None, paused: false, lives: 0 }
    }

    /// What it is started as.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its id; none if it does not run.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs and is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Starts it, in this namespace if there is one. Nothing happens if it runs.
    ///
    /// # Errors
    /// If the program or its log cannot be opened.
    pub fn start(&mut self, namespace: Option<&Namespace>) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let what = format!("starting {}", self.spec.name);
        let failed = |error: std::io::Error| Error::failed(&what, error);
        let mut log = self.open_log().map_err(failed)?;
        self.lives += 1;
        let Spec { program, arguments, .. } = &self.spec;
        let line = format!("{} {}", program.display(), arguments.join(" "));
        writeln!(log, "--- life {} of {}: {line}", self.lives, self.spec.name).map_err(failed)?;
        let mut command = self.command(log).map_err(failed)?;
        let child = match namespace {
            Some(namespace) => namespace.within(|| command.spawn())?,
            None => command.spawn(),
        };
        let program = self.spec.program.display();
        self.child =
            Some(child.map_err(|error| Error::failed(format!("{what}, {program}"), error))?);
        self.paused = false;
        Ok(())
    }

    fn open_log(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.spec.log)
    }

    fn command(&self, log: File) -> std::io::Result<Command> {
        let mut command = Command::new(&self.spec.program);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("GRID_") {
                command.env_remove(key);
            }
        }
        command.args(&self.spec.arguments).envs(self.spec.environment.iter().cloned());
        command.env(VARIABLE, self.run.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // An interrupt from the keyboard is for the harness, which ends its members itself.
        command.process_group(0);
        Ok(command)
    }

    /// Kills it with SIGKILL and waits until it has gone. Nothing happens if it does not run.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        self.paused = false;
        let ended = child.kill().and_then(|()| child.wait());
        ended.map(drop).map_err(|error| Error::failed(format!("killing {}", self.spec.name), error))
    }

    /// Asks it to end with SIGTERM and waits until it has; returns how it did, none if it did not run.
    ///
    /// # Errors
    /// If it has not ended in time; it is killed then.
    pub fn terminate(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        if self.child.is_none() {
            return Ok(None);
        }
        self.signal(Signal::TERM)?;
        self.resume()?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(Some(status));
            }
            std::thread::sleep(TICK);
        }
        self.kill()?;
        let what = format!("stopping {} with SIGTERM", self.spec.name);
        Err(Error::failed(what, format_args!("it has not ended within {patience:?}")))
    }

    /// Stops it with SIGSTOP: it does nothing until it is resumed, and does not know.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.paused = self.child.is_some();
        Ok(())
    }

    /// Lets a paused one go on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn resume(&mut self) -> Result<()> {
        if std::mem::take(&mut self.paused) { self.signal(Signal::CONT) } else { Ok(()) }
    }

    /// The last line of its log, and where that is.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.spec.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("its log {} ends: {}", self.spec.log.display(), last.trim())
    }

    /// If it has ended by itself since it was last looked at: how. It does not run then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        (self.child, self.paused) = (None, false);
        Some(status)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { return Ok(()) };
        let what = || format!("sending {signal:?} to {}", self.spec.name);
        kill_process(id, signal).map_err(|error| Error::failed(what(), error))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("grid-faults: {error}");
        }
    }
}
