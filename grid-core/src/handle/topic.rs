//! Topics.

use super::buffers;
use super::mailbox::{Mailbox, RawEvent};
use super::map::{ValueOf, unit};
use super::named::Named;
use super::op::{Prepared, Update, encode_value};
use crate::data::GridData;
use crate::error::{Kind, Result};
use crate::op::OpCode;
use futures_core::Stream;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Items that a subscription holds for a subscriber that is slow, unless asked otherwise.
const ITEMS_MAX_DEFAULT: usize = 16_384;

/// A topic: items go to all who are subscribed when they are committed, in one order for all. Nothing
/// is kept for those who come later; who is too slow is told how many items it missed.
pub struct Topic<T> {
    named: Arc<Named>,
    types: PhantomData<fn(T) -> T>,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<T> {
    /// A published item.
    Item {
        /// Position in the topic's partition: ascending, with holes.
        seq: u64,
        /// The item.
        value: T,
    },
    /// So many items were missed here because this subscriber was too slow, or an unknown number
    /// (`None`) because its connection was lost.
    Gap {
        /// How many, if known.
        missed: Option<u64>,
    },
}

/// A running subscription; dropping it ends it.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription<T> {
    mailbox: Arc<Mailbox>,
    types: PhantomData<fn() -> T>,
}

impl<T: GridData> Topic<T> {
    pub(super) fn new(named: Arc<Named>) -> Self {
        Topic { named, types: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.named.name()
    }

    /// Publishes an item.
    pub fn publish<W: ValueOf<T> + ?Sized>(&self, item: &W) -> Update<'_, ()> {
        let mut body = buffers::operands();
        let encoded = encode_value(item, &mut body);
        let operands = encoded.map(|()| (self.named.partition, body));
        Update(Prepared::new(&self.named, OpCode::TopicPublish, operands, unit))
    }

    /// Subscribes from now on: items published after this returned are delivered.
    ///
    /// # Errors
    /// If the member cannot be reached or the name is no topic.
    pub async fn subscribe(&self) -> Result<Subscription<T>> {
        self.subscribe_with(ITEMS_MAX_DEFAULT).await
    }

    /// As [`Topic::subscribe`], holding at most `items_max` items for a slow subscriber.
    ///
    /// # Errors
    /// As [`Topic::subscribe`].
    pub async fn subscribe_with(&self, items_max: usize) -> Result<Subscription<T>> {
        let named = &self.named;
        let mailbox = loop {
            let agreed = match named.id() {
                Some(agreed) => agreed,
                None => named.declare(None).await?,
            };
            let (structure, life) = (agreed.structure, agreed.life);
            let subscribed =
                named.invoke.subscribe(structure, life, named.partition, items_max.max(1));
            match subscribed.await {
                // The cluster was restarted empty meanwhile: the name has another id now.
                Err(error)
                    if error.kind() == Kind::UnknownStructure && named.invoke.life() != life => {}
                subscribed => break subscribed?,
            }
        };
        Ok(Subscription { mailbox, types: PhantomData })
    }
}

impl<T: GridData> Subscription<T> {
    /// The next message; none after the member or client was shut down.
    ///
    /// # Errors
    /// `WrongType` if an item is not a `T`; the next call goes on behind it.
    pub async fn next(&mut self) -> Result<Option<Message<T>>> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await.transpose()
    }

    /// The next message if there is one now.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub fn try_next(&mut self) -> Result<Option<Message<T>>> {
        self.mailbox.try_take().map(read).transpose()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message<T>>>> {
        self.mailbox.poll_take(cx).map(|event| event.map(read))
    }
}

fn read<T: GridData>(event: RawEvent) -> Result<Message<T>> {
    Ok(match event {
        RawEvent::Item { seq, item } => Message::Item { seq, value: item.decode()? },
        RawEvent::Gap { missed } => Message::Gap { missed },
    })
}

impl<T: GridData> Stream for Subscription<T> {
    type Item = Result<Message<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.mailbox.leave();
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Topic { named: Arc::clone(&self.named), types: PhantomData }
    }
}

impl<T> std::fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Topic").field(&self.named.name()).finish()
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("mailbox", &self.mailbox).finish()
    }
}
