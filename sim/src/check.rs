//! What an observer who sees everything checks after each step. Numbers are those of the invariants in
//! `ARCHITECTURE.md`.

use crate::event::{Ask, Event, Values};
use crate::history::Life;
use crate::member::{MAP, QUEUE_NAME, QUICK};
use crate::plan::MS;
use crate::world::World;
use grid_core::ids::{MemberId, PartitionId, RequestId, Seq, SessionId, Term};
use grid_core::partitioning::partition_of_name;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// A point of a partition's history: the term of its last record, and a digest of everything.
type Point = (Term, u64);

/// The term in which the data of a lost partition began.
const NEVER: Term = Term(u64::MAX);

#[derive(Debug, Default)]
struct History {
    /// States that exist, by the term and number of their last record.
    states: HashMap<(Term, Seq), u64>,
    /// States that were committed.
    committed: BTreeMap<Seq, Point>,
    /// The last operation that was committed.
    last: Seq,
    /// And by the primary of each term.
    by_term: BTreeMap<Term, Seq>,
    /// Points that a process has passed and does not know to be committed.
    passed: HashMap<MemberId, BTreeMap<Seq, Point>>,
    /// The copy that each process was given last: what it had before is void.
    copies: HashMap<MemberId, (Term, u64)>,
    /// The state of each process that was looked at last.
    looked: HashMap<MemberId, (Term, Seq)>,
    /// What the process is known to have committed.
    known: HashMap<MemberId, Seq>,
    /// Which request a record stands for.
    requests: HashMap<(Term, Seq), (SessionId, RequestId)>,
    /// Requests that have taken effect for good.
    effects: HashMap<(SessionId, RequestId), Seq>,
    /// When what was committed.
    times: Vec<(u64, Seq)>,
    /// Who served which term.
    served: HashMap<Term, MemberId>,
    /// The term in which the data began: what was before is gone.
    began: Term,
    /// It was lost, and nobody serves what was kept of it yet.
    reset: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Checks {
    partitions: Vec<History>,
    /// Partitions whose last in-sync replica was killed.
    pub(crate) doomed: Vec<bool>,
}

impl Checks {
    pub(crate) fn new(partitions: u16) -> Self {
        let count = usize::from(partitions);
        Checks {
            partitions: (0..count).map(|_| History::default()).collect(),
            doomed: vec![false; count],
        }
    }
}

impl World {
    /// A member has executed something: notes which requests its new records stand for.
    pub(crate) fn note_records(&mut self, id: MemberId, at: PartitionId, before: Seq) {
        let Some(member) = self.members.get(&id) else { return };
        let partition = member.cells[usize::from(at.0)].replica.partition();
        let Some((mut records, _)) = partition.records_after(before, usize::MAX) else { return };
        let history = &mut self.checks.partitions[usize::from(at.0)];
        while let Ok(Some((record, used))) = grid_core::wire::split_frame(records, usize::MAX) {
            records = &records[used..];
            let field = |n: usize| {
                let bytes = record.get(8 * n..8 * n + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u64::from_le_bytes)
            };
            let (term, seq) = (Term(field(0)), Seq(field(1)));
            let request = (SessionId(field(3)), RequestId(field(4)));
            let effects = field(6) & u64::from(u32::MAX);
            if request.0 != SessionId(0) && effects > 0 {
                history.requests.insert((term, seq), request);
            }
        }
    }

