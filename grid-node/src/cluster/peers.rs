//! Control connections between members: one per ordered pair, opened by who asks. Many questions are under
//! way on it at once, each with a number and a deadline.
//!
//! Connections carry nothing that is not repeated: a lost one fails the questions on it, and the next
//! question opens another, with a back-off.

mod link;
pub(in crate::cluster) mod message;
mod server;

pub(in crate::cluster) use server::{Service, serve};

use super::timing::Timing;
use grid_core::control::ClusterConfig;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, NodeId};
use grid_core::wire::hello::{Hello, MemberHello, PeerKind, Plane};
use message::{Reply, Request};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Largest message, in bytes.
pub(in crate::cluster) const FRAME_BYTES_MAX: usize = 64 << 20;
/// Questions that wait for a connection, or to be written to it.
const QUEUE_MAX: usize = 1024;

/// A question on its way.
struct Call {
    request: Request,
    reply: oneshot::Sender<Result<Reply>>,
}

/// What this member says of itself.
pub(in crate::cluster) struct Identity {
    pub(in crate::cluster) cluster: String,
    pub(in crate::cluster) node: NodeId,
    pub(in crate::cluster) address: String,
    pub(in crate::cluster) config: ClusterConfig,
    pub(in crate::cluster) member: OnceLock<MemberId>,
}

impl Identity {
    fn hello(&self) -> Hello {
        let member = MemberHello {
            node: self.node,
            member: self.member.get().copied(),
            address: self.address.clone(),
            plane: Plane::Control,
            config: self.config.clone(),
        };
        Hello {
            cluster: self.cluster.clone(),
            kind: PeerKind::Member(member),
            name: self.address.clone(),
            session: None,
            table: grid_core::Index(u64::MAX),
        }
    }

    /// Checks that another member is of this cluster, and configured alike.
    ///
    /// # Errors
    /// `WrongCluster` or `Invalid`, with every difference.
    pub(in crate::cluster) fn admit(&self, cluster: &str, theirs: &ClusterConfig) -> Result<()> {
        if cluster != self.cluster {
            let text = format!("this is cluster '{}', the caller's is '{cluster}'", self.cluster);
            return Err(Error::with(Kind::WrongCluster, text));
        }
        let own = &self.config;
        let pairs = [
            ("partitions", u32::from(own.partitions), u32::from(theirs.partitions)),
            ("sync backups", own.sync_backups.into(), theirs.sync_backups.into()),
            ("async backups", own.async_backups.into(), theirs.async_backups.into()),
            ("members in sync at least", own.min_in_sync.into(), theirs.min_in_sync.into()),
            ("lease in milliseconds", own.lease_ms, theirs.lease_ms),
        ];
        let differ = pairs.iter().filter(|(_, own, theirs)| own != theirs);
        let differ: Vec<_> = differ
            .map(|(what, own, theirs)| format!("{what}: {own} here, {theirs} there"))
            .collect();
        if differ.is_empty() {
            return Ok(());
        }
        let text = format!(
            "member {} of cluster '{cluster}' is configured otherwise ({})",
            self.address,
            differ.join("; ")
        );
        Err(Error::with(Kind::Invalid, text))
    }
}

/// See the module documentation.
pub(in crate::cluster) struct Peers {
    pub(in crate::cluster) me: Arc<Identity>,
    timing: Timing,
    book: Arc<Mutex<HashMap<NodeId, String>>>,
    links: Mutex<HashMap<NodeId, mpsc::Sender<Call>>>,
    runtime: Handle,
    /// Nodes that are out of reach, for tests.
    #[cfg(test)]
    pub(in crate::cluster) cut: Mutex<std::collections::HashSet<NodeId>>,
    /// Nodes that do not answer, for tests.
    #[cfg(test)]
    pub(in crate::cluster) mute: Mutex<std::collections::HashSet<NodeId>>,
}

impl Peers {
    /// Connections run on the runtime that this is called on.
    pub(in crate::cluster) fn new(me: Arc<Identity>, timing: Timing) -> Self {
        Peers {
            me,
            timing,
            book: Arc::default(),
            links: Mutex::default(),
            runtime: Handle::current(),
            #[cfg(test)]
            cut: Mutex::default(),
            #[cfg(test)]
            mute: Mutex::default(),
        }
    }

