//! The way from handles to the members.

use crate::controls::Purpose;
use crate::shared::Shared;
use grid_core::control::StructureKind;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{BoxFuture, Call, Invoke, Mailbox, Started, Token};
use grid_core::ids::{PartitionId, StructureId};
use grid_core::wire::control::{Control, ControlReply};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Remote(pub(crate) Arc<Shared>);

impl Invoke for Remote {
    fn partitions(&self) -> u16 {
        self.0.partitions
    }

    fn life(&self) -> u32 {
        self.0.life()
    }

    fn start(&self, call: &Call<'_>, _reply: &mut Vec<u8>) -> Started {
        match self.0.begin(call) {
            Ok(token) => Started::Waiting(token),
            Err(error) => Started::Ready(Err(error)),
        }
    }

    fn poll(&self, token: Token, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<()>> {
        self.0.state.lock().requests.poll(token, cx, reply)
    }

    fn forget(&self, token: Token) {
        self.0.state.lock().requests.forget(token);
    }

    fn declare(
        &self,
        name: &str,
        kind: StructureKind,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<StructureId>> {
        let (shared, name) = (Arc::clone(&self.0), name.to_owned());
        Box::pin(async move {
            let life = shared.life();
            match shared.call(Control::Declare { name: name.clone(), kind }, timeout).await? {
                ControlReply::Declared { structure, since, .. } => {
                    let mut state = shared.state.lock();
                    state.applied = state.applied.max(since);
                    if shared.check(&state, life).is_ok() {
                        state.names.insert(structure, (name, kind));
                    }
                    Ok(structure)
                }
                other => Err(unexpected(&other)),
            }
        })
    }

    fn subscribe(
        &self,
        structure: StructureId,
        life: u32,
        partition: PartitionId,
        items_max: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let mailbox = Arc::new(Mailbox::new(items_max));
            let number = {
                let mut state = shared.state.lock();
                shared.check(&state, life)?;
                let unknown =
                    || Error::with(Kind::UnknownStructure, format!("structure {structure}"));
                let name = state.names.get(&structure).cloned().ok_or_else(unknown)?;
                state.subscriptions.add(structure, partition, name, Arc::clone(&mailbox))
            };
            // Ends with the subscriber, or with this call if it fails or nobody waits for it any more.
            let running = Running { shared: Arc::downgrade(&shared), number };
            let message = Control::Subscribe { structure, partition, subscription: number };
            shared.ask(message, None, |answer| Purpose::Subscriber(number, answer)).await?;
            mailbox.on_leave(move || drop(running));
            Ok(mailbox)
        })
    }
}

/// A subscription as long as somebody wants it.
struct Running {
    shared: Weak<Shared>,
    number: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut state = shared.state.lock();
        let place = state.subscriptions.remove(self.number);
        // It is not to be made any more.
        drop(state.controls.take(|waiting| waiting.subscription() == Some(self.number)));
        if let Some(place) = place {
            state.say(place, 0, &Control::Unsubscribe { subscription: self.number });
        }
    }
}

fn unexpected(reply: &ControlReply) -> Error {
    Error::with(Kind::Malformed, format!("the member answered {reply:?}"))
}
