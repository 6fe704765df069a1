//! The table as clients need it: members with their addresses, and which of them hold each partition.
//! A partition with three replicas takes four bytes on the wire in clusters of up to 128 members, so the
//! largest table (16 384 partitions) takes 64 KiB.

use crate::error::{Error, Kind, Result};
use crate::ids::{Index, MemberId, PartitionId};
use crate::limits::{MEMBERS_MAX, PARTITION_COUNT_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A member and where clients connect to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddress {
    /// The member.
    pub member: MemberId,
    /// `HOST:PORT`, as the member wants to be reached.
    pub address: String,
}

/// See the module documentation. What is decoded has been checked: every replica is one of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct TableView {
    index: Index,
    life: u64,
    members: Vec<MemberAddress>,
    /// Where the replicas of each partition end in `replicas`.
    ends: Vec<u32>,
    replicas: Vec<u16>,
}

/// What travels.
#[derive(Serialize, Deserialize)]
struct Raw {
    index: Index,
    life: u64,
    members: Vec<MemberAddress>,
    /// Number of replicas of each partition.
    counts: Vec<u8>,
    /// The replicas of all partitions, one after the other, as positions in `members`.
    replicas: Vec<u16>,
}

impl TableView {
    /// A table as of a control log index in one life of the cluster's data. `partitions` gives for each
    /// partition the positions of its in-sync replicas in `members`, the primary first; none if nobody
    /// owns the partition.
    ///
    /// # Errors
    /// `Malformed` if a position is no member's, a replica or member is named twice, or there are more
    /// partitions, members or replicas than can be.
    pub fn new<'p>(
        index: Index,
        life: u64,
        members: Vec<MemberAddress>,
        partitions: impl IntoIterator<Item = &'p [u16]>,
    ) -> Result<Self> {
        let (mut counts, mut replicas) = (Vec::new(), Vec::new());
        for partition in partitions {
            let many = |_| malformed("more replicas than there can be");
            counts.push(u8::try_from(partition.len()).map_err(many)?);
            replicas.extend_from_slice(partition);
        }
        Raw { index, life, members, counts, replicas }.try_into()
    }

    /// Control log index of the table's last change; a higher one replaces a lower one of the same life.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// The life of the cluster's data that it belongs to.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life
    }

    /// The members, by ascending position.
    #[must_use]
    pub fn members(&self) -> &[MemberAddress] {
        &self.members
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        #[allow(clippy::cast_possible_truncation)] // at most PARTITION_COUNT_MAX
        let count = self.ends.len() as u16;
        count
    }

    /// Positions of the in-sync replicas of a partition, the primary first. Empty if nobody owns it.
    #[inline]
    #[must_use]
    pub fn replicas(&self, partition: PartitionId) -> &[u16] {
        let at = usize::from(partition.0);
        let end = self.ends.get(at).map_or(0, |end| *end as usize);
        let start = at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |at| *at as usize);
        self.replicas.get(start..end).unwrap_or_default()
    }

    /// Position of the primary of a partition, if anybody owns it.
    #[inline]
    #[must_use]
    pub fn primary(&self, partition: PartitionId) -> Option<u16> {
        self.replicas(partition).first().copied()
    }
}

impl TryFrom<Raw> for TableView {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let Raw { index, life, members, counts, replicas } = raw;
        if counts.is_empty() || counts.len() > usize::from(PARTITION_COUNT_MAX) {
            return Err(malformed("a number of partitions that cannot be"));
        }
        if members.len() > MEMBERS_MAX {
            return Err(malformed("more members than there can be"));
        }
        let distinct: BTreeSet<MemberId> = members.iter().map(|known| known.member).collect();
        if distinct.len() != members.len() {
            return Err(malformed("a member that is named twice"));
        }
        let mut ends = Vec::with_capacity(counts.len());
        let mut start = 0usize;
        for count in &counts {
            let end = start + usize::from(*count);
            let Some(owners) = replicas.get(start..end) else {
                return Err(malformed("fewer replicas than are counted"));
            };
            for (at, owner) in owners.iter().enumerate() {
                if usize::from(*owner) >= members.len() {
                    return Err(malformed("a replica that is no member"));
                }
                if owners.get(..at).is_some_and(|before| before.contains(owner)) {
                    return Err(malformed("a replica that is named twice"));
                }
            }
            #[allow(clippy::cast_possible_truncation)] // 16 384 partitions of 255 replicas at most
            ends.push(end as u32);
            start = end;
        }
        if start != replicas.len() {
            return Err(malformed("more replicas than are counted"));
        }
        Ok(TableView { index, life, members, ends, replicas })
    }
}

