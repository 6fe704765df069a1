//! The stream engine of the grid.
//!
//! A [`Pipeline`] of typed stages is planned into cooperative tasklets on a number of workers:
//! [`run_local`] gives each worker a thread, a member drives them on its own runtimes. Keyed
//! stages are spread by the grid's own partitioning, so that the state of a key lives where the
//! map entries of that key live.
//!
//! ```
//! use grid_stream::{Pipeline, Tumbling, aggregate, run_local, sinks, sources};
//! use std::time::Duration;
//!
//! #[derive(Clone)]
//! struct Order { customer: &'static str, cents: u64, at_ms: i64 }
//!
//! let orders = vec![
//!     Order { customer: "ann", cents: 500, at_ms: 1_000 },
//!     Order { customer: "bob", cents: 300, at_ms: 1_200 },
//!     Order { customer: "ann", cents: 250, at_ms: 1_900 },
//!     Order { customer: "ann", cents: 100, at_ms: 2_050 },
//! ];
//! let p = Pipeline::new();
//! let (sink, results) = sinks::collect();
//! p.read(sources::items(orders))
//!     .filter(|order| order.cents > 0)
//!     .with_timestamps(|order| order.at_ms, Duration::from_millis(100))
//!     .key_by(|order| order.customer)
//!     .window(Tumbling::of(Duration::from_secs(1)))
//!     .aggregate((aggregate::count(), aggregate::sum(|order: &Order| order.cents)))
//!     .named("orders-per-second")
//!     .map(|window| (window.start, window.key, window.value))
//!     .write(sink);
//! let report = run_local(p, 2)?.join().wait()?;
//! assert_eq!(
//!     results.take_sorted(),
//!     [(1_000, "ann", (2, 750)), (1_000, "bob", (1, 300)), (2_000, "ann", (1, 100))],
//! );
//! assert_eq!(report.stage("orders-per-second").map(|stage| stage.late), Some(0));
//! # Ok::<(), grid_stream::JobError>(())
//! ```
//!
//! Two flows run through a job: items (`edge`, `operator`, `connector`) and progress in event time
//! (`time`): watermarks travel on the edges of the items, in order with them.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod connector;
mod edge;
mod error;
pub mod flow;
mod job;
mod key;
mod metrics;
pub mod operator;
mod pipeline;
mod plan;
mod state;
mod tasklet;
pub mod testkit;
pub mod time;

pub use aggregate::Aggregate;
pub use connector::lookup::MapLookup;
pub use connector::sink::{Sink, SinkWriter};
pub use connector::source::{Source, SourcePart};
pub use error::JobError;
pub use flow::Flow;
pub use job::{Config, Job, JobHandle, Join, Report, run_local};
pub use key::StreamKey;
pub use metrics::{Malformed, StageCell, StageKind, StageMetrics};
pub use operator::process::ProcessCx;
pub use operator::window::WindowResult;
pub use operator::window::spec::{Sliding, Tumbling, Windows};
pub use pipeline::Pipeline;
pub use pipeline::keyed::{Keyed, UnnamedProcess, UnnamedWindow, Windowed};
pub use pipeline::stage::Stage;
pub use plan::BuildCx;
pub use tasklet::notify::{Notified, Notify};
pub use tasklet::worker::Worker;
pub use tasklet::{Progress, StepCx};

/// Sources: where items come from.
pub mod sources {
    pub use crate::connector::csv::csv;
    pub use crate::connector::file::OnMalformed;
    pub use crate::connector::generate::generate;
    pub use crate::connector::json::json_lines;
    pub use crate::connector::memory::{items, iterator};
}

/// Sinks: where items go to.
pub mod sinks {
    pub use crate::connector::callback::{for_each, stdout};
    pub use crate::connector::collect::{Collected, collect};
    pub use crate::connector::csv::csv_file;
    pub use crate::connector::grid::{map, queue, topic};
    pub use crate::connector::json::json_file;
}
