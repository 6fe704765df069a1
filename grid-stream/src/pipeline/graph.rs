//! What a pipeline has collected: segments to be built per worker, and which of them are connected.

use crate::plan::BuildCx;
use crate::tasklet::Tasklet;
use grid_core::Result;

type Build = Box<dyn FnMut(&mut BuildCx<'_>) -> Result<Box<dyn Tasklet>> + Send>;

/// One tasklet per worker.
pub(crate) struct SegmentPlan {
    pub(crate) group: usize,
    pub(crate) build: Build,
}

/// Segments and groups of connected stages.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) segments: Vec<SegmentPlan>,
    /// Parent per group; a group is its own parent unless it was merged into another one.
    parents: Vec<usize>,
}

impl Graph {
    pub(crate) fn new_group(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn root(&self, mut group: usize) -> usize {
        while self.parents[group] != group {
            group = self.parents[group];
        }
        group
    }

    pub(crate) fn merge(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[b] = a;
    }

    /// The representative of each group.
    pub(crate) fn groups(&self) -> Vec<usize> {
        (0..self.parents.len()).map(|group| self.root(group)).collect()
    }
}
