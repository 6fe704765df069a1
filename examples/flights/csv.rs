//! Comma-separated files with a header, plain or gzipped, read line by line.
//!
//! A quoted value ends on its line: a stray quote costs one row, not the rest of the file.

use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line in bytes; a file with a longer one is something else.
const LINE_BYTES_MAX: usize = 1 << 20;
/// So many malformed rows are kept to be shown, the others only counted.
const MALFORMED_SHOWN_MAX: usize = 5;

/// Why a file cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no {name}.csv or {name}.csv.gz in {}", folder.display())]
    Missing { folder: PathBuf, name: &'static str },
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is malformed: no column `{column}` in its first line", path.display())]
    Column { path: PathBuf, column: &'static str },
    #[error("{} is malformed: line {line} has more than {LINE_BYTES_MAX} bytes", path.display())]
    Line { path: PathBuf, line: u64 },
    #[error("{} is malformed: none of its {rows} rows can be read; line {line}: {reason}", path.display())]
    Rows { path: PathBuf, rows: u64, line: u64, reason: String },
}

/// What was read of a file.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) path: PathBuf,
    pub(crate) rows: u64,
    pub(crate) malformed: u64,
    /// Line number and reason of the first malformed rows.
    pub(crate) first_malformed: Vec<(u64, String)>,
}

/// Reads `name.csv`, else `name.csv.gz`, in a folder and hands the values of the wanted columns of each row to
/// `take`, whose error says why the row is malformed. Malformed rows are reported, not fatal, unless all are.
pub(crate) fn read<const N: usize>(
    folder: &Path,
    name: &'static str,
    columns: [&'static str; N],
    mut take: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<Report, Error> {
    let path = find(folder, name)?;
    let fail = |source| Error::Io { path: path.clone(), source };
    let mut lines = Lines::open(&path).map_err(fail)?;
    lines.next(&path)?;
    let (wanted, width) = header(&path, &lines.line, columns)?;

    let mut report =
        Report { path: path.clone(), rows: 0, malformed: 0, first_malformed: Vec::new() };
    while lines.next(&path)? {
        if lines.line.is_empty() {
            continue;
        }
        report.rows += 1;
        let row =
            row(&lines.line, width).and_then(|row| take(wanted.map(|column| row[column].as_ref())));
        if let Err(reason) = row {
            report.malformed += 1;
            if report.first_malformed.len() < MALFORMED_SHOWN_MAX {
                report.first_malformed.push((lines.number, reason));
            }
        }
    }
    match report.first_malformed.first() {
        Some((line, reason)) if report.malformed == report.rows => {
            Err(Error::Rows { path, rows: report.rows, line: *line, reason: reason.clone() })
        }
        _ => Ok(report),
    }
}

/// A value as it is written to a file: quoted where it has to be.
pub(crate) fn quoted(value: &str) -> Cow<'_, str> {
    if value.contains([',', '"', '\r', '\n']) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}

fn find(folder: &Path, name: &'static str) -> Result<PathBuf, Error> {
    [format!("{name}.csv"), format!("{name}.csv.gz")]
        .into_iter()
        .map(|file| folder.join(file))
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing { folder: folder.to_owned(), name })
}

/// Where the wanted columns are, and how many columns there are.
fn header<const N: usize>(
    path: &Path,
    line: &[u8],
    columns: [&'static str; N],
) -> Result<([usize; N], usize), Error> {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let names = split(&text).unwrap_or_default();
    let mut wanted = [0; N];
    for (place, column) in wanted.iter_mut().zip(columns) {
        let found = names.iter().position(|name| name == column);
        *place = found.ok_or_else(|| Error::Column { path: path.to_owned(), column })?;
    }
    Ok((wanted, names.len()))
}

fn row(line: &[u8], width: usize) -> Result<Vec<Cow<'_, str>>, String> {
    let text = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let values = split(text)?;
    if values.len() == width {
        Ok(values)
    } else {
        Err(format!("{} fields, not {width}", values.len()))
    }
}

/// Splits a line into its values.
fn split(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    if !line.contains('"') {
        return Ok(line.split(',').map(Cow::Borrowed).collect());
    }
    let (mut values, mut rest) = (Vec::new(), line);
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(rest) => unquote(rest)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(values),
            None => return Err("text after a closing quote".to_owned()),
        }
    }
}

