//! Sinks that call a function: the user's, or one that prints.

use super::sink::{Sink, SinkWriter};
use crate::time::EventTime;
use grid_core::Result;
use std::fmt::Display;
use std::io::Write;

/// Calls `each` with every item. An error fails the job.
pub fn for_each<T, C>(each: C) -> ForEach<C>
where
    C: FnMut(T) -> Result<()> + Clone + Send + 'static,
{
    ForEach { each }
}

/// See [`for_each`].
#[derive(Clone, Debug)]
pub struct ForEach<C> {
    each: C,
}

impl<T, C: FnMut(T) -> Result<()> + Clone + Send + 'static> Sink<T> for ForEach<C> {
    type Writer = ForEach<C>;

    fn name(&self) -> String {
        "for_each".into()
    }
    fn open(&mut self, _: usize) -> Result<Self::Writer> {
        Ok(ForEach { each: self.each.clone() })
    }
}

impl<T, C: FnMut(T) -> Result<()> + Clone + Send + 'static> SinkWriter<T> for ForEach<C> {
    #[inline]
    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        (self.each)(item)
    }
}

/// Prints every item to standard output, a line each.
#[must_use]
pub fn stdout() -> Stdout {
    Stdout
}

/// See [`stdout`].
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

impl<T: Display> Sink<T> for Stdout {
    type Writer = StdoutWriter;

    fn name(&self) -> String {
        "stdout".into()
    }
    fn open(&mut self, _: usize) -> Result<StdoutWriter> {
        Ok(StdoutWriter { lines: Vec::new() })
    }
}

/// Collects lines so that those of different workers do not mix.
#[derive(Debug)]
pub struct StdoutWriter {
    lines: Vec<u8>,
}

const PRINT_BYTES: usize = 16 << 10;

impl<T: Display> SinkWriter<T> for StdoutWriter {
    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        writeln!(self.lines, "{item}").map_err(|e| super::file::io_error("stdout", &e))?;
        if self.lines.len() > PRINT_BYTES {
            SinkWriter::<T>::flush(self)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&self.lines).and_then(|()| out.flush());
        self.lines.clear();
        written.map_err(|e| super::file::io_error("stdout", &e))
    }
}
