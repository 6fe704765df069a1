//! The words of a line.

use crate::Value;
use std::str::{FromStr, SplitWhitespace};

/// The words of a line, from the first to the last. Errors say what was expected, and what is there.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    left: std::iter::Peekable<SplitWhitespace<'a>>,
}

impl<'a> Words<'a> {
    /// The words of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Words { left: text.split_whitespace().peekable() }
    }

    /// Whether there are no more words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.clone().next().is_none()
    }

    /// The next word.
    ///
    /// # Errors
    /// If there is none: `what` was expected.
    pub fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.left.next().ok_or_else(|| format!("expected {what}, found the end of the line"))
    }

    /// The next word, if it begins with `prefix`, without it.
    pub(super) fn next_behind(&mut self, prefix: char) -> Option<&'a str> {
        self.left.next_if(|word| word.starts_with(prefix)).map(|word| &word[prefix.len_utf8()..])
    }

    /// The next word, which must be `word`.
    ///
    /// # Errors
    /// If it is not.
    pub fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.next(&format!("`{word}`"))? {
            found if found == word => Ok(()),
            found => Err(format!("expected `{word}`, found `{found}`")),
        }
    }

    /// The next word as a number.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.next("a number")?;
        word.parse().map_err(|_| format!("expected a number, found `{word}`"))
    }

    /// The next word as a number, or `-` for none.
    ///
    /// # Errors
    /// If it is neither.
    pub fn maybe(&mut self) -> Result<Option<Value>, String> {
        match self.next("a number or `-`")? {
            "-" => Ok(None),
            word => {
                let value = word.parse();
                value.map(Some).map_err(|_| format!("expected a number or `-`, found `{word}`"))
            }
        }
    }

    /// The next word as `true` or `false`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn flag(&mut self) -> Result<bool, String> {
        let word = self.next("`true` or `false`")?;
        word.parse().map_err(|_| format!("expected `true` or `false`, found `{word}`"))
    }

    /// That there are no more words.
    ///
    /// # Errors
    /// If there are.
    pub fn finish(&mut self) -> Result<(), String> {
        match self.left.next() {
            None => Ok(()),
            Some(word) => Err(format!("expected the end of the line, found `{word}`")),
        }
    }
}
