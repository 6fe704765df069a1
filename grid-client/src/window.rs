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

/// Requests behind the first one without an answer; the answered among them take little.
const ORDER_MAX: usize = 8 * OUTSTANDING_MAX;
/// Bytes of the frames of all requests without an answer. A single one may have more.
const LIVE_BYTES_MAX: usize = 256 << 20;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Open requests and those behind the first of them, by ascending id from `base`.
    order: VecDeque<Entry>,
    base: u64,
    /// Frames of the requests in `order`.
    log: Vec<u8>,
    /// How much of `log` the present connection was given.
    sent: usize,
    /// Bytes of `log` that belong to open requests.
    live: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    /// Requests without an answer.
    open: usize,
    /// No open request has an earlier deadline.
    first_deadline: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    /// Who waits, if anybody still does.
    slot: Option<u32>,
    /// Where its frame is in the log.
    start: usize,
    end: usize,
    open: bool,
    writes: bool,
    /// Whether any connection was given the frame, so that it may have been applied.
    sent: bool,
    /// Whether that was one before the present connection.
    repeated: bool,
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
        self.admit(call.body.len() + request::HEADER_BYTES)?;
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
        let start = self.log.len();
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
        let end = self.log.len();
        self.order.push_back(Entry {
            slot: Some(index),
            start,
            end,
            open: true,
            writes: call.code.writes(),
            sent: false,
            repeated: false,
            deadline,
        });
        self.open += 1;
        self.live += end - start;
        self.first_deadline = Some(self.first_deadline.map_or(deadline, |at| at.min(deadline)));
        Ok(token)
    }

    /// Whether there is room for a request of this many bytes.
    fn admit(&self, bytes: usize) -> Result<()> {
        let text = if self.slots.len() - self.free.len() >= OUTSTANDING_MAX {
            format!("{OUTSTANDING_MAX} operations of this client wait for their answers")
        } else if self.order.len() >= ORDER_MAX {
            format!("an operation of this client has no answer after {ORDER_MAX} later ones")
        } else if self.open > 0 && self.live + bytes > LIVE_BYTES_MAX {
            format!("operations of {} bytes of this client wait for their answers", self.live)
        } else {
            return Ok(());
        };
        Err(Error::with(Kind::Overloaded, text))
    }

    /// The frames that the present connection was not given yet.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.log.get(self.sent..).unwrap_or_default()
    }

    /// The connection was given this many bytes more.
    pub(crate) fn mark_sent(&mut self, bytes: usize) {
        let from = self.sent;
        self.sent += bytes;
        for entry in self.order.iter_mut().rev() {
            if entry.end <= from {
                break;
            }
            entry.sent |= entry.start < self.sent;
        }
    }

    /// A new connection gets all frames without an answer again.
    pub(crate) fn resend(&mut self) {
        // Nothing is under way on it, not even half a frame.
        self.sent = 0;
        self.pack();
        for entry in self.order.iter_mut().filter(|entry| entry.open) {
            entry.repeated = entry.sent;
        }
        self.advance();
    }

    /// Drops the frames of answered requests from the log: what was not sent of them will not be. Only a
    /// frame of which the connection has a part stays, so that the next one is read as one.
    fn pack(&mut self) {
        let mut log = Vec::with_capacity(self.live);
        let mut sent = 0;
        for entry in &mut self.order {
            let given = self.sent.saturating_sub(entry.start).min(entry.end - entry.start);
            let frame = self.log.get(entry.start..entry.end).unwrap_or_default();
            let keep = entry.open || entry.is_half_sent(self.sent);
            entry.start = log.len();
            if keep {
                log.extend_from_slice(frame);
                sent += given;
            }
            entry.end = log.len();
        }
        (self.log, self.sent) = (log, sent);
    }

    /// Takes the answer of a request. Returns who is to be woken, after the lock.
    pub(crate) fn complete(&mut self, request: RequestId, answer: Result<&[u8]>) -> Option<Waker> {
        let at = usize::try_from(request.0.checked_sub(self.base)?).ok()?;
        let entry = self.order.get_mut(at).filter(|entry| entry.open)?;
        entry.open = false;
        self.open -= 1;
        self.live -= entry.end - entry.start;
        let answer = answer.map_err(|error| entry.what_it_means(error));
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
        self.advance();
        waker
    }

    /// Forgets the answered requests in front of the first open one, and their frames now and then.
    fn advance(&mut self) {
        while let Some(entry) = self.order.front()
            && !entry.open
            && !entry.is_half_sent(self.sent)
        {
            self.order.pop_front();
            self.base += 1;
        }
        if self.order.is_empty() && self.sent == self.log.len() {
            self.log.clear();
            self.log.shrink_to(1 << 20);
            self.sent = 0;
        } else if self.log.len() - self.live > self.live + (1 << 16) + self.order.len() * 64 {
            self.pack();
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
                    if reply.is_empty() && buffer.len() > SPARE_BYTES_MAX {
                        std::mem::swap(reply, &mut buffer);
                    } else {
                        reply.extend_from_slice(&buffer);
                    }
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
    /// writes and was sent may have been applied; one that was not sent will not be.
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
        self.pack();
    }

    /// Fails open requests whose deadline is over.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        error: impl Fn() -> Error,
        wakers: &mut Vec<Waker>,
    ) {
        if self.first_deadline.is_none_or(|first| first > now) {
            return;
        }
        self.fail(&error(), |deadline, _| deadline <= now, wakers);
        let open = self.order.iter().filter(|entry| entry.open);
        self.first_deadline = open.map(|entry| entry.deadline).min();
    }
}

