//! From a pipeline to tasklets: each segment (a source or stateful stage with the stateless chain
//! behind it) becomes one tasklet per worker.

use crate::error::JobError;
use crate::job::Config;
pub(crate) use crate::metrics::StageCell;
use crate::metrics::{StageEntry, StageKind};
use crate::pipeline::graph::Graph;
use crate::tasklet::Tasklet;
use crate::tasklet::notify::Notify;
use crate::time::align::{Aligned, Alignment};
use grid_core::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What building a flow on one worker may use.
pub struct BuildCx<'a> {
    /// The worker it is built for, `0 .. config.workers`.
    pub worker: usize,
    /// Settings of the job.
    pub config: &'a Config,
    plan: &'a mut Plan,
    group: usize,
    next_stage: usize,
    origin: Option<Arc<StageCell>>,
    label: Option<String>,
}

/// Everything that is planned so far.
pub(crate) struct Plan {
    pub(crate) tasklets: Vec<Vec<Box<dyn Tasklet>>>,
    pub(crate) stages: Vec<StageEntry>,
    pub(crate) notifies: Vec<Arc<Notify>>,
    alignments: HashMap<usize, Arc<Alignment>>,
    /// Whether the edges are received from, and what sends to them.
    edges: Vec<(Arc<AtomicBool>, String)>,
}

impl Plan {
    pub(crate) fn of(graph: Graph, config: &Config) -> Result<Plan, JobError> {
        if config.workers == 0 || config.partitions == 0 {
            let error = Error::with(Kind::Invalid, "a job needs workers and partitions");
            return Err(JobError::new("plan", error));
        }
        let mut plan = Plan {
            tasklets: (0..config.workers).map(|_| Vec::new()).collect(),
            stages: Vec::new(),
            notifies: (0..config.workers).map(|_| Arc::default()).collect(),
            alignments: HashMap::new(),
            edges: Vec::new(),
        };
        let groups = graph.groups();
        if graph.segments.is_empty() {
            let error = Error::with(Kind::Invalid, "the pipeline has no sink");
            return Err(JobError::new("plan", error));
        }
        for mut segment in graph.segments {
            let group = groups[segment.group];
            let first = plan.stages.len();
            for worker in 0..config.workers {
                let mut cx = BuildCx {
                    worker,
                    config,
                    plan: &mut plan,
                    group,
                    next_stage: first,
                    origin: None,
                    label: None,
                };
                let built = (segment.build)(&mut cx);
                let label = cx.label.take().unwrap_or_default();
                let tasklet = built.map_err(|error| JobError::new(label, error))?;
                plan.tasklets[worker].push(tasklet);
            }
        }
        plan.check_names()?;
        plan.check_edges()?;
        Ok(plan)
    }

    /// Nothing may be sent where nobody takes it: it would fill the queue and stop the job.
    fn check_edges(&self) -> Result<(), JobError> {
        match self.edges.iter().find(|(received, _)| !received.load(Relaxed)) {
            None => Ok(()),
            Some((_, stage)) => {
                let text = "a stage behind it has no sink: end each with `write`";
                Err(JobError::new(stage.as_str(), Error::with(Kind::Invalid, text)))
            }
        }
    }

    fn check_names(&self) -> Result<(), JobError> {
        let stateful = self.stages.iter().filter(|stage| stage.kind == StageKind::Stateful);
        let mut seen = std::collections::HashSet::new();
        for stage in stateful {
            if stage.name.is_empty() || !seen.insert(&stage.name) {
                let error = Error::with(Kind::Invalid, "names of stages must differ");
                return Err(JobError::new(stage.name.clone(), error));
            }
        }
        Ok(())
    }
}

impl BuildCx<'_> {
    fn stage(&mut self, name: &str, kind: StageKind) -> Arc<StageCell> {
        let cell = Arc::new(StageCell::default());
        if self.next_stage == self.plan.stages.len() {
            let entry = StageEntry { name: name.to_owned(), kind, cells: Vec::new() };
            self.plan.stages.push(entry);
        }
        self.plan.stages[self.next_stage].cells.push(cell.clone());
        self.next_stage += 1;
        cell
    }

    fn origin_of(&mut self, name: &str, kind: StageKind) -> Arc<StageCell> {
        let cell = self.stage(name, kind);
        self.origin = Some(cell.clone());
        self.label = Some(name.to_owned());
        cell
    }

    pub(crate) fn origin(&mut self, name: &str) -> Arc<StageCell> {
        self.origin_of(name, StageKind::Edge)
    }

    pub(crate) fn source(&mut self, name: &str) -> Arc<StageCell> {
        self.origin_of(name, StageKind::Source)
    }

    pub(crate) fn stateful(&mut self, name: &str) -> Arc<StageCell> {
        self.origin_of(name, StageKind::Stateful)
    }

    pub(crate) fn sink(&mut self, name: &str) -> Arc<StageCell> {
        let cell = self.stage(name, StageKind::Sink);
        let label = self.label.get_or_insert_default();
        label.push_str(" > ");
        label.push_str(name);
        cell
    }

    pub(crate) fn label(&self) -> String {
        self.label.clone().unwrap_or_default()
    }

    /// Counters of the stage that the segment begins with.
    pub(crate) fn origin_cell(&self) -> Arc<StageCell> {
        self.origin.clone().unwrap_or_default()
    }

    pub(crate) fn sends_to(&mut self, received: Arc<AtomicBool>) {
        let label = self.label();
        self.plan.edges.push((received, label));
    }

    pub(crate) fn notify(&self, worker: usize) -> Arc<Notify> {
        self.plan.notifies[worker].clone()
    }

    /// The place of a source of this segment among those that it is aligned with.
    pub(crate) fn align(&mut self) -> Option<Aligned> {
        let ahead_max = i64::try_from(self.config.ahead_max?.as_millis()).unwrap_or(i64::MAX);
        let notify = self.notify(self.worker);
        let group = self
            .plan
            .alignments
            .entry(self.group)
            .or_insert_with(|| Arc::new(Alignment::new(ahead_max)));
        Some(group.join(&notify))
    }
}
