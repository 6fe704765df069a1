//! The requests of a client that have no answer yet, over all its connections: their ids, what they
//! carry, and who waits for them. A request keeps its id however often and wherever it is sent.

use grid_core::Read;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{Call, Token};
use grid_core::ids::{PartitionId, RequestId, StructureId};
use grid_core::limits::OUTSTANDING_MAX;
use grid_core::op::OpCode;
use grid_core::wire::request::HEADER_BYTES;
use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Buffers of answered requests that are kept for later ones.
const SPARE_MAX: usize = 1024;
const SPARE_BYTES_MAX: usize = 4096;
/// Bytes of all requests without an answer. A single one may have more.
pub(crate) const LIVE_BYTES_MAX: usize = 256 << 20;
/// Ids behind the first one without an answer that are kept in a row.
const ROW_MAX: usize = 2 * OUTSTANDING_MAX;
/// In the row: answered.
const CLOSED: u32 = u32::MAX;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The slot is free.
    Free,
    /// In the queue of its lane.
    Queued,
    /// Given to this connection of its lane; its answer has not come.
    Sent(u64),
    /// Its partition does not take it now; it waits for a better time.
    Parked,
    /// Answered or given up; the answer waits for the caller.
    Done,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) code: OpCode,
    pub(crate) partition: PartitionId,
    pub(crate) structure: StructureId,
    pub(crate) read: Read,
    /// The operands, later the answer.
    pub(crate) body: Vec<u8>,
    pub(crate) deadline: Instant,
    pub(crate) stage: Stage,
    /// The member that it is for.
    pub(crate) lane: usize,
    /// How often it was sent.
    pub(crate) attempts: u64,
    /// Some attempt before the present one may have been applied.
    pub(crate) doubt: bool,
    pub(crate) sent_at: Instant,
    /// The member has been silent about it for too long.
    pub(crate) overdue: bool,
    generation: u32,
    /// Nobody waits for the answer.
    forgotten: bool,
    waker: Option<Waker>,
    failure: Option<Error>,
}

impl Request {
    /// Bytes that it takes on a connection.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + HEADER_BYTES
    }

    /// Whether it was given to a connection and waits for the answer.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent(_))
    }

    /// The number of the last attempt that was sent.
    #[inline]
    pub(crate) fn sent_as(&self) -> Option<u16> {
        self.attempts.checked_sub(1).map(attempt)
    }

    fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Free | Stage::Done)
    }
}

