//! What the leader does beside leading: it takes nodes in and lets them go, decides who votes and who holds
//! what.

use super::control_log::ControlLog;
use super::controller::Controller;
use super::node::ControlNode;
use super::peers::message::{Reply, Report, Request};
use super::raft::{Place, Types};
use super::voters::{self, Seen, Step, View};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::NodeId;
use openraft::metrics::RaftMetrics;
use openraft::{ChangeMembers, Instant as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// For one command or change of the leader's own.
const OWN: Duration = Duration::from_secs(5);
/// Entries that a node may lack and yet become a voter.
const NEARLY: u64 = 200;

/// What there is while this node leads.
pub(super) struct Leading {
    since: Instant,
    controller: Controller,
    leaving: BTreeSet<u64>,
}

impl ControlNode {
    pub(super) fn is_leader(&self) -> bool {
        self.leader() == Some(self.me.node)
    }

    /// The leader that is known, and where it is.
    pub(super) fn leader_place(&self) -> Option<(NodeId, String)> {
        let leader = self.leader()?;
        let membership = self.metrics().membership_config;
        let named = || membership.get_node(&leader.0).map(|place| place.address.clone());
        Some((leader, self.peers.address(leader).or_else(named)?))
    }

    /// Leads whenever it is this node's turn.
    pub(super) async fn lead(self: Arc<Self>) {
        let mut votes = Instant::now();
        let mut tick = tokio::time::interval(self.timing.control);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !self.is_leader() {
                *self.leading.lock() = None;
                continue;
            }
            self.begin();
            if !self.quorum.is_good() {
                continue;
            }
            self.control().await;
            if self.hurry.swap(false, Ordering::Relaxed) || votes.elapsed() >= self.timing.voters {
                votes = Instant::now();
                self.look_after_voters().await;
            }
        }
    }

    fn begin(&self) {
        let mut leading = self.leading.lock();
        if leading.is_none() {
            tracing::info!("this member leads the cluster");
            let controller = Controller::new(self.timing.clone(), self.since.elapsed());
            *leading =
                Some(Leading { since: Instant::now(), controller, leaving: BTreeSet::new() });
        }
    }

    async fn control(&self) {
        let commands = {
            let mut leading = self.leading.lock();
            let state = self.applying.state.read();
            let decide = |l: &mut Leading| l.controller.decide(&state, self.since.elapsed());
            leading.as_mut().map(decide).unwrap_or_default()
        };
        for command in commands {
            if let Err(error) = self.propose(command, OWN).await {
                tracing::debug!(%error, "a decision of the controller waits");
                return;
            }
        }
    }

    /// A member has reported.
    pub(super) fn on_report(&self, report: &Report) {
        if let Some(leading) = self.leading.lock().as_mut() {
            leading.controller.report(report, self.since.elapsed());
        }
    }

    /// Sends a node the log from now on.
    pub(super) async fn take_in(&self, node: NodeId, address: String) -> Result<()> {
        let _one = self.changing.lock().await;
        let membership = self.metrics().membership_config;
        if let Some(leading) = self.leading.lock().as_mut() {
            leading.leaving.remove(&node.0);
        }
        let nodes = BTreeMap::from([(node.0, Place { address: address.clone() })]);
        let change = match membership.get_node(&node.0) {
            Some(place) if place.address == address => return Ok(()),
            // Every message says whom it is for, so that a wrong place does no harm.
            Some(_) => ChangeMembers::SetNodes(nodes),
            None => ChangeMembers::AddNodes(nodes),
        };
        self.peers.learn(node, &address);
        self.change(change).await?;
        tracing::info!(%node, address, "a node is sent the control log");
        Ok(())
    }

    /// A node wants to leave; it asks until it is out.
    pub(super) fn let_go(&self, node: NodeId) -> Reply {
        let membership = self.metrics().committed_membership_config;
        if membership.get_node(&node.0).is_none() {
            return Reply::Done;
        }
        if let Some(leading) = self.leading.lock().as_mut() {
            leading.leaving.insert(node.0);
        }
        self.hurry.store(true, Ordering::Relaxed);
        Reply::More
    }

    async fn change(&self, change: ChangeMembers<u64, Place>) -> Result<()> {
        let raft = self.raft();
        let work = tokio::time::timeout(OWN, raft.change_membership(change, true)).await;
        let failed = |text: String| Error::with(Kind::Overloaded, text).maybe_applied();
        match work {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(format!("the nodes cannot be changed now: {error}"))),
            Err(_) => Err(failed("the nodes could not be changed in time".to_owned())),
        }
    }

    async fn look_after_voters(&self) {
        let _one = self.changing.lock().await;
        let metrics = self.metrics();
        let view = {
            let leading = self.leading.lock();
            let Some(leading) = leading.as_ref() else { return };
            view_of(&metrics, leading)
        };
        self.say_if_two(&metrics, &view);
        let Some(step) = voters::next(&view, &self.timing) else { return };
        tracing::info!(?step, "the voters change");
        let result = match step {
            Step::Finish => self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await,
            Step::Voters(voters) => self.change(ChangeMembers::ReplaceAllVoters(voters)).await,
            Step::Remove(nodes) => self.change(ChangeMembers::RemoveNodes(nodes)).await,
            Step::Transfer(to) => {
                let order = self.raft().trigger().transfer_leader(to).await;
                order.map_err(|e| Error::with(Kind::Closed, e.to_string()))
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the voters could not be changed; another attempt follows");
        }
    }

    /// Says once what two members cannot do.
    fn say_if_two(&self, metrics: &RaftMetrics<Types>, view: &View) {
        let two = view.nodes.len() == 2;
        let said = self.said_two.swap(two, Ordering::Relaxed);
        if !two || said {
            return;
        }
        let voter = metrics.membership_config.voter_ids().next();
        let voter = voter.and_then(|voter| self.peers.address(NodeId(voter))).unwrap_or_default();
        tracing::info!(
            "of two members only {voter} votes: if the other one ends, the cluster goes on by itself; if \
             {voter} ends, an operator has to decide. A third member makes it safe either way"
        );
    }

    /// Regularly tells the leader that this member lives.
    pub(super) async fn report(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.timing.report);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Heard of since the last report that arrived.
        let mut heard = BTreeSet::new();
        loop {
            tick.tick().await;
            let (Some(member), Some(leader)) = (self.member(), self.leader()) else { continue };
            self.forget_strangers();
            heard.extend(self.host.sessions_heard());
            let report = Report {
                member,
                sessions: heard.iter().copied().collect(),
                memory_free: self.host.memory_free(),
                applied: *self.applying.applied.borrow(),
            };
            if leader == self.me.node {
                self.on_report(&report);
                heard.clear();
                continue;
            }
            let request = Request::Report { group: self.group(), report };
            if let Ok(Reply::Reported { quorum }) =
                self.peers.call(leader, request, self.timing.quorum_lost).await
            {
                self.quorum.leader_says(quorum);
                heard.clear();
            }
        }
    }

    /// Lets go of the connections to nodes that are no longer there.
    fn forget_strangers(&self) {
        let nodes = self.metrics().membership_config;
        let state = self.applying.state.read();
        let members: BTreeSet<_> = state.members().values().map(|info| info.node).collect();
        self.peers.keep(|node| nodes.get_node(&node.0).is_some() || members.contains(&node));
        nodes.nodes().for_each(|(node, place)| self.peers.suppose(NodeId(*node), &place.address));
    }
}

fn view_of(metrics: &RaftMetrics<Types>, leading: &Leading) -> View {
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = |node: &u64| {
        let of = metrics.replication.as_ref().and_then(|r| r.get(node));
        of.and_then(|id| id.as_ref()).map_or(0, |id| id.index)
    };
    let heard =
        |node: &u64| metrics.heartbeat.as_ref().and_then(|h| h.get(node).copied().flatten());
    let seen = |(node, place): (&u64, &Place)| {
        let silent = heard(node).map_or_else(|| leading.since.elapsed(), |at| at.elapsed());
        let caught_up = matched(node) + NEARLY >= last && heard(node).is_some();
        (*node, Seen { address: place.address.clone(), silent, caught_up })
    };
    View {
        me: metrics.id,
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(seen).collect(),
        leaving: leading.leaving.clone(),
    }
}
