//! A second member in the same process, whose acknowledgements a test commands: at once, late, out of
//! order, or never. It is in the control log and in the in-sync sets like any other, its replicas are real
//! ones, and what it is sent and answers passes the real links but for the sockets.

use crate::cell::partition_at;
use crate::links::Link;
use crate::shared::Shared;
use grid_core::control::{Command, Goal, MemberInfo, Outcome};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, NodeId, PartitionId, Seq};
use grid_core::lease::BeaconReply;
use grid_core::replica::{Answer, Replica, Rules};
use grid_core::wire::link::Message;
use grid_core::wire::split_frame;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes taken from a partition at a time.
const PULL_BYTES: usize = 256 << 10;
/// Pause between two rounds without work; the primary's lease is prolonged in each.
const ROUND: Duration = Duration::from_millis(1);
/// For the cluster to take it in.
const JOINING: Duration = Duration::from_secs(20);

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TestBackup {
    primary: OnceLock<(Weak<Shared>, MemberId)>,
    replicas: OnceLock<Vec<Mutex<Replica>>>,
    state: Mutex<State>,
    held: Condvar,
    /// Held while it works, so that a change of its mind counts from the next message on.
    round: Mutex<()>,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    acks: Acks,
    waiting: Vec<(PartitionId, Vec<u8>)>,
}

/// What a test backup does with its acknowledgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// It sends them at once.
    #[default]
    AtOnce,
    /// It keeps them until [`TestBackup::release`].
    Held,
    /// It takes no records and sends nothing, for ever.
    Dead,
}

impl TestBackup {
    /// A backup that takes part in everything until it is told otherwise.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Changes what happens to acknowledgements from now on; those held stay so.
    pub fn set(&self, acks: Acks) {
        let _round = self.round.lock();
        self.state.lock().acks = acks;
    }

    /// Waits until at least this many acknowledgements are held.
    pub fn wait_for_held(&self, count: usize) {
        let mut state = self.state.lock();
        while state.waiting.len() < count {
            self.held.wait(&mut state);
        }
    }

    /// Sends the acknowledgements that are held, the newest first: the older ones come late then.
    pub fn release(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        let Some((shared, member)) = self.primary() else { return };
        for (partition, ack) in waiting.into_iter().rev() {
            deliver(&shared, member, partition, &ack);
        }
    }

    /// Partitions in which this replica differs from the primary at an equal `seq`, and how many were
    /// compared.
    #[must_use]
    pub fn differences(&self) -> (Vec<PartitionId>, usize) {
        let (mut different, mut compared) = (Vec::new(), 0);
        let (Some((shared, _)), Some(replicas)) = (self.primary(), self.replicas.get()) else {
            return (different, compared);
        };
        for (n, replica) in replicas.iter().enumerate() {
            let Ok(cell) = shared.cell(partition_at(n)) else { continue };
            let replica = replica.lock();
            let (seq, digest) = cell.read(|primary| (primary.last(), primary.digest()));
            if replica.last() == seq {
                compared += 1;
                if replica.partition().digest() != digest {
                    different.push(partition_at(n));
                }
            }
        }
        (different, compared)
    }

    fn primary(&self) -> Option<(Arc<Shared>, MemberId)> {
        let (shared, member) = self.primary.get()?;
        Some((shared.upgrade()?, *member))
    }

