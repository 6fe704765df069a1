//! Files of JSON lines: one value a line, as any serde type, gzip by name.

use super::file::{APPEND_BYTES, OnMalformed, OpenFile, SharedFile, io_error, malformed};
use super::sink::{Sink, SinkWriter};
use super::source::{Read, Source, SourceCx, SourcePart};
use crate::flow::Emit;
use crate::time::{EventTime, NONE};
use grid_core::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read as _};
use std::marker::PhantomData;
use std::path::PathBuf;

/// Longest line that is read; a longer one is malformed.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// A source of the lines of a file; `.gz` is unpacked, empty lines are passed over. Several files
/// ([`JsonSource::and`]) are read as partitions of one source.
pub fn json_lines<T: DeserializeOwned + Send + 'static>(path: impl Into<PathBuf>) -> JsonSource<T> {
    JsonSource { paths: vec![path.into()], on_malformed: OnMalformed::Skip, row: PhantomData }
}

/// See [`json_lines`].
#[derive(Clone, Debug)]
pub struct JsonSource<T> {
    paths: Vec<PathBuf>,
    on_malformed: OnMalformed,
    row: PhantomData<fn() -> T>,
}

impl<T> JsonSource<T> {
    /// One more file.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// What to do with lines that are no `T`; they are skipped and counted unless said otherwise.
    #[must_use]
    pub fn on_malformed(mut self, policy: OnMalformed) -> Self {
        self.on_malformed = policy;
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> Source for JsonSource<T> {
    type Item = T;
    type Part = JsonPart<T>;

    fn name(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn split(&mut self, _: usize) -> Result<Vec<JsonPart<T>>> {
        let part = |path: &PathBuf| {
            let mut file = OpenFile::open(path)?;
            let input = std::mem::replace(&mut file.reader, Box::new(std::io::empty()));
            let reader = BufReader::with_capacity(64 << 10, input);
            let on_malformed = self.on_malformed;
            Ok(JsonPart { file, reader, line: Vec::new(), at: 0, on_malformed, row: PhantomData })
        };
        self.paths.iter().map(part).collect()
    }
}

/// One file of a [`JsonSource`].
pub struct JsonPart<T> {
    file: OpenFile,
    reader: BufReader<Box<dyn std::io::Read + Send>>,
    line: Vec<u8>,
    at: u64,
    on_malformed: OnMalformed,
    row: PhantomData<fn() -> T>,
}

impl<T> JsonPart<T> {
    /// Reads the next line. `Ok(None)` at the end, `Ok(Some(false))` if it is too long.
    fn next_line(&mut self) -> std::io::Result<Option<bool>> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        self.at += 1;
        if read == 0 {
            return Ok(None);
        }
        if read <= LINE_BYTES_MAX {
            return Ok(Some(true));
        }
        self.line.clear();
        self.reader.skip_until(b'\n')?;
        Ok(Some(false))
    }
}

impl<T: DeserializeOwned + Send + 'static> SourcePart for JsonPart<T> {
    type Item = T;

    fn read<E: Emit<T>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E) -> Result<Read> {
        for _ in 0..cx.budget() {
            let line = self.next_line();
            let line =
                line.map_err(|e| io_error(format!("{} line {}", self.file.place, self.at), &e));
            let (policy, place, at) = (self.on_malformed, &self.file.place, self.at);
            match line? {
                None => return Ok(Read::Done),
                Some(false) => malformed(policy, cx, place, at, &"the line is too long")?,
                Some(true) if self.line.trim_ascii().is_empty() => {}
                Some(true) => match serde_json::from_slice(&self.line) {
                    Ok(row) => out.emit(row, NONE),
                    Err(error) => malformed(policy, cx, place, at, &error)?,
                },
            }
        }
        Ok(Read::More)
    }

    fn position(&self) -> (u64, u64) {
        self.file.position()
    }
}

/// A sink into a file, a JSON value a line. The lines of different workers are in no order.
pub fn json_file(path: impl Into<PathBuf>) -> JsonSink {
    JsonSink { path: path.into(), file: None }
}

/// See [`json_file`].
pub struct JsonSink {
    path: PathBuf,
    file: Option<SharedFile>,
}

impl<T: Serialize> Sink<T> for JsonSink {
    type Writer = JsonWriter;

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, worker: usize) -> Result<JsonWriter> {
        if worker == 0 {
            self.file = Some(SharedFile::create(&self.path)?);
        }
        let file = self.file.clone().ok_or_else(|| Error::new(Kind::Internal))?;
        Ok(JsonWriter { file, lines: Vec::new() })
    }
}

/// Writes on one worker.
pub struct JsonWriter {
    file: SharedFile,
    lines: Vec<u8>,
}

impl<T: Serialize> SinkWriter<T> for JsonWriter {
    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        serde_json::to_writer(&mut self.lines, &item)
            .map_err(|e| Error::with(Kind::Malformed, e.to_string()))?;
        self.lines.push(b'\n');
        if self.lines.len() >= APPEND_BYTES {
            self.file.append(b"", &mut self.lines, false)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.append(b"", &mut self.lines, true)
    }
}