/// The value behind an opening quote, and what follows its closing quote.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut from = 0;
    while let Some(quote) = text[from..].find('"').map(|at| from + at) {
        if !text[quote + 1..].starts_with('"') {
            let value = &text[..quote];
            let value = if from == 0 {
                Cow::Borrowed(value)
            } else {
                Cow::Owned(value.replace("\"\"", "\""))
            };
            return Ok((value, &text[quote + 1..]));
        }
        from = quote + 2;
    }
    Err("a quote that is not closed".to_owned())
}

/// The lines of a file, one at a time, without their ends.
struct Lines {
    file: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Lines> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let gzipped = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let file: Box<dyn BufRead> = if gzipped {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Lines { file, line: Vec::new(), number: 0 })
    }

    /// Goes to the next line; false at the end of the file.
    fn next(&mut self, path: &Path) -> Result<bool, Error> {
        self.line.clear();
        self.number += 1;
        let mut limited = (&mut self.file).take(LINE_BYTES_MAX as u64 + 1);
        let bytes = limited
            .read_until(b'\n', &mut self.line)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        if bytes > LINE_BYTES_MAX {
            return Err(Error::Line { path: path.to_owned(), line: self.number });
        }
        for end in [b'\n', b'\r'] {
            if self.line.last() == Some(&end) {
                self.line.pop();
            }
        }
        Ok(bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn rows(content: &[u8]) -> (Result<Report, Error>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), content).unwrap();
        let mut rows = Vec::new();
        let report = read(folder.path(), "t", ["b", "a"], |[b, a]| {
            rows.push(format!("{a}|{b}"));
            if a == "bad" { Err("bad".to_owned()) } else { Ok(()) }
        });
        (report, rows)
    }

    fn fields(line: &str) -> Option<Vec<String>> {
        split(line).ok().map(|values| values.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn splits_quoted_and_bare_values() {
        for (line, values) in [
            ("a,b", vec!["a", "b"]),
            ("", vec![""]),
            (",", vec!["", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"say \"\"hi\"\"\",\"\"", vec!["say \"hi\"", ""]),
            ("\"\"\"\"", vec!["\""]),
            ("a\"b,c", vec!["a\"b", "c"]),
            ("é,\"ü,\"", vec!["é", "ü,"]),
        ] {
            assert_eq!(fields(line).unwrap(), values, "{line}");
        }
        for line in ["\"a", "\"a\"b,c", "\"a\"\"", "a,\""] {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_split_again() {
        for value in ["", "plain", "a,b", "\"", "\"a\"\",\""] {
            assert_eq!(fields(&quoted(value)).unwrap(), [value]);
        }
    }

    #[test]
    fn columns_are_found_by_name_behind_mark_and_carriage_return() {
        let (report, rows) = rows("\u{feff}a,x,b\r\n1,2,3\r\n\r\n4,5,6".as_bytes());
        assert_eq!(rows, ["1|3", "4|6"]);
        let report = report.unwrap();
        assert_eq!((report.rows, report.malformed), (2, 0));
    }

    #[test]
    fn malformed_rows_are_counted_and_the_first_shown_by_line() {
        let mut content = b"a,b\nbad,1\n\n1\n\"1,2\n1,2,3\n\xff,1\nbad,2\n1,1\n".to_vec();
        let (report, read) = rows(&content);
        let report = report.unwrap();
        assert_eq!((report.rows, report.malformed), (7, 6));
        let lines: Vec<u64> = report.first_malformed.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 7]);
        assert_eq!(read, ["bad|1", "bad|2", "1|1"]);

        content.truncate(content.len() - 4);
        assert!(matches!(rows(&content).0, Err(Error::Rows { rows: 6, line: 2, .. })));
    }

    #[test]
    fn files_that_are_something_else_are_refused() {
        assert!(matches!(rows(b"").0, Err(Error::Column { column: "b", .. })));
        assert!(matches!(rows(b"a;b\n1;2\n").0, Err(Error::Column { .. })));
        assert!(matches!(
            rows(&vec![b'a'; LINE_BYTES_MAX + 1]).0,
            Err(Error::Line { line: 1, .. })
        ));
        assert!(matches!(rows(b"\x1f\x8bnonsense").0, Err(Error::Io { .. })));
        let missing = read(Path::new("/nowhere"), "t", ["a"], |_| Ok(()));
        assert_eq!(missing.unwrap_err().to_string(), "no t.csv or t.csv.gz in /nowhere");
        assert_eq!(rows(b"a,b\n").0.unwrap().rows, 0);
    }

    #[test]
    fn gzip_is_recognised_by_its_content_and_must_be_whole() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"a,b\n1,2\n").unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(rows(&gzip).1, ["1|2"]);
        assert!(matches!(rows(&gzip[..gzip.len() - 3]).0, Err(Error::Io { .. })));
    }
}
