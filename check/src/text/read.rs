//! Histories from text.

use super::{TextModel, Words};
use crate::history::{History, Op, OpOf, Outcome};
use crate::span::TIME_MAX;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read};

/// The longest line, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// Why a text is no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    line: u64,
    problem: String,
}

impl ReadError {
    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ReadError {}

/// Reads histories whose model may not be known yet.
pub struct Reader<R> {
    input: R,
    /// The line that was read last, without comments; its number.
    text: String,
    line: u64,
    bytes: Vec<u8>,
    /// Whether `text` has still to be used.
    waiting: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads up to the first line that says something.
    ///
    /// # Errors
    /// If `input` fails, or is not text.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut reader =
            Reader { input, text: String::new(), line: 0, bytes: Vec::new(), waiting: false };
        reader.waiting = reader.advance()?;
        Ok(reader)
    }

    /// The name of the model, if the text says it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let mut words = self.text.split_whitespace();
        (self.waiting && words.next() == Some("history")).then(|| words.next().unwrap_or(""))
    }

    /// Reads everything: the history of each key.
    ///
    /// # Errors
    /// If the input fails, is of another model, or has a line that is no operation.
    pub fn histories<M: TextModel>(mut self) -> Result<BTreeMap<String, History<M>>, ReadError> {
        let mut initial = M::init();
        if self.model().is_some() {
            initial = read_header::<M>(&self.text).map_err(|problem| self.error(problem))?;
            self.waiting = self.advance()?;
        }
        let mut histories = BTreeMap::<String, History<M>>::new();
        while self.waiting {
            let (key, op) = read_op::<M>(&self.text).map_err(|problem| self.error(problem))?;
            match histories.get_mut(key) {
                Some(history) => history.push(op),
                None => {
                    let mut history = History::starting_at(initial.clone());
                    history.push(op);
                    histories.insert(key.to_owned(), history);
                }
            }
            self.waiting = self.advance()?;
        }
        Ok(histories)
    }

    /// Reads the next line that says something into `text`; whether there is one.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            self.bytes.clear();
            self.line += 1;
            let read = self.input.by_ref().take(LINE_MAX).read_until(b'\n', &mut self.bytes);
            let read = read.map_err(|error| self.error(format!("cannot be read: {error}")))?;
            if read == 0 {
                return Ok(false);
            }
            if read as u64 == LINE_MAX && self.bytes.last() != Some(&b'\n') {
                return Err(self.error(format!("longer than {LINE_MAX} bytes")));
            }
            let Ok(line) = str::from_utf8(&self.bytes) else {
                return Err(self.error("not UTF-8 text".into()));
            };
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                self.text.clear();
                self.text.push_str(line);
                return Ok(true);
            }
        }
    }

    fn error(&self, problem: String) -> ReadError {
        ReadError { line: self.line, problem }
    }
}

/// Reads everything: the history of each key. Without keys, there is one under the empty key.
///
/// # Errors
/// If the input fails, is of another model, or has a line that is no operation.
pub fn read<M: TextModel>(input: impl BufRead) -> Result<BTreeMap<String, History<M>>, ReadError> {
    Reader::new(input)?.histories()
}

fn read_header<M: TextModel>(line: &str) -> Result<M::State, String> {
    let mut words = Words::new(line);
    words.expect("history")?;
    let name = words.next("the name of a model")?;
    if name != M::NAME {
        return Err(format!("a history of a {name}, not of a {}", M::NAME));
    }
    let state = M::read_state(&mut words)?;
    words.finish()?;
    Ok(state)
}

fn read_op<M: TextModel>(line: &str) -> Result<(&str, OpOf<M>), String> {
    let (call, answer) = match line.split_once(" -> ") {
        Some((call, answer)) => (call, Some(answer)),
        None => (line, None),
    };
    let mut words = Words::new(call);
    let key = words.next_behind('@').unwrap_or("");
    let process = words.number().map_err(|problem| format!("process: {problem}"))?;
    let invoked = time(words.next("the time of the invocation")?)?;
    let end = words.next("the time of the answer, `?` or `!`")?;
    let input = M::read_input(&mut words)?;
    words.finish()?;
    let outcome = match (end, answer) {
        ("?", None) => Outcome::Unanswered,
        ("!", None) => Outcome::NotApplied,
        ("?" | "!", Some(_)) => return Err(format!("an answer, but `{end}` for its time")),
        (_, None) => return Err("no ` -> ` and answer, but a time of the answer".into()),
        (at, Some(answer)) => {
            let at = time(at)?;
            if at < invoked {
                return Err(format!("answered at {at}, before it was invoked at {invoked}"));
            }
            let mut words = Words::new(answer);
            let output = M::read_output(&input, &mut words)?;
            words.finish()?;
            Outcome::Answered { at, output }
        }
    };
    Ok((key, Op::new(process, invoked, input, outcome)))
}

fn time(word: &str) -> Result<u64, String> {
    match word.parse() {
        Ok(time) if time <= TIME_MAX => Ok(time),
        Ok(time) => Err(format!("time {time} is over the latest, {TIME_MAX}")),
        Err(_) => Err(format!("expected a time, found `{word}`")),
    }
}
