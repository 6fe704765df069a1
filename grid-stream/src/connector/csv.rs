//! Comma-separated files: rows as any serde type, gzip by name.

use super::file::{APPEND_BYTES, OnMalformed, OpenFile, SharedFile, malformed};
use super::sink::{Sink, SinkWriter};
use super::source::{Read, Source, SourceCx, SourcePart};
use crate::flow::Emit;
use crate::time::{EventTime, NONE};
use csv::{ByteRecord, Reader, ReaderBuilder, WriterBuilder};
use grid_core::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::path::PathBuf;

/// A source of the rows of a file with a header line; `.gz` is unpacked. Several files
/// ([`CsvSource::and`]) are read as partitions of one source.
pub fn csv<T: DeserializeOwned + Send + 'static>(path: impl Into<PathBuf>) -> CsvSource<T> {
    CsvSource {
        paths: vec![path.into()],
        on_malformed: OnMalformed::Skip,
        null: None,
        delimiter: b',',
        row: PhantomData,
    }
}

/// See [`csv()`].
#[derive(Clone, Debug)]
pub struct CsvSource<T> {
    paths: Vec<PathBuf>,
    on_malformed: OnMalformed,
    null: Option<Vec<u8>>,
    delimiter: u8,
    row: PhantomData<fn() -> T>,
}

impl<T> CsvSource<T> {
    /// One more file.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// What to do with rows that are no `T`; they are skipped and counted unless said otherwise.
    #[must_use]
    pub fn on_malformed(mut self, policy: OnMalformed) -> Self {
        self.on_malformed = policy;
        self
    }

    /// Fields with this text are empty: `None` for an `Option` field.
    #[must_use]
    pub fn null(mut self, text: &str) -> Self {
        self.null = Some(text.as_bytes().to_vec());
        self
    }

    /// Another delimiter than the comma.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> Source for CsvSource<T> {
    type Item = T;
    type Part = CsvPart<T>;

    fn name(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn split(&mut self, _: usize) -> Result<Vec<CsvPart<T>>> {
        self.paths.iter().map(|path| CsvPart::open(OpenFile::open(path)?, self)).collect()
    }
}

/// One file of a [`CsvSource`].
pub struct CsvPart<T> {
    file: OpenFile,
    reader: Reader<Box<dyn std::io::Read + Send>>,
    header: ByteRecord,
    record: ByteRecord,
    scratch: ByteRecord,
    on_malformed: OnMalformed,
    null: Option<Vec<u8>>,
    row: PhantomData<fn() -> T>,
}

impl<T> CsvPart<T> {
    fn open(mut file: OpenFile, source: &CsvSource<T>) -> Result<Self> {
        let input = std::mem::replace(&mut file.reader, Box::new(std::io::empty()));
        let mut reader = ReaderBuilder::new()
            .delimiter(source.delimiter)
            .buffer_capacity(64 << 10)
            .from_reader(input);
        let header = reader.byte_headers().cloned().map_err(|e| {
            Error::with(Kind::Malformed, format!("{}: cannot read the header: {e}", file.place))
        })?;
        Ok(CsvPart {
            file,
            reader,
            header,
            record: ByteRecord::new(),
            scratch: ByteRecord::new(),
            on_malformed: source.on_malformed,
            null: source.null.clone(),
            row: PhantomData,
        })
    }

    /// Empties the fields that say "nothing".
    fn clear_nulls(&mut self) {
        let Some(null) = &self.null else { return };
        if !self.record.iter().any(|field| field == null.as_slice()) {
            return;
        }
        self.scratch.clear();
        for field in &self.record {
            self.scratch.push_field(if field == null.as_slice() { b"" } else { field });
        }
        self.scratch.set_position(self.record.position().cloned());
        std::mem::swap(&mut self.record, &mut self.scratch);
    }
}

impl<T: DeserializeOwned + Send + 'static> SourcePart for CsvPart<T> {
    type Item = T;

    fn read<E: Emit<T>>(&mut self, cx: &mut SourceCx<'_, '_>, out: &mut E) -> Result<Read> {
        for _ in 0..cx.budget() {
            let line = self.reader.position().line();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(Read::Done),
                Ok(true) => {}
                Err(error) if error.is_io_error() => {
                    let text = format!("{} line {line}: {error}", self.file.place);
                    return Err(Error::with(Kind::Io, text));
                }
                Err(error) => {
                    malformed(self.on_malformed, cx, &self.file.place, line, &error)?;
                    continue;
                }
            }
            self.clear_nulls();
            match self.record.deserialize(Some(&self.header)) {
                Ok(row) => out.emit(row, NONE),
                Err(error) => {
                    let line = self.record.position().map_or(line, csv::Position::line);
                    malformed(self.on_malformed, cx, &self.file.place, line, &error)?;
                }
            }
        }
        Ok(Read::More)
    }

    fn position(&self) -> (u64, u64) {
        self.file.position()
    }
}

/// A sink into a file with a header line. The lines of different workers are in no order.
pub fn csv_file(path: impl Into<PathBuf>) -> CsvSink {
    CsvSink { path: path.into(), file: None }
}

/// See [`csv_file`].
pub struct CsvSink {
    path: PathBuf,
    file: Option<SharedFile>,
}

impl<T: Serialize> Sink<T> for CsvSink {
    type Writer = CsvWriter;

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, worker: usize) -> Result<CsvWriter> {
        if worker == 0 {
            self.file = Some(SharedFile::create(&self.path)?);
        }
        let file = self.file.clone().ok_or_else(|| Error::new(Kind::Internal))?;
        Ok(CsvWriter { file, header: Vec::new(), lines: Vec::new() })
    }
}

/// Writes on one worker.
pub struct CsvWriter {
    file: SharedFile,
    header: Vec<u8>,
    lines: Vec<u8>,
}

impl CsvWriter {
    fn serialize<T: Serialize>(into: &mut Vec<u8>, item: &T, header: bool) -> Result<()> {
        let mut writer =
            WriterBuilder::new().has_headers(header).buffer_capacity(512).from_writer(into);
        let written = writer.serialize(item).and_then(|()| Ok(writer.flush()?));
        written.map_err(|e| Error::with(Kind::Malformed, e.to_string()))
    }
}

impl<T: Serialize> SinkWriter<T> for CsvWriter {
    fn write(&mut self, item: T, _: EventTime) -> Result<()> {
        if self.header.is_empty() {
            Self::serialize(&mut self.header, &item, true)?;
            Self::serialize(&mut self.lines, &item, false)?;
            let header = self.header.len() - self.lines.len().min(self.header.len());
            self.header.truncate(header);
        } else {
            Self::serialize(&mut self.lines, &item, false)?;
        }
        if self.lines.len() >= APPEND_BYTES {
            self.file.append(&self.header, &mut self.lines, false)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.append(&self.header, &mut self.lines, true)
    }
}
