//! Faults, and what they do to links.

use crate::detours::Link;
use crate::net::{Place, Weather};
use crate::proxy::{Direction, Latency, Trouble};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// A kind of fault. The target is a member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[doc = $doc])* $name,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// SIGKILL, started again when the fault ends.
    Kill = "kill";
    /// SIGKILL, started again at once with the same data directory.
    Restart = "restart";
    /// SIGTERM, started again when the fault ends.
    Terminate = "terminate";
    /// SIGSTOP, SIGCONT when the fault ends.
    Pause = "pause";
    /// The disk is full; in the end it is freed, and the member started again if it ended itself.
    DiskFull = "disk-full";
    /// No member and no client reaches the target, nor it them.
    CutAll = "cut-all";
    /// No member reaches the target, nor it them; clients do.
    CutMembers = "cut-members";
    /// Nothing from other members arrives at the target; what it sends does.
    CutIn = "cut-in";
    /// What the target sends arrives at no other member; what they send does.
    CutOut = "cut-out";
    /// The target and one other member do not reach each other.
    CutPair = "cut-pair";
    /// Two groups that do not reach each other; the target is in the smaller one. Clients reach both.
    Split = "split";
    /// Two groups that both reach the target but not each other.
    Bridge = "bridge";
    /// Each member reaches only its two neighbours in a ring.
    Ring = "ring";
    /// No client reaches the target.
    CutClients = "cut-clients";
    /// Packets to and from the target get lost.
    Loss = "loss";
    /// The target sends slowly.
    Rate = "rate";
    /// Connections to and from the target take long.
    Delay = "delay";
    /// Connections to and from the target stand still, in one direction or both.
    Stall = "stall";
    /// Connections to the target swallow what is sent.
    HalfOpen = "half-open";
    /// Connections to and from the target are reset, once.
    Reset = "reset";
    /// Bits of what goes through connections of the target change.
    Flip = "flip";
    /// What members agree on, and their leases, gets through between no two of them; data does.
    NoQuorum = "no-quorum";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Kind {
    /// Whether the target loses what it has in memory.
    #[must_use]
    pub fn is_lethal(self) -> bool {
        matches!(self, Kind::Kill | Kind::Restart | Kind::Terminate | Kind::DiskFull)
    }

    /// Whether it is something that is done to the process of the target.
    #[must_use]
    pub fn is_of_process(self) -> bool {
        self.is_lethal() || self == Kind::Pause
    }

    /// Whether it needs proxies in the links.
    #[must_use]
    pub fn is_of_proxies(self) -> bool {
        matches!(
            self,
            Kind::Delay | Kind::Stall | Kind::HalfOpen | Kind::Reset | Kind::Flip | Kind::NoQuorum
        )
    }

    /// Whether it needs a network of its own.
    #[must_use]
    pub fn is_of_network(self) -> bool {
        !self.is_of_process()
    }

    /// The least number of members with which it is something of its own.
    #[must_use]
    pub fn members_min(self) -> usize {
        match self {
            Kind::CutMembers | Kind::CutIn | Kind::CutOut => 2,
            // Of two members one decides alone.
            Kind::CutPair | Kind::Bridge | Kind::NoQuorum => 3,
            Kind::Ring => 4,
            Kind::Split => 5,
            _ => 1,
        }
    }
}

/// Something to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// The member, counted from 0.
    pub target: usize,
    /// For how long.
    pub lasts: Duration,
    /// Whatever else is random about it.
    pub luck: u64,
}

impl Fault {
    /// It in words, in a run with so many members.
    #[must_use]
    pub fn describe(&self, members: usize) -> String {
        let mut text = match self.kind {
            Kind::NoQuorum => self.kind.to_string(),
            kind => format!("{kind} {}", Place::Member(self.target)),
        };
        if !matches!(self.kind, Kind::Restart | Kind::Reset) {
            text += &format!(" for {:.1} s", self.lasts.as_secs_f64());
        }
        match self.kind {
            Kind::CutPair => text += &format!(", from {}", Place::Member(self.other(members))),
            Kind::Split => text += &format!(", with {:?}", self.smaller_group(members)),
            Kind::Loss => text += &format!(", {} of 1000 packets", self.loss_per_mille()),
            Kind::Rate => text += &format!(", {} kbit/s", self.rate_kbit()),
            _ => {}
        }
        text
    }

    /// The members that the others may have to do without.
    #[must_use]
    pub fn affected(&self, members: usize) -> BTreeSet<usize> {
        match self.kind {
            // Members serve each other all the time.
            Kind::CutClients | Kind::NoQuorum => BTreeSet::new(),
            Kind::Split | Kind::Bridge | Kind::Ring => self.smaller_group(members),
            _ => [self.target].into(),
        }
    }