impl Entry {
    /// Whether the connection was given a part of the frame, but not all.
    fn is_half_sent(&self, sent: usize) -> bool {
        self.start < sent && sent < self.end
    }

    /// An error that the member answers before it looks for the request in its session says nothing of an
    /// earlier attempt.
    fn what_it_means(&self, error: Error) -> Error {
        let early = matches!(error.kind(), Kind::SessionExpired | Kind::Closed);
        if early && self.repeated && self.writes { error.maybe_applied() } else { error }
    }
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
        let mut expire = |secs| {
            let now = now + Duration::from_secs(secs);
            window.expire(now, || Error::new(Kind::Timeout), &mut Vec::new());
        };
        expire(0);
        expire(2);
        let mut applied = |token| match take(&mut window, token) {
            Poll::Ready(Err(error)) => Some(error.applied()),
            _ => None,
        };
        use grid_core::Applied::{Maybe, No};
        assert_eq!(
            [applied(write), applied(read), applied(unsent), applied(patient)],
            [Some(Maybe), Some(No), Some(No), None]
        );
        assert_eq!(ids(window.unsent()), [(4, 1)], "a request that has failed is not sent at all");
        window.resend();
        assert_eq!(ids(window.unsent()).len(), 1, "nor is it sent again");
        window.expire(now + Duration::from_secs(6), || Error::new(Kind::Timeout), &mut Vec::new());
        assert_eq!((window.open(), window.order.len(), window.log.len()), (0, 0, 0));
    }

    #[test]
    fn a_frame_that_is_half_sent_is_sent_to_its_end_though_its_request_has_failed() {
        let mut window = Window::default();
        let now = Instant::now();
        let mut begin = |secs| {
            let deadline = now + Duration::from_secs(secs);
            window.begin(&call(OpCode::MapSet), Index(0), deadline).unwrap()
        };
        let (half, unsent, _) = (begin(1), begin(1), begin(9));
        let all = window.unsent().to_vec();
        window.mark_sent(10);
        let over = now + Duration::from_secs(2);
        window.expire(over, || Error::new(Kind::Timeout), &mut Vec::new());
        let mut applied = |token| match take(&mut window, token) {
            Poll::Ready(Err(error)) => error.applied(),
            other => panic!("{other:?}"),
        };
        use grid_core::Applied::{Maybe, No};
        assert_eq!([applied(half), applied(unsent)], [Maybe, No]);
        let stream = [&all[..10], window.unsent()].concat();
        assert_eq!(ids(&stream), [(1, 1), (3, 1)]);
        let rest = window.unsent().len();
        window.mark_sent(rest);
        window.complete(RequestId(3), Ok(b""));
        assert_eq!((window.order.len(), window.log.len(), window.base), (0, 0, 4));
    }

    #[test]
    fn one_request_without_an_answer_neither_stops_the_others_nor_keeps_their_frames() {
        let mut window = Window::default();
        let later = Instant::now() + Duration::from_secs(9);
        let first = window.begin(&call(OpCode::MapSet), Index(0), later).unwrap();
        for id in 2..200_000 {
            let token = window.begin(&call(OpCode::MapGet), Index(0), later).unwrap();
            let all = window.unsent().len();
            window.mark_sent(all);
            window.complete(RequestId(id), Ok(b"value"));
            assert!(take(&mut window, token).is_ready());
        }
        assert!(window.log.len() < (1 << 18) + 200_000 * 64, "{}", window.log.len());
        assert_eq!(window.live, window.order[0].end);
        window.complete(RequestId(1), Ok(b"at last"));
        assert_eq!(take(&mut window, first), Poll::Ready(Ok(b"at last".to_vec())));
        assert_eq!((window.order.len(), window.log.len(), window.live), (0, 0, 0));
    }

    #[test]
    fn bytes_that_wait_are_bounded_but_one_request_of_any_size_goes() {
        let mut window = Window::default();
        let later = Instant::now() + Duration::from_secs(9);
        let body = vec![0; 40 << 20];
        let large = Call { body: &body, ..call(OpCode::MapSet) };
        let refused = (0..10).find_map(|_| window.begin(&large, Index(0), later).err()).unwrap();
        assert_eq!(refused.kind(), Kind::Overloaded);
        assert!(window.log.len() <= LIVE_BYTES_MAX + (1 << 20));
    }

    #[test]
    fn an_early_refusal_of_a_repeated_write_says_nothing_of_its_first_attempt() {
        use grid_core::Applied::{Maybe, No};
        let later = Instant::now() + Duration::from_secs(9);
        for (repeated, kind, applied) in [
            (false, Kind::SessionExpired, No),
            (true, Kind::SessionExpired, Maybe),
            (true, Kind::Closed, Maybe),
            (true, Kind::OutOfMemory, No), // told by the partition, which has looked for the request
        ] {
            let mut window = Window::default();
            let token = window.begin(&call(OpCode::MapSet), Index(0), later).unwrap();
            let all = window.unsent().len();
            window.mark_sent(all);
            if repeated {
                window.resend();
                window.mark_sent(all);
            }
            window.complete(RequestId(1), Err(Error::new(kind)));
            match take(&mut window, token) {
                Poll::Ready(Err(error)) => assert_eq!(error.applied(), applied, "{kind:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
