//! Logs: structured events on standard error, as text or JSON, with times in UTC.
//!
//! The library emits events and never decides where they go: whoever owns the process calls [`start`],
//! or sets a subscriber of its own.

use crate::config::{Level, Log, LogFormat};
use grid_core::{Error, Kind, Result};
use std::io::{IsTerminal, Write};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{Subscriber, set_global_default};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Sends the logs of this process to standard error from now on.
///
/// # Errors
/// `Invalid` if the process has a subscriber already.
pub fn start(log: Log) -> Result<()> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    set_global_default(subscriber(log, std::io::stderr, colours))
        .map_err(|_| Error::with(Kind::Invalid, "the process has a log subscriber already"))
}

/// What the grid itself logs counts as configured; the libraries below it say more than anybody wants
/// beyond `info`.
fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("openraft", level.min(LevelFilter::ERROR))
        .with_target("grid", level)
}

fn subscriber<W, O>(log: Log, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: Fn() -> O + Send + Sync + 'static,
    O: Write,
    W: for<'a> MakeWriter<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let filter = filter(log.level);
    match log.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(colours).with_filter(filter);
            Box::new(tracing_subscriber::registry().with(layer))
        }
        LogFormat::Json => {
            let layer =
                layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
            Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: LogFormat) -> String {
        let sink = Sink::default();
        let writer = {
            let sink = sink.clone();
            move || sink.clone()
        };
        let log = Log { level, format };
        tracing::subscriber::with_default(subscriber(log, writer, false), || {
            tracing::info!(target: "grid_node::x", partition = 7, "took\nover");
            tracing::debug!(target: "grid_node::x", "detail");
            tracing::debug!(target: "hyper::x", "noise");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_is_one_object_per_line_with_a_utc_time() {
        let text = logged(Level::Info, LogFormat::Json);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        let event: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&event["level"], &event["partition"]), (&"INFO".into(), &7.into()));
        assert_eq!(event["message"], "took\nover");
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
    }

    #[test]
    fn the_level_counts_for_the_grid_and_not_for_the_libraries_below() {
        assert_eq!(logged(Level::Off, LogFormat::Text), "");
        assert_eq!(logged(Level::Warn, LogFormat::Text), "");
        let text = logged(Level::Trace, LogFormat::Text);
        assert!(
            text.contains("partition=7") && text.contains("detail") && !text.contains("noise"),
            "{text}"
        );
        assert!(text.split(' ').next().unwrap().ends_with('Z'), "{text}");
    }
}
