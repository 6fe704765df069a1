//! Removes what runs have left that did not end in order: their processes, mounts and network namespaces. What
//! belongs to a run whose process still lives is not touched.

use crate::error::{Error, Result};
use crate::run_id::{RunId, VARIABLE};
use crate::shell;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;

/// Something that a run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// A process, with its id and command line.
    Process(i32, String),
    /// A file system, where it is mounted.
    Mount(PathBuf),
    /// A network namespace.
    Namespace(String),
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Left::Process(id, line) => write!(f, "process {id}: {line}"),
            Left::Mount(path) => write!(f, "mount {}", path.display()),
            Left::Namespace(name) => write!(f, "network namespace {name}"),
        }
    }
}

/// What this run, or (none) all runs that have ended, left on this machine.
#[must_use]
pub fn left(run: Option<RunId>) -> Vec<Left> {
    let wanted = |id: RunId| run.map_or_else(|| !id.is_alive(), |run| run == id);
    let mut found = processes(wanted);
    found.extend(mounts(wanted));
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let ours = names.filter(|name| RunId::of_name(name).is_some_and(|(id, _)| wanted(id)));
    found.extend(ours.map(Left::Namespace));
    found
}

/// Removes one of them.
///
/// # Errors
/// If the system refuses; it is no error if it has gone meanwhile.
pub fn remove(left: &Left) -> Result<()> {
    match left {
        Left::Process(id, _) => {
            let Some(pid) = Pid::from_raw(*id) else { return Ok(()) };
            match kill_process(pid, Signal::KILL) {
                Err(error) if error != rustix::io::Errno::SRCH => Err(Error::failed(left, error)),
                _ => Ok(()),
            }
        }
        Left::Mount(path) => shell::run("umount", &["-l", &path.to_string_lossy()]).map(drop),
        Left::Namespace(name) => shell::run("ip", &["netns", "delete", name]).map(drop),
    }
}

fn processes(wanted: impl Fn(RunId) -> bool) -> Vec<Left> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = ids.filter(|id| run_of(*id).is_some_and(&wanted));
    ours.map(|id| Left::Process(id, command_line(id))).collect()
}

/// The run that started a process.
fn run_of(process: i32) -> Option<RunId> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|v| v.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn command_line(process: i32) -> String {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

fn mounts(wanted: impl Fn(RunId) -> bool) -> Vec<Left> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| line.split_once(' '));
    let ours = mounts.filter(|(source, _)| source.parse().is_ok_and(&wanted));
    let paths = ours.filter_map(|(_, rest)| rest.split(' ').next());
    paths.map(|path| Left::Mount(unescape(path).into())).collect()
}

/// The table of mounts writes white space and backslashes as three octal digits.
fn unescape(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        text.push(code.map_or('\\', char::from));
        text.push_str(if code.is_some() { &part[3..] } else { part });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Process, Spec};

    #[test]
    fn what_a_dead_run_left_is_found_and_removed_and_nothing_else() {
        // No process has this id: the kernel's limit is 4194304.
        let dead: RunId = "gf-4194999-1".parse().unwrap();
        let start = |run| {
            let spec = Spec {
                name: "sleeper".into(),
                program: "sleep".into(),
                arguments: vec!["1000".into()],
                environment: Vec::new(),
                log: "/dev/null".into(),
            };
            let mut process = Process::new(spec, run);
            process.start(None).unwrap();
            process
        };
        let (mut orphan, mut living) = (start(dead), start(RunId::own()));
        let id = i32::try_from(orphan.id().unwrap()).unwrap();
        let found = left(Some(dead));
        assert_eq!(found, [Left::Process(id, "sleep 1000".into())]);
        assert!(left(None).contains(&found[0]));
        let own = i32::try_from(living.id().unwrap()).unwrap();
        assert!(!left(None).iter().any(|l| matches!(l, Left::Process(id, _) if *id == own)));
        remove(&found[0]).unwrap();
        while orphan.ended().is_none() {
            std::thread::yield_now();
        }
        remove(&found[0]).unwrap();
        assert!(living.ended().is_none());
    }

    #[test]
    fn paths_with_blanks_are_read_back() {
        assert_eq!(unescape(r"/tmp/a\040b\134c"), r"/tmp/a b\c");
        assert_eq!(unescape("/plain"), "/plain");
    }
}