/// The number of the attempt after so many, as it travels: only the first one is 0.
#[inline]
pub(crate) fn attempt(before: u64) -> u16 {
    match before {
        0 => 0,
        #[allow(clippy::cast_possible_truncation)] // it is below 65536
        n => ((n - 1) % u64::from(u16::MAX) + 1) as u16,
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    slots: Vec<Request>,
    free: Vec<u32>,
    /// Slots of the requests from `base` on, by ascending id.
    row: VecDeque<u32>,
    base: u64,
    /// Open requests with ids below `base`.
    stragglers: BTreeMap<u64, u32>,
    open: usize,
    bytes: usize,
    /// No open request has an earlier deadline.
    first_deadline: Option<Instant>,
}

impl Requests {
    /// Requests without an answer.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Adds a request for a lane.
    pub(crate) fn begin(
        &mut self,
        call: &Call<'_>,
        lane: usize,
        now: Instant,
        deadline: Instant,
    ) -> Result<(u32, Token)> {
        self.admit(call.body.len() + HEADER_BYTES)?;
        if self.base == 0 {
            self.base = 1;
        }
        let id = self.base + self.row.len() as u64;
        let index = self.free.pop().unwrap_or_else(|| self.grow(call, now));
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(Error::new(Kind::Internal));
        };
        slot.id = id;
        (slot.code, slot.partition, slot.structure) = (call.code, call.partition, call.structure);
        (slot.read, slot.deadline, slot.sent_at) = (call.read, deadline, now);
        slot.body.extend_from_slice(call.body);
        (slot.stage, slot.lane, slot.attempts) = (Stage::Queued, lane, 0);
        (slot.doubt, slot.overdue, slot.forgotten) = (false, false, false);
        let token = Token(u64::from(slot.generation) << 32 | u64::from(index));
        self.open += 1;
        self.bytes += slot.bytes();
        self.row.push_back(index);
        self.first_deadline = Some(self.first_deadline.map_or(deadline, |at| at.min(deadline)));
        Ok((index, token))
    }

    #[cold]
    fn grow(&mut self, call: &Call<'_>, now: Instant) -> u32 {
        self.slots.push(Request {
            id: 0,
            code: call.code,
            partition: call.partition,
            structure: call.structure,
            read: call.read,
            body: Vec::new(),
            deadline: now,
            stage: Stage::Free,
            lane: 0,
            attempts: 0,
            doubt: false,
            sent_at: now,
            overdue: false,
            generation: 0,
            forgotten: false,
            waker: None,
            failure: None,
        });
        #[allow(clippy::cast_possible_truncation)] // at most OUTSTANDING_MAX
        let index = (self.slots.len() - 1) as u32;
        index
    }

    /// Whether there is room for a request of this many bytes.
    fn admit(&self, bytes: usize) -> Result<()> {
        let text = if self.slots.len() - self.free.len() >= OUTSTANDING_MAX {
            format!("{OUTSTANDING_MAX} operations of this client wait for their answers")
        } else if self.open > 0 && self.bytes + bytes > LIVE_BYTES_MAX {
            format!("operations of {} bytes of this client wait for their answers", self.bytes)
        } else {
            return Ok(());
        };
        Err(Error::with(Kind::Overloaded, text))
    }

    /// The lowest request that has no answer: the session has the answers to all before it.
    pub(crate) fn floor(&self) -> RequestId {
        RequestId(self.stragglers.first_key_value().map_or(self.base, |(id, _)| *id))
    }

    /// The slot of an open request.
    #[inline]
    pub(crate) fn find(&self, id: RequestId) -> Option<u32> {
        let index = match id.0.checked_sub(self.base) {
            Some(at) => *self.row.get(usize::try_from(at).ok()?)?,
            None => *self.stragglers.get(&id.0)?,
        };
        (index != CLOSED).then_some(index)
    }

    /// The request in a slot, if it is this one and open.
    #[inline]
    pub(crate) fn get(&mut self, index: u32, id: u64) -> Option<&mut Request> {
        self.slots.get_mut(index as usize).filter(|slot| slot.id == id && slot.is_open())
    }

    /// The open request in a slot.
    #[inline]
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Request> {
        self.slots.get_mut(index as usize).filter(|slot| slot.is_open())
    }

    /// All open requests with their slots, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Request)> {
        (0u32..).zip(&self.slots).filter(|(_, slot)| slot.is_open())
    }

    /// Ends a request. Returns who is to be woken, after the lock.
    pub(crate) fn close(&mut self, index: u32, answer: Result<&[u8]>) -> Option<Waker> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.is_open())?;
        self.open -= 1;
        self.bytes -= slot.bytes();
        slot.stage = Stage::Done;
        let (id, forgotten, waker) = (slot.id, slot.forgotten, slot.waker.take());
        slot.body.clear();
        match answer {
            Ok(bytes) => slot.body.extend_from_slice(bytes),
            Err(error) => slot.failure = Some(error),
        }
        match id.checked_sub(self.base).and_then(|at| usize::try_from(at).ok()) {
            Some(at) => {
                if let Some(entry) = self.row.get_mut(at) {
                    *entry = CLOSED;
                }
            }
            None => drop(self.stragglers.remove(&id)),
        }
        if forgotten {
            self.free(index);
        }
        self.advance();
        waker
    }

    /// Takes answered requests from the front of the row, and an open one that would make it too long.
    fn advance(&mut self) {
        while let Some(front) = self.row.front().copied() {
            if front != CLOSED {
                if self.row.len() <= ROW_MAX {
                    return;
                }
                self.stragglers.insert(self.base, front);
            }
            self.row.pop_front();
            self.base += 1;
        }
    }

    /// Open requests whose deadline is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<u32> {
        if self.first_deadline.is_none_or(|first| first > now) {
            return Vec::new();
        }
        self.first_deadline = self.all().map(|(_, r)| r.deadline).filter(|at| *at > now).min();
        self.all().filter(|(_, r)| r.deadline <= now).map(|(index, _)| index).collect()
    }

    fn named(&mut self, token: Token) -> Option<(u32, &mut Request)> {
        #[allow(clippy::cast_possible_truncation)] // the two halves of a token
        let (index, generation) = (token.0 as u32, (token.0 >> 32) as u32);
        let slot = self.slots.get_mut(index as usize)?;
        (slot.generation == generation && slot.stage != Stage::Free).then_some((index, slot))
    }

    fn free(&mut self, index: u32) {
        let spare = self.free.len() < SPARE_MAX;
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        slot.generation = slot.generation.wrapping_add(1);
        slot.stage = Stage::Free;
        (slot.waker, slot.failure) = (None, None);
        slot.body.clear();
        if !spare || slot.body.capacity() > SPARE_BYTES_MAX {
            slot.body = Vec::new();
        }
        self.free.push(index);
    }

    /// Asks for an answer.
    pub(crate) fn poll(
        &mut self,
        token: Token,
        cx: &mut Context<'_>,
        reply: &mut Vec<u8>,
    ) -> Poll<Result<()>> {
        let Some((index, slot)) = self.named(token) else {
            return Poll::Ready(Err(Error::with(
                Kind::Invalid,
                "an operation that is not waiting",
            )));
        };
        if slot.stage != Stage::Done {
            if !slot.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                slot.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let answer = match slot.failure.take() {
            Some(error) => Err(error),
            None if reply.is_empty() && slot.body.len() > SPARE_BYTES_MAX => {
                std::mem::swap(reply, &mut slot.body);
                Ok(())
            }
            None => {
                reply.extend_from_slice(&slot.body);
                Ok(())
            }
        };
        self.free(index);
        Poll::Ready(answer)
    }

    /// Nobody waits for this one any more; the request goes on.
    pub(crate) fn forget(&mut self, token: Token) {
        let Some((index, slot)) = self.named(token) else { return };
        if slot.stage == Stage::Done {
            return self.free(index);
        }
        slot.forgotten = true;
        slot.waker = None;
        slot.generation = slot.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn call() -> Call<'static> {
        Call {
            code: OpCode::MapSet,
            partition: PartitionId(1),
            structure: StructureId(2),
            life: 0,
            body: b"body",
            timeout: None,
            read: Read::Linearizable,
        }
    }

    fn begin(requests: &mut Requests) -> (u32, Token) {
        let now = Instant::now();
        requests.begin(&call(), 0, now, now + Duration::from_secs(9)).unwrap()
    }

    fn take(requests: &mut Requests, token: Token) -> Poll<Result<Vec<u8>>> {
        let mut reply = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        requests.poll(token, &mut cx, &mut reply).map(|result| result.map(|()| reply))
    }

    #[test]
    fn the_floor_is_the_lowest_request_without_an_answer() {
        let mut requests = Requests::default();
        let all: Vec<_> = (0..4).map(|_| begin(&mut requests)).collect();
        assert_eq!(requests.floor(), RequestId(1));
        requests.close(all[1].0, Ok(b"two"));
        assert_eq!(requests.floor(), RequestId(1));
        requests.close(all[0].0, Ok(b"one"));
        assert_eq!(requests.floor(), RequestId(3));
        assert_eq!(requests.find(RequestId(2)), None);
        assert_eq!(requests.find(RequestId(4)), Some(all[3].0));
        assert_eq!(take(&mut requests, all[1].1), Poll::Ready(Ok(b"two".to_vec())));
        assert!(matches!(take(&mut requests, all[1].1), Poll::Ready(Err(_))), "a token is void");
        requests.close(all[3].0, Ok(b""));
        requests.close(all[2].0, Ok(b""));
        assert_eq!(requests.floor(), RequestId(5), "the next one");
        assert_eq!((requests.open(), requests.bytes, requests.row.len()), (0, 0, 0));
    }

    #[test]
    fn one_request_without_an_answer_neither_stops_the_others_nor_costs_more_and_more() {
        let mut requests = Requests::default();
        let (first, token) = begin(&mut requests);
        for id in 2..3 * ROW_MAX as u64 {
            let (index, token) = begin(&mut requests);
            assert_eq!(requests.find(RequestId(id)), Some(index));
            assert_eq!(requests.floor(), RequestId(1));
            requests.close(index, Ok(b"value"));
            assert!(take(&mut requests, token).is_ready());
        }
        assert!(requests.row.len() <= ROW_MAX && requests.slots.len() == 2);
        assert_eq!(requests.find(RequestId(1)), Some(first));
        let last = begin(&mut requests).0;
        requests.close(first, Ok(b"at last"));
        assert_eq!(requests.floor(), RequestId(3 * ROW_MAX as u64));
        assert_eq!(take(&mut requests, token), Poll::Ready(Ok(b"at last".to_vec())));
        requests.close(last, Ok(b""));
        assert!(requests.row.is_empty() && requests.stragglers.is_empty());
    }

    #[test]
    fn a_forgotten_request_goes_on_and_frees_its_slot_when_it_ends() {
        let mut requests = Requests::default();
        let (index, token) = begin(&mut requests);
        requests.forget(token);
        assert_eq!(requests.open(), 1);
        assert!(matches!(take(&mut requests, token), Poll::Ready(Err(_))));
        assert!(requests.close(index, Ok(b"nobody asks")).is_none());
        assert_eq!((requests.open(), requests.free.len()), (0, 1));
        let (again, token) = begin(&mut requests);
        assert_eq!(again, index);
        requests.close(again, Err(Error::new(Kind::Timeout)));
        requests.forget(token);
        assert_eq!(requests.free.len(), 1);
    }

    #[test]
    fn bytes_that_wait_are_bounded_but_one_request_of_any_size_goes() {
        let mut requests = Requests::default();
        let body = vec![0; 40 << 20];
        let now = Instant::now();
        let large = Call { body: &body, ..call() };
        let refused = (0..10).find_map(|_| requests.begin(&large, 0, now, now).err()).unwrap();
        assert_eq!(refused.kind(), Kind::Overloaded);
        assert!(requests.bytes <= LIVE_BYTES_MAX);
        let body = vec![0; LIVE_BYTES_MAX];
        let huge = Call { body: &body, ..call() };
        assert!(Requests::default().begin(&huge, 0, now, now).is_ok());
    }
}