    /// Remembers where a node is reached.
    pub(in crate::cluster) fn learn(&self, node: NodeId, address: &str) {
        let mut book = self.book.lock();
        if node != self.me.node && book.get(&node).is_none_or(|known| known != address) {
            book.insert(node, address.to_owned());
        }
    }

    /// Remembers where the log says that a node is reached. What the node says itself is newer.
    pub(in crate::cluster) fn suppose(&self, node: NodeId, address: &str) {
        let mut book = self.book.lock();
        if node != self.me.node && !book.contains_key(&node) {
            book.insert(node, address.to_owned());
        }
    }

    /// Where a node is reached, if that is known.
    pub(in crate::cluster) fn address(&self, node: NodeId) -> Option<String> {
        if node == self.me.node {
            return Some(self.me.address.clone());
        }
        self.book.lock().get(&node).cloned()
    }

    /// Ends the connections to nodes that are not among these.
    pub(in crate::cluster) fn keep(&self, known: impl Fn(NodeId) -> bool) {
        self.links.lock().retain(|node, _| known(*node));
        self.book.lock().retain(|node, _| known(*node));
    }

    /// Asks a node.
    ///
    /// # Errors
    /// `Disconnected` if it is known that the question did not arrive, the same as `maybe_applied` or
    /// `Timeout` if it may have; what the node refused.
    pub(in crate::cluster) async fn call(
        &self,
        node: NodeId,
        request: Request,
        within: Duration,
    ) -> Result<Reply> {
        #[cfg(test)]
        if self.cut.lock().contains(&node) {
            return Err(Error::with(Kind::Disconnected, "cut off by the test"));
        }
        #[cfg(test)]
        if self.mute.lock().contains(&node) {
            tokio::time::sleep(within).await;
            return Err(Error::with(Kind::Timeout, "silenced by the test").maybe_applied());
        }
        let (reply, answer) = oneshot::channel();
        let full =
            || Error::with(Kind::Overloaded, format!("too many questions wait for node {node}"));
        self.link(node).try_send(Call { request, reply }).map_err(|_| full())?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(result)) => result?.accepted(),
            Ok(Err(_)) => {
                Err(Error::with(Kind::Disconnected, format!("node {node}")).maybe_applied())
            }
            Err(_) => {
                let text = format!("node {node} has not answered within {within:?}");
                Err(Error::with(Kind::Timeout, text).maybe_applied())
            }
        }
    }

    fn link(&self, node: NodeId) -> mpsc::Sender<Call> {
        let mut links = self.links.lock();
        let link = links.entry(node).or_insert_with(|| {
            let (calls, queue) = mpsc::channel(QUEUE_MAX);
            let link = link::Link {
                node,
                me: Arc::clone(&self.me),
                book: Arc::clone(&self.book),
                connect: self.timing.connect,
            };
            self.runtime.spawn(link.run(queue));
            calls
        });
        link.clone()
    }

    /// Asks whoever is at an address, on a connection for that alone. Returns the node and its answer.
    ///
    /// # Errors
    /// As [`Peers::call`].
    pub(in crate::cluster) async fn ask(
        &self,
        address: &str,
        request: Request,
        within: Duration,
    ) -> Result<(NodeId, Reply)> {
        let exchange = async {
            let mut stream = link::connect(address, &self.me).await?;
            let mut out = Vec::new();
            link::encode(1, &request, &mut out)?;
            let node = stream.node;
            let reply = link::exchange(&mut stream, &out).await?;
            Ok((node, reply.accepted()?))
        };
        let late = |_| Error::with(Kind::Timeout, format!("{address} has not answered in time"));
        tokio::time::timeout(within, exchange).await.map_err(late)?
    }
}

/// A connection whose hello was accepted.
pub(in crate::cluster) struct Connected {
    stream: TcpStream,
    /// Who is there.
    pub(in crate::cluster) node: NodeId,
    /// Bytes that came behind the answer.
    rest: Vec<u8>,
}
