//! Leases between members: while one holds, its holder may answer reads alone.
//!
//! A primary sends beacons; each in-sync backup answers with a grant: it will not take over for a while.
//! Only backups can take over, so only they have to grant, and consensus is not needed to go on. A
//! grant counts from the *sending* of the beacon on the holder's clock and from its *arrival* on the
//! lessor's, and the lessor's part is a quarter longer: no clocks are compared, only their rates have to
//! agree within that quarter (after PacificA, MSR-TR-2008-25).
//!
//! Grants are given per pair of members, for all partitions at once. So a lessor whose table shows that the holder
//! was demoted somewhere withholds grants until a beacon tells that every partition of the holder
//! knows; and an heir waits until its own grants to every earlier primary of the partition have ended.

use crate::control::Record;
use crate::ids::{Index, MemberId, PartitionId, Term};
use crate::mutant::{self, Mutant};
use crate::time::Nanos;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sign of life of a primary, to every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// When it was sent, on the sender's clock; it comes back in the answer.
    pub sent: u64,
    /// Every partition of the sender has followed the table up to here.
    pub index: Index,
}

/// The answer to a [`Beacon`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconReply {
    /// As in the beacon.
    pub sent: u64,
    /// The position of the table that the holder has to follow first; none: the lease is granted.
    pub behind: Option<Index>,
    /// Length of the grant on the lessor's clock, in milliseconds; the same in the whole cluster.
    pub lease_ms: u32,
}

/// Until when the lease that one member granted holds, readable without a lock.
#[derive(Debug, Default)]
pub struct Held(AtomicU64);

impl Held {
    /// When it ends, on the holder's clock.
    #[inline]
    #[must_use]
    pub fn until(&self) -> Nanos {
        Nanos(self.0.load(Ordering::Acquire))
    }