    /// Something has happened to a cell.
    pub(crate) fn check_cell(&mut self, id: MemberId, at: PartitionId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let cell = &mut member.cells[usize::from(at.0)];
        let bit = 1 << at.0;
        member.serves =
            if cell.replica.serves() { member.serves | bit } else { member.serves & !bit };
        let look = cell.look();
        if cell.looked.is_none_or(|before| before.serving != look.serving) {
            member.remembers |= bit;
        }
        if cell.looked.replace(look) == Some(look) {
            return;
        }
        let history = &mut self.checks.partitions[usize::from(at.0)];
        if history.reset {
            if look.serving.is_none_or(|term| term < history.began) {
                return;
            }
            self.begins(id, at);
        }
        let Some(member) = self.members.get(&id) else { return };
        let replica = &member.cells[usize::from(at.0)].replica;
        let partition = replica.partition();
        let history = &mut self.checks.partitions[usize::from(at.0)];
        if history.copies.insert(id, replica.copy()) != Some(replica.copy()) {
            history.passed.remove(&id);
            history.known.remove(&id);
            history.looked.remove(&id);
        }
        if partition.is_copying() {
            return;
        }
        let (term, last, committed) =
            (partition.last_record_term(), partition.last(), partition.committed());
        let passed = history.passed.entry(id).or_default();
        if last > Seq(0) && history.looked.insert(id, (term, last)) != Some((term, last)) {
            let digest = partition.digest();
            // 8, 25: the same term and number mean the same bytes, wherever.
            let first = *history.states.entry((term, last)).or_insert(digest);
            if first != digest {
                let what = format!(
                    "divergence: member {id} differs at {last} of term {term} in partition {at}"
                );
                return self.broken(what);
            }
            passed.insert(last, (term, digest));
        }
        let (serving, mut begins) = (replica.is_serving(), false);
        if serving && replica.synced() < history.began {
            return; // of a life that is over
        }
        if serving {
            // 1: one member serves a term.
            let before = history.served.insert(replica.synced(), id);
            begins = before.is_none();
            if let Some(server) = before.filter(|server| *server != id) {
                let what = format!("members {server} and {id} serve one term of partition {at}");
                return self.broken(what);
            }
            // 10: who begins to serve has everything that was committed in earlier terms.
            let earlier = history.by_term.range(..replica.synced()).map(|(_, seq)| *seq).max();
            if before.is_none() && earlier.is_some_and(|earlier| last < earlier) {
                let what = format!("member {id} serves partition {at} with {last} of {earlier:?}");
                return self.broken(what);
            }
        }
        if begins {
            self.begins_term(id, at);
        }
        let Some(member) = self.members.get(&id) else { return };
        let replica = &member.cells[usize::from(at.0)].replica;
        let history = &mut self.checks.partitions[usize::from(at.0)];
        let passed = history.passed.entry(id).or_default();
        let known = history.known.entry(id).or_default();
        if !serving || committed <= *known {
            return;
        }
        *known = committed;
        // 6: what is committed was written by as many processes as was promised, which may have gone since.
        let holders = history.looked.values().filter(|(_, last)| *last >= committed).count();
        if holders < usize::from(self.plan.config.min_in_sync) {
            let what = format!(
                "member {id} commits {committed} of partition {at} with {holders} replicas"
            );
            return self.broken(what);
        }
        let by_term = history.by_term.entry(replica.synced()).or_default();
        *by_term = committed.max(*by_term);
        let mut rest = passed.split_off(&committed.next());
        std::mem::swap(passed, &mut rest);
        for (seq, point) in rest {
            let truth = *history.committed.entry(seq).or_insert(point);
            if truth != point {
                let what =
                    format!("histories: member {id} commits another {seq} in partition {at}");
                return self.broken(what);
            }
            // 19: a request takes effect once.
            if let Some(request) = history.requests.get(&(point.0, seq)) {
                let first = *history.effects.entry(*request).or_insert(seq);
                if first != seq {
                    let what = format!(
                        "double effect: request {request:?} is {first} and {seq} of partition {at}"
                    );
                    return self.broken(what);
                }
            }
        }
        if committed > history.last {
            history.last = committed;
            history.times.push((self.now, committed));
            self.check_loss(at);
        }
    }

    /// Backups have answered reads: each from what is committed, and had everything that was long enough ago.
    pub(crate) fn check_told(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        for (request, gate) in std::mem::take(&mut member.told) {
            self.counts.stale += 1;
            let (Ask::Stale(_, ms), at) = (request.ask, usize::from(request.partition.0)) else {
                continue;
            };
            let history = &self.checks.partitions[at];
            let Some(member) = self.members.get(&id).filter(|_| !self.plan.losses) else {
                continue;
            };
            let has = member.cells[at].replica.partition().committed();
            let since = self.now.saturating_sub(u64::from(ms) * MS);
            let before = history.times.partition_point(|(time, _)| *time <= since);
            let due = before.checked_sub(1).map_or(Seq(0), |n| history.times[n].1);
            let what = if gate > history.last {
                format!("uncommitted: member {id} tells {gate} of partition {at}")
            } else if has < due {
                format!("stale: member {id} has {has} of {due}, {ms} ms old, in partition {at}")
            } else {
                continue;
            };
            self.broken(what);
        }
    }

    /// 7: every living member of the in-sync set has everything that was committed.
    fn check_loss(&mut self, at: PartitionId) {
        let Some(record) = self.head.record(at) else { return };
        let history = &self.checks.partitions[usize::from(at.0)];
        if history.reset {
            return;
        }
        for id in &record.isr {
            let Some(member) = self.members.get(id) else { continue };
            let partition = member.cells[usize::from(at.0)].replica.partition();
            if partition.last() < history.last || partition.is_copying() {
                let what = format!(
                    "loss: in-sync member {id} of partition {at} has {} of {} operations",
                    partition.last(),
                    history.last
                );
                return self.broken(what);
            }
        }
    }

