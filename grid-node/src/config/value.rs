//! Values as they were written, and what a setting makes of them.

use super::address::Address;
use super::problem::Origin;
use super::units::{self, BYTES_FORM, DURATION_FORM, ShowBytes, ShowDuration};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What would have been possible instead.
pub(super) type Wanted = String;

/// A value before a setting has read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text in quotes, or from the program.
    Text(String),
    /// Text from a variable or flag, which has no types: numbers, truth values and lists are in it.
    Loose(String),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Truth(bool),
    /// A list.
    List(Vec<Value>),
    /// The beginning of a section.
    Section,
    /// Of a type that no setting has, as it is shown.
    Other(String),
}

/// A value with its key and place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Characters of a value that are shown in a message.
const SHOWN_CHARS_MAX: usize = 60;

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(text) | Value::Loose(text) => {
                let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                let cut = if shown.len() < text.len() { " .." } else { "" };
                write!(f, "{shown:?}{cut}")
            }
            Value::Whole(n) => write!(f, "{n}"),
            Value::Truth(truth) => write!(f, "{truth}"),
            Value::List(list) => write!(f, "a list of {}", list.len()),
            Value::Section => f.write_str("a section"),
            Value::Other(shown) => f.write_str(shown),
        }
    }
}

impl Value {
    pub(super) fn text(&self) -> Result<&str, Wanted> {
        match self {
            Value::Text(text) | Value::Loose(text) => Ok(text),
            _ => Err("text in quotes".to_owned()),
        }
    }

    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, Wanted> {
        let number = match self {
            Value::Whole(n) => u64::try_from(*n).ok(),
            Value::Loose(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|n| range.contains(n)).ok_or_else(|| match (*range.start(), *range.end()) {
            (from, u64::MAX) => format!("a whole number from {from} on"),
            (from, to) => format!("a whole number from {from} to {to}"),
        })
    }

    pub(super) fn truth(&self) -> Result<bool, Wanted> {
        match self {
            Value::Truth(truth) => Ok(*truth),
            Value::Loose(text) if text.trim() == "true" => Ok(true),
            Value::Loose(text) if text.trim() == "false" => Ok(false),
            _ => Err("true or false".to_owned()),
        }
    }

    /// A number of bytes in a range.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Result<u64, Wanted> {
        let bytes = match self {
            Value::Whole(n) => u64::try_from(*n).ok(),
            Value::Text(text) | Value::Loose(text) => units::bytes(text),
            _ => None,
        };
        bytes.filter(|n| range.contains(n)).ok_or_else(|| {
            let (from, to) = (ShowBytes(*range.start()), ShowBytes(*range.end()));
            format!("{from} to {to}, as {BYTES_FORM}")
        })
    }

    /// A duration in a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Wanted> {
        let duration = match self {
            Value::Text(text) | Value::Loose(text) => units::duration(text),
            _ => None,
        };
        duration.filter(|d| range.contains(d)).ok_or_else(|| {
            let (from, to) = (ShowDuration(*range.start()), ShowDuration(*range.end()));
            format!("{from} to {to}, as {DURATION_FORM}")
        })
    }

    pub(super) fn address(&self) -> Result<Address, Wanted> {
        const FORM: &str = "HOST:PORT, such as 127.0.0.1:5701 or [::1]:5701";
        self.text().ok().and_then(|text| text.parse().ok()).ok_or_else(|| FORM.to_owned())
    }

    pub(super) fn addresses(&self) -> Result<Vec<Address>, Wanted> {
        const FORM: &str = "a list of HOST:PORT";
        let list = match self {
            Value::List(list) => list.iter().map(Value::address).collect(),
            Value::Loose(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| Value::Loose(item.to_owned()).address()).collect()
            }
            _ => Err(String::new()),
        };
        list.map_err(|_| FORM.to_owned())
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Wanted> {
        let word = self.text().unwrap_or_default().trim();
        let found = words.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

/// The entries of a file, each section before what is in it.
///
/// # Errors
/// The line and what is wrong with it, if the text is no TOML.
pub(super) fn read_toml(name: &Arc<str>, text: &str) -> Result<Vec<Entry>, (Origin, String)> {
    let lines = Lines::of(text);
    let origin = |offset| Origin::File(Arc::clone(name), lines.line(offset));
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(Origin::File(Arc::clone(name), 0), |span| origin(span.start));
        (at, e.message().to_owned())
    })?;
    let mut entries = Vec::new();
    // Not by recursion, so that no file can exhaust the stack.
    let mut tables = vec![(Vec::new(), table.get_ref())];
    while let Some((path, table)) = tables.pop() {
        for (key, value) in table {
            let mut path = path.clone();
            path.push(key.get_ref().to_string());
            if let DeValue::Table(inner) = value.get_ref() {
                tables.push((path.clone(), inner));
            }
            let origin = origin(key.span().start);
            entries.push(Entry { path, value: value_of(value.get_ref()), origin });
        }
    }
    Ok(entries)
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or_else(|_| Value::Other(n.as_str().to_owned()), Value::Whole),
        DeValue::Float(n) => Value::Other(n.as_str().to_owned()),
        DeValue::Boolean(truth) => Value::Truth(*truth),
        DeValue::Datetime(time) => Value::Other(time.to_string()),
        DeValue::Array(list) => {
            // Lists of lists are no setting; their depth does not matter.
            let item = |v: &DeValue<'_>| match v {
                DeValue::Array(_) | DeValue::Table(_) => Value::Other("a list".to_owned()),
                v => value_of(v),
            };
            Value::List(list.iter().map(|v| item(v.get_ref())).collect())
        }
        DeValue::Table(_) => Value::Section,
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Lines(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect())
    }

    /// The line of an offset in bytes; the first is 1.
    fn line(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|newline| *newline < offset)
    }
}
