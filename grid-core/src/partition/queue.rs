//! Queues: a bounded FIFO that lives in one partition as a whole.

use super::account::Account;
use super::effect::Effect;
use super::map::not_a;
use super::{Container, Env, Partition, Step, Turn};
use crate::control::QueueConfig;
use crate::data::{Blob, TypeTag};
use crate::error::{Error, Kind, Result};
use crate::ids::{Seq, StructureId};
use std::collections::VecDeque;

/// Bytes that an item takes beside its payload.
const ITEM_BYTES: usize = size_of::<Item>() + 16;

/// The items of one queue.
#[derive(Debug)]
pub(super) struct QueuePart {
    items: VecDeque<Item>,
    items_max: u64,
    payload_bytes: usize,
    /// Items that have left: the ordinal of the head, for copies.
    left: u64,
    /// Number of the last change: everything that a queue answers depends on all before.
    changed: Seq,
    account: Account,
}

#[derive(Debug)]
struct Item {
    tag: TypeTag,
    payload: Box<[u8]>,
}

impl Item {
    fn blob(&self) -> Blob<'_> {
        Blob { tag: self.tag, payload: &self.payload }
    }
}

impl QueuePart {
    /// An empty queue, of which `changed` is the last change.
    pub(super) fn new(config: &QueueConfig, env: &Env, changed: Seq) -> Self {
        QueuePart {
            items: VecDeque::new(),
            items_max: config.items_max.unwrap_or(u64::MAX),
            payload_bytes: 0,
            left: 0,
            changed,
            account: Account::new(&env.ledger),
        }
    }

    pub(super) fn emptied(&self, env: &Env) -> Self {
        Self::new(
            &QueueConfig { items_max: Some(self.items_max), ..QueueConfig::default() },
            env,
            Seq(0),
        )
    }

    /// The items from an ordinal on, with theirs.
    pub(super) fn items_from(&self, ordinal: u64) -> impl Iterator<Item = (u64, Blob<'_>)> {
        let skip = usize::try_from(ordinal.saturating_sub(self.left)).unwrap_or(usize::MAX);
        let items = self.items.range(skip.min(self.items.len())..);
        (ordinal.max(self.left)..).zip(items.map(Item::blob))
    }

    /// Adds an item that was copied.
    pub(super) fn restore(&mut self, item: Blob<'_>) {
        self.payload_bytes += item.payload.len();
        self.items.push_back(Item { tag: item.tag, payload: item.payload.into() });
        self.account.set(self.bytes());
    }

    /// All items were copied, as of `seq`.
    pub(super) fn be_whole(&mut self, seq: Seq) {
        self.changed = seq;
    }

    pub(super) fn bytes(&self) -> usize {
        self.payload_bytes + self.items.len() * ITEM_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn digest(&self) -> u64 {
        let mut digest = self.items.len() as u64;
        for item in &self.items {
            digest = digest.rotate_left(5)
                ^ xxhash_rust::xxh3::xxh3_64_with_seed(
                    &item.payload,
                    u64::from(item.tag.0.cast_unsigned()),
                );
        }
        digest
    }

    fn head(&self) -> Option<Blob<'_>> {
        self.items.front().map(Item::blob)
    }

    pub(super) fn apply(&mut self, seq: Seq, effect: &Effect<'_>) -> Result<()> {
        match *effect {
            Effect::QueueAdd(_, item) => self.restore(item),
            Effect::QueueTake(_) => {
                if let Some(item) = self.items.pop_front() {
                    self.payload_bytes -= item.payload.len();
                    self.left += 1;
                }
                if self.items.is_empty() && self.items.capacity() > 1024 {
                    self.items.shrink_to(64);
                }
            }
            Effect::QueueClear(_) => {
                self.left += self.items.len() as u64;
                self.items = VecDeque::new();
                self.payload_bytes = 0;
            }
            _ => return Err(Error::with(Kind::WrongStructure, "not an effect on a queue")),
        }
        self.changed = seq;
        self.account.set(self.bytes());
        Ok(())
    }
}

impl Partition {
    fn queue(&self, s: StructureId) -> Step<&QueuePart> {
        match self.containers.get(s.0 as usize) {
            Some(Some(Container::Queue(queue))) => Ok(queue),
            other => Err(not_a("queue", other.is_some_and(Option::is_some), s)),
        }
    }

    /// Answer: 1 if the item was added, 0 if the queue is full.
    pub(super) fn queue_offer(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        item: Blob<'_>,
    ) -> Step {
        let queue = self.queue(s)?;
        let room = (queue.len() as u64) < queue.items_max;
        turn.reply.push(u8::from(room));
        if room {
            self.write(turn, &Effect::QueueAdd(s, item), item.payload.len() + ITEM_BYTES)
        } else {
            Ok(queue.changed)
        }
    }

    /// Answer: the item at the head, as an optional value.
    pub(super) fn queue_peek(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        let queue = self.queue(s)?;
        super::map::answer_value(turn.reply, queue.head());
        Ok(queue.changed)
    }

    /// Answer: the item that was at the head, as an optional value.
    pub(super) fn queue_poll(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        let gate = self.queue_peek(turn, s)?;
        if self.queue(s)?.len() == 0 {
            return Ok(gate);
        }
        self.write(turn, &Effect::QueueTake(s), 0)
    }

    /// Answer: number of items, `u64`.
    pub(super) fn queue_size(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        let queue = self.queue(s)?;
        turn.reply.extend_from_slice(&(queue.len() as u64).to_le_bytes());
        Ok(queue.changed)
    }

    pub(super) fn queue_clear(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        let queue = self.queue(s)?;
        if queue.len() == 0 {
            return Ok(queue.changed);
        }
        self.write(turn, &Effect::QueueClear(s), 0)
    }
}
