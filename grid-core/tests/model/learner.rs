//! A replica that is being copied beside a driven partition, and what becomes of it.

use super::commands::{TOPIC, env, partition};
use super::driver::Driver;
use grid_core::Kind;
use grid_core::ids::Seq;
use grid_core::partition::{CopyCursor, Partition};
use std::collections::VecDeque;

/// One message: records, the next piece of the copy, and what was committed when it was sent.
struct Message {
    records: Vec<u8>,
    piece: Option<Vec<u8>>,
    committed: u64,
}

pub(crate) struct Learner {
    partition: Partition,
    cursor: CopyCursor,
    /// Everything up to here is on its way or has come.
    sent: u64,
    /// The number at which the first piece was read; none before it.
    first: Option<u64>,
    /// The last piece was sent.
    all_sent: bool,
    messages: VecDeque<Message>,
}

impl Learner {
    /// Starts again, with what it has thrown away.
    fn restart(&mut self) {
        self.partition.copy_begin();
        assert!(self.partition.is_copying() && self.partition.bytes() == 0);
        assert_eq!(self.partition.env().ledger.used(), 0);
        assert_eq!((self.partition.last(), self.partition.sessions().count()), (Seq(0), 0));
        assert_eq!(self.partition.replicate(&[], Seq(0)).unwrap_err().kind(), Kind::Lost);
        self.cursor = CopyCursor::default();
        (self.first, self.all_sent) = (None, false);
        self.messages.clear();
    }
}

impl Driver {
    fn new_learner() -> Learner {
        let mut partition = partition(env(u64::MAX, 64 << 20));
        partition.set_subscribers(TOPIC, 0).unwrap();
        let mut learner = Learner {
            partition,
            cursor: CopyCursor::default(),
            sent: 0,
            first: None,
            all_sent: false,
            messages: VecDeque::new(),
        };
        learner.restart();
        learner
    }

    /// Sends the learner the next records and the next piece; begins a copy if there is none.
    pub(crate) fn copy(&mut self, bytes_max: usize) {
        let mut learner = self.learner.take().unwrap_or_else(Self::new_learner);
        let (last, committed) = (self.primary.last(), self.primary.committed().0);
        if learner.first.is_none() {
            learner.first = Some(last.0);
            learner.sent = last.0;
            self.retain_from(Some(last.0));
        }
        let Some((records, to)) = self.primary.records_after(Seq(learner.sent), usize::MAX) else {
            // The ring has passed it.
            assert!(learner.sent < self.ring_from || !self.is_kept());
            learner.restart();
            self.learner = Some(learner);
            return;
        };
        assert_eq!(to, last);
        let records = records.to_vec();
        let mut piece = None;
        if !learner.all_sent {
            let mut bytes = b"before".to_vec();
            learner.all_sent = self.primary.copy_out(&mut learner.cursor, bytes_max, &mut bytes);
            piece = Some(bytes.split_off(6));
            assert_eq!(bytes, b"before");
        }
        learner.sent = last.0;
        learner.messages.push_back(Message { records, piece, committed });
        self.learner = Some(learner);
    }

    /// The learner gets the next message, and tells the primary what it has.
    pub(crate) fn copy_deliver(&mut self, twice: bool) {
        let Some(mut learner) = self.learner.take() else { return };
        if let Some(Message { records, piece, committed }) = learner.messages.pop_front() {
            let to = &mut learner.partition;
            if to.last() > Seq(0) || piece.is_none() {
                to.replicate(&records, Seq(committed)).unwrap();
                let again = to.replicate(&records, Seq(0));
                assert_eq!(again, Ok(to.last()), "passed over");
            }
            if let Some(piece) = piece {
                let whole = to.copy_in(&piece).unwrap();
                assert_eq!(!whole, to.is_copying());
                if twice {
                    let (last, bytes) = (to.last(), to.bytes());
                    let kind = if whole { Kind::Internal } else { Kind::Lost };
                    assert_eq!(to.copy_in(&piece).unwrap_err().kind(), kind);
                    assert_eq!((to.last(), to.bytes()), (last, bytes));
                }
                if !whole {
                    let term = to.term();
                    assert_eq!(to.lead(term, &[]).unwrap_err().kind(), Kind::Internal);
                }
            }
            let last = to.last().0;
            if !to.is_copying() && self.digests.get(&last).is_some_and(|d| *d != to.digest()) {
                panic!("the copy differs at {last}");
            }
            self.retain_from(Some(last));
        }
        self.learner = Some(learner);
    }

    pub(crate) fn copy_restart(&mut self) {
        if let Some(learner) = &mut self.learner {
            learner.restart();
        }
    }

    /// The learner becomes a backup, if it is whole, it has all that is committed, and what came before
    /// its copy is.
    pub(crate) fn require(&mut self) {
        let Some(learner) = self.learner.take() else { return };
        let last = learner.partition.last();
        let fit = !learner.partition.is_copying()
            && learner.first.is_some_and(|first| first <= self.committed)
            && self.committed <= last.0
            && self.primary.records_after(last, 0).is_some()
            && self.replicas.len() < 2;
        if !fit {
            self.learner = Some(learner);
            return;
        }
        let was_kept = self.is_kept();
        self.add(learner.partition);
        self.lead_after(was_kept);
        self.retain_from(None);
    }

    /// A copy is one of the primary that began it.
    pub(crate) fn copy_ends(&mut self) {
        self.copy_restart();
    }
}
