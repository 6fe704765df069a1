//! The messages of the consensus on the control connections.

use super::{LogId, Snapshot, SnapshotBytes, Types, Vote};
use crate::cluster::peers::Peers;
use crate::cluster::peers::message::{RaftCall, Reply, Request};
use grid_core::error::{Error, Kind, Result as GridResult};
use grid_core::ids::NodeId;
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a snapshot in one message: heartbeats find room in between.
const PART_BYTES: usize = 256 << 10;
/// Answers to what has to be written to a disk may take this long, whatever the heartbeat.
const DISK: Duration = Duration::from_millis(1500);

/// Makes the clients of one node.
pub(in crate::cluster) struct Network {
    pub(in crate::cluster) peers: Arc<Peers>,
    /// The cluster that this node belongs to; messages of another one are refused.
    pub(in crate::cluster) group: Arc<AtomicU64>,
}

/// Sends to one node.
pub(in crate::cluster) struct Client {
    peers: Arc<Peers>,
    group: Arc<AtomicU64>,
    target: NodeId,
    address: String,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &super::Place) -> Client {
        let target = NodeId(target);
        let (peers, group) = (Arc::clone(&self.peers), Arc::clone(&self.group));
        Client { peers, group, target, address: node.address.clone() }
    }
}

impl Client {
    async fn call(&self, call: RaftCall, within: Duration) -> GridResult<Reply> {
        let group = self.group.load(Ordering::Acquire);
        self.peers.suppose(self.target, &self.address);
        let request = Request::Raft { group, target: self.target, call: Box::new(call) };
        self.peers.call(self.target, request, within).await
    }
}

fn failed(error: &Error) -> RPCError<Types> {
    match error.kind() {
        Kind::Timeout | Kind::Overloaded => RPCError::Network(NetworkError::new(error)),
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

fn odd(reply: &Reply) -> RPCError<Types> {
    failed(&reply.unexpected())
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotBytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let within = if rpc.entries.is_empty() { option.soft_ttl() } else { DISK };
        match self.call(RaftCall::Append(rpc), within).await {
            Ok(Reply::Append(response)) => Ok(response),
            Ok(other) => Err(odd(&other)),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(RaftCall::Vote(rpc), option.hard_ttl()).await {
            Ok(Reply::Vote(response)) => Ok(response),
            Ok(other) => Err(odd(&other)),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(RaftCall::PreVote(rpc), option.hard_ttl()).await {
            Ok(Reply::Vote(response)) => Ok(response),
            Ok(other) => Err(odd(&other)),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let send = async {
            let bytes = &snapshot.snapshot;
            let mut offset = 0;
            loop {
                let end = bytes.len().min(offset + PART_BYTES);
                let call = RaftCall::Snapshot {
                    vote,
                    meta: snapshot.meta.clone(),
                    offset: offset as u64,
                    bytes: bytes[offset..end].to_vec(),
                    last: end == bytes.len(),
                };
                match self.call(call, option.hard_ttl()).await {
                    Ok(Reply::Snapshot(response)) => return Ok(response),
                    Ok(Reply::More) if end < bytes.len() => offset = end,
                    Ok(other) => return Err(StreamingError::from(odd(&other))),
                    Err(error) => return Err(StreamingError::from(failed(&error))),
                }
            }
        };
        tokio::select! {
            result = send => result,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.call(RaftCall::Transfer(rpc), option.hard_ttl()).await {
            Ok(Reply::Transfer(response)) => Ok(response),
            Ok(other) => Err(odd(&other)),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// The position of a log id, for answers to other members.
pub(in crate::cluster) fn index_of(id: Option<&LogId>) -> grid_core::ids::Index {
    grid_core::ids::Index(id.map_or(0, |id| id.index))
}
