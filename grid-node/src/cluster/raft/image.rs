//! The content of a log store: what a stream of records has led to.

use super::{Entry, LogId, Vote};
use openraft::entry::RaftEntry;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// One step of the ordered stream that makes up a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Record<E> {
    /// Whom this node voted for.
    Vote(Vote),
    /// An entry behind the last one.
    Entry(E),
    /// Entries behind this one are void.
    Truncate(Option<LogId>),
    /// Entries up to this one are in a snapshot.
    Purge(LogId),
    /// Up to here all entries are known to be committed.
    Committed(Option<LogId>),
}

/// Vote and entries of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Image {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Without holes; the first one follows `purged`.
    pub(super) entries: VecDeque<Entry>,
}

impl Image {
    /// Takes one step.
    ///
    /// # Errors
    /// A sentence, if the step does not fit what is there.
    pub(super) fn apply(&mut self, record: Record<Entry>) -> Result<(), String> {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = committed,
            Record::Entry(entry) => self.push(entry)?,
            Record::Truncate(last) => self.truncate_after(last.as_ref()),
            Record::Purge(upto) => self.purge(upto),
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> Result<(), String> {
        let index = entry.index();
        let expected = match (self.entries.back(), &self.purged) {
            (Some(last), _) => Some(last.index() + 1),
            (None, Some(purged)) => Some(purged.index + 1),
            (None, None) => None,
        };
        if let Some(expected) = expected
            && expected != index
        {
            return Err(format!("entry {index} where entry {expected} belongs"));
        }
        self.entries.push_back(entry);
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<&LogId>) {
        let keep = last.map_or(0, |last| last.index + 1);
        while self.entries.back().is_some_and(|entry| entry.index() >= keep) {
            self.entries.pop_back();
        }
    }

    fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|entry| entry.index() <= upto.index) {
            self.entries.pop_front();
        }
        self.purged = self.purged.take().max(Some(upto));
    }

    /// The last entry that there is, or was before it was purged.
    pub(super) fn last(&self) -> Option<LogId> {
        self.entries.back().map(RaftEntry::log_id).or(self.purged)
    }

    /// The entries of a range that are there.
    pub(super) fn range(&self, range: impl RangeBounds<u64>) -> Vec<Entry> {
        let Some(first) = self.entries.front().map(RaftEntry::index) else { return Vec::new() };
        let from = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(n) => n.saturating_add(1),
            Bound::Excluded(n) => *n,
            Bound::Unbounded => u64::MAX,
        };
        let end = first + self.entries.len() as u64;
        let (from, to) = (from.max(first), to.min(end));
        let at = |n: u64| usize::try_from(n - first).unwrap_or(usize::MAX);
        if from >= to {
            Vec::new()
        } else {
            self.entries.range(at(from)..at(to)).cloned().collect()
        }
    }

    /// The shortest stream that leads here.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<&Entry>> {
        let vote = self.vote.map(Record::Vote);
        let purged = self.purged.map(Record::Purge);
        let committed = self.committed.map(|committed| Record::Committed(Some(committed)));
        let entries = self.entries.iter().map(Record::Entry);
        vote.into_iter().chain(purged).chain(committed).chain(entries)
    }
}
