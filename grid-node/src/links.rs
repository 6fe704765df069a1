//! Data connections to the other members, one for each: what this member, as primary or heir, has for the
//! replicas there. Partitions name themselves when they have something; the connection's task asks each
//! for its next message, cursor by cursor, and hands the answers back. Nothing is queued here but names,
//! and the few questions of heirs.

mod receiver;
mod sender;

pub(crate) use receiver::serve;

use crate::cores::Task;
use crate::counters::Counter;
use crate::shared::Shared;
use grid_core::ids::{MemberId, PartitionId};
use grid_core::wire::{begin_frame, end_frame};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use tokio::sync::{Notify, mpsc};

/// Copies to one member that are under way at a time.
const COPIES_MAX: isize = 4;
/// Bytes of questions that wait to be sent to one member. They are asked again if they do not fit.
const POSTS_BYTES_MAX: usize = 1 << 20;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Links {
    /// Whether there is any other member; without one nothing below is touched.
    any: AtomicBool,
    by_member: RwLock<BTreeMap<MemberId, Arc<Link>>>,
    /// Where connections run.
    cores: Vec<mpsc::Sender<Task>>,
    partitions: u16,
}

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) member: MemberId,
    named: Box<[AtomicBool]>,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Copies that may still begin.
    copies: AtomicIsize,
    /// Whether there is a connection now.
    pub(crate) connected: AtomicBool,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    partitions: Vec<PartitionId>,
    posts: Vec<u8>,
}

impl Links {
    pub(crate) fn new(partitions: u16, cores: Vec<mpsc::Sender<Task>>) -> Self {
        Links { any: AtomicBool::new(false), by_member: RwLock::default(), cores, partitions }
    }

    /// Whether there is any other member.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The way to a member, if it is one.
    pub(crate) fn get(&self, member: MemberId) -> Option<Arc<Link>> {
        self.by_member.read().get(&member).map(Arc::clone)
    }

    /// All ways.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.by_member.read().values().map(Arc::clone).collect()
    }

    /// Opens and ends ways as members come and go.
    pub(crate) fn follow(&self, shared: &Arc<Shared>) {
        let members: Vec<MemberId> =
            shared.agreed.read(|state| state.members().keys().copied().collect());
        let mut links = self.by_member.write();
        links.retain(|member, link| {
            let stays = members.contains(member);
            if !stays {
                link.close();
            }
            stays
        });
        for member in members.into_iter().filter(|member| *member != shared.member) {
            links.entry(member).or_insert_with(|| {
                let link = Arc::new(Link::new(member, self.partitions));
                let at = usize::try_from(member.0).unwrap_or(0) % self.cores.len().max(1);
                let task = sender::run(Arc::downgrade(shared), Arc::clone(&link));
                if let Some(core) = self.cores.get(at)
                    && core.try_send(Box::pin(task)).is_err()
                {
                    tracing::error!(%member, "the cores take no more connections to members");
                }
                link
            });
        }
        self.any.store(!links.is_empty(), Ordering::Release);
    }

    /// Ends all.
    pub(crate) fn close(&self) {
        self.by_member.read().values().for_each(|link| link.close());
    }
}

impl Link {
    fn new(member: MemberId, partitions: u16) -> Self {
        Link {
            member,
            named: (0..partitions).map(|_| AtomicBool::new(false)).collect(),
            queue: Mutex::default(),
            wake: Notify::new(),
            copies: AtomicIsize::new(COPIES_MAX),
            connected: AtomicBool::new(false),
            sent: Counter::default(),
            received: Counter::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Names a partition that has something to send; once is enough, however much comes.
    #[inline]
    pub(crate) fn ready(&self, partition: PartitionId) {
        let Some(named) = self.named.get(usize::from(partition.0)) else { return };
        if !named.load(Ordering::Relaxed) && !named.swap(true, Ordering::AcqRel) {
            self.queue.lock().partitions.push(partition);
            self.wake.notify_one();
        }
    }

    /// Has a message sent that does not come from a cursor.
    pub(crate) fn post(&self, message: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.posts.len() < POSTS_BYTES_MAX {
            let at = begin_frame(&mut queue.posts);
            queue.posts.extend_from_slice(message);
            end_frame(&mut queue.posts, at);
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Partitions that have something to send, and bytes of messages that wait beside them.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.partitions.len(), queue.posts.len())
    }

    /// So many copies to this member are under way.
    pub(crate) fn copying(&self, count: usize) {
        let left = COPIES_MAX.saturating_sub_unsigned(count);
        self.copies.store(left, Ordering::Release);
    }

    /// Whether a copy may begin now; it counts as begun then.
    pub(crate) fn begin_copy(&self) -> bool {
        self.copies.fetch_sub(1, Ordering::AcqRel) > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// The partitions and messages named since the last call.
    pub(crate) fn take(&self, posts: &mut Vec<u8>) -> Vec<PartitionId> {
        let mut queue = self.queue.lock();
        posts.append(&mut queue.posts);
        let partitions = std::mem::take(&mut queue.partitions);
        drop(queue);
        for partition in &partitions {
            if let Some(named) = self.named.get(usize::from(partition.0)) {
                named.store(false, Ordering::Release);
            }
        }
        partitions
    }
}