    /// The target and those behind it, less than half of all.
    fn smaller_group(&self, members: usize) -> BTreeSet<usize> {
        (0..members.saturating_sub(1) / 2).map(|n| (self.target + n) % members).collect()
    }

    fn loss_per_mille(&self) -> u16 {
        [20, 100, 300, 600][(self.luck % 4) as usize]
    }

    fn rate_kbit(&self) -> u32 {
        [64, 512, 4_000][(self.luck % 3) as usize]
    }

    /// Adds what it does to the network.
    pub fn add_to(&self, weather: &mut Weather, members: usize) {
        let target = Place::Member(self.target);
        let others = Place::all(members).filter(|place| *place != target);
        let member = |place: &Place| matches!(place, Place::Member(_));
        let cut = |weather: &mut Weather, a, b| {
            weather.cut(a, b);
            weather.cut(b, a);
        };
        match self.kind {
            Kind::CutAll => others.for_each(|other| cut(weather, target, other)),
            Kind::CutMembers => others.filter(member).for_each(|other| cut(weather, target, other)),
            Kind::CutIn => others.filter(member).for_each(|other| weather.cut(other, target)),
            Kind::CutOut => others.filter(member).for_each(|other| weather.cut(target, other)),
            Kind::CutPair => cut(weather, target, Place::Member(self.other(members))),
            Kind::CutClients => cut(weather, target, Place::Clients),
            Kind::Loss => others.for_each(|other| {
                weather.lose(target, other, self.loss_per_mille());
                weather.lose(other, target, self.loss_per_mille());
            }),
            Kind::Rate => weather.slow(target, self.rate_kbit()),
            Kind::Split | Kind::Bridge | Kind::Ring => {
                for a in 0..members {
                    for b in 0..a {
                        if self.separates(a, b, members) {
                            cut(weather, Place::Member(a), Place::Member(b));
                        }
                    }
                }
            }
            Kind::Kill | Kind::Restart | Kind::Terminate | Kind::Pause | Kind::DiskFull => {}
            Kind::Delay | Kind::Stall | Kind::HalfOpen | Kind::Reset => {}
            Kind::Flip | Kind::NoQuorum => {}
        }
    }

    /// The other one of a pair.
    fn other(&self, members: usize) -> usize {
        let step = 1 + (self.luck % members.saturating_sub(1).max(1) as u64) as usize;
        (self.target + step) % members
    }

    fn separates(&self, a: usize, b: usize, members: usize) -> bool {
        let place = |member: usize| (member + members - self.target) % members;
        let group = self.smaller_group(members);
        match self.kind {
            Kind::Split => group.contains(&a) != group.contains(&b),
            Kind::Bridge => {
                let half = members / 2;
                place(a) != 0 && place(b) != 0 && (place(a) <= half) != (place(b) <= half)
            }
            Kind::Ring => {
                let apart = a.abs_diff(b);
                apart > 1 && apart < members - 1
            }
            _ => false,
        }
    }

    /// Adds what it does to the proxies of links.
    pub fn add_troubles(
        &self,
        links: &[Link],
        troubles: &mut BTreeMap<(Link, Direction), Trouble>,
    ) {
        let Some(trouble) = self.trouble() else { return };
        let target = Place::Member(self.target);
        let its_own = self.kind != Kind::HalfOpen;
        for link in links {
            let concerned = match self.kind {
                Kind::NoQuorum => link.0 != Place::Clients,
                _ => link.1 == self.target || (its_own && link.0 == target),
            };
            if !concerned {
                continue;
            }
            for direction in self.directions() {
                let known = troubles.entry((*link, *direction)).or_default();
                *known = worst(*known, trouble);
            }
        }
    }

    /// Whether a link is of the target, for a reset.
    #[must_use]
    pub fn concerns(&self, link: Link) -> bool {
        link.1 == self.target || link.0 == Place::Member(self.target)
    }

