//! What this node answers other members.

use super::log::Miss;
use super::node::ControlNode;
use super::peers::Service;
use super::peers::message::{RaftCall, Reply, Request, Standing};
use super::raft::snapshot::SNAPSHOT_BYTES_MAX;
use super::raft::{Snapshot, SnapshotMeta, Vote};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, NodeId};
use grid_core::wire::hello::MemberHello;
use openraft::raft::AppendEntriesResponse;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time that a forwarded command or question takes here.
const FORWARDED: Duration = Duration::from_secs(10);

/// A snapshot that comes in parts.
pub(super) struct Incoming {
    vote: Vote,
    meta: SnapshotMeta,
    bytes: Vec<u8>,
}

impl Service for ControlNode {
    fn answer_now(&self, from: &MemberHello, request: Request) -> Result<Reply, Request> {
        match request {
            Request::Beacon { from, to, beacon } => {
                if self.member() == Some(to) {
                    return Ok(Reply::Beacon(self.host.on_beacon(from, beacon)));
                }
                Ok(self.not_me(to))
            }
            Request::Look { member } if self.member() == Some(member) => {
                Ok(Reply::Look(Box::new(self.brief())))
            }
            Request::Look { member } => Ok(self.not_me(member)),
            Request::Probe { promise } => Ok(Reply::Standing(self.standing(from.node, promise))),
            other => Err(other),
        }
    }

    async fn answer(self: Arc<Self>, from: Arc<MemberHello>, request: Request) -> Reply {
        if let Err(error) = self.admit(&from, &request) {
            return error.into();
        }
        match request {
            Request::Raft { call, .. } => self.raft_call(*call).await,
            Request::Propose { command, .. } => self.leading(
                self.propose_here(command, Instant::now() + FORWARDED).await,
                |(outcome, index)| Reply::Proposed(outcome, index),
            ),
            Request::ReadIndex { .. } => self
                .leading(self.read_index_here(Instant::now() + FORWARDED).await, Reply::ReadIndex),
            Request::Join { .. } | Request::Leave { .. } | Request::Report { .. }
                if !self.is_leader() =>
            {
                Reply::NotLeader(self.leader_place())
            }
            Request::Join { node, .. } if self.is_nowhere() && node != self.me.node => {
                self.nowhere().into()
            }
            Request::Join { node, address, .. } => match self.take_in(node, address).await {
                Ok(()) => Reply::Done,
                Err(error) => error.into(),
            },
            Request::Leave { node, .. } => self.let_go(node),
            Request::Report { report, .. } => {
                self.on_report(&report);
                Reply::Reported { quorum: self.quorum.is_good() }
            }
            Request::State => self.whole_state(),
            Request::Adopt { old, new, leader } => match self.adopt(old, new, leader).await {
                Ok(()) => Reply::Done,
                Err(error) => error.into(),
            },
            Request::Beacon { .. } | Request::Probe { .. } | Request::Look { .. } => {
                Error::with(Kind::Internal, "answered elsewhere").into()
            }
        }
    }
}

impl ControlNode {
    /// Whether others are told an address that leads nowhere.
    fn is_nowhere(&self) -> bool {
        let address = self.me.address.parse::<std::net::SocketAddr>();
        address.is_ok_and(|address| address.ip().is_unspecified())
    }

    fn nowhere(&self) -> Error {
        let text = format!(
            "nobody can join a member that listens on all addresses ({}) and was not told where others reach \
             it: it needs `advertise`",
            self.me.address
        );
        Error::with(Kind::Invalid, text)
    }

    /// Refuses what is meant for another cluster or another node.
    fn admit(&self, from: &MemberHello, request: &Request) -> Result<()> {
        self.peers.learn(from.node, &from.address);
        let group = match request {
            Request::Raft { group, target, .. } => {
                if *target != self.me.node {
                    let text = format!("this is node {}, not {target}", self.me.node);
                    return Err(Error::with(Kind::Disconnected, text));
                }
                *group
            }
            Request::Propose { group, .. }
            | Request::ReadIndex { group }
            | Request::Join { group, .. }
            | Request::Leave { group, .. }
            | Request::Report { group, .. } => *group,
            Request::Beacon { .. }
            | Request::Probe { .. }
            | Request::Look { .. }
            | Request::State
            | Request::Adopt { .. } => return Ok(()),
        };
        if group != self.group() || group == 0 {
            let text = format!("node {} belongs to another life of the cluster", self.me.node);
            return Err(Error::with(Kind::Disconnected, text));
        }
        Ok(())
    }

