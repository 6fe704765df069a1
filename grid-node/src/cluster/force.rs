//! A new beginning after a majority of the voters was lost for good: an operator orders one of the survivors
//! to go on alone, and the others follow it.
//!
//! All states are states of one log, so the one that is applied furthest knows the newest record of every
//! partition. A primary acts on a smaller in-sync set only after it has applied that, so no survivor has
//! acknowledged anything on the strength of a record that none of them knows. The log begins a new life with
//! an id of its own: whoever belongs to the old one is not listened to, and must join anew.

use super::control_log::ControlLog;
use super::data_dir::Stage;
use super::node::ControlNode;
use super::peers::message::{Reply, Request};
use super::raft::{LogId, Membership, Place, Snapshot, SnapshotMeta, Vote};
use crate::entropy;
use grid_core::control::ControlState;
use grid_core::error::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// For one question to a survivor.
const QUESTION: Duration = Duration::from_secs(3);
/// For the new beginning of one of them.
const ANEW: Duration = Duration::from_secs(20);

impl ControlNode {
    /// Goes on without the voters that are lost: this node becomes the only voter of a new life of the log,
    /// which starts from the newest state that any reachable survivor has. `others` are further addresses to
    /// ask beside those that this node knows. Returns the addresses that have followed.
    ///
    /// What only the lost ones had agreed on is lost. If they come back they are refused, and must begin with
    /// empty data directories.
    ///
    /// # Errors
    /// `Invalid` while there is a quorum: then nothing may be forced. `Io`.
    pub async fn force_new_cluster(self: &Arc<Self>, others: &[String]) -> Result<Vec<String>> {
        self.refuse_if_good()?;
        let old = self.group();
        let mut newest = (self.metrics().last_applied, self.applying.state.read().clone());
        let mut survivors = Vec::new();
        for address in self.known_addresses(others) {
            match self.peers.ask(&address, Request::State, QUESTION).await {
                Ok((_, Reply::State { group, last, state })) if group == old => {
                    if last > newest.0 {
                        newest = (last, *state);
                    }
                    survivors.push(address);
                }
                Ok(_) => tracing::warn!(address, "belongs to another life of the cluster"),
                Err(error) => tracing::warn!(address, %error, "is left behind"),
            }
        }
        let (Some(last), state) = newest else {
            return Err(Error::with(Kind::Invalid, "no survivor knows anything of the cluster"));
        };
        self.refuse_if_good()?;
        let new = entropy::random().0;
        tracing::warn!(%last, ?survivors, "the control log begins a new life, by order of an operator");
        {
            let _one = self.changing.lock().await;
            self.data.reach(Stage::Forming(new))?;
            self.replace_log(Some(self.beginning(last, &state)?)).await?;
            self.set_group(new);
            self.data.reach(Stage::Member(new))?;
        }
        let mut followed = Vec::new();
        for address in survivors {
            let adopt = Request::Adopt { old, new, leader: self.me.address.clone() };
            match self.peers.ask(&address, adopt, ANEW).await {
                Ok((_, Reply::Done)) => followed.push(address),
                Ok((_, other)) => {
                    let error = other.unexpected();
                    tracing::warn!(address, %error, "does not follow");
                }
                Err(error) => tracing::warn!(address, %error, "does not follow"),
            }
        }
        Ok(followed)
    }

    fn refuse_if_good(&self) -> Result<()> {
        if self.quorum.is_good() {
            let text = "the cluster has a quorum: nothing may be forced";
            return Err(Error::with(Kind::Invalid, text));
        }
        Ok(())
    }

    fn known_addresses(&self, others: &[String]) -> BTreeSet<String> {
        let state = self.applying.state.read();
        let members = state.members().values().map(|info| info.address.clone());
        let membership = self.metrics().membership_config;
        let nodes = membership.nodes().map(|(_, place)| place.address.clone());
        let all = members.chain(nodes).chain(others.iter().cloned());
        all.filter(|address| *address != self.me.address).collect()
    }

    /// A log of which this node alone has the say.
    fn beginning(&self, last: LogId, state: &ControlState) -> Result<(Snapshot, Vote)> {
        let failed = |e: &dyn std::fmt::Display| Error::with(Kind::Internal, e.to_string());
        let me = self.me.node.0;
        let nodes = BTreeMap::from([(me, Place { address: self.me.address.clone() })]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([me])], nodes);
        let membership = membership.map_err(|e| failed(&e))?;
        let last_membership = Membership::new(Some(last), membership);
        let meta = SnapshotMeta { last_log_id: Some(last), last_membership };
        let bytes = postcard::to_stdvec(state).map_err(|e| failed(&e))?;
        // The next term is greater than that of any entry of the snapshot.
        let vote = Vote::new(last.leader_id.term, me);
        Ok((Snapshot { meta, snapshot: Arc::new(bytes) }, vote))
    }

    /// Follows a survivor into a new life of the log.
    pub(super) async fn adopt(self: &Arc<Self>, old: u64, new: u64, leader: String) -> Result<()> {
        let _one = self.changing.lock().await;
        if self.group() == new {
            return Ok(());
        }
        if self.group() != old {
            let text = "this node belongs to another life of the cluster";
            return Err(Error::with(Kind::Invalid, text));
        }
        self.refuse_if_good()?;
        tracing::warn!(leader, "the control log begins a new life, by order of an operator");
        self.data.reach(Stage::New)?;
        self.replace_log(None).await?;
        self.data.reach(Stage::Joining(new))?;
        self.set_group(new);
        let (node, address) = (self.me.node, self.me.address.clone());
        let join = Request::Join { group: new, node, address };
        let me = Arc::clone(self);
        self.spawn(async move {
            // The leader may not lead yet.
            while !matches!(
                me.peers.ask(&leader, join.clone(), QUESTION).await,
                Ok((_, Reply::Done))
            ) {
                tokio::time::sleep(me.timing.probe).await;
            }
            let mut good = me.quorum.watch();
            // An error means that the node is gone.
            let _ = good.wait_for(|good| *good).await;
            if me.barrier(ANEW).await.is_ok()
                && let Err(error) = me.data.reach(Stage::Member(new))
            {
                tracing::error!(%error, "the data directory cannot be written");
            }
        });
        Ok(())
    }
}
