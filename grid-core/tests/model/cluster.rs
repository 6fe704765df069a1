//! The replicas around a driven partition: who has what, and what must be kept for whom.

use super::commands::{TOPIC, env, partition};
use super::driver::Driver;
use grid_core::Kind;
use grid_core::ids::{MemberId, Seq, Term};
use grid_core::limits::LEARNER_RING_BYTES_MAX;
use grid_core::partition::Partition;
use grid_core::wire::split_frame;

pub(crate) struct Replica {
    pub(crate) id: MemberId,
    pub(crate) partition: Partition,
    /// On their way: records, and what was committed when they were sent.
    packets: Vec<(Vec<u8>, u64)>,
    cursor: u64,
    acked: u64,
}

impl Driver {
    /// Whether records are written into the ring.
    pub(crate) fn is_kept(&self) -> bool {
        !self.replicas.is_empty() || self.held || self.retained.is_some()
    }

    /// Whether the archive has every record.
    pub(crate) fn is_whole(&self) -> bool {
        self.base == 0 && self.archive.len() as u64 == self.primary.last().0
    }

    /// Records after this one that the archive has.
    fn archived(&self, after: u64) -> impl Iterator<Item = &Vec<u8>> {
        self.archive.iter().skip((after - self.base) as usize)
    }

    /// Bytes in the ring that somebody needs.
    pub(crate) fn ring_bytes(&self) -> usize {
        match self.is_kept() {
            true => self.archived(self.needed).map(Vec::len).sum(),
            false => 0,
        }
    }

    /// After a change of who needs records.
    fn needs_changed(&mut self, was_kept: bool) {
        let last = self.primary.last().0;
        if self.is_kept() && !was_kept {
            if self.base + self.archive.len() as u64 != last {
                (self.base, self.archive) = (last, Vec::new());
            }
            self.ring_from = last;
        }
        self.advance();
    }

    pub(crate) fn lead(&mut self) {
        self.lead_after(self.is_kept());
    }

    pub(crate) fn lead_after(&mut self, was_kept: bool) {
        let required: Vec<_> = self.replicas.iter().map(|r| (r.id, Seq(r.acked))).collect();
        let before = (self.primary.last(), self.primary.committed());
        let old = Term(self.primary.term().0 - 1);
        assert_eq!(self.primary.lead(old, &[]).unwrap_err().kind(), Kind::Internal);
        assert_eq!((self.primary.last(), self.primary.committed()), before);
        self.primary.lead(Term(self.term), &required).unwrap();
        assert_eq!(self.primary.term(), Term(self.term));
        self.needs_changed(was_kept);
    }

    pub(crate) fn hold(&mut self, held: bool) {
        let was_kept = self.is_kept();
        self.held = held;
        self.primary.hold_commit(held);
        self.needs_changed(was_kept);
    }

    pub(crate) fn retain(&mut self, behind: Option<u64>) {
        self.retain_from(behind.map(|behind| self.primary.last().0.saturating_sub(behind)));
    }

    pub(crate) fn retain_from(&mut self, from: Option<u64>) {
        let was_kept = self.is_kept();
        self.retained = from;
        self.primary.retain(self.retained.map(Seq));
        self.needs_changed(was_kept);
    }

    /// What must be committed and forgotten by now.
    pub(crate) fn advance(&mut self) {
        let last = self.primary.last().0;
        let acked = self.replicas.iter().map(|r| r.acked).min().unwrap_or(last);
        if !self.held {
            self.committed = self.committed.max(acked);
        }
        self.needed = acked.min(self.committed);
    }

    pub(crate) fn send(&mut self, replica: usize, bytes_max: usize) {
        let committed = self.primary.committed().0;
        let Some(replica) = self.replicas.get_mut(replica) else { return };
        let records = self.primary.records_after(Seq(replica.cursor), bytes_max);
        let (bytes, last) = records.unwrap_or_else(|| {
            panic!(
                "no records after {} (acknowledged {}) of {}",
                replica.cursor,
                replica.acked,
                self.primary.last()
            )
        });
        replica.packets.push((bytes.to_vec(), committed));
        replica.cursor = last.0;
        if replica.packets.len() > 3 {
            replica.packets.remove(0); // lost on the way
            replica.cursor = replica.acked;
        }
    }