    fn not_me(&self, to: MemberId) -> Reply {
        let text = match self.member() {
            Some(member) => format!("this is member {member}, not {to}"),
            None => format!("this is not member {to}"),
        };
        Error::with(Kind::Disconnected, text).into()
    }

    /// What this node belongs to; and whether it promises `from` to let it form a cluster.
    fn standing(&self, from: NodeId, promise: bool) -> Standing {
        let group = Some(self.group()).filter(|group| *group != 0);
        let promised = promise && group.is_none() && self.promises.give(from);
        Standing {
            node: self.me.node,
            address: self.me.address.clone(),
            group,
            leader: self.leader_place(),
            promised,
        }
    }

    fn leading<T>(&self, result: Result<T, Miss>, reply: fn(T) -> Reply) -> Reply {
        match result {
            Ok(done) => reply(done),
            Err(Miss::Again(error)) if error.kind() != Kind::Disconnected => error.into(),
            Err(Miss::Again(_)) => Reply::NotLeader(self.leader_place()),
            Err(Miss::Failed(error)) => error.into(),
        }
    }

    async fn raft_call(&self, call: RaftCall) -> Reply {
        let raft = self.raft();
        let stopped = |e: &dyn std::fmt::Display| {
            Reply::from(Error::with(Kind::Closed, format!("the control log has stopped: {e}")))
        };
        match call {
            RaftCall::Append(rpc) => match raft.append_entries(rpc).await {
                Ok(response) => {
                    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                        self.quorum.heard_leader();
                    }
                    Reply::Append(response)
                }
                Err(e) => stopped(&e),
            },
            RaftCall::Vote(rpc) => raft.vote(rpc).await.map_or_else(|e| stopped(&e), Reply::Vote),
            RaftCall::PreVote(rpc) => {
                raft.pre_vote(rpc).await.map_or_else(|e| stopped(&e), Reply::Vote)
            }
            RaftCall::Transfer(rpc) => {
                raft.handle_transfer_leader(rpc).await.map_or_else(|e| stopped(&e), Reply::Transfer)
            }
            RaftCall::Snapshot { vote, meta, offset, bytes, last } => {
                self.quorum.heard_leader();
                let whole = match self.take_part(vote, &meta, offset, &bytes, last) {
                    Ok(Some(whole)) => whole,
                    Ok(None) => return Reply::More,
                    Err(error) => return error.into(),
                };
                let Incoming { vote, meta, bytes } = whole;
                let snapshot = Snapshot { meta, snapshot: Arc::new(bytes) };
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                installed.map_or_else(|e| stopped(&e), Reply::Snapshot)
            }
        }
    }

    /// Adds a part of a snapshot; returns the whole with the last one.
    fn take_part(
        &self,
        vote: Vote,
        meta: &SnapshotMeta,
        offset: u64,
        bytes: &[u8],
        last: bool,
    ) -> Result<Option<Incoming>> {
        let mut slot = self.incoming.lock();
        if offset == 0 {
            *slot = Some(Incoming { vote, meta: meta.clone(), bytes: Vec::new() });
        }
        let fits =
            |i: &&mut Incoming| i.vote == vote && i.meta == *meta && i.bytes.len() as u64 == offset;
        let Some(incoming) = slot.as_mut().filter(fits) else {
            return Err(Error::with(Kind::Disconnected, "a part of another snapshot: begin anew"));
        };
        if incoming.bytes.len() + bytes.len() > SNAPSHOT_BYTES_MAX {
            *slot = None;
            let text = format!("a snapshot of more than {SNAPSHOT_BYTES_MAX} bytes");
            return Err(Error::with(Kind::TooLarge, text));
        }
        incoming.bytes.extend_from_slice(bytes);
        Ok(if last { slot.take() } else { None })
    }

    fn whole_state(&self) -> Reply {
        let state = self.applying.state.read().clone();
        Reply::State {
            group: self.group(),
            last: self.metrics().last_applied,
            state: Box::new(state),
        }
    }
}
