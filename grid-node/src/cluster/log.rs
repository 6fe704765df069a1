//! The control log over openraft.

use super::control_log::{ControlLog, Pending};
use super::node::ControlNode;
use super::peers::message::{Reply, Request};
use super::raft::network::index_of;
use super::raft::{COMMAND_BYTES_MAX, Proposal};
use grid_core::control::{Command, Outcome};
use grid_core::error::{Applied, Error, Kind, Result};
use grid_core::ids::{Index, NodeId};
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// First and longest pause before another attempt.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Why an attempt came to nothing.
pub(super) enum Miss {
    /// It certainly did nothing, and another one may do better.
    Again(Error),
    /// This is the answer.
    Failed(Error),
}

/// The leader has changed: ask that one.
fn elsewhere() -> Error {
    Error::with(Kind::Disconnected, "the leader of the control log is changing")
}

fn stopped(error: &impl std::fmt::Display) -> Error {
    Error::with(Kind::Closed, format!("the control log has stopped: {error}"))
}

impl ControlNode {
    /// The error while nothing can be agreed on.
    pub(super) fn no_quorum(&self) -> Error {
        let voters = self.voters().into_iter();
        let voters: Vec<_> = voters
            .map(|node| self.peers.address(node).unwrap_or_else(|| format!("node {node}")))
            .collect();
        let text = format!(
            "who owns what cannot change until a majority of the voters is back ({})",
            voters.join(", ")
        );
        Error::with(Kind::NoQuorum, text).retry_in(Duration::from_millis(500))
    }

    /// Waits for an answer as long as there is a quorum.
    async fn while_good<T>(&self, deadline: Instant, work: impl Future<Output = T>) -> Result<T> {
        let mut good = self.quorum.watch();
        tokio::select! {
            biased;
            done = work => Ok(done),
            // An error means that the node is gone.
            _ = good.wait_for(|good| !good) => Err(self.no_quorum()),
            () = tokio::time::sleep_until(deadline) => {
                Err(Error::with(Kind::Timeout, "the control log has not answered in time"))
            }
        }
    }

    /// Repeats what certainly did nothing, until the deadline.
    async fn persist<T, F: Future<Output = Result<T, Miss>>>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut pause = PAUSE.0;
        loop {
            if !self.quorum.is_good() {
                return Err(self.no_quorum());
            }
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(Miss::Failed(error)) => return Err(error),
                Err(Miss::Again(error)) => error,
            };
            if Instant::now() + pause >= deadline {
                let detail = error.detail().unwrap_or_default().to_owned();
                return Err(Error::with(Kind::Timeout, detail));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Puts a command into the log if this node leads.
    pub(super) async fn propose_here(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<(Outcome, Index), Miss> {
        let raft = self.raft();
        let write = raft.client_write(Proposal(command));
        let written = self.while_good(deadline, write).await;
        match written.map_err(|error| Miss::Failed(error.maybe_applied()))? {
            Ok(response) => Ok((response.data, Index(response.log_id.index))),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(Miss::Again(elsewhere()))
            }
            Err(RaftError::APIError(_)) => Err(Miss::Failed(elsewhere().maybe_applied())),
            Err(RaftError::Fatal(error)) => Err(Miss::Failed(stopped(&error).maybe_applied())),
        }
    }

    /// Returns once another node than this one leads.
    async fn leader_moves(&self, from: NodeId) {
        let mut metrics = self.raft().server_metrics();
        loop {
            if metrics.borrow_watched().current_leader.is_some_and(|leader| leader != from.0) {
                return;
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await; // the log is being replaced
            }
        }
    }

    /// Waits for what the leader answers, but not longer than it leads: one that was stopped says nothing.
    async fn while_it_leads<T>(
        &self,
        leader: NodeId,
        deadline: Instant,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            done = self.while_good(deadline, work) => done,
            () = self.leader_moves(leader) => Err(elsewhere()),
        }
    }

