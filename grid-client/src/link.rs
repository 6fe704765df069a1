//! What the callers' threads and the client's own thread share.

use crate::subscriptions::Subscriptions;
use crate::window::Window;
use grid_core::control::StructureKind;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{Call, Token};
use grid_core::ids::{Index, SessionId, StructureId};
use grid_core::wire::FrameKind;
use grid_core::wire::control::{self, Control, ControlReply};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: Mutex<State>,
    /// Wakes the client's thread: there is something to send, or it is to stop.
    pub(crate) kick: Notify,
    /// Counts the lives of the cluster's data that this client has seen.
    pub(crate) life: AtomicU32,
    pub(crate) partitions: u16,
    pub(crate) operation_timeout: Duration,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) window: Window,
    pub(crate) controls: HashMap<u64, Waiting>,
    next_control: u64,
    /// Control frames that are not sent yet.
    pub(crate) control_out: Vec<u8>,
    pub(crate) subscriptions: Subscriptions,
    /// Names of the structures that were declared in this life.
    pub(crate) names: HashMap<StructureId, (String, StructureKind)>,
    pub(crate) session: Option<(SessionId, u64)>,
    pub(crate) applied: Index,
    pub(crate) frame_bytes_max: usize,
    /// The present connection, for callers who find it idle.
    pub(crate) socket: Option<TcpStream>,
    /// The client's thread is busy with what `unsent` returned.
    pub(crate) sending: bool,
    pub(crate) closed: bool,
    /// When anything came from the member.
    pub(crate) last_heard: Instant,
}

/// A control message without an answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Control,
    deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<ControlReply>>,
}

impl Link {
    pub(crate) fn new(partitions: u16, operation_timeout: Duration) -> Self {
        Link {
            state: Mutex::new(State::new()),
            kick: Notify::new(),
            life: AtomicU32::new(0),
            partitions,
            operation_timeout,
        }
    }

    /// Starts an operation. A caller that finds the connection idle writes its frame itself, which
    /// saves a thread hop; otherwise the client's thread sends it with the others.
    pub(crate) fn begin(&self, call: &Call<'_>) -> Result<Token> {
        let deadline = Instant::now() + call.timeout.unwrap_or(self.operation_timeout);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.check_open()?;
        // Under the lock under which a new life is taken note of, so this is certain.
        if call.life != self.life() {
            return Err(Error::with(Kind::UnknownStructure, "the cluster was restarted empty"));
        }
        let bytes = call.body.len() + grid_core::wire::request::HEADER_BYTES;
        if bytes > state.frame_bytes_max {
            let max = state.frame_bytes_max;
            let text = format!(
                "a request of {bytes} bytes, the member takes {max} (limits.frame-bytes-max)"
            );
            return Err(Error::with(Kind::TooLarge, text));
        }
        let idle = state.window.open() == 0;
        let waiting = !state.window.unsent().is_empty();
        let token = state.window.begin(call, state.applied, deadline)?;
        if idle && !state.sending && state.control_out.is_empty() {
            if let Some(mut socket) = state.socket.as_ref() {
                // What the socket does not take now, the client's thread sends.
                let taken = socket.write(state.window.unsent()).unwrap_or(0);
                state.window.mark_sent(taken);
                if state.window.unsent().is_empty() {
                    return Ok(token);
                }
            }
            drop(guard);
            self.kick.notify_one();
        } else if !waiting {
            drop(guard);
            self.kick.notify_one();
        }
        Ok(token)
    }

    /// Sends a control message; the answer comes through the receiver.
    pub(crate) fn control(
        &self,
        message: Control,
    ) -> Result<oneshot::Receiver<Result<ControlReply>>> {
        let mut state = self.state.lock();
        state.check_open()?;
        let (answer, receiver) = oneshot::channel();
        state.send_control(message, Instant::now() + self.operation_timeout, answer)?;
        drop(state);
        self.kick.notify_one();
        Ok(receiver)
    }

    /// Sends a control message and waits for its answer as long as for an operation.
    pub(crate) async fn call(&self, message: Control) -> Result<ControlReply> {
        match self.control(message)?.await {
            Ok(answer) => answer?.accepted(),
            Err(_) => Err(Error::with(Kind::Disconnected, "the client's thread has ended")),
        }
    }

    /// Fails everything that waits and takes nothing new.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            state.closed = true;
            state.socket = None;
            let error = Error::with(Kind::Closed, "the client was shut down");
            state.window.fail(&error, |_, _| true, &mut wakers);
            state.controls.clear();
            state.subscriptions.close();
        }
        wakers.into_iter().for_each(Waker::wake);
        self.kick.notify_one();
    }

    /// Fails operations and control messages whose deadline is over.
    pub(crate) fn expire(&self, now: Instant) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            let detail = match state.socket {
                Some(_) => "the member has not answered in time",
                None => "there is no connection to a member",
            };
            if state.window.next_deadline().is_some_and(|deadline| deadline <= now) {
                let error = Error::with(Kind::Timeout, detail);
                state.window.fail(&error, |deadline, _| deadline <= now, &mut wakers);
            }
            let over = |_: &u64, waiting: &mut Waiting| waiting.deadline <= now;
            for (_, waiting) in state.controls.extract_if(over) {
                let _ = waiting.answer.send(Err(Error::with(Kind::Timeout, detail)));
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }
}

impl State {
    fn new() -> Self {
        State {
            window: Window::default(),
            controls: HashMap::new(),
            next_control: 0,
            control_out: Vec::new(),
            subscriptions: Subscriptions::default(),
            names: HashMap::new(),
            session: None,
            applied: Index(0),
            frame_bytes_max: 0,
            socket: None,
            sending: false,
            closed: false,
            last_heard: Instant::now(),
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::with(Kind::Closed, "the client was shut down"));
        }
        Ok(())
    }

    pub(crate) fn send_control(
        &mut self,
        message: Control,
        deadline: Instant,
        answer: oneshot::Sender<Result<ControlReply>>,
    ) -> Result<()> {
        self.next_control += 1;
        control::encode(FrameKind::Control, self.next_control, &message, &mut self.control_out)?;
        self.controls.insert(self.next_control, Waiting { message, deadline, answer });
        Ok(())
    }

    /// Sends a control message whose answer nobody needs.
    pub(crate) fn send_quietly(&mut self, message: &Control) {
        // Call 0 is nobody's; an answer to it is passed over.
        let _ = control::encode(FrameKind::Control, 0, message, &mut self.control_out);
    }

    /// A new connection gets all control messages without an answer again.
    pub(crate) fn resend_controls(&mut self) {
        self.control_out.clear();
        for (call, waiting) in &self.controls {
            let _ =
                control::encode(FrameKind::Control, *call, &waiting.message, &mut self.control_out);
        }
    }
}
