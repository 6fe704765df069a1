//! Operations on a queue in words.

use super::{In, Out, Queue, QueueState};
use crate::models::register::Maybe;
use crate::text::{TextModel, Words};
use std::fmt;

impl fmt::Debug for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            In::Offer(item) => write!(f, "offer {item}"),
            In::Poll => f.write_str("poll"),
            In::Peek => f.write_str("peek"),
            In::Size => f.write_str("size"),
            In::Clear => f.write_str("clear"),
        }
    }
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Out::Flag(flag) => flag.fmt(f),
            Out::Item(item) => fmt::Display::fmt(&Maybe(*item), f),
            Out::Size(size) => size.fmt(f),
            Out::Done => f.write_str("ok"),
        }
    }
}

impl fmt::Debug for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)?;
        if self.capacity < u64::MAX { write!(f, " of {}", self.capacity) } else { Ok(()) }
    }
}

impl TextModel for Queue {
    const NAME: &'static str = "queue";

    fn write_state(state: &QueueState) -> String {
        let capacity = Some(state.capacity).filter(|capacity| *capacity < u64::MAX);
        let mut text = Maybe(capacity).to_string();
        for item in &state.items {
            text.push_str(&format!(" {item}"));
        }
        text
    }

    fn read_state(words: &mut Words<'_>) -> Result<QueueState, String> {
        if words.is_empty() {
            return Ok(QueueState::unbounded());
        }
        let capacity = words.maybe()?.unwrap_or(u64::MAX);
        let mut items = Vec::new();
        while !words.is_empty() {
            items.push(words.number()?);
        }
        if items.len() as u64 > capacity {
            return Err(format!("a queue for {capacity} items cannot have {}", items.len()));
        }
        Ok(QueueState::bounded(capacity).with_items(items))
    }

    fn read_input(words: &mut Words<'_>) -> Result<In, String> {
        Ok(match words.next("an operation")? {
            "offer" => In::Offer(words.number()?),
            "poll" => In::Poll,
            "peek" => In::Peek,
            "size" => In::Size,
            "clear" => In::Clear,
            other => {
                return Err(format!(
                    "unknown operation `{other}`: a queue has offer, poll, peek, size, clear"
                ));
            }
        })
    }

    fn read_output(input: &In, words: &mut Words<'_>) -> Result<Out, String> {
        match input {
            In::Offer(_) => words.flag().map(Out::Flag),
            In::Poll | In::Peek => words.maybe().map(Out::Item),
            In::Size => words.number().map(Out::Size),
            In::Clear => words.expect("ok").map(|()| Out::Done),
        }
    }
}
