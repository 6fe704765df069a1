//! The state of a client behind its lock: a machine without I/O but for the write of a caller who finds
//! his connection idle. Requests come in by [`State::begin`] and leave through [`State::fill`], answers come
//! in by [`State::reply`]; `change.rs` has what connections and tables change, `tick.rs` what time does.

use crate::controls::Controls;
use crate::detour::Detours;
use crate::effects::Effects;
use crate::lane::Lane;
use crate::refresh::Refresh;
use crate::requests::{LIVE_BYTES_MAX, Request, Requests, Stage, attempt};
use crate::route::Route;
use crate::session::Session;
use crate::subscriptions::Subscriptions;
use grid_core::Read;
use grid_core::control::StructureKind;
use grid_core::error::{Applied, Error, Kind, Result};
use grid_core::handle::{Call, Feed, Token};
use grid_core::ids::{Index, PartitionId, RequestId, StructureId};
use grid_core::limits::OUTSTANDING_MAX;
use grid_core::wire::FrameKind;
use grid_core::wire::control::{self, Control};
use grid_core::wire::reply::{self, ReplyHeader};
use grid_core::wire::request::{self, HEADER_BYTES, RequestHeader};
use hashbrown::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes that are given to a connection at a time: what is not given can still go elsewhere.
const BATCH_BYTES: usize = 256 << 10;
/// What one member may take of the window, however many members there are.
const LANE_OPEN_MIN: usize = 1024;
const LANE_BYTES_MIN: usize = 32 << 20;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) requests: Requests,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) route: Route,
    pub(crate) detours: Detours,
    pub(crate) controls: Controls,
    pub(crate) subscriptions: Subscriptions,
    /// Who listens to what happens to the cluster.
    pub(crate) feed: Feed,
    pub(crate) refresh: Refresh,
    pub(crate) session: Session,
    /// Counts the lives of the cluster's data that this client has seen.
    pub(crate) life: Arc<AtomicU32>,
    /// Names of the structures that were declared in this life.
    pub(crate) names: HashMap<StructureId, (String, StructureKind)>,
    pub(crate) partitions: u16,
    pub(crate) applied: Index,
    pub(crate) frame_bytes_max: usize,
    /// How long members let a connection be silent.
    pub(crate) session_timeout: Duration,
    /// How long an attempt may take before the table is asked whether it went to the right member.
    pub(crate) patience: Duration,
    /// Addresses that somebody is connecting to.
    pub(crate) dialing: HashSet<String>,
    /// Why there is no connection at all.
    pub(crate) trouble: Option<Error>,
    /// Connections so far.
    pub(crate) numbers: u64,
    /// Requests that are overdue, and when the next may be.
    pub(crate) overdue: usize,
    pub(crate) next_overdue: Option<Instant>,
    /// Takes turns among the members that could answer.
    pub(crate) turn: usize,
    pub(crate) closed: bool,
    scratch: Vec<u8>,
}

impl State {
    pub(crate) fn new(partitions: u16, life: Arc<AtomicU32>) -> Self {
        State {
            requests: Requests::default(),
            lanes: Vec::new(),
            route: Route::default(),
            detours: Detours::default(),
            controls: Controls::default(),
            subscriptions: Subscriptions::default(),
            feed: Feed::default(),
            refresh: Refresh::new(),
            session: Session::default(),
            life,
            names: HashMap::new(),
            partitions,
            applied: Index(0),
            frame_bytes_max: 0,
            session_timeout: Duration::MAX,
            patience: Duration::from_secs(1),
            dialing: HashSet::new(),
            trouble: None,
            numbers: 0,
            overdue: 0,
            next_overdue: None,
            turn: 0,
            closed: false,
            scratch: Vec::new(),
        }
    }

