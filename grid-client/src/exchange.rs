//! A connection while it lasts: one side sends, one receives, one watches.

use crate::effects::Effects;
use crate::shared::Shared;
use grid_core::data::BlobBuf;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::RawEvent;
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::event::{self, Event};
use grid_core::wire::{FrameKind, reply, split_frame};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

const READ_BYTES: usize = 256 << 10;
/// How often the watch looks.
const TICK: std::time::Duration = std::time::Duration::from_millis(20);

/// A connection: its lane and its number.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) at: usize,
    pub(crate) number: u64,
}

impl Exchange {
    /// Sends and receives until the connection ends.
    pub(crate) async fn run(self, stream: TcpStream) {
        let (read, write) = stream.into_split();
        let kick = {
            let state = self.shared.state.lock();
            let up = state.lanes.get(self.at).and_then(|lane| lane.up.as_ref());
            up.filter(|up| up.number == self.number).map(|up| Arc::clone(&up.kick))
        };
        let Some(kick) = kick else { return };
        let error = tokio::select! {
            biased;
            error = self.receive(read) => error,
            error = self.send(write, &kick) => error,
            error = self.watch() => error,
        };
        tracing::info!(%error, "a connection to a member was lost");
        self.shared.change(|state, fx| state.lost(self.at, self.number, error, fx));
    }

    async fn send(&self, mut write: OwnedWriteHalf, kick: &Notify) -> Error {
        let mut out = Vec::new();
        loop {
            out.clear();
            if !self.shared.state.lock().fill(self.at, self.number, &mut out) {
                return Error::with(Kind::Disconnected, "the connection is not needed any more");
            }
            if out.is_empty() {
                kick.notified().await;
                // What is ready to run on other threads joins this batch.
                tokio::task::yield_now().await;
            } else if let Err(error) = write.write_all(&out).await {
                return Error::with(Kind::Disconnected, error.to_string());
            }
            out.shrink_to(1 << 20);
        }
    }

    async fn receive(&self, mut read: OwnedReadHalf) -> Error {
        let mut bytes: Vec<u8> = Vec::with_capacity(READ_BYTES);
        let mut fx = Effects::default();
        loop {
            match read.read_buf(&mut bytes).await {
                Ok(0) => {
                    return Error::with(Kind::Disconnected, "the member closed the connection");
                }
                Ok(_) => {}
                Err(error) => return Error::with(Kind::Disconnected, error.to_string()),
            }
            let used = self.take_frames(&bytes, &mut fx);
            fx.run(&self.shared);
            match used {
                Ok(used) => drop(bytes.drain(..used)),
                Err(error) => return error,
            }
            if bytes.is_empty() {
                bytes.shrink_to(READ_BYTES); // after a large value
            }
            bytes.reserve(READ_BYTES / 4);
        }
    }

    fn take_frames(&self, bytes: &[u8], fx: &mut Effects) -> Result<usize> {
        let mut state = self.shared.state.lock();
        let up = state.lanes.get_mut(self.at).and_then(|lane| lane.up.as_mut());
        match up.filter(|up| up.number == self.number) {
            Some(up) => up.heard = Instant::now(),
            None => return Err(Error::with(Kind::Disconnected, "another one has taken its place")),
        }
        let mut used = 0;
        while let Some((frame, len)) =
            split_frame(bytes.get(used..).unwrap_or_default(), FRAME_BYTES_MAX)?
        {
            used += len;
            match frame.first().copied().and_then(FrameKind::from_code) {
                Some(FrameKind::Reply) => {
                    let (header, body) = reply::decode(frame)?;
                    state.reply(self.number, &header, body, fx);
                }
                Some(FrameKind::Event) => {
                    let (subscription, event) = event::decode(frame)?;
                    let event = match event {
                        Event::Item { seq, item } => {
                            RawEvent::Item { seq, item: BlobBuf::from(item) }
                        }
                        Event::Gap { missed } => RawEvent::Gap { missed: Some(missed) },
                    };
                    let place = (self.at, self.number);
                    fx.wakers.extend(state.subscriptions.deliver(subscription, place, event));
                }
                Some(FrameKind::ControlReply) => {
                    let (call, answer) = control::decode::<ControlReply>(frame)?;
                    state.control_reply((self.at, self.number), call, answer, fx)?;
                }
                _ => return Err(Error::with(Kind::Malformed, "a frame of an unknown kind")),
            }
        }
        Ok(used)
    }

    /// Keeps the session alive; ends when the member is silent for too long. Heartbeats go out whatever
    /// else comes and goes: a client that only listens must not look dead to the member.
    async fn watch(&self) -> Error {
        let timeout = self.shared.builder.heartbeat_timeout;
        let mut asked = Instant::now();
        let every = timeout.min(self.shared.state.lock().session_timeout) / 4;
        loop {
            tokio::time::sleep(TICK.max(every / 8)).await;
            let now = Instant::now();
            let mut state = self.shared.state.lock();
            let up = state.lanes.get(self.at).and_then(|lane| lane.up.as_ref());
            let Some(up) = up.filter(|up| up.number == self.number) else {
                return Error::with(Kind::Disconnected, "another one has taken its place");
            };
            let silent = now.saturating_duration_since(up.heard);
            if silent > timeout {
                let text = format!("the member was silent for {silent:?}");
                return Error::with(Kind::Disconnected, text);
            }
            if now.saturating_duration_since(asked) > every {
                asked = now;
                state.say((self.at, self.number), 0, &Control::Heartbeat);
            }
        }
    }
}
