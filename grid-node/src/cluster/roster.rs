//! What the members tell one another of themselves, once a second and to everybody: who they are, what
//! they copy, and what their clocks show. Nothing is decided by it; operators see it.

use super::node::ControlNode;
use super::peers::message::{Reply, Request};
use crate::clock::{self, WallClock};
use grid_core::ids::{MemberId, NodeId, PartitionId, StructureId};
use grid_core::time::Clock as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clocks that are further apart than this, in milliseconds, are worth a warning: expiry is decided by
/// whoever is primary, so that far an entry's life changes when its partition moves.
const CLOCK_BOUND_MS: u64 = 1000;
/// Clocks whose rates differ by more parts in a million are worth a warning. Leases bear 200 000.
const RATE_BOUND_PPM: u64 = 10_000;
/// Rates are compared over at least this long.
const RATE_SPAN: Duration = Duration::from_secs(10);
/// Between two warnings of one member's clock.
const WARNING: Duration = Duration::from_secs(60);
/// Copies that one member tells of; there are no more under way at a time in any but the largest clusters.
pub(crate) const COPIES_MAX: usize = 256;
/// Structures that members tell of.
pub(crate) const SHARES_MAX: u32 = 128;

/// A copy of a partition that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyBrief {
    /// The partition.
    pub partition: PartitionId,
    /// Who gets it.
    pub to: MemberId,
    /// Pieces that were sent.
    pub pieces: u32,
    /// Pieces that have arrived.
    pub arrived: u32,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Bytes that the partition takes in memory here: about what has to be sent.
    pub of_bytes: u64,
}

/// What a member has of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The structure.
    pub structure: StructureId,
    /// Entries or items that the member serves.
    pub entries: u64,
    /// Bytes that it holds.
    pub bytes: u64,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Version of its program.
    pub version: String,
    /// How long its process has been running, in milliseconds.
    pub uptime_ms: u64,
    /// Copies that it sends, the first `COPIES_MAX`.
    pub copies: Vec<CopyBrief>,
    /// What it has of the first `SHARES_MAX` structures, where it has anything.
    pub shares: Vec<Share>,
    /// Its wall clock, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
    /// Its monotonic clock, in nanoseconds.
    pub(crate) monotonic_ns: u64,
}

/// What is known of another member's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockView {
    /// How far its wall clock is ahead of this one's, in milliseconds.
    pub ahead_ms: i64,
    /// By how much that may be wrong.
    pub error_ms: u64,
    /// How much faster its monotonic clock goes, in parts in a million.
    pub faster_ppm: i64,
    /// By how much that may be wrong; `u64::MAX` as long as nothing is known.
    pub error_ppm: u64,
}

impl ClockView {
    /// What is wrong with the clock, if certainly something is.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let direction =
            |n: i64, up: &'static str, down: &'static str| if n > 0 { up } else { down };
        if self.ahead_ms.unsigned_abs().saturating_sub(self.error_ms) > CLOCK_BOUND_MS {
            let apart = self.ahead_ms.unsigned_abs();
            let way = direction(self.ahead_ms, "ahead of", "behind");
            return Some(format!(
                "its clock is {}.{:03} s {way} this one",
                apart / 1000,
                apart % 1000
            ));
        }
        if self.faster_ppm.unsigned_abs().saturating_sub(self.error_ppm) > RATE_BOUND_PPM {
            let way = direction(self.faster_ppm, "faster", "slower");
            let percent = self.faster_ppm.unsigned_abs() / 10_000;
            return Some(format!("its clock goes {percent} % {way} than this one"));
        }
        None
    }
}

/// A question and its answer, in time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// This one's wall clock, in the middle.
    wall_ms: u64,
    /// This one's monotonic clock, in the middle.
    monotonic_ns: u64,
    /// From question to answer.
    took: Duration,
    their_wall_ms: u64,
    their_monotonic_ns: u64,
}

/// Compares clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    first: Option<Sample>,
    view: ClockView,
}

