//! The requests of a client that have no answer yet, in the order of their ids, with their frames: what
//! is to be sent, what is to be sent again after a reconnect, and who waits for it.

use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{Call, Token};
use grid_core::ids::{Index, RequestId, Term};
use grid_core::limits::OUTSTANDING_MAX;
use grid_core::wire::request::{self, RequestHeader};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Answer buffers kept for later answers.
const SPARE_MAX: usize = 1024;
const SPARE_BYTES_MAX: usize = 4096;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Open requests and those behind the first of them, by ascending id from `base`.
    order: VecDeque<Entry>,
    base: u64,
    /// Frames of the requests in `order`; `log[0]` is at stream offset `log_start`.
    log: Vec<u8>,
    log_start: u64,
    /// Stream offset up to which the present connection was given the frames.
    sent: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    /// Requests without an answer.
    open: usize,
}

#[derive(Debug)]
struct Entry {
    /// Who waits, if anybody still does.
    slot: Option<u32>,
    start: u64,
    end: u64,
    open: bool,
    writes: bool,
    /// Whether any connection was given the frame, so that it may have been applied.
    sent: bool,
    deadline: Instant,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    /// Request and who is to be woken.
    Waiting(u64, Option<Waker>),
    Done(Result<Vec<u8>>),
}

impl Window {
    /// Requests without an answer.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Adds a request; its frame waits to be sent.
    pub(crate) fn begin(
        &mut self,
        call: &Call<'_>,
        applied: Index,
        deadline: Instant,
    ) -> Result<Token> {
        if self.slots.len() - self.free.len() >= OUTSTANDING_MAX
            || self.order.len() >= OUTSTANDING_MAX
        {
            let text =
                format!("{OUTSTANDING_MAX} operations of this client wait for their answers");
            return Err(Error::with(Kind::Overloaded, text));
        }
        if self.base == 0 {
            self.base = 1;
        }
        let id = self.base + self.order.len() as u64;
        let header = RequestHeader {
            code: call.code as u8,
            partition: call.partition,
            structure: call.structure,
            request: RequestId(id),
            floor: RequestId(self.base),
            term: Term(1),
            applied,
        };
        let start = self.end();
        request::encode(&header, call.body, &mut self.log);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, state: State::Free });
            #[allow(clippy::cast_possible_truncation)] // at most OUTSTANDING_MAX
            let index = (self.slots.len() - 1) as u32;
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.state = State::Waiting(id, None);
        let token = Token(u64::from(slot.generation) << 32 | u64::from(index));
        let (end, writes) = (self.end(), call.code.writes());
        let entry =
            Entry { slot: Some(index), start, end, open: true, writes, sent: false, deadline };
        self.order.push_back(entry);
        self.open += 1;
        Ok(token)
    }

    /// Stream offset behind the last frame.
    fn end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// The frames that the present connection was not given yet.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.log.get(distance(self.sent, self.log_start)..).unwrap_or_default()
    }

    /// The connection was given this many bytes more.
    pub(crate) fn mark_sent(&mut self, bytes: usize) {
        let from = self.sent;
        self.sent += bytes as u64;
        for entry in self.order.iter_mut().rev() {
            if entry.end <= from {
                break;
            }
            entry.sent |= entry.start < self.sent;
        }
    }

    /// A new connection gets all frames without an answer again.
    pub(crate) fn resend(&mut self) {
        let mut log = Vec::new();
        for entry in self.order.iter_mut().filter(|entry| entry.open) {
            let from = distance(entry.start, self.log_start);
            let to = distance(entry.end, self.log_start);
            (entry.start, entry.end) =
                (log.len() as u64, log.len() as u64 + entry.end - entry.start);
            log.extend_from_slice(self.log.get(from..to).unwrap_or_default());
        }
        let end = log.len() as u64;
        for entry in self.order.iter_mut().filter(|entry| !entry.open) {
            (entry.start, entry.end) = (end, end);
        }
        (self.log, self.log_start, self.sent) = (log, 0, 0);
    }

    /// Takes the answer of a request. Returns who is to be woken, after the lock.
    pub(crate) fn complete(&mut self, request: RequestId, answer: Result<&[u8]>) -> Option<Waker> {
        let at = usize::try_from(request.0.checked_sub(self.base)?).ok()?;
        let entry = self.order.get_mut(at).filter(|entry| entry.open)?;
        entry.open = false;
        self.open -= 1;
        let slot = entry.slot.take();
        let waker = slot.and_then(|index| {
            let answer = answer.map(|bytes| {
                let mut buffer = self.spare.pop().unwrap_or_default();
                buffer.extend_from_slice(bytes);
                buffer
            });
            let state = &mut self.slots.get_mut(index as usize)?.state;
            match std::mem::replace(state, State::Done(answer)) {
                State::Waiting(_, waker) => waker,
                _ => None,
            }
        });
        if at == 0 {
            self.advance();
        }
        waker
    }

    /// Forgets the answered requests in front of the first open one.
    fn advance(&mut self) {
        while self.order.front().is_some_and(|entry| !entry.open) {
            self.order.pop_front();
            self.base += 1;
        }
        let keep =
            self.order.iter().find(|entry| entry.open).map_or(self.sent, |entry| entry.start);
        let dead = distance(keep.min(self.sent), self.log_start);
        if dead == self.log.len() {
            self.log.clear();
            self.log_start += dead as u64;
            self.log.shrink_to(1 << 20);
        } else if dead > 1 << 16 && dead * 2 > self.log.len() {
            self.log.drain(..dead);
            self.log_start += dead as u64;
        }
    }

    fn slot(&mut self, token: Token) -> Option<(u32, &mut Slot)> {
        #[allow(clippy::cast_possible_truncation)] // the two halves of a token
        let (index, generation) = (token.0 as u32, (token.0 >> 32) as u32);
        let slot = self.slots.get_mut(index as usize)?;
        (slot.generation == generation).then_some((index, slot))
    }

    fn free(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.generation = slot.generation.wrapping_add(1);
            slot.state = State::Free;
            self.free.push(index);
        }
    }

    /// Asks for an answer.
    pub(crate) fn poll(
        &mut self,
        token: Token,
        cx: &mut Context<'_>,
        reply: &mut Vec<u8>,
    ) -> Poll<Result<()>> {
        let Some((index, slot)) = self.slot(token) else {
            return Poll::Ready(Err(Error::with(
                Kind::Invalid,
                "an operation that is not waiting",
            )));
        };
        match &mut slot.state {
            State::Waiting(_, waker) => {
                if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            state => {
                let done = std::mem::replace(state, State::Free);
                self.free(index);
                let State::Done(answer) = done else {
                    return Poll::Ready(Err(Error::new(Kind::Internal)));
                };
                Poll::Ready(answer.map(|mut buffer| {
                    reply.extend_from_slice(&buffer);
                    if self.spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
                        buffer.clear();
                        self.spare.push(buffer);
                    }
                }))
            }
        }
    }

    /// Nobody waits for this one any more; the request goes on.
    pub(crate) fn forget(&mut self, token: Token) {
        let Some((index, slot)) = self.slot(token) else { return };
        if let State::Waiting(id, _) = slot.state {
            let at = usize::try_from(id.saturating_sub(self.base)).ok();
            if let Some(entry) = at.and_then(|at| self.order.get_mut(at)) {
                entry.slot = None;
            }
        }
        self.free(index);
    }

    /// Fails open requests for which `fails` says so (deadline, whether it was sent). A request that
    /// writes and was sent may have been applied.
    pub(crate) fn fail(
        &mut self,
        error: &Error,
        fails: impl Fn(Instant, bool) -> bool,
        wakers: &mut Vec<Waker>,
    ) {
        let base = self.base;
        let failing: Vec<(u64, bool)> = (base..)
            .zip(&self.order)
            .filter(|(_, entry)| entry.open && fails(entry.deadline, entry.sent))
            .map(|(id, entry)| (id, entry.sent && entry.writes))
            .collect();
        for (id, maybe) in failing {
            let error = if maybe { error.clone().maybe_applied() } else { error.clone() };
            wakers.extend(self.complete(RequestId(id), Err(error)));
        }
    }

    /// The first deadline of an open request.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.order.iter().filter(|entry| entry.open).map(|entry| entry.deadline).min()
    }
}

