//! The identity of a run. Whatever a run leaves on the machine while it lasts (namespaces, mounts,
//! processes) bears it, so that what a crashed run has left can be told from what a living one uses.

use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "gf";

/// Processes that a run starts have its identity in this variable of their environment.
pub const VARIABLE: &str = "FAULTS_RUN";

/// The process that runs it: its id, and when it started, since ids are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    pid: u32,
    started: u64,
}

impl RunId {
    /// The run of this process.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        RunId { pid, started: started(pid).unwrap_or(0) }
    }

    /// Whether its process still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// The run whose identity a name begins with, and the rest of the name behind a dash.
    #[must_use]
    pub fn of_name(name: &str) -> Option<(Self, &str)> {
        let mut parts = name.splitn(4, '-');
        let id = [parts.next()?, parts.next()?, parts.next()?].join("-");
        Some((id.parse().ok()?, parts.next().unwrap_or("")))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}", self.pid, self.started)
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        if parts.next() != Some(PREFIX) {
            return Err(());
        }
        let pid = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        let started = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        if parts.next().is_some() { Err(()) } else { Ok(RunId { pid, started }) }
    }
}

/// When a process started, in the kernel's ticks since boot; none if there is no such process or it has
/// ended and is only not collected yet.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything; the state is the first field behind.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_run() {
        let own = RunId::own();
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse(), Ok(own));
        let name = format!("{own}-m1");
        assert_eq!(RunId::of_name(&name), Some((own, "m1")));
        assert!(RunId::of_name("docker0").is_none() && RunId::of_name("gf-1").is_none());
        assert!("gf-1-2-3".parse::<RunId>().is_err());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_the_run() {
        let mut other = RunId::own();
        other.started += 1;
        assert!(!other.is_alive());
        assert!(!"gf-4194999-1".parse::<RunId>().unwrap().is_alive());
    }

    #[test]
    fn an_ended_process_is_not_alive() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let run = RunId { pid: child.id(), started: started(child.id()).unwrap() };
        assert!(run.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!run.is_alive());
    }
}