impl From<TableView> for Raw {
    fn from(view: TableView) -> Self {
        let mut start = 0;
        let count = |end: &u32| {
            #[allow(clippy::cast_possible_truncation)] // counted in a byte when it was made
            let count = (end - start) as u8;
            start = *end;
            count
        };
        let counts = view.ends.iter().map(count).collect();
        let TableView { index, life, members, replicas, .. } = view;
        Raw { index, life, members, counts, replicas }
    }
}

#[cold]
fn malformed(what: &str) -> Error {
    Error::with(Kind::Malformed, format!("a table with {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameKind;
    use crate::wire::control::{self, ControlReply};
    use crate::wire::hello::HELLO_BYTES_MAX;

    fn members(count: u64) -> Vec<MemberAddress> {
        let at = |n| MemberAddress { member: MemberId(n), address: format!("10.0.0.{n}:5701") };
        (1..=count).map(at).collect()
    }

    #[test]
    fn a_table_comes_out_as_it_went_in_and_says_who_holds_what() {
        let partitions: [&[u16]; 4] = [&[2, 0], &[], &[1], &[0, 1, 2]];
        let view = TableView::new(Index(9), 7, members(3), partitions).unwrap();
        assert_eq!((view.index(), view.life(), view.partitions()), (Index(9), 7, 4));
        for (n, replicas) in (0u16..).zip(partitions) {
            assert_eq!(view.replicas(PartitionId(n)), replicas);
            assert_eq!(view.primary(PartitionId(n)), replicas.first().copied());
        }
        assert_eq!(view.replicas(PartitionId(4)), [0u16; 0], "there is no such partition");
        let mut out = Vec::new();
        let reply = ControlReply::Table(view);
        control::encode(FrameKind::ControlReply, 3, &reply, &mut out).unwrap();
        assert_eq!(control::decode(&out[4..]), Ok((3, reply)));
    }

    #[test]
    fn the_largest_table_is_small_enough_for_a_welcome() {
        let partitions = vec![[0u16, 1, 2]; usize::from(PARTITION_COUNT_MAX)];
        let partitions = partitions.iter().map(|replicas| &replicas[..]);
        let view = TableView::new(Index(u64::MAX), u64::MAX, members(64), partitions).unwrap();
        let mut out = Vec::new();
        control::encode(FrameKind::ControlReply, 3, &ControlReply::Table(view), &mut out).unwrap();
        assert!(out.len() < 70_000 && out.len() < HELLO_BYTES_MAX, "{} bytes", out.len());
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let refused = |members, partitions: &[&[u16]]| {
            let view = TableView::new(Index(1), 1, members, partitions.iter().copied());
            assert_eq!(view.unwrap_err().kind(), Kind::Malformed);
        };
        refused(members(2), &[&[0], &[2]]);
        refused(members(2), &[&[0, 0]]);
        refused(members(2), &[]);
        refused([members(1), members(1)].concat(), &[&[0]]);
        refused(members(2), &vec![&[0u16][..]; usize::from(PARTITION_COUNT_MAX) + 1]);
        // Counts that do not fit the replicas can only come from the wire.
        for counts in [vec![1, 1], vec![2, 2]] {
            let (index, life, replicas) = (Index(1), 1, vec![0, 1, 0]);
            let raw = Raw { index, life, members: members(2), counts, replicas };
            assert_eq!(TableView::try_from(raw).unwrap_err().kind(), Kind::Malformed);
        }
    }
}