#[allow(clippy::cast_possible_truncation)] // both lie within one buffer
fn distance(at: u64, start: u64) -> usize {
    at.saturating_sub(start) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::ids::{PartitionId, StructureId};
    use grid_core::op::OpCode;
    use grid_core::wire::split_frame;
    use std::time::Duration;

    fn call(code: OpCode) -> Call<'static> {
        let (partition, structure) = (PartitionId(1), StructureId(2));
        Call { code, partition, structure, life: 0, body: b"body", timeout: None }
    }

    fn ids(mut bytes: &[u8]) -> Vec<(u64, u64)> {
        let mut ids = Vec::new();
        while let Some((frame, used)) = split_frame(bytes, 1000).unwrap() {
            let (header, body) = request::decode(frame).unwrap();
            assert_eq!(body, b"body");
            ids.push((header.request.0, header.floor.0));
            bytes = &bytes[used..];
        }
        ids
    }

    fn take(window: &mut Window, token: Token) -> Poll<Result<Vec<u8>>> {
        let mut reply = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        window.poll(token, &mut cx, &mut reply).map(|result| result.map(|()| reply))
    }

    #[test]
    fn requests_keep_their_ids_and_frames_until_they_are_answered() {
        let mut window = Window::default();
        let later = Instant::now() + Duration::from_secs(9);
        let mut begin = |code| window.begin(&call(code), Index(0), later).unwrap();
        let (a, b, c) = (begin(OpCode::MapSet), begin(OpCode::MapGet), begin(OpCode::MapSet));
        assert_eq!(ids(window.unsent()), [(1, 1), (2, 1), (3, 1)]);
        let all = window.unsent().len();
        window.mark_sent(all);
        assert!(window.unsent().is_empty());
        assert!(take(&mut window, b).is_pending());
        window.complete(RequestId(2), Ok(b"two"));
        assert_eq!(take(&mut window, b), Poll::Ready(Ok(b"two".to_vec())));
        assert!(
            matches!(take(&mut window, b), Poll::Ready(Err(_))),
            "a token is void after its answer"
        );
        window.resend();
        assert_eq!(ids(window.unsent()), [(1, 1), (3, 1)], "answered requests are not sent again");
        window.complete(RequestId(1), Ok(b"one"));
        window.complete(RequestId(1), Ok(b"again"));
        let d = window.begin(&call(OpCode::MapSet), Index(0), later).unwrap();
        assert_eq!(ids(window.unsent()).last(), Some(&(4, 3)), "the floor follows the answers");
        assert_eq!(take(&mut window, a), Poll::Ready(Ok(b"one".to_vec())));
        window.forget(c);
        window.complete(RequestId(3), Ok(b"nobody asks"));
        window.complete(RequestId(4), Ok(b""));
        assert_eq!(take(&mut window, d), Poll::Ready(Ok(vec![])));
        assert_eq!(
            (window.open(), window.order.len(), window.free.len()),
            (0, 0, window.slots.len())
        );
    }

    #[test]
    fn what_was_sent_and_writes_may_have_been_applied_and_nothing_else() {
        let mut window = Window::default();
        let now = Instant::now();
        let mut begin = |code, secs| {
            window.begin(&call(code), Index(0), now + Duration::from_secs(secs)).unwrap()
        };
        let (write, read) = (begin(OpCode::MapSet, 1), begin(OpCode::MapGet, 1));
        let sent = window.unsent().len();
        window.mark_sent(sent);
        let mut begin = |code, secs| {
            window.begin(&call(code), Index(0), now + Duration::from_secs(secs)).unwrap()
        };
        let (unsent, patient) = (begin(OpCode::MapSet, 1), begin(OpCode::MapSet, 5));
        assert_eq!(window.next_deadline(), Some(now + Duration::from_secs(1)));
        let over = now + Duration::from_secs(2);
        window.fail(&Error::new(Kind::Timeout), |deadline, _| deadline <= over, &mut Vec::new());
        let mut applied = |token| match take(&mut window, token) {
            Poll::Ready(Err(error)) => Some(error.applied()),
            _ => None,
        };
        use grid_core::Applied::{Maybe, No};
        assert_eq!(
            [applied(write), applied(read), applied(unsent), applied(patient)],
            [Some(Maybe), Some(No), Some(No), None]
        );
        window.resend();
        assert_eq!(ids(window.unsent()).len(), 1, "a request that has failed is not sent again");
    }
}
