//! What a client has for one member: the requests that wait to be sent there, and the connection.

use grid_core::error::{Error, Kind, Result};
use grid_core::ids::MemberId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) member: MemberId,
    /// Where the table says that the member is.
    pub(crate) listed: Option<String>,
    /// Where the member was reached. It is preferred: there may be a proxy or another network between.
    pub(crate) reached: Option<String>,
    pub(crate) up: Option<Up>,
    /// Requests to be sent, in this order: their ids and slots. Some may be gone.
    pub(crate) queue: VecDeque<(u64, u32)>,
    /// Requests without an answer that are for this member, and their bytes.
    pub(crate) open: usize,
    pub(crate) bytes: usize,
    /// Somebody could use a connection, though nothing waits for it.
    pub(crate) wished: bool,
    /// Since when requests wait for a connection.
    pub(crate) waits_since: Option<Instant>,
    /// Why there is no connection.
    pub(crate) trouble: Option<Error>,
    /// Wakes who connects.
    pub(crate) dial: Arc<Notify>,
    /// The lane is out of use; its place is taken again once who connects has seen it.
    pub(crate) retired: bool,
    pub(crate) vacant: bool,
}

/// The connection of a lane.
#[derive(Debug)]
pub(crate) struct Up {
    /// Tells it from earlier and later ones.
    pub(crate) number: u64,
    /// Wakes who sends.
    pub(crate) kick: Arc<Notify>,
    /// The socket once more, for callers who find the connection idle.
    pub(crate) socket: std::net::TcpStream,
    /// Control frames that are not sent yet.
    pub(crate) controls: Vec<u8>,
    /// The end of a frame of which the socket has the beginning.
    pub(crate) rest: Vec<u8>,
    /// Somebody is busy writing what was taken to be sent.
    pub(crate) sending: bool,
    /// Requests that were sent and have no answer.
    pub(crate) sent: usize,
    /// When anything came from the member.
    pub(crate) heard: Instant,
}

impl Up {
    pub(crate) fn new(number: u64, socket: std::net::TcpStream) -> Self {
        Up {
            number,
            kick: Arc::new(Notify::new()),
            socket,
            controls: Vec::new(),
            rest: Vec::new(),
            sending: false,
            sent: 0,
            heard: Instant::now(),
        }
    }
}

impl Lane {
    pub(crate) fn new(member: MemberId) -> Self {
        Lane {
            member,
            listed: None,
            reached: None,
            up: None,
            queue: VecDeque::new(),
            open: 0,
            bytes: 0,
            wished: false,
            waits_since: None,
            trouble: None,
            dial: Arc::new(Notify::new()),
            retired: false,
            vacant: false,
        }
    }

    /// Whether there is room for one more request. What is for one member must not take the room of the
    /// others.
    pub(crate) fn admit(&self, bytes: usize, open_max: usize, bytes_max: usize) -> Result<()> {
        if self.open < open_max && (self.open == 0 || self.bytes + bytes <= bytes_max) {
            return Ok(());
        }
        let text = format!(
            "{} operations of {} bytes of this client wait for one member",
            self.open, self.bytes
        );
        Err(Error::with(Kind::Overloaded, text))
    }

    /// Whether requests wait for a member that may be gone.
    pub(crate) fn is_cut_off(&self, now: Instant, patience: Duration) -> bool {
        let long = |since| now.saturating_duration_since(since) > patience;
        let gone = self.trouble.is_some() || self.waits_since.is_some_and(long);
        self.open > 0 && self.up.is_none() && gone
    }

    /// Whether the member has been silent for a while though something was asked.
    pub(crate) fn is_quiet(&self, now: Instant, patience: Duration) -> bool {
        let silent = |up: &Up| now.saturating_duration_since(up.heard) > patience / 4;
        self.up.as_ref().is_some_and(|up| up.sent > 0 && silent(up))
    }

    /// Whether a caller may write to the connection himself.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.up.as_ref().is_some_and(|up| {
                up.sent == 0 && !up.sending && up.controls.is_empty() && up.rest.is_empty()
            })
    }

    /// Adds a request to be sent. Returns whom to notify: only the first in the queue has to.
    #[inline]
    pub(crate) fn push(&mut self, id: u64, slot: u32) -> Option<&Arc<Notify>> {
        let first = self.queue.is_empty();
        self.queue.push_back((id, slot));
        first.then(|| self.up.as_ref().map_or(&self.dial, |up| &up.kick))
    }

    /// Nobody needs it any more. Its connection ends, its place becomes vacant.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
        self.queue.clear();
        if let Some(up) = self.up.take() {
            up.kick.notify_one();
        }
        self.dial.notify_one();
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> Option<&String> {
        self.reached.as_ref().or(self.listed.as_ref())
    }

    /// The number of the connection, if there is one.
    pub(crate) fn number(&self) -> Option<u64> {
        self.up.as_ref().map(|up| up.number)
    }
}
