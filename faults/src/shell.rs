//! Runs the tools of the system (`ip`, `nft`, `tc`, `mount`) and reports what they say when they fail.

use crate::error::{Error, Result};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program; returns what it printed.
///
/// # Errors
/// If it cannot be started or does not end well; the error has the command line and what it complained of.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    finish(&format!("{program} {}", arguments.join(" ")), output)
}

/// Runs a program that reads `input`; returns what it printed.
///
/// # Errors
/// As [`run`].
pub fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let what = format!("{program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Error::failed(&what, error))?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    };
    let said = finish(&what, child.wait_with_output())?;
    written.map_err(|error| Error::failed(&what, error))?;
    Ok(said)
}

/// Whether a program is there.
#[must_use]
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn finish(what: &str, output: std::io::Result<Output>) -> Result<String> {
    let output = output.map_err(|error| Error::failed(what, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::failed(what, format_args!("{}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_complaints_come_back() {
        assert_eq!(run("echo", &["a", "b"]).unwrap(), "a b\n");
        assert_eq!(feed("cat", &[], "text").unwrap(), "text");
        let error = run("ls", &["/nowhere/at/all"]).unwrap_err().to_string();
        assert!(error.starts_with("ls /nowhere/at/all: exit status"), "{error}");
        assert!(error.contains("No such file"), "{error}");
        assert!(run("no-such-program", &[]).is_err() && !has("no-such-program") && has("ls"));
    }
}