    fn directions(&self) -> &'static [Direction] {
        match (self.kind, self.luck % 3) {
            (Kind::HalfOpen, _) | (Kind::Stall, 0) => &[Direction::ToServer],
            (Kind::Stall, 1) => &[Direction::ToClient],
            _ => &Direction::BOTH,
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        let mut rng = Rng::new(self.luck);
        let ms = Duration::from_millis;
        let plain = Trouble::default();
        Some(match self.kind {
            Kind::Delay => Trouble {
                latency: Latency {
                    base: rng.duration(ms(1), ms(100)),
                    jitter: rng.duration(ms(1), ms(100)),
                    tail_per_million: 10_000,
                    tail: rng.duration(ms(50), ms(2_000)),
                },
                ..plain
            },
            Kind::Stall => Trouble { stall: true, ..plain },
            Kind::HalfOpen => Trouble { swallow: true, ..plain },
            Kind::NoQuorum => Trouble { swallow_control: true, ..plain },
            Kind::Flip => Trouble { flips_per_million: 20, ..plain },
            _ => return None,
        })
    }
}

/// Two troubles of the same link and direction at once.
fn worst(a: Trouble, b: Trouble) -> Trouble {
    let slower = if b.latency.base > a.latency.base { b.latency } else { a.latency };
    let rate = match (a.bytes_per_s, b.bytes_per_s) {
        (0, rate) | (rate, 0) => rate,
        (a, b) => a.min(b),
    };
    Trouble {
        latency: slower,
        bytes_per_s: rate,
        stall: a.stall || b.stall,
        swallow: a.swallow || b.swallow,
        swallow_control: a.swallow_control || b.swallow_control,
        flips_per_million: a.flips_per_million.max(b.flips_per_million),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, target: usize, luck: u64) -> Fault {
        Fault { kind, target, lasts: Duration::from_secs(1), luck }
    }

    /// The pairs of members of which the first does not reach the second.
    fn cuts(fault: &Fault, members: usize) -> Vec<(usize, usize)> {
        let mut weather = Weather::default();
        fault.add_to(&mut weather, members);
        let all = (0..members).flat_map(|a| (0..members).map(move |b| (a, b)));
        all.filter(|(a, b)| weather.is_cut(Place::Member(*a), Place::Member(*b))).collect()
    }

    #[test]
    fn cuts_have_directions() {
        assert_eq!(cuts(&fault(Kind::CutMembers, 1, 0), 3), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(cuts(&fault(Kind::CutIn, 1, 0), 3), [(0, 1), (2, 1)]);
        assert_eq!(cuts(&fault(Kind::CutOut, 1, 0), 3), [(1, 0), (1, 2)]);
        assert_eq!(cuts(&fault(Kind::CutPair, 2, 0), 3), [(0, 2), (2, 0)]);
        assert_eq!(cuts(&fault(Kind::CutPair, 2, 1), 3), [(1, 2), (2, 1)]);
        assert_eq!(cuts(&fault(Kind::Bridge, 0, 0), 3), [(1, 2), (2, 1)]);
        assert_eq!(cuts(&fault(Kind::Ring, 0, 0), 4), [(0, 2), (1, 3), (2, 0), (3, 1)]);
        let split = cuts(&fault(Kind::Split, 4, 0), 5);
        assert_eq!(split.len(), 12);
        assert!(split.contains(&(0, 1)) && !split.contains(&(0, 4)) && !split.contains(&(1, 2)));
        assert_eq!(cuts(&fault(Kind::CutClients, 0, 0), 3), []);
    }

    #[test]
    fn clients_are_cut_where_the_name_says_so() {
        let is_cut = |kind| {
            let mut weather = Weather::default();
            fault(kind, 0, 0).add_to(&mut weather, 2);
            let (m, c) = (Place::Member(0), Place::Clients);
            assert!(!weather.is_cut(Place::Member(1), c));
            (weather.is_cut(m, c), weather.is_cut(c, m))
        };
        assert_eq!(is_cut(Kind::CutAll), (true, true));
        assert_eq!(is_cut(Kind::CutClients), (true, true));
        assert_eq!(is_cut(Kind::CutMembers), (false, false));
    }

    #[test]
    fn troubles_of_a_link_add_up() {
        let links = [(Place::Member(0), 1), (Place::Member(1), 0), (Place::Clients, 1)];
        let mut troubles = BTreeMap::new();
        fault(Kind::Stall, 0, 0).add_troubles(&links, &mut troubles);
        fault(Kind::HalfOpen, 1, 0).add_troubles(&links, &mut troubles);
        let at = |from, to| troubles.get(&((from, to), Direction::ToServer)).copied();
        let both = at(Place::Member(0), 1).unwrap();
        assert!(both.stall && both.swallow);
        let stalled = at(Place::Member(1), 0).unwrap();
        assert!(
            stalled.stall && !stalled.swallow,
            "what the half-open one sends itself is not lost"
        );
        assert!(at(Place::Clients, 1).unwrap().swallow);
        assert!(troubles.keys().all(|(_, direction)| *direction == Direction::ToServer));
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