    pub(crate) fn deliver(
        &mut self,
        replica: usize,
        which: usize,
        twice: bool,
        cut: Option<usize>,
    ) {
        let Some(to) = self.replicas.get_mut(replica) else { return };
        if to.packets.is_empty() {
            to.cursor = to.partition.last().0;
            return;
        }
        let at = which % to.packets.len();
        let (mut bytes, committed) = match twice {
            true => to.packets[at].clone(),
            false => to.packets.remove(at),
        };
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let mut expected = Ok(to.partition.last().0);
        let mut rest = &bytes[..];
        while let (Ok(last), false) = (expected, rest.is_empty()) {
            let Ok(Some((frame, used))) = split_frame(rest, usize::MAX) else {
                expected = Err((last, Kind::Malformed));
                break;
            };
            rest = &rest[used..];
            let seq = u64::from_le_bytes(frame[8..16].try_into().unwrap());
            expected = match seq {
                seq if seq > last + 1 => Err((last, Kind::Lost)),
                seq => Ok(last.max(seq)),
            };
        }
        let result = to.partition.replicate(&bytes, Seq(committed));
        let last = match (expected, result) {
            (Ok(expected), Ok(got)) if expected == got.0 => got.0,
            (Err((last, kind)), Err(error)) if kind == error.kind() => last,
            (expected, got) => panic!("{expected:?} but {got:?}"),
        };
        assert_eq!(to.partition.last().0, last);
        assert!(to.partition.committed().0 <= self.committed);
        if let Some(digest) = self.digests.get(&last) {
            assert_eq!(to.partition.digest(), *digest, "replicas differ at {last}");
        }
        if expected.is_err() {
            (to.cursor, to.packets) = (to.acked, Vec::new());
        }
    }

    pub(crate) fn ack(&mut self, replica: usize, late: u64) {
        let Some(from) = self.replicas.get_mut(replica) else { return };
        let seq = from.partition.last().0.saturating_sub(late);
        from.acked = from.acked.max(seq);
        from.cursor = from.cursor.max(from.acked);
        let before = self.primary.committed();
        let advanced = self.primary.acknowledge(from.id, Seq(seq));
        assert_eq!(advanced, self.primary.committed() > before);
        assert!(!self.primary.acknowledge(MemberId(999), Seq(seq + 1)), "nobody we know");
        assert!(!self.primary.acknowledge(self.replicas[replica].id, Seq(u64::MAX)));
        self.advance();
    }

    /// Everything delivered and acknowledged.
    pub(crate) fn catch_up(&mut self) {
        if self.held {
            self.hold(false);
        }
        (0..self.replicas.len()).for_each(|at| self.catch_one_up(at));
        self.check();
    }

    fn catch_one_up(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        (replica.cursor, replica.packets) = (replica.partition.last().0, Vec::new());
        self.send(at, usize::MAX);
        self.deliver(at, 0, false, None);
        self.ack(at, 0);
    }

    pub(crate) fn add(&mut self, partition: Partition) {
        self.members += 1;
        let (id, has) = (MemberId(self.members), partition.last().0);
        self.replicas.push(Replica { id, partition, packets: Vec::new(), cursor: has, acked: has });
    }

    /// A new backup that has everything but the last records, as far as the ring holds them.
    pub(crate) fn join(&mut self, behind: u64) {
        let was_kept = self.is_kept();
        let mut partition = partition(env(u64::MAX, 64 << 20));
        partition.set_subscribers(TOPIC, 0).unwrap();
        let last = self.primary.last().0;
        let has = match self.replicas.is_empty() {
            true => last,
            false => last.saturating_sub(behind).max(self.committed),
        };
        let bytes = self.archive[..has as usize].concat();
        assert_eq!(partition.replicate(&bytes, Seq(0)).unwrap_err().kind(), Kind::Internal);
        partition.follow();
        assert_eq!(partition.replicate(&bytes, Seq(0)), Ok(Seq(has)));
        self.add(partition);
        self.lead_after(was_kept);
    }

