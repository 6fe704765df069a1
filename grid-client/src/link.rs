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
    /// Wakes the client's thread: there is something to send.
    pub(crate) kick: Notify,
    /// Stops the client's thread, whatever it is doing.
    pub(crate) end: Notify,
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
    pub(crate) session: Option<SessionId>,
    /// The life of the cluster's data that the latest member belonged to; it outlives sessions.
    pub(crate) cluster_life: Option<u64>,
    /// How long the member lets a connection be silent.
    pub(crate) session_timeout: Duration,
    pub(crate) applied: Index,
    pub(crate) frame_bytes_max: usize,
    /// The present connection, for callers who find it idle.
    pub(crate) socket: Option<TcpStream>,
    /// Why there is no connection.
    pub(crate) trouble: Option<Error>,
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

impl Waiting {
    /// Whether the message is worth nothing in another life of the cluster's data.
    pub(crate) fn names_structure(&self) -> bool {
        matches!(self.message, Control::Subscribe { .. })
    }
}

impl Link {
    pub(crate) fn new(partitions: u16, operation_timeout: Duration) -> Self {
        Link {
            state: Mutex::new(State::new()),
            kick: Notify::new(),
            end: Notify::new(),
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
    fn control(
        &self,
        message: Control,
        timeout: Duration,
    ) -> Result<oneshot::Receiver<Result<ControlReply>>> {
        let mut state = self.state.lock();
        state.check_open()?;
        let (answer, receiver) = oneshot::channel();
        state.send_control(message, Instant::now() + timeout, answer)?;
        drop(state);
        self.kick.notify_one();
        Ok(receiver)
    }

    /// Sends a control message and waits for its answer as long as for an operation.
    pub(crate) async fn call(&self, message: Control) -> Result<ControlReply> {
        self.call_within(message, None).await
    }

    /// Sends a control message and waits for its answer; none: as long as for an operation.
    pub(crate) async fn call_within(
        &self,
        message: Control,
        timeout: Option<Duration>,
    ) -> Result<ControlReply> {
        match self.control(message, timeout.unwrap_or(self.operation_timeout))?.await {
            Ok(answer) => answer?.accepted(),
            Err(_) => Err(closed()),
        }
    }

    /// Fails everything that waits and takes nothing new.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        let error = closed();
        let (controls, mailboxes) = {
            let mut state = self.state.lock();
            if !state.closed {
                state.leave();
            }
            state.closed = true;
            state.socket = None;
            state.window.fail(&error, |_, _| true, &mut wakers);
            (std::mem::take(&mut state.controls), state.subscriptions.take())
        };
        for waiting in controls.into_values() {
            let _ = waiting.answer.send(Err(error.clone()));
        }
        wakers.extend(mailboxes.iter().filter_map(|mailbox| mailbox.close()));
        wakers.into_iter().for_each(Waker::wake);
        self.end.notify_one();
    }

    /// Fails operations and control messages whose deadline is over.
    pub(crate) fn expire(&self, now: Instant) {
        let mut wakers = Vec::new();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let error = || {
            let text = match (&state.socket, &state.trouble) {
                (Some(_), _) => "the member has not answered in time".into(),
                (None, Some(trouble)) => format!("there is no connection to a member: {trouble}"),
                (None, None) => "there is no connection to a member".into(),
            };
            Error::with(Kind::Timeout, text)
        };
        state.window.expire(now, error, &mut wakers);
        let over = |_: &u64, waiting: &mut Waiting| waiting.deadline <= now;
        let over: Vec<_> = state.controls.extract_if(over).map(|(_, w)| (w, error())).collect();
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        for (waiting, error) in over {
            let _ = waiting.answer.send(Err(error));
        }
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
            cluster_life: None,
            session_timeout: Duration::MAX,
            applied: Index(0),
            frame_bytes_max: 0,
            socket: None,
            trouble: None,
            sending: false,
            closed: false,
            last_heard: Instant::now(),
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(closed());
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

    /// Tells the member that the session is over, if that takes no waiting; it ends by its timeout
    /// otherwise.
    fn leave(&mut self) {
        if self.sending || !self.window.unsent().is_empty() || !self.control_out.is_empty() {
            return;
        }
        self.send_quietly(&Control::CloseSession);
        if let Some(mut socket) = self.socket.as_ref() {
            let _ = socket.write(&self.control_out);
        }
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

fn closed() -> Error {
    Error::with(Kind::Closed, "the client was shut down")
}