    /// The table says something new.
    pub(crate) fn record_changed(&mut self, at: PartitionId) {
        let Some(record) = self.head.record(at).cloned() else { return };
        let n = usize::from(at.0);
        if record.lost && self.checks.partitions[n].began == NEVER {
            return;
        }
        if record.lost {
            if self.plan.faults && !self.checks.doomed[n] {
                self.broken(format!("lost: partition {at} though a replica should live"));
            }
            // Nothing that serves an earlier term counts any more.
            let history = &mut self.checks.partitions[n];
            (history.reset, history.began) = (true, NEVER);
            self.checks.doomed[n] = false;
            if self.plan.faults {
                self.after(5 * MS, 120 * MS, Event::ResetLost(at));
            }
            return;
        }
        let history = &mut self.checks.partitions[n];
        if history.reset || (record.empty && record.term != history.began) {
            *history = History { began: record.term, reset: true, ..History::default() };
        }
        self.check_loss(at);
    }

    /// A primary begins to serve a term. What was answered early in the one before is there if that handed over,
    /// otherwise some of the last of it may be missing.
    fn begins_term(&mut self, id: MemberId, at: PartitionId) {
        let (n, keys) = (usize::from(at.0), self.keys[usize::from(at.0)]);
        let Some(member) = self.members.get_mut(&id) else { return };
        let cell = &mut member.cells[n];
        let (term, surrendered) = (cell.replica.synced(), cell.replica.record().surrendered);
        // One that has not heard of a later term begins too, and gets no lease: it answers nothing.
        let late = self.histories.quick[n].lives.last().is_some_and(|life| life.term > term);
        if !late && term > Term(1) && !(surrendered && cell.replica.record().term == term) {
            let begins = Some(cell.scan(QUICK, &member.wall, &keys));
            self.histories.quick[n].lives.push(Life { term, at: self.now, begins });
        }
    }

    /// The first owner of data that was lost serves: from now on it is as any other.
    fn begins(&mut self, id: MemberId, at: PartitionId) {
        let (n, keys) = (usize::from(at.0), self.keys[usize::from(at.0)]);
        let Some(member) = self.members.get_mut(&id) else { return };
        let cell = &mut member.cells[n];
        let begins = cell.scan(MAP, &member.wall, &keys);
        let history = &mut self.checks.partitions[n];
        history.reset = false;
        history.copies.insert(id, cell.replica.copy());
        history.known.insert(id, cell.replica.partition().committed());
        history.last = cell.replica.partition().committed();
        let empty = cell.replica.record().empty;
        let life = Life { term: history.began, at: self.now, begins: Some(begins) };
        if life.term > Term(1) {
            self.histories.maps[n].lives.push(life);
            if partition_of_name(QUEUE_NAME, self.plan.config.partitions) == at {
                // Nobody can look into a queue.
                let begins = empty.then_some(Values::default());
                self.histories.queue.lives.push(Life { begins, ..life });
            }
        }
    }

    /// 14: while somebody may answer alone, nobody serves a later term.
    pub(crate) fn check_serving(&mut self) {
        let (mut any, mut twice) = (0, 0);
        for member in self.members.values() {
            (any, twice) = (any | member.serves, twice | any & member.serves);
        }
        while twice != 0 {
            let partition = twice.trailing_zeros() as usize;
            twice &= twice - 1;
            self.check_served_twice(partition);
        }
    }

    fn check_served_twice(&mut self, partition: usize) {
        let (mut newest, mut alone) = (None, None);
        for member in self.members.values() {
            let replica = &member.cells[partition].replica;
            if replica.serves() {
                let serving = (replica.synced(), member.id);
                newest = newest.max(Some(serving));
                if replica.serves_alone(member.local(self.now)) && alone.is_none_or(|a| serving < a)
                {
                    alone = Some(serving);
                }
            }
        }
        if alone.is_some() && alone < newest {
            self.broken(format!(
                "two serve: {alone:?} answers alone, {newest:?} serves partition {partition}"
            ));
        }
    }

    /// Whether somebody lives, other than `without`, who has everything that was promised to be kept.
    pub(crate) fn kept(&self, partition: usize, without: MemberId) -> bool {
        let Some(record) = self.head.table().get(partition) else { return true };
        let lives = |id: &MemberId| *id != without && self.members.contains_key(id);
        record.isr.iter().any(lives)
    }
}