    /// The primary is gone; a backup takes over, after it has got from the other what it lacks.
    pub(crate) fn kill(&mut self, heir: usize) {
        for replica in &self.replicas {
            let has = replica.partition.last().0;
            assert!(has >= self.released, "{} was released, a backup has {has}", self.released);
        }
        let mut heir = self.replicas.remove(heir);
        for other in &mut self.replicas {
            let had = heir.partition.last();
            if other.partition.last() > had {
                let records = other.partition.records_after(had, usize::MAX);
                let (bytes, last) = records.expect("a backup keeps what may not be committed");
                assert_eq!(heir.partition.replicate(bytes, Seq(0)), Ok(last));
            }
            other.packets.clear();
            other.acked = other.partition.last().0;
            other.cursor = other.acked;
        }
        self.succeed(heir.partition);
        let last = self.primary.last().0;
        self.model = self.states[&last].clone();
        self.model.published.clear();
        self.archive.truncate((last - self.base) as usize);
        self.digests.split_off(&(last + 1));
        self.states.split_off(&(last + 1));
        self.waiting.clear();
        self.trail(Vec::new());
    }

    /// The primary has sent a backup everything and becomes a backup of it.
    pub(crate) fn transfer(&mut self, heir: usize) {
        self.catch_one_up(heir);
        let heir = self.replicas.remove(heir);
        assert_eq!(heir.partition.last(), self.primary.last());
        for other in &mut self.replicas {
            other.packets.clear();
            other.cursor = other.acked;
        }
        let mut old = self.succeed(heir.partition);
        old.set_subscribers(TOPIC, 0).unwrap();
        old.follow();
        let known = old.committed();
        assert!(!old.acknowledge(MemberId(1), old.last()) && old.committed() == known, "late");
        self.add(old);
        self.lead();
        self.model.published.clear();
    }

    /// A replica leads in the next term. Returns the primary before it.
    fn succeed(&mut self, mut heir: Partition) -> Partition {
        let known = heir.committed().0;
        assert!(known <= self.committed, "a backup takes for committed what was not");
        heir.set_subscribers(TOPIC, 1).unwrap();
        // Held, so that it commits nothing before it is said who is required.
        self.held = self.term.is_multiple_of(2);
        heir.hold_commit(self.held);
        assert_eq!(heir.committed().0, known);
        self.term += 1 + self.term % 2;
        (self.committed, self.needed, self.ring_from) = (known, known, known);
        self.retained = None;
        self.copy_ends();
        let old = std::mem::replace(&mut self.primary, heir);
        self.lead_after(true);
        old
    }

    /// Takes new records into the archive: dense, of the present term.
    pub(crate) fn pull(&mut self) {
        if !self.is_kept() {
            return;
        }
        let have = self.base + self.archive.len() as u64;
        let (mut bytes, to) =
            self.primary.records_after(Seq(have), usize::MAX).expect("new records");
        assert_eq!(to, self.primary.last());
        while let Some((frame, used)) = split_frame(bytes, usize::MAX).unwrap() {
            let [term, seq] = [0, 8].map(|at| frame[at..at + 8].try_into().unwrap());
            self.archive.push(bytes[..used].to_vec());
            assert_eq!(u64::from_le_bytes(seq), self.base + self.archive.len() as u64, "dense");
            assert_eq!(u64::from_le_bytes(term), self.term);
            bytes = &bytes[used..];
        }
    }

    /// Records are neither lost from the ring too early nor kept too long.
    pub(crate) fn check_ring(&mut self) {
        let last = self.primary.last().0;
        let after = |seq| self.primary.records_after(Seq(seq), 0);
        assert_eq!(after(u64::MAX), None);
        if !self.is_kept() {
            assert_eq!(after(last), Some((&[][..], Seq(last))));
            assert_eq!(last.checked_sub(1).and_then(after), None, "nobody needs records");
            return;
        }
        let mut from = self.ring_from.max(self.needed.min(self.retained.unwrap_or(u64::MAX)));
        let extra = |from| -> usize {
            self.archived(from).take(self.needed.saturating_sub(from) as usize).map(Vec::len).sum()
        };
        while from + 1 < self.needed && extra(from) > LEARNER_RING_BYTES_MAX {
            from += 1;
        }
        assert_eq!(after(from).expect("not acknowledged yet").1.0, last.min(from + 1));
        assert_eq!(from.checked_sub(1).and_then(after), None, "acknowledged records are kept");
        self.ring_from = from;
    }
}
