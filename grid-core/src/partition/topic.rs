//! Topics: items that are handed to whoever is subscribed when they are committed. Nothing is kept.

use super::effect::Effect;
use super::map::not_a;
use super::{Container, Partition, Step, Turn};
use crate::data::{Blob, TypeTag};
use crate::ids::{Seq, StructureId};
use std::collections::VecDeque;

/// The part of a topic that lives in a partition.
#[derive(Debug, Default)]
pub(super) struct TopicPart {
    subscribers: usize,
}

impl TopicPart {
    pub(super) fn has_subscribers(&self) -> bool {
        self.subscribers > 0
    }
}

/// A published item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Position in the partition; ascending for every subscriber.
    pub seq: Seq,
    /// The topic.
    pub structure: StructureId,
    /// Type of the item.
    pub tag: TypeTag,
    /// The item.
    pub payload: Box<[u8]>,
}

/// Items that are published but not delivered: bounded by what the ring takes before it refuses.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Published>);

impl Outbox {
    pub(super) fn push(&mut self, seq: Seq, structure: StructureId, item: Blob<'_>) {
        self.0.push_back(Published { seq, structure, tag: item.tag, payload: item.payload.into() });
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

impl Partition {
    /// Answer: empty.
    pub(super) fn topic_publish(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        item: Blob<'_>,
    ) -> Step {
        match self.containers.get(s.0 as usize) {
            Some(Some(Container::Topic(_))) => self.write(turn, &Effect::TopicPublish(s, item), 0),
            other => Err(not_a("topic", other.is_some_and(Option::is_some), s)),
        }
    }

    /// Says how many subscribers a topic has; without any, published items are not kept at all.
    ///
    /// # Errors
    /// `UnknownStructure`, `WrongStructure`.
    pub fn set_subscribers(&mut self, s: StructureId, subscribers: usize) -> crate::Result<()> {
        match self.containers.get_mut(s.0 as usize) {
            Some(Some(Container::Topic(topic))) => {
                topic.subscribers = subscribers;
                Ok(())
            }
            other => Err(not_a("topic", other.is_some_and(|c| c.is_some()), s).into()),
        }
    }

    /// The next published item that is committed, to be delivered to all subscribers of its topic.
    #[inline]
    pub fn next_published(&mut self) -> Option<Published> {
        if self.published.0.front()?.seq > self.log.committed {
            return None;
        }
        self.published.0.pop_front()
    }
}