    fn extend(&self, until: Nanos) {
        self.0.fetch_max(until.0, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct Peer {
    held: Arc<Held>,
    /// When it last answered a beacon, whatever it said.
    answered: Nanos,
    /// End of the last grant to it.
    granted: Nanos,
    /// It was demoted at this position of the table and has not shown that it knows.
    demoted: Option<Index>,
    /// Highest index of its beacons.
    seen: Index,
}

/// Something that an heir has to outwait.
#[derive(Debug)]
struct Wait {
    /// An earlier primary, and the position at which it was demoted: it may show that it knows.
    whom: Option<(MemberId, Index)>,
    until: Nanos,
}

/// What the table says of a partition, as far as leases are concerned.
#[derive(Debug, Default)]
struct Seat {
    known: bool,
    primary: MemberId,
    term: Term,
    in_sync: bool,
    /// When the present term, or this member's place in the in-sync set, was learnt.
    since: Nanos,
    waits: Vec<Wait>,
}

/// The leases of one member: those it holds, those it granted, and what follows from them. One lock
/// guards it; time is always that of this member's clock.
#[derive(Debug)]
pub struct Leases {
    me: MemberId,
    granted: Nanos,
    held: Nanos,
    lease_ms: u32,
    peers: BTreeMap<MemberId, Peer>,
    seats: Vec<Seat>,
}

impl Leases {
    /// Of a member that knows nothing yet, with grants of this length.
    #[must_use]
    pub fn new(me: MemberId, partitions: u16, lease_ms: u32) -> Self {
        let granted = Nanos::from_millis(lease_ms.into());
        Leases {
            me,
            granted,
            held: Nanos(granted.0 / 5 * 4),
            lease_ms,
            peers: BTreeMap::new(),
            seats: (0..partitions).map(|_| Seat::default()).collect(),
        }
    }

    /// Length of a grant on the lessor's clock.
    #[must_use]
    pub fn length(&self) -> Nanos {
        self.granted
    }

    /// The table's record of a partition has changed. Must be told of every record in the order of the log
    /// before any partition acts on it; only a snapshot may leave some out.
    pub fn learn(&mut self, partition: PartitionId, record: &Record, now: Nanos) {
        let Some(seat) = self.seats.get_mut(usize::from(partition.0)) else { return };
        let in_sync = record.in_sync(self.me);
        if seat.known && record.primary != seat.primary {
            // After a jump over unknown records there may have been other primaries in between.
            let jumped = record.term.0 > seat.term.0 + 1;
            if !record.surrendered || jumped {
                let old = self.peers.entry(seat.primary).or_default();
                old.demoted = old.demoted.max(Some(record.index));
                if mutant::is(Mutant::WaitForgotten) {
                    seat.waits.clear();
                }
                let whom = Some((seat.primary, record.index));
                seat.waits.push(Wait { whom, until: old.granted });
            }
            if jumped {
                let until = self.peers.values().map(|peer| peer.granted).max().unwrap_or_default();
                seat.waits.push(Wait { whom: None, until });
            }
        }
        if !seat.known || record.term != seat.term || (in_sync && !seat.in_sync) {
            seat.since = now;
        }
        // What its predecessors granted to clients was not limited by this member.
        let first = record.version.0 == 1;
        if in_sync && !seat.in_sync && !first && !mutant::is(Mutant::NoJoinWait) {
            seat.waits.push(Wait { whom: None, until: now.plus(self.granted) });
        }
        (seat.known, seat.primary, seat.term) = (true, record.primary, record.term);
        seat.in_sync = in_sync;
    }

    /// Answers a beacon.
    pub fn answer(&mut self, from: MemberId, beacon: Beacon, now: Nanos) -> BeaconReply {
        self.reply(from, beacon, now, mutant::is(Mutant::GrantIgnoresDemotion))
    }

    /// Answers a beacon without regard to demotions, as a lessor would whose partitions decide and have not
    /// heard of them: [`Mutant::GrantByCells`].
    #[cfg(feature = "mutants")]
    pub fn answer_blindly(&mut self, from: MemberId, beacon: Beacon, now: Nanos) -> BeaconReply {
        self.reply(from, beacon, now, true)
    }

    fn reply(&mut self, from: MemberId, beacon: Beacon, now: Nanos, ignore: bool) -> BeaconReply {
        let peer = self.peers.entry(from).or_default();
        peer.seen = peer.seen.max(beacon.index);
        let behind = peer.demoted.filter(|demoted| *demoted > beacon.index && !ignore);
        if behind.is_none() {
            peer.demoted = peer.demoted.filter(|demoted| *demoted > peer.seen);
            peer.granted = peer.granted.max(now.plus(self.granted));
        }
        BeaconReply { sent: beacon.sent, behind, lease_ms: self.lease_ms }
    }

    /// Takes the answer to a beacon of this member. A grant of another length than this member's is none: it may
    /// end before this one would believe.
    pub fn take(&mut self, from: MemberId, reply: BeaconReply, now: Nanos) {
        let peer = self.peers.entry(from).or_default();
        peer.answered = peer.answered.max(now);
        if reply.behind.is_none() && reply.lease_ms == self.lease_ms {
            let from = if mutant::is(Mutant::LeaseFromReply) { now } else { Nanos(reply.sent) };
            peer.held.extend(from.plus(self.held));
        }
    }

    /// The lease that a member grants to this one.
    pub fn held(&mut self, from: MemberId) -> Arc<Held> {
        Arc::clone(&self.peers.entry(from).or_default().held)
    }

    /// When a member last answered a beacon of this one.
    #[must_use]
    pub fn answered(&self, from: MemberId) -> Nanos {
        self.peers.get(&from).map_or(Nanos(0), |peer| peer.answered)
    }

    /// Whether this member, made primary of the partition, may serve: no earlier primary can count on a
    /// grant of this member any more.
    pub fn may_serve(&mut self, partition: PartitionId, now: Nanos) -> bool {
        let Some(seat) = self.seats.get_mut(usize::from(partition.0)) else { return false };
        let peers = &self.peers;
        seat.waits.retain(|wait| {
            let knows = wait.whom.is_some_and(|(whom, demoted)| {
                peers.get(&whom).is_some_and(|peer| peer.seen >= demoted)
            });
            !knows && wait.until >= now
        });
        seat.waits.is_empty() || mutant::is(Mutant::NoHeirWait)
    }

    /// Whether this in-sync backup may nominate itself: the primary's process is gone, or had no grant for
    /// longer than any grant lasts. `rank` spreads several backups.
    #[must_use]
    pub fn may_nominate(&self, partition: PartitionId, record: &Record, now: Nanos) -> bool {
        let Some(seat) = self.seats.get(usize::from(partition.0)) else { return false };
        if record.retired {
            return true;
        }
        let granted = self.peers.get(&record.primary).map_or(Nanos(0), |peer| peer.granted);
        let backups = record.isr.iter().filter(|member| **member != record.primary);
        let rank = backups.take_while(|member| **member != self.me).count() as u64;
        let patience = Nanos(self.granted.0 / 20 * rank);
        let mut silent_from = granted.max(seat.since.plus(self.granted));
        if mutant::is(Mutant::EarlyNomination) {
            silent_from = Nanos(silent_from.0.saturating_sub(self.held.0 * 2 / 3));
        }
        now > silent_from.plus(patience)
    }
}
