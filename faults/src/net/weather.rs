//! What is wrong with the network: a value, and the rules that make it so.

use super::INTERFACE;
use super::address::{CLIENT_PORT, DETOUR_PORT, Place, proxy_port};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What is wrong with the network at a moment. Several troubles of one link add up to the worst of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    cuts: BTreeSet<(Place, Place)>,
    losses: BTreeMap<(Place, Place), u16>,
    rates: BTreeMap<Place, u32>,
}

impl Weather {
    /// Nothing gets from the one place to the other. What goes the other way does.
    pub fn cut(&mut self, from: Place, to: Place) {
        self.cuts.insert((from, to));
    }

    /// Whether nothing gets from the one place to the other.
    #[must_use]
    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// So many packets of a thousand do not get from the one place to the other.
    pub fn lose(&mut self, from: Place, to: Place, per_mille: u16) {
        if per_mille >= 1000 {
            return self.cut(from, to);
        }
        let lost = self.losses.entry((from, to)).or_default();
        *lost = (*lost).max(per_mille);
    }

    /// What leaves a place does so at this rate, in 1000 bits per second; at least 8.
    pub fn slow(&mut self, place: Place, kbit: u32) {
        let rate = self.rates.entry(place).or_insert(u32::MAX);
        *rate = (*rate).min(kbit.max(8));
    }

    pub(super) fn rate(&self, place: Place) -> Option<u32> {
        self.rates.get(&place).copied()
    }

    /// The whole rules of a place, for `nft -f -`: they replace those before at once.
    pub(super) fn rules(&self, here: Place, members: usize, detour: bool) -> String {
        let mut text =
            String::from("table inet faults\ndelete table inet faults\ntable inet faults {\n");
        text.push_str("  chain arrive {\n    type filter hook input priority 0;\n");
        for (from, _) in self.cuts.iter().filter(|(_, to)| *to == here) {
            let _ = writeln!(text, "    iifname {INTERFACE} ip saddr {} drop", from.ip());
        }
        for ((from, _), lost) in self.losses.iter().filter(|((_, to), _)| *to == here) {
            let _ = writeln!(
                text,
                "    iifname {INTERFACE} ip saddr {} numgen random mod 1000 < {lost} drop",
                from.ip()
            );
        }
        text.push_str("  }\n");
        if detour {
            text.push_str(&detours(here, members));
        }
        text.push_str("}\n");
        text
    }
}

/// Connections to the members go through proxies here; those of proxies elsewhere arrive.
fn detours(here: Place, members: usize) -> String {
    let mut text = String::from("  chain leave {\n    type nat hook output priority -100;\n");
    for member in (0..members).filter(|member| Place::Member(*member) != here) {
        let (to, proxy) = (Place::Member(member).ip(), proxy_port(member));
        let _ = writeln!(text, "    ip daddr {to} tcp dport {CLIENT_PORT} redirect to :{proxy}");
    }
    text.push_str("  }\n  chain enter {\n    type nat hook prerouting priority -100;\n");
    let _ = writeln!(text, "    tcp dport {DETOUR_PORT} redirect to :{CLIENT_PORT}\n  }}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Place = Place::Member(0);
    const B: Place = Place::Member(1);

    #[test]
    fn a_cut_is_a_rule_where_the_packets_arrive_only() {
        let mut weather = Weather::default();
        weather.cut(A, B);
        let rule = "iifname eth0 ip saddr 10.77.0.1 drop";
        assert!(weather.rules(B, 2, false).contains(rule));
        assert_eq!(weather.rules(A, 2, false), Weather::default().rules(A, 2, false));
    }

    #[test]
    fn the_worst_of_each_kind_counts() {
        let mut weather = Weather::default();
        weather.lose(A, B, 100);
        weather.lose(A, B, 999);
        weather.lose(A, B, 50);
        weather.slow(A, 500);
        weather.slow(A, 1_000);
        weather.slow(B, 0);
        let rule = "saddr 10.77.0.1 numgen random mod 1000 < 999 drop";
        assert!(weather.rules(B, 2, false).contains(rule));
        weather.lose(A, B, 1000);
        assert!(weather.rules(B, 2, false).contains("saddr 10.77.0.1 drop"), "no random number");
        assert_eq!((weather.rate(A), weather.rate(B)), (Some(500), Some(8)));
    }

    #[test]
    fn detours_lead_to_the_other_members_only() {
        let rules = Weather::default().rules(A, 3, true);
        assert!(!rules.contains("daddr 10.77.0.1"));
        assert!(rules.contains("daddr 10.77.0.2 tcp dport 5701 redirect to :20001"));
        assert!(rules.contains("daddr 10.77.0.3 tcp dport 5701 redirect to :20002"));
        assert!(rules.contains("tcp dport 15701 redirect to :5701"));
        assert_eq!(Weather::default().rules(Place::Clients, 3, true).matches("daddr").count(), 3);
    }
}
