//! What is wrong with a configuration: every problem with its place, all of them in one error.

use grid_core::{Error, Kind};
use std::fmt;
use std::sync::Arc;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// In a file, at a line.
    File(Arc<str>, usize),
    /// By an environment variable.
    Variable(String),
    /// By a flag of the command line.
    Flag(String),
    /// By the program that embeds the member.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name, 0) => f.write_str(name),
            Origin::File(name, line) => write!(f, "{name}:{line}"),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Program => f.write_str("program"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) origin: Origin,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(origin: &Origin, text: impl Into<String>) -> Self {
        Problem { origin: origin.clone(), text: text.into() }
    }
}

/// Everything that is wrong with a configuration. Its text names the place, the key, the value and
/// what is possible, a line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// Problems that are shown; a file that is nothing but problems is cut off here.
const SHOWN_MAX: usize = 50;

impl ConfigError {
    /// The problems, if there are any.
    pub(super) fn unless_none(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        problems.dedup();
        Err(ConfigError { problems })
    }

    /// How many problems there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().take(SHOWN_MAX).enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", problem.origin, problem.text)?;
        }
        match self.problems.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Error::with(Kind::Invalid, error.to_string())
    }
}

/// The known word that is most like the given one, if any is like it at all.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_CHARS_MAX: usize = 64;
    if word.chars().count() > WORD_CHARS_MAX {
        return None;
    }
    let tail = |s: &str| s.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .filter_map(|k| {
            let whole = distance(word, k);
            // A key in the wrong section, or without one.
            let moved = if tail(word) == tail(k) { 2 } else { usize::MAX };
            let d = whole.min(moved);
            (d <= 1 + word.len() / 4).then_some((d, k))
        })
        .min()
        .map(|(_, k)| k)
}

/// Edits (insert, delete, replace a character) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        row[0] = left;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let edits = (diagonal + usize::from(x != *y)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = edits;
            left = edits;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("größe", "grösse"), 2);
    }

    #[test]
    fn the_nearest_word_is_found_if_there_is_one() {
        let known = ["cluster.name", "cluster.partitions", "bind", "limits.frame-bytes-max"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("cluster.nmae"), Some("cluster.name"));
        assert_eq!(near("limits.frame-byte-max"), Some("limits.frame-bytes-max"));
        assert_eq!(near("partitions"), Some("cluster.partitions"));
        assert_eq!(near("bnd"), Some("bind"));
        assert_eq!(near("zzz"), None);
        assert_eq!(near(&"x".repeat(10_000)), None);
    }
}