    async fn propose_once(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<(Outcome, Index), Miss> {
        let leader = self.leader().ok_or_else(|| Miss::Again(elsewhere()))?;
        if leader == self.me.node {
            return self.propose_here(command, deadline).await;
        }
        let request = Request::Propose { group: self.group(), command };
        let ask = self.peers.call(leader, request, deadline.duration_since(Instant::now()));
        let answer = self.while_it_leads(leader, deadline, ask).await;
        match answer.map_err(|error| Miss::Failed(error.maybe_applied()))? {
            Ok(Reply::Proposed(outcome, index)) => Ok((outcome, index)),
            Ok(Reply::NotLeader(_)) => Err(Miss::Again(elsewhere())),
            Ok(other) => Err(Miss::Failed(other.unexpected().maybe_applied())),
            Err(error) => Err(again_if_harmless(error)),
        }
    }

    /// How far the log is committed, if this node leads.
    pub(super) async fn read_index_here(&self, deadline: Instant) -> Result<Index, Miss> {
        let raft = self.raft();
        let read = raft.get_read_log_id(ReadPolicy::ReadIndex);
        match self.while_good(deadline, read).await.map_err(Miss::Failed)? {
            Ok((read, _)) => Ok(index_of(Some(read.log_id()))),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                Err(Miss::Again(elsewhere()))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                Err(Miss::Again(Error::with(Kind::NoQuorum, error.to_string())))
            }
            Err(RaftError::Fatal(error)) => Err(Miss::Failed(stopped(&error))),
        }
    }

    /// Waits until this node has applied an entry.
    async fn applied_to(&self, index: Index, deadline: Instant) -> Result<()> {
        let mut applied = self.applied();
        let wait = applied.wait_for(|applied| *applied >= index);
        self.while_good(deadline, wait).await?.map(|_| ()).map_err(|e| stopped(&e))
    }

    async fn read_index_once(&self, deadline: Instant) -> Result<Index, Miss> {
        let leader = self.leader().ok_or_else(|| Miss::Again(elsewhere()))?;
        if leader == self.me.node {
            return self.read_index_here(deadline).await;
        }
        let request = Request::ReadIndex { group: self.group() };
        // A leader that died is asked for a short time only; another one is there soon.
        let within = self.timing.quorum_lost.min(deadline.duration_since(Instant::now()));
        let ask = self.peers.call(leader, request, within);
        let missed = |error: Error| match error.kind() {
            Kind::Disconnected => Miss::Again(error),
            _ => Miss::Failed(error),
        };
        match self.while_it_leads(leader, deadline, ask).await.map_err(missed)? {
            Ok(Reply::ReadIndex(index)) => Ok(index),
            Ok(Reply::NotLeader(_)) => Err(Miss::Again(elsewhere())),
            Ok(other) => Err(Miss::Failed(other.unexpected())),
            Err(error) => Err(Miss::Again(error)),
        }
    }
}

fn again_if_harmless(error: Error) -> Miss {
    let passes = matches!(error.kind(), Kind::Disconnected | Kind::Overloaded);
    if passes && error.applied() == Applied::No { Miss::Again(error) } else { Miss::Failed(error) }
}

impl ControlLog for ControlNode {
    fn propose(&self, command: Command, within: Duration) -> Pending<'_, Result<Outcome>> {
        Box::pin(async move {
            let bytes = postcard::experimental::serialized_size(&command).unwrap_or(usize::MAX);
            if bytes > COMMAND_BYTES_MAX {
                let text =
                    format!("a command of {bytes} bytes, at most {COMMAND_BYTES_MAX} are possible");
                return Err(Error::with(Kind::TooLarge, text));
            }
            let deadline = Instant::now() + within;
            let (outcome, index) =
                self.persist(deadline, || self.propose_once(command.clone(), deadline)).await?;
            self.applied_to(index, deadline).await.map_err(Error::maybe_applied)?;
            Ok(outcome)
        })
    }

    fn barrier(&self, within: Duration) -> Pending<'_, Result<Index>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            let index = self.persist(deadline, || self.read_index_once(deadline)).await?;
            self.applied_to(index, deadline).await?;
            Ok(index)
        })
    }

    fn applied(&self) -> watch::Receiver<Index> {
        self.applying.applied.subscribe()
    }

    fn leader(&self) -> Option<NodeId> {
        self.raft().server_metrics().borrow_watched().current_leader.map(NodeId)
    }

    fn voters(&self) -> Vec<NodeId> {
        self.raft().voter_ids().map(NodeId).collect()
    }
}
