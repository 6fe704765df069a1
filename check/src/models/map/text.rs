//! Operations on some keys in words.

use super::{MapIn, MapOfKeys, MapOut};
use crate::Value;
use crate::models::register::Register;
use crate::text::{TextModel, Words};
use std::fmt;

impl fmt::Debug for MapIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapIn::Key(key, input) => write!(f, "{key}: {input:?}"),
            MapIn::PutAll(entries) => write!(f, "put-all {}", Pairs(entries)),
            MapIn::Size => f.write_str("size"),
            MapIn::Scan => f.write_str("scan"),
            MapIn::Clear => f.write_str("clear"),
        }
    }
}

impl fmt::Debug for MapOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapOut::Key(output) => output.fmt(f),
            MapOut::Size(size) => size.fmt(f),
            MapOut::Entries(entries) => fmt::Display::fmt(&Pairs(entries), f),
            MapOut::Done => f.write_str("ok"),
        }
    }
}

/// Entries as `1=10,2=20`, or `-` if there are none.
struct Pairs<'a>(&'a [(u64, Value)]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        for (place, (key, value)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

fn pairs(words: &mut Words<'_>) -> Result<Vec<(u64, Value)>, String> {
    let word = words.next("entries")?;
    if word == "-" {
        return Ok(Vec::new());
    }
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((key.parse().ok()?, value.parse().ok()?))
    };
    word.split(',')
        .map(pair)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected entries like `1=10,2=20` or `-`, found `{word}`"))
}

impl TextModel for MapOfKeys {
    const NAME: &'static str = "map";

    fn write_state(state: &Vec<(u64, Value)>) -> String {
        Pairs(state).to_string()
    }

    fn read_state(words: &mut Words<'_>) -> Result<Vec<(u64, Value)>, String> {
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let entries = pairs(words)?;
        if entries.is_sorted_by(|a, b| a.0 < b.0) {
            Ok(entries)
        } else {
            Err("the keys of a state are in ascending order".into())
        }
    }

    fn read_input(words: &mut Words<'_>) -> Result<MapIn, String> {
        Ok(match words.next("an operation")? {
            "put-all" => MapIn::PutAll(pairs(words)?),
            "size" => MapIn::Size,
            "scan" => MapIn::Scan,
            "clear" => MapIn::Clear,
            word => {
                let key = word.strip_suffix(':').and_then(|key| key.parse().ok());
                let key = key.ok_or_else(|| {
                    format!(
                        "unknown operation `{word}`: a map has put-all, size, scan, clear, and \
                         those of a register behind a key: `7: get`"
                    )
                })?;
                MapIn::Key(key, Register::read_input(words)?)
            }
        })
    }

    fn read_output(input: &MapIn, words: &mut Words<'_>) -> Result<MapOut, String> {
        match input {
            MapIn::Key(_, input) => Register::read_output(input, words).map(MapOut::Key),
            MapIn::PutAll(_) | MapIn::Clear => words.expect("ok").map(|()| MapOut::Done),
            MapIn::Size => words.number().map(MapOut::Size),
            MapIn::Scan => pairs(words).map(MapOut::Entries),
        }
    }
}