    /// Joins the cluster of a member, as an in-sync replica of everything.
    pub(crate) async fn attach(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<()> {
        let info = MemberInfo { node: NodeId(u64::MAX), address: String::new(), http: None };
        let start = Command::Start { boot: 1, member: info };
        let Outcome::Started(member) = shared.agreed.propose(start, JOINING).await? else {
            return Err(Error::with(Kind::Internal, "the test backup could not start"));
        };
        let rules = Rules { me: member, ..shared.rules };
        let replica = |n| Mutex::new(Replica::new(rules, partition_at(n), shared.env.clone()));
        let replicas = (0..shared.cells().len()).map(replica).collect();
        let known = self.primary.set((Arc::downgrade(shared), member));
        if known.is_err() || self.replicas.set(replicas).is_err() {
            return Err(Error::with(Kind::Invalid, "a test backup serves one member only"));
        }
        let this = Arc::clone(self);
        *self.thread.lock() = Some(std::thread::spawn(move || this.run()));
        let deadline = tokio::time::Instant::now() + JOINING;
        loop {
            let (missing, goals) = shared.agreed.read(|state| {
                let table = (0..).map(PartitionId).zip(state.table());
                let missing = table.filter(|(_, record)| !record.in_sync(member));
                let goal = |(partition, record): (PartitionId, &grid_core::control::Record)| Goal {
                    partition,
                    version: record.version,
                    replicas: vec![shared.member, member],
                    followers: Vec::new(),
                };
                let all: Vec<_> = missing.collect();
                let unwanted = all.iter().filter(|(_, r)| !r.goal.contains(&member)).copied();
                (all.len(), unwanted.map(goal).collect::<Vec<_>>())
            });
            if missing == 0 {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Error::with(Kind::Timeout, "the test backup is not in sync"));
            }
            if !goals.is_empty() {
                shared.agreed.propose(Command::Assign(goals), JOINING).await?;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn detach(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the test backup has panicked");
        }
    }

    fn run(&self) {
        let mut told = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let Some((shared, member)) = self.primary() else { return };
            told.resize(shared.cells().len(), Seq(0));
            let round = self.round.lock();
            if self.state.lock().acks != Acks::Dead {
                let now = shared.now();
                let lease_ms = shared.cluster.lease_ms;
                let reply = BeaconReply { sent: now.0, behind: None, lease_ms };
                shared.leases.lock().take(member, reply, now);
                if let Some(link) = shared.links.get(member) {
                    for partition in link.take(&mut Vec::new()) {
                        self.follow(&shared, &link, partition, &mut told);
                    }
                }
            }
            drop(round);
            std::thread::sleep(ROUND);
        }
    }

    /// Takes what the primary has for one partition, and answers.
    fn follow(
        &self,
        shared: &Arc<Shared>,
        link: &Arc<Link>,
        partition: PartitionId,
        told: &mut [Seq],
    ) {
        let replica = self.replicas.get().and_then(|all| all.get(usize::from(partition.0)));
        let (Some(replica), Ok(cell)) = (replica, shared.cell(partition)) else { return };
        let mut bytes = Vec::new();
        while cell.pull(link, PULL_BYTES, shared.now(), &mut bytes) {
            let frames = std::mem::take(&mut bytes);
            let Ok(Some((frame, _))) = split_frame(&frames, usize::MAX) else { return };
            let Ok(message) = Message::read(frame) else { return };
            let mut replica = replica.lock();
            let cx = shared.context(shared.now());
            let answer = match replica.handle(shared.member, &message, &cx) {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, %partition, "the test backup cannot go on");
                    return;
                }
            };
            let mut out = Vec::new();
            replica.write_answer(answer, &cx, &mut out);
            let (last, told) = (replica.last(), &mut told[usize::from(partition.0)]);
            drop(replica);
            let new = last > *told;
            *told = last.max(*told);
            let mut state = self.state.lock();
            if state.acks == Acks::Held && matches!(answer, Answer::Ack(_)) {
                if new {
                    state.waiting.push((partition, out));
                    self.held.notify_all();
                }
            } else {
                drop(state);
                deliver(shared, link.member, partition, &out);
            }
        }
    }
}

fn deliver(shared: &Shared, from: MemberId, partition: PartitionId, answer: &[u8]) {
    if let (Ok(cell), Ok(message)) = (shared.cell(partition), Message::read(answer)) {
        cell.handle(shared, from, &message, shared.now(), None);
    }
}