impl Clocks {
    fn take(&mut self, now: Sample) {
        let error_ms = u64::try_from(now.took.as_millis() / 2).unwrap_or(u64::MAX) + 1;
        self.view.ahead_ms =
            now.their_wall_ms.cast_signed().wrapping_sub(now.wall_ms.cast_signed());
        self.view.error_ms = error_ms;
        let first = *self.first.get_or_insert(now);
        let own = now.monotonic_ns.saturating_sub(first.monotonic_ns);
        if u128::from(own) < RATE_SPAN.as_nanos() {
            self.view.error_ppm = u64::MAX;
            return;
        }
        let theirs = now.their_monotonic_ns.saturating_sub(first.their_monotonic_ns);
        let per_million =
            |ns: i128| i64::try_from(ns * 1_000_000 / i128::from(own)).unwrap_or(i64::MAX);
        self.view.faster_ppm = per_million(i128::from(theirs) - i128::from(own));
        let unsure = (first.took + now.took) / 2;
        let unsure = i128::try_from(unsure.as_nanos()).unwrap_or(i128::MAX / 1_000_000);
        self.view.error_ppm = per_million(unsure).unsigned_abs() + 1;
        // A clock that was set right, or a machine that slept, is judged anew after a while.
        if u128::from(own) > 20 * RATE_SPAN.as_nanos() {
            self.first = Some(now);
        }
    }
}

/// What was last heard of a member.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it said.
    pub brief: Brief,
    /// When.
    pub at: Instant,
    /// What its clocks show.
    pub clock: ClockView,
}

#[derive(Debug)]
struct Row {
    heard: Heard,
    clocks: Clocks,
    warned: Option<Instant>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Roster {
    rows: Mutex<BTreeMap<MemberId, Row>>,
    /// What this member has, as of a second ago.
    own: Mutex<Brief>,
}

impl Roster {
    fn take(&self, member: MemberId, brief: Brief, sample: Sample) -> Option<String> {
        let at = Instant::now();
        let mut rows = self.rows.lock();
        let heard = Heard { brief, at, clock: ClockView::default() };
        let row = rows.entry(member).or_insert_with(|| Row {
            heard: heard.clone(),
            clocks: Clocks::default(),
            warned: None,
        });
        row.clocks.take(sample);
        row.heard = Heard { clock: row.clocks.view, ..heard };
        let complaint = row.clocks.view.complaint()?;
        if row.warned.is_some_and(|warned| warned.elapsed() < WARNING) {
            return None;
        }
        row.warned = Some(at);
        Some(complaint)
    }

    fn keep(&self, known: impl Fn(MemberId) -> bool) {
        self.rows.lock().retain(|member, _| known(*member));
    }

    pub(super) fn heard(&self) -> BTreeMap<MemberId, Heard> {
        self.rows.lock().iter().map(|(member, row)| (*member, row.heard.clone())).collect()
    }
}

impl ControlNode {
    /// What the other members last said of themselves.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<MemberId, Heard> {
        self.roster.heard()
    }

    /// What this member says of itself.
    #[must_use]
    pub fn brief(&self) -> Brief {
        Brief {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: WallClock.now().0,
            monotonic_ns: clock::monotonic().0,
            ..self.roster.own.lock().clone()
        }
    }

    /// Looks at the data beside the control thread, which must not wait for partitions.
    async fn look_at_data(&self) {
        let host = Arc::clone(&self.host);
        let look = move || (host.copies(), host.shares());
        if let Ok((copies, shares)) = tokio::task::spawn_blocking(look).await {
            *self.roster.own.lock() = Brief { copies, shares, ..Brief::default() };
        }
    }

