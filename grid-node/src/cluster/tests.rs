//! Tests of several control nodes in one process, over loopback sockets.

mod beginning;
mod failures;
mod life;

use super::*;
use crate::entropy;
use grid_core::control::{ClusterConfig, ControlState};
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{self, Hello};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than anything takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// A directory that ends with its test.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        let (a, b) = entropy::random();
        let dir = std::env::temp_dir().join(format!("grid-test-{a:x}{b:x}"));
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Default)]
struct TestHost {
    heard: Mutex<BTreeSet<SessionId>>,
}

impl Host for TestHost {
    fn on_beacon(&self, from: MemberId, beacon: Beacon) -> BeaconReply {
        BeaconReply { sent: beacon.sent, behind: Some(Index(from.0)), lease_ms: 400 }
    }

    fn memory_free(&self) -> u64 {
        1 << 30
    }

    fn copies(&self) -> Vec<CopyBrief> {
        Vec::new()
    }

    fn shares(&self) -> Vec<Share> {
        Vec::new()
    }

    fn sessions_heard(&self) -> Vec<SessionId> {
        self.heard.lock().iter().copied().collect()
    }
}

/// What a node was told.
#[derive(Default)]
struct Told {
    entries: Vec<Index>,
    snapshots: usize,
}

/// A listener that hands members to a node.
struct TestNode {
    node: Arc<ControlNode>,
    host: Arc<TestHost>,
    told: Arc<Mutex<Told>>,
    accepting: JoinHandle<()>,
}

/// A place for a node.
struct Site {
    listener: TcpListener,
    address: String,
}

impl Site {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Site { listener, address }
    }

    async fn at(address: &str) -> Self {
        loop {
            if let Ok(listener) = TcpListener::bind(address).await {
                return Site { listener, address: address.to_owned() };
            }
            tokio::task::yield_now().await;
        }
    }

    async fn several<const N: usize>() -> ([Self; N], Vec<String>) {
        let mut sites = Vec::new();
        for _ in 0..N {
            sites.push(Site::new().await);
        }
        let addresses = sites.iter().map(|site| site.address.clone()).collect();
        (sites.try_into().unwrap_or_else(|_| unreachable!()), addresses)
    }

    async fn open(self, config: ControlConfig) -> Result<TestNode> {
        let host = Arc::<TestHost>::default();
        let told = Arc::<Mutex<Told>>::default();
        let config = ControlConfig { address: self.address, ..config };
        let events: Events = {
            let told = Arc::clone(&told);
            Box::new(move |event| match event {
                ControlEvent::Entry { index, .. } => told.lock().entries.push(index),
                ControlEvent::Snapshot => told.lock().snapshots += 1,
            })
        };
        let node = ControlNode::open(config, events, host.clone()).await?;
        let accepting = tokio::spawn(accept(self.listener, Arc::clone(&node)));
        Ok(TestNode { node, host, told, accepting })
    }

    async fn start(self, config: ControlConfig) -> TestNode {
        let node = self.open(config).await.unwrap();
        within(node.node.start()).await.unwrap();
        node
    }
}

async fn accept(listener: TcpListener, node: Arc<ControlNode>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let node = Arc::clone(&node);
        connections.spawn(async move {
            let mut bytes = Vec::new();
            loop {
                match hello::decode::<Hello>(&bytes) {
                    Ok(Some((hello, used))) => {
                        let rest = bytes.split_off(used);
                        return node.serve(stream, hello, rest).await;
                    }
                    Ok(None) => {}
                    Err(error) => return Err(error),
                }
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return Ok(());
                }
            }
        });
    }
}

impl TestNode {
    /// Ends as a process does that is killed.
    async fn kill(self) {
        self.accepting.abort();
        let _ = (self.accepting).await;
        self.node.close().await;
    }

    fn member(&self) -> MemberId {
        self.node.member().unwrap()
    }

    async fn propose(&self, command: Command) -> Result<Outcome> {
        within(self.node.propose(command, LONG)).await
    }

    /// Waits until the state is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&ControlState) -> bool) {
        let mut applied = self.node.applied();
        let state = self.node.state();
        let wait = async {
            while !wanted(&state.read()) {
                applied.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(LONG, wait).await;
        assert!(
            waited.is_ok(),
            "{what} never came about: {:?}",
            self.node.state().read().members()
        );
    }

    /// Waits until the sets of voters, and all nodes, are as wanted.
    async fn until_voters(
        &self,
        what: &str,
        wanted: impl Fn(&[BTreeSet<u64>], &BTreeSet<u64>) -> bool + Send + Sync,
    ) {
        let wait = self.node.raft().wait(Some(LONG));
        let waited = wait.metrics(
            |m| {
                let nodes = m.committed_membership_config.nodes().map(|(node, _)| *node).collect();
                wanted(m.committed_membership_config.get_joint_config(), &nodes)
            },
            what,
        );
        let waited = waited.await;
        assert!(waited.is_ok(), "{what}: {waited:?}");
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.expect("it takes too long")
}

fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        voters: ms(100),
        voter_silent: ms(1500),
        learner_silent: ms(3000),
        report: ms(100),
        alive: ms(1000),
        probe: ms(50),
        waiting_line: ms(1000),
        ..Timing::default()
    }
}

/// A name of a cluster that no other test has: a port that one test lets go of, another one may get.
fn name() -> String {
    std::thread::current().name().expect("a test has a thread of its own").to_owned()
}

fn config(join: &[String]) -> ControlConfig {
    ControlConfig {
        cluster: name(),
        config: ClusterConfig {
            partitions: 7,
            sync_backups: 1,
            async_backups: 0,
            min_in_sync: 1,
            lease_ms: 400,
            hash_seed: 5,
        },
        address: String::new(),
        http: None,
        join: join.to_vec(),
        data_dir: None,
        timing: timing(),
    }
}

fn durable(join: &[String], dir: &Scratch) -> ControlConfig {
    ControlConfig { data_dir: Some(dir.path().to_owned()), ..config(join) }
}

fn topic(name: &str) -> Command {
    Command::Declare { name: name.to_owned(), config: grid_core::control::StructureConfig::Topic }
}

fn ids(nodes: &[&TestNode]) -> BTreeSet<u64> {
    nodes.iter().map(|node| node.node.node().0).collect()
}

/// Three nodes of one cluster, once all of them vote.
async fn three() -> ([TestNode; 3], Vec<String>) {
    let ([a, b, c], addresses) = Site::several::<3>().await;
    let config = config(&addresses);
    let (a, b, c) = within(async {
        tokio::join!(a.start(config.clone()), b.start(config.clone()), c.start(config))
    })
    .await;
    let all = ids(&[&a, &b, &c]);
    for node in [&a, &b, &c] {
        node.until_voters("three voters", |sets, _| sets == [all.clone()]).await;
    }
    ([a, b, c], addresses)
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.expect_err("it must fail").kind()
}

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("it must fail").to_string()
}
