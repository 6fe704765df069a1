//! What the user writes: a pipeline of typed stages.

pub(crate) mod graph;
pub(crate) mod keyed;
pub(crate) mod stage;

use crate::connector::source::{Source, SourceFlow};
use graph::Graph;
use parking_lot::Mutex;
use stage::Stage;
use std::sync::Arc;

/// The stages of a job, from sources to sinks.
///
/// ```
/// use grid_stream::{Pipeline, run_local, sinks, sources};
///
/// let p = Pipeline::new();
/// let (sink, squares) = sinks::collect();
/// p.read(sources::items(vec![1, 2, 3])).map(|n| n * n).filter(|n| n % 2 == 1).write(sink);
/// run_local(p, 1)?.join().wait()?;
/// assert_eq!(squares.take(), [1, 9]);
/// # Ok::<(), grid_stream::JobError>(())
/// ```
#[derive(Default)]
pub struct Pipeline {
    graph: SharedGraph,
}

pub(crate) type SharedGraph = Arc<Mutex<Graph>>;

impl Pipeline {
    /// A pipeline without stages.
    #[must_use]
    pub fn new() -> Self {
        Pipeline::default()
    }

    /// A stage that reads `source`.
    pub fn read<S: Source>(&self, source: S) -> Stage<S::Item, SourceFlow<S>> {
        let group = self.graph.lock().new_group();
        Stage::new(SourceFlow::new(source), self.graph.clone(), group)
    }

    pub(crate) fn into_graph(self) -> Graph {
        std::mem::take(&mut *self.graph.lock())
    }
}