    /// Asks all others, again and again.
    pub(super) async fn call_the_roll(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.timing.roll);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look_at_data().await;
            let members: BTreeMap<MemberId, NodeId> = {
                let state = self.applying.state.read();
                state.members().iter().map(|(id, info)| (*id, info.node)).collect()
            };
            self.roster.keep(|member| members.contains_key(&member));
            let mut asked = tokio::task::JoinSet::new();
            for (member, node) in members.into_iter().filter(|(_, node)| *node != self.me.node) {
                let this = Arc::clone(&self);
                asked.spawn(async move { this.look_at(member, node).await });
            }
            asked.join_all().await;
        }
    }

    async fn look_at(&self, member: MemberId, node: NodeId) {
        let (wall_ms, began) = (WallClock.now().0, clock::monotonic().0);
        let answer = self.peers.call(node, Request::Look { member }, self.timing.roll).await;
        // A node that is silent, or another process by now, is seen by its absence.
        let Ok(Reply::Look(brief)) = answer else { return };
        let took = Duration::from_nanos(clock::monotonic().0.saturating_sub(began));
        let half = took / 2;
        let sample = Sample {
            wall_ms: wall_ms + u64::try_from(half.as_millis()).unwrap_or(0),
            monotonic_ns: began + u64::try_from(half.as_nanos()).unwrap_or(0),
            took,
            their_wall_ms: brief.wall_ms,
            their_monotonic_ns: brief.monotonic_ns,
        };
        if let Some(complaint) = self.roster.take(member, *brief, sample) {
            let address = self.peers.address(node).unwrap_or_default();
            tracing::warn!(%member, address, "{complaint}: expiry and leases count on clocks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At a second of this one's clocks, with a clock that is so far ahead and goes so much faster.
    fn sample(second: u64, ahead_ms: i64, percent: u64, took_ms: u64) -> Sample {
        let wall_ms = 1_000_000 + second * 1000;
        Sample {
            wall_ms,
            monotonic_ns: second * 1_000_000_000,
            took: Duration::from_millis(took_ms),
            their_wall_ms: wall_ms.checked_add_signed(ahead_ms).unwrap(),
            their_monotonic_ns: 7 + second * 1_000_000_000 * (100 + percent) / 100,
        }
    }

    fn complaint(samples: &[Sample]) -> Option<String> {
        let mut clocks = Clocks::default();
        samples.iter().for_each(|sample| clocks.take(*sample));
        clocks.view.complaint()
    }

    #[test]
    fn clocks_that_are_certainly_apart_are_complained_of() {
        assert_eq!(complaint(&[sample(1, 900, 0, 2)]), None);
        // As far apart as the answer took: nobody knows.
        assert_eq!(complaint(&[sample(1, 1500, 0, 2000)]), None);
        let ahead = complaint(&[sample(1, 61_250, 0, 2)]).unwrap();
        assert_eq!(ahead, "its clock is 61.250 s ahead of this one");
        let behind = complaint(&[sample(1, -1_002, 0, 0)]).unwrap();
        assert_eq!(behind, "its clock is 1.002 s behind this one");
        // Set right meanwhile.
        assert_eq!(complaint(&[sample(1, 61_250, 0, 2), sample(2, 0, 0, 2)]), None);
    }

    #[test]
    fn rates_are_compared_over_a_while_and_judged_anew() {
        let all: Vec<_> = (0..=12).map(|second| sample(second, 0, 5, 4)).collect();
        assert_eq!(complaint(&all[..9]), None, "too early to tell");
        assert_eq!(complaint(&all).unwrap(), "its clock goes 5 % faster than this one");
        let even: Vec<_> = (0..=500).map(|second| sample(second, 0, 0, 4)).collect();
        assert_eq!(complaint(&even), None);
        // The answers took so long that the difference may be theirs.
        let slow: Vec<_> = (0..=12).map(|second| sample(second, 0, 5, 900)).collect();
        assert_eq!(complaint(&slow), None);
    }

    #[test]
    fn a_warning_comes_once_a_minute() {
        let roster = Roster::default();
        let take = |ahead| roster.take(MemberId(1), Brief::default(), sample(1, ahead, 0, 1));
        assert!(take(5000).is_some());
        assert!(take(6000).is_none());
        assert_eq!(roster.heard()[&MemberId(1)].clock.ahead_ms, 6000);
        roster.keep(|_| false);
        assert!(roster.heard().is_empty());
    }
}