    /// Starts an operation. A caller that finds the connection idle writes its frame himself, which saves a
    /// thread hop; otherwise returns whom to notify, if anybody.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        call: &Call<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<(Token, Option<Arc<Notify>>)> {
        let bytes = call.body.len() + HEADER_BYTES;
        if bytes > self.frame_bytes_max {
            return Err(self.too_large(bytes));
        }
        let at = match call.read {
            Read::Stale(_) if !call.code.writes() => self.spread(call.partition),
            _ => self.lane_of(call.partition),
        };
        let (open_max, bytes_max) = self.shares();
        let Some(lane) = self.lanes.get_mut(at) else { return Err(nobody()) };
        lane.admit(bytes, open_max, bytes_max)?;
        let (slot, token) = self.requests.begin(call, at, now, deadline)?;
        (lane.open, lane.bytes) = (lane.open + 1, lane.bytes + bytes);
        let Some(request) = self.requests.at(slot) else { return Err(Error::new(Kind::Internal)) };
        let id = request.id;
        if self.detours.blocks(call.partition, id, call.code.writes()) && !is_stale(request) {
            request.stage = Stage::Parked;
            self.detours.join(call.partition, id, slot);
            return Ok((token, None));
        }
        if lane.is_idle() {
            return Ok((token, self.write_now(at, slot, now)));
        }
        Ok((token, lane.push(id, slot).map(Arc::clone)))
    }

    /// What one member may have of requests and bytes: its share, so that one that is gone leaves the others
    /// theirs.
    #[inline]
    fn shares(&self) -> (usize, usize) {
        let members = self.route.members().max(1);
        if members == 1 {
            return (OUTSTANDING_MAX, LIVE_BYTES_MAX);
        }
        let open = (OUTSTANDING_MAX / members).max(LANE_OPEN_MIN);
        (open, (LIVE_BYTES_MAX / members).max(LANE_BYTES_MIN))
    }

    #[cold]
    fn too_large(&self, bytes: usize) -> Error {
        let max = self.frame_bytes_max;
        let text =
            format!("a request of {bytes} bytes, the members take {max} (limits.frame-bytes-max)");
        Error::with(Kind::TooLarge, text)
    }

    /// The lane of the primary. Where nobody is, any member can say so.
    #[inline]
    pub(crate) fn lane_of(&mut self, partition: PartitionId) -> usize {
        match self.route.primary(partition) {
            Some(lane) => lane,
            None => self.any_lane(None).unwrap_or(0),
        }
    }

    /// The lane for a stale read.
    fn spread(&mut self, partition: PartitionId) -> usize {
        let lanes = &self.lanes;
        let up = |lane: usize| lanes.get(lane).is_some_and(|lane| lane.up.is_some());
        let Some((lane, wished)) = self.route.spread(partition, up) else {
            return self.lane_of(partition);
        };
        if let Some(wished) = self.lanes.get_mut(wished).filter(|lane| lane.up.is_none()) {
            wished.wished = true;
            wished.dial.notify_one();
        }
        lane
    }

    /// A connected lane, in turn; not this one if there is another.
    pub(crate) fn any_lane(&mut self, avoid: Option<usize>) -> Option<usize> {
        let count = self.lanes.len().max(1);
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let all = (0..count).map(|n| turn.wrapping_add(n) % count);
        let up = |at: &usize| self.lanes.get(*at).is_some_and(|lane| lane.up.is_some());
        let mut connected = all.filter(up);
        let first = connected.next()?;
        if Some(first) == avoid { connected.next().or(Some(first)) } else { Some(first) }
    }

    /// Writes the frame of a request to a connection that is idle. What the socket does not take now is
    /// sent by the client's thread, which is to be notified then.
    fn write_now(&mut self, at: usize, slot: u32, now: Instant) -> Option<Arc<Notify>> {
        let (floor, applied) = (self.requests.floor(), self.applied);
        let (lane, request) = (self.lanes.get_mut(at)?, self.requests.at(slot)?);
        let up = lane.up.as_mut()?;
        self.scratch.clear();
        encode(request, floor, applied, &mut self.scratch);
        mark_sent(request, up.number, now);
        up.sent += 1;
        self.next_overdue.get_or_insert(now + self.patience);
        // An error is noticed by who sends and receives.
        let taken = up.socket.write(&self.scratch).unwrap_or(0);
        let rest = self.scratch.get(taken..).unwrap_or_default();
        up.rest.extend_from_slice(rest);
        self.scratch.shrink_to(1 << 16);
        (!up.rest.is_empty()).then(|| Arc::clone(&up.kick))
    }

    /// Takes what is to be sent on a connection now. False if the connection is not in use any more.
    pub(crate) fn fill(&mut self, at: usize, number: u64, out: &mut Vec<u8>) -> bool {
        let Some(lane) = self.lanes.get_mut(at) else { return false };
        let Some(up) = lane.up.as_mut().filter(|up| up.number == number) else { return false };
        out.append(&mut up.rest);
        out.append(&mut up.controls);
        if !lane.queue.is_empty() {
            let now = Instant::now();
            let (floor, applied) = (self.requests.floor(), self.applied);
            while out.len() < BATCH_BYTES
                && let Some((id, slot)) = lane.queue.pop_front()
            {
                let Some(request) = self.requests.get(slot, id) else { continue };
                if request.stage == Stage::Queued && request.lane == at {
                    encode(request, floor, applied, out);
                    mark_sent(request, number, now);
                    up.sent += 1;
                }
            }
            self.next_overdue.get_or_insert(now + self.patience);
        }
        up.sending = !out.is_empty();
        true
    }

    /// Takes the answer to a request that came on a connection.
    #[inline]
    pub(crate) fn reply(
        &mut self,
        number: u64,
        header: &ReplyHeader,
        body: &[u8],
        fx: &mut Effects,
    ) {
        self.applied = self.applied.max(header.applied);
        let Some(slot) = self.requests.find(header.request) else { return };
        // Only the last attempt's answer counts. An earlier attempt may have been refused, or may have found
        // nothing to change, and the last one took effect.
        let Some(request) = self.requests.at(slot) else { return };
        if request.sent_as() != Some(header.attempt) || request.stage != Stage::Sent(number) {
            return;
        }
        match header.failed {
            false => self.finish(slot, Ok(body), true, fx),
            true => self.refused(slot, reply::error(body), fx),
        }
    }

    /// The present attempt of a request was refused.
    #[cold]
    fn refused(&mut self, slot: u32, error: Error, fx: &mut Effects) {
        let now = Instant::now();
        let Some(request) = self.requests.at(slot) else { return };
        let writes = request.code.writes();
        request.doubt |= writes && error.applied() == Applied::Maybe;
        let (id, partition) = (request.id, request.partition);
        match error.kind() {
            Kind::NotServing | Kind::Closed => {
                if is_stale(request) && Some(request.lane) != self.route.primary(partition) {
                    // No backup is fresh enough, or this is none any more.
                    return self.dispatch(slot);
                }
                self.park(slot);
                self.detours.refuse(partition, (id, slot), (true, None), error, now);
            }
            Kind::Overloaded
                if now + error.retry_after().unwrap_or_default() < request.deadline =>
            {
                self.park(slot);
                let manner = (!writes, error.retry_after());
                self.detours.refuse(partition, (id, slot), manner, error, now);
            }
            Kind::SessionExpired => {
                // Whether the session has ended or another connection has taken it over, the next
                // handshake tells.
                let (at, number) = (request.lane, request.stage);
                self.unsend(slot);
                if let Stage::Sent(number) = number {
                    self.lost(at, number, error, fx);
                }
            }
            _ => {
                let error = if request.doubt { error.maybe_applied() } else { error };
                self.finish(slot, Err(error), true, fx);
            }
        }
        fx.alarm = true;
    }

    /// Has a request wait for its partition.
    fn park(&mut self, slot: u32) {
        self.unsend(slot);
        if let Some(request) = self.requests.at(slot) {
            request.stage = Stage::Parked;
        }
    }

    /// Takes a request from the connection that it was sent on, if it was.
    pub(crate) fn unsend(&mut self, slot: u32) {
        let Some(request) = self.requests.at(slot) else { return };
        self.overdue =
            self.overdue.saturating_sub(usize::from(std::mem::take(&mut request.overdue)));
        if let Stage::Sent(number) = request.stage {
            request.stage = Stage::Queued;
            let up = self.lanes.get_mut(request.lane).and_then(|lane| lane.up.as_mut());
            if let Some(up) = up.filter(|up| up.number == number) {
                up.sent = up.sent.saturating_sub(1);
            }
        }
    }

    /// Sends a request, perhaps again, to whom it belongs now.
    pub(crate) fn dispatch(&mut self, slot: u32) {
        self.unsend(slot);
        let Some(request) = self.requests.at(slot) else { return };
        let (id, partition, writes) = (request.id, request.partition, request.code.writes());
        let (bytes, from) = (request.bytes(), request.lane);
        request.stage = Stage::Queued;
        let to = self.lane_of(partition);
        if to != from {
            if let Some(lane) = self.lanes.get_mut(from) {
                (lane.open, lane.bytes) =
                    (lane.open.saturating_sub(1), lane.bytes.saturating_sub(bytes));
            }
            if let Some(lane) = self.lanes.get_mut(to) {
                (lane.open, lane.bytes) = (lane.open + 1, lane.bytes + bytes);
            }
        }
        let Some(request) = self.requests.at(slot) else { return };
        request.lane = to;
        if self.detours.blocks(partition, id, writes) {
            request.stage = Stage::Parked;
            self.detours.join(partition, id, slot);
        } else if let Some(bell) = self.lanes.get_mut(to).and_then(|lane| lane.push(id, slot)) {
            bell.notify_one();
        }
    }

    /// Ends a request. `answered`: a member has spoken.
    #[inline]
    pub(crate) fn finish(
        &mut self,
        slot: u32,
        answer: Result<&[u8]>,
        answered: bool,
        fx: &mut Effects,
    ) {
        let Some(request) = self.requests.at(slot) else { return };
        let (id, partition, at) = (request.id, request.partition, request.lane);
        let (bytes, stage) = (request.bytes(), request.stage);
        self.overdue = self.overdue.saturating_sub(usize::from(request.overdue));
        if let Some(lane) = self.lanes.get_mut(at) {
            (lane.open, lane.bytes) =
                (lane.open.saturating_sub(1), lane.bytes.saturating_sub(bytes));
            if let Stage::Sent(number) = stage
                && let Some(up) = lane.up.as_mut().filter(|up| up.number == number)
            {
                up.sent = up.sent.saturating_sub(1);
            }
        }
        fx.wakers.extend(self.requests.close(slot, answer));
        if self.detours.any() {
            self.leave_detour(partition, id, answered, fx);
        }
    }

    #[cold]
    fn leave_detour(&mut self, partition: PartitionId, id: u64, answered: bool, fx: &mut Effects) {
        let rest = self.detours.end(partition, id, answered, Instant::now());
        for slot in rest.into_values() {
            self.dispatch(slot);
        }
        fx.alarm = true;
    }

    /// Ends a request without an answer to its present attempt.
    pub(crate) fn give_up(&mut self, slot: u32, error: Error, fx: &mut Effects) {
        let Some(request) = self.requests.at(slot) else { return };
        let maybe = request.code.writes() && (request.doubt || request.is_sent());
        let error = if maybe { error.maybe_applied() } else { error };
        self.finish(slot, Err(error), false, fx);
    }

    /// Adds a control message for a connection.
    pub(crate) fn say(&mut self, (at, number): (usize, u64), call: u64, message: &Control) {
        let up = self.lanes.get_mut(at).and_then(|lane| lane.up.as_mut());
        if let Some(up) = up.filter(|up| up.number == number) {
            // What cannot be encoded cannot be answered; its deadline ends it.
            let _ = control::encode(FrameKind::Control, call, message, &mut up.controls);
            up.kick.notify_one();
        }
    }

    /// Whether any member is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.lanes.iter().any(|lane| lane.up.is_some())
    }
}

/// Whether any in-sync replica may answer.
fn is_stale(request: &Request) -> bool {
    matches!(request.read, Read::Stale(_)) && !request.code.writes()
}

#[inline]
fn encode(request: &Request, floor: RequestId, applied: Index, out: &mut Vec<u8>) {
    let header = RequestHeader {
        code: request.code as u8,
        partition: request.partition,
        structure: request.structure,
        request: RequestId(request.id),
        floor,
        attempt: attempt(request.attempts),
        read: request.read,
        applied,
    };
    request::encode(&header, &request.body, out);
}

#[inline]
fn mark_sent(request: &mut Request, number: u64, now: Instant) {
    request.stage = Stage::Sent(number);
    request.attempts += 1;
    request.sent_at = now;
}

#[cold]
fn nobody() -> Error {
    Error::with(Kind::Disconnected, "there is no member to send to")
}
