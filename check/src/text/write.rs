//! Histories to text.

use super::TextModel;
use crate::history::{History, OpOf, Outcome};
use std::io::{self, Write};
use std::marker::PhantomData;

/// Writes operations as they end. It does not buffer.
pub struct Writer<M: TextModel, W: Write> {
    out: W,
    line: String,
    model: PhantomData<fn(M)>,
}

impl<M: TextModel, W: Write> Writer<M, W> {
    /// Writes to `out` histories of objects that are in this state in the beginning.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, initial: &M::State) -> io::Result<Self> {
        writeln!(out, "history {} {}", M::NAME, M::write_state(initial))?;
        Ok(Writer { out, line: String::new(), model: PhantomData })
    }

    /// Writes an operation on `key`; no key is the empty one.
    ///
    /// # Errors
    /// Those of `out`; `InvalidInput` if the key has spaces, control characters or `#`.
    pub fn op(&mut self, key: &str, op: &OpOf<M>) -> io::Result<()> {
        use std::fmt::Write as _;
        self.line.clear();
        if key.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            let problem = format!("a key has no spaces, control characters or `#`: {key:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        if !key.is_empty() {
            self.line.push('@');
            self.line.push_str(key);
            self.line.push(' ');
        }
        let (process, from, input) = (op.process(), op.invoked(), op.input());
        let written = match op.outcome() {
            Outcome::Answered { at, output } => {
                writeln!(self.line, "{process} {from} {at} {input:?} -> {output:?}")
            }
            Outcome::Unanswered => writeln!(self.line, "{process} {from} ? {input:?}"),
            Outcome::NotApplied => writeln!(self.line, "{process} {from} ! {input:?}"),
        };
        written.map_err(io::Error::other)?;
        self.out.write_all(self.line.as_bytes())
    }

    /// What was written to.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.out
    }
}

/// Writes one history.
///
/// # Errors
/// Those of `out`.
pub fn write<M: TextModel>(out: impl Write, history: &History<M>) -> io::Result<()> {
    let mut writer = Writer::<M, _>::new(out, history.initial())?;
    history.ops().iter().try_for_each(|op| writer.op("", op))
}
