//! What is to be seen of the control log.

use super::control_log::ControlLog;
use super::node::ControlNode;
use grid_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The control log, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogView {
    /// The node that leads, if one is known.
    pub leader: Option<NodeId>,
    /// Whether it is this one.
    pub leads: bool,
    /// Term.
    pub term: u64,
    /// Position up to which this node has applied it.
    pub applied: u64,
    /// Position up to which this node has it.
    pub last: u64,
    /// The nodes whose majority decides; while they change, all of before and after.
    pub voters: BTreeSet<NodeId>,
    /// All nodes that are sent it, and where they are reached.
    pub nodes: BTreeMap<NodeId, String>,
    /// Whether a majority of the voters answers.
    pub quorum: bool,
}

impl ControlNode {
    /// What is to be seen of the control log now.
    #[must_use]
    pub fn view(&self) -> LogView {
        let metrics = self.metrics();
        let nodes = metrics.membership_config.nodes();
        let leader = self.leader();
        LogView {
            leader,
            leads: leader == Some(self.me.node),
            term: metrics.current_term,
            applied: self.applying.applied.borrow().0,
            last: metrics.last_log_index.unwrap_or(0),
            voters: metrics.membership_config.voter_ids().map(NodeId).collect(),
            nodes: nodes.map(|(node, place)| (NodeId(*node), place.address.clone())).collect(),
            quorum: self.quorum.is_good(),
        }
    }
}
