//! Settings that must fit one another, and where each of them was set.

use super::Config;
use super::problem::{Origin, Problem};
use std::collections::BTreeMap;

/// Where each setting was set last; none: what was said there was refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Places(BTreeMap<&'static str, Option<Origin>>);

impl Places {
    pub(super) fn set(&mut self, key: &'static str, origin: &Origin, accepted: bool) {
        self.0.insert(key, accepted.then(|| origin.clone()));
    }

    /// The places of these settings, unless one of them is unknown: its problem is told already.
    fn of<const N: usize>(&self, keys: [&str; N]) -> Option<[&Origin; N]> {
        let mut places = [const { &Origin::Program }; N];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.0.get(key)?.as_ref()?;
        }
        Some(places)
    }
}

impl Config {
    /// Finds settings that are each possible, but not together.
    pub(super) fn check_together(&self, problems: &mut Vec<Problem>) {
        problems.extend(self.check_in_sync());
        problems.extend(self.check_reachable());
    }

    fn check_in_sync(&self) -> Option<Problem> {
        let keys = ["cluster.min-in-sync", "cluster.sync-backups"];
        let [place, backups_place] = self.places.of(keys)?;
        let (min, backups) = (self.cluster.min_in_sync, self.cluster.sync_backups);
        let text = format!(
            "{} is {min}; possible: at most one more than {}, which is {backups} ({backups_place})",
            keys[0], keys[1]
        );
        (min > backups + 1).then(|| Problem::new(place, text))
    }

    /// Members that are to be joined must be able to connect to this one.
    fn check_reachable(&self) -> Option<Problem> {
        const ADVERTISE: &str = "advertise = \"HOST:PORT\" as others know this machine";
        let [join, _, advertise] = self.places.of(["join", "bind", "advertise"])?;
        let (place, key, own) = match &self.advertise {
            Some(own) => (advertise, "advertise", own),
            None => (join, "bind", &self.bind),
        };
        if own.is_unspecified() && !self.join.is_empty() {
            let text = format!(
                "members to join cannot reach this one at {own} ({key}); possible: {ADVERTISE}"
            );
            return Some(Problem::new(place, text));
        }
        let elsewhere = self.join.iter().find(|other| !other.is_loopback());
        let other = elsewhere.filter(|_| own.is_loopback())?;
        let text = format!(
            "{other} (join) cannot reach this member at {own} ({key}), which leads nowhere outside this \
             machine; possible: bind to another address, or {ADVERTISE}"
        );
        Some(Problem::new(place, text))
    }
}
