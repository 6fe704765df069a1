//! Operations on a key in words.

use super::{In, Out, Register};
use crate::Value;
use crate::text::{TextModel, Words};
use std::fmt;

impl fmt::Debug for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            In::Get => f.write_str("get"),
            In::Contains => f.write_str("contains"),
            In::Put(value) => write!(f, "put {value}"),
            In::Set(value) => write!(f, "set {value}"),
            In::PutIfAbsent(value) => write!(f, "put-if-absent {value}"),
            In::Replace(value) => write!(f, "replace {value}"),
            In::Remove => f.write_str("remove"),
            In::Delete => f.write_str("delete"),
            In::CompareAndSet { expected, new } => {
                write!(f, "cas {} {}", Maybe(*expected), Maybe(*new))
            }
            In::Add(delta) => write!(f, "add {delta}"),
        }
    }
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Out::Done => f.write_str("ok"),
            Out::Value(value) => fmt::Display::fmt(&Maybe(*value), f),
            Out::Flag(flag) => flag.fmt(f),
        }
    }
}

/// A value, or `-`.
pub(crate) struct Maybe(pub(crate) Option<Value>);

impl fmt::Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl TextModel for Register {
    const NAME: &'static str = "register";

    fn write_state(state: &Option<Value>) -> String {
        Maybe(*state).to_string()
    }

    fn read_state(words: &mut Words<'_>) -> Result<Option<Value>, String> {
        if words.is_empty() { Ok(None) } else { words.maybe() }
    }

    fn read_input(words: &mut Words<'_>) -> Result<In, String> {
        Ok(match words.next("an operation")? {
            "get" => In::Get,
            "contains" => In::Contains,
            "put" => In::Put(words.number()?),
            "set" => In::Set(words.number()?),
            "put-if-absent" => In::PutIfAbsent(words.number()?),
            "replace" => In::Replace(words.number()?),
            "remove" => In::Remove,
            "delete" => In::Delete,
            "cas" => In::CompareAndSet { expected: words.maybe()?, new: words.maybe()? },
            "add" => In::Add(words.number()?),
            other => {
                return Err(format!(
                    "unknown operation `{other}`: a register has get, contains, put, set, \
                     put-if-absent, replace, remove, delete, cas, add"
                ));
            }
        })
    }

    fn read_output(input: &In, words: &mut Words<'_>) -> Result<Out, String> {
        match input {
            In::Set(_) | In::Delete => words.expect("ok").map(|()| Out::Done),
            In::Contains | In::CompareAndSet { .. } => words.flag().map(Out::Flag),
            In::Add(_) => Ok(Out::Value(Some(words.number()?))),
            In::Get | In::Put(_) | In::PutIfAbsent(_) | In::Replace(_) | In::Remove => {
                words.maybe().map(Out::Value)
            }
        }
    }
}
