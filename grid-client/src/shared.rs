//! What the callers' threads and the client's own thread share.

use crate::builder::Builder;
use crate::controls::Purpose;
use crate::effects::Effects;
use crate::state::State;
use crate::tick::no_connection;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{Call, Token};
use grid_core::wire::control::{Control, ControlReply};
use parking_lot::Mutex;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Something is due earlier than the client's thread thinks.
    pub(crate) alarm: Notify,
    /// The last connection was lost.
    pub(crate) alone: Notify,
    /// Stops the client's thread, whatever it is doing.
    pub(crate) end: Notify,
    life: Arc<AtomicU32>,
    pub(crate) partitions: u16,
    pub(crate) builder: Builder,
}

impl Shared {
    pub(crate) fn new(partitions: u16, builder: Builder) -> Self {
        let life = Arc::new(AtomicU32::new(0));
        Shared {
            state: Mutex::new(State::new(partitions, Arc::clone(&life))),
            alarm: Notify::new(),
            alone: Notify::new(),
            end: Notify::new(),
            life,
            partitions,
            builder,
        }
    }

    /// Counts the lives of the cluster's data that this client has seen.
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    /// Changes the state, and does what follows from that.
    pub(crate) fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, &mut Effects) -> T,
    ) -> T {
        let mut fx = Effects::default();
        let result = change(&mut self.state.lock(), &mut fx);
        fx.run(self);
        result
    }

    /// What is agreed in a life is worth something while the client is open and in that life.
    pub(crate) fn check(&self, state: &State, life: u32) -> Result<()> {
        if state.closed {
            return Err(closed());
        }
        // Under the lock under which a new life is taken note of, so this is certain.
        if life != self.life() {
            return Err(Error::with(Kind::UnknownStructure, "the cluster was restarted empty"));
        }
        Ok(())
    }

    /// Starts an operation.
    #[inline]
    pub(crate) fn begin(&self, call: &Call<'_>) -> Result<Token> {
        let now = Instant::now();
        let deadline = now + call.timeout.unwrap_or(self.builder.operation_timeout);
        let (token, bell) = {
            let mut state = self.state.lock();
            self.check(&state, call.life)?;
            state.begin(call, now, deadline)?
        };
        if let Some(bell) = bell {
            bell.notify_one();
        }
        Ok(token)
    }

    /// Sends a control message and waits for its answer; no timeout: as long as for an operation.
    pub(crate) async fn call(
        &self,
        message: Control,
        timeout: Option<Duration>,
    ) -> Result<ControlReply> {
        self.ask(message, timeout, Purpose::Caller).await
    }

    /// As [`Shared::call`], for this purpose.
    pub(crate) async fn ask(
        &self,
        message: Control,
        timeout: Option<Duration>,
        purpose: impl FnOnce(oneshot::Sender<Result<ControlReply>>) -> Purpose,
    ) -> Result<ControlReply> {
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(closed());
            }
            let now = Instant::now();
            let deadline = now + timeout.unwrap_or(self.builder.operation_timeout);
            state.controls.add(message, purpose(answer), now, Some(deadline))?;
        }
        self.alarm.notify_one();
        match receiver.await {
            Ok(answer) => answer?.accepted(),
            Err(_) => Err(closed()),
        }
    }

    /// Ends the session; not worth a long wait.
    ///
    /// # Errors
    /// If no member could be told: the session ends by its timeout.
    pub(crate) async fn leave(&self) -> Result<ControlReply> {
        let patience = {
            let state = self.state.lock();
            if !state.is_connected() {
                return Err(no_connection(state.trouble.as_ref()));
            }
            state.patience.min(self.builder.operation_timeout)
        };
        self.ask(Control::CloseSession, Some(patience), Purpose::Leave).await
    }

    /// Fails everything that waits and takes nothing new.
    pub(crate) fn close(self: &Arc<Self>) {
        self.change(|state, fx| {
            if !state.closed {
                say_goodbye(state);
            }
            state.closed = true;
            let all: Vec<u32> = state.requests.all().map(|(slot, _)| slot).collect();
            state.detours.clear();
            for slot in all {
                state.give_up(slot, closed(), fx);
            }
            let controls = state.controls.take(|_| true);
            fx.answers.extend(controls.into_iter().map(|waiting| (waiting, Err(closed()))));
            fx.ended = state.subscriptions.take();
            fx.wakers.extend(state.feed.close());
            fx.lanes.clear();
        });
        self.end.notify_one();
    }
}

/// Tells a member that the session is over, if that takes no waiting; it ends by its timeout otherwise.
fn say_goodbye(state: &mut State) {
    let up = |lane: &crate::lane::Lane| {
        let quiet = lane.queue.is_empty() && lane.up.as_ref().is_some_and(|up| !up.sending);
        quiet.then(|| lane.number()).flatten()
    };
    let Some((at, number)) =
        state.lanes.iter().enumerate().find_map(|(at, lane)| up(lane).map(|number| (at, number)))
    else {
        return;
    };
    state.say((at, number), 0, &Control::CloseSession);
    if let Some(up) = state.lanes.get_mut(at).and_then(|lane| lane.up.as_mut()) {
        up.rest.append(&mut up.controls);
        let taken = up.socket.write(&up.rest).unwrap_or(0);
        up.rest.drain(..taken);
    }
}

pub(crate) fn closed() -> Error {
    Error::with(Kind::Closed, "the client was shut down")
}
