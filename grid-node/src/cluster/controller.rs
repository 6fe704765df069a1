//! Who should hold what: the decisions of the leader, as a function of the agreed state and of what the
//! members report. Nothing depends on a decision being taken in time, or twice.

use super::peers::message::Report;
use super::timing::Timing;
use grid_core::control::{Command, ControlState, plan};
use grid_core::ids::{Index, MemberId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sessions that one command ends.
const SESSIONS_MAX: usize = 1000;
/// Goals that one command sets.
const GOALS_MAX: usize = 2000;

/// What the leader has heard since it leads. Times are of its own clock.
pub(super) struct Controller {
    /// When it began to lead: what was not heard of since then may have been heard just before.
    since: Duration,
    /// Since when it knows of each member.
    known: BTreeMap<MemberId, Duration>,
    /// When each member reported last.
    members: BTreeMap<MemberId, Duration>,
    sessions: BTreeMap<SessionId, Duration>,
    /// What was last planned for.
    planned: Option<(Index, Vec<MemberId>)>,
    timing: Timing,
}

impl Controller {
    pub(super) fn new(timing: Timing, now: Duration) -> Self {
        Controller {
            since: now,
            known: BTreeMap::new(),
            members: BTreeMap::new(),
            sessions: BTreeMap::new(),
            planned: None,
            timing,
        }
    }

    /// A member has reported.
    pub(super) fn report(&mut self, report: &Report, now: Duration) {
        self.members.insert(report.member, now);
        for session in &report.sessions {
            // Others are not open, as far as this node knows yet: they are heard of again.
            if let Some(heard) = self.sessions.get_mut(session) {
                *heard = now;
            }
        }
    }

    /// What to propose now.
    pub(super) fn decide(&mut self, state: &ControlState, now: Duration) -> Vec<Command> {
        let mut commands = Vec::new();
        self.known.retain(|member, _| state.members().contains_key(member));
        self.members.retain(|member, _| state.members().contains_key(member));
        for member in state.members().keys() {
            self.known.entry(*member).or_insert(now);
        }
        self.expire(state, now, &mut commands);
        self.assign(state, now, &mut commands);
        self.forget(state, now, &mut commands);
        commands
    }

    fn silence(&self, member: MemberId, now: Duration) -> Duration {
        let heard = self.members.get(&member).or(self.known.get(&member)).copied();
        now.saturating_sub(heard.unwrap_or(now))
    }

    fn expire(&mut self, state: &ControlState, now: Duration, commands: &mut Vec<Command>) {
        self.sessions.retain(|session, _| state.has_session(*session));
        for session in state.sessions() {
            self.sessions.entry(*session).or_insert(now);
        }
        let limit = self.timing.session;
        let overdue = self.sessions.iter().filter(|(_, heard)| now.saturating_sub(**heard) > limit);
        let overdue: Vec<_> = overdue.map(|(session, _)| *session).take(SESSIONS_MAX).collect();
        if !overdue.is_empty() {
            commands.push(Command::ExpireSessions(overdue));
        }
    }

    fn assign(&mut self, state: &ControlState, now: Duration, commands: &mut Vec<Command>) {
        let Some(config) = state.config() else { return };
        let heard = |member: &MemberId| self.members.contains_key(member);
        let young = now.saturating_sub(self.since) < self.timing.alive;
        if young && !state.members().keys().all(heard) {
            return; // who has not been heard of yet may be alive all the same
        }
        let members = state.members().keys().copied().filter(heard);
        let alive: Vec<_> =
            members.filter(|member| self.silence(*member, now) < self.timing.alive).collect();
        // Who is about to end gets nothing more, unless nobody else is left.
        let staying: Vec<_> =
            alive.iter().copied().filter(|member| !state.leaving().contains(member)).collect();
        let alive = if staying.is_empty() { alive } else { staying };
        let seen = (state.index(), alive);
        if self.planned.as_ref() == Some(&seen) {
            return;
        }
        let goals = plan(config, state.table(), &seen.1);
        commands.extend(goals.chunks(GOALS_MAX).map(|goals| Command::Assign(goals.to_vec())));
        self.planned = Some(seen);
    }

    fn forget(&self, state: &ControlState, now: Duration, commands: &mut Vec<Command>) {
        let members = state.members().keys();
        let silent: Vec<_> =
            members.filter(|member| self.silence(**member, now) > self.timing.forget).collect();
        if silent.is_empty() {
            return;
        }
        let holders: BTreeSet<_> = state
            .table()
            .iter()
            .flat_map(|r| r.isr.iter().chain(&r.goal).chain(&r.followers).chain([&r.primary]))
            .collect();
        let gone = silent.into_iter().filter(|member| !holders.contains(member));
        commands.extend(gone.map(|member| Command::Leave(*member)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::control::{Change, ClusterConfig, MemberInfo, Outcome};
    use grid_core::ids::{NodeId, PartitionId};

    const SEC: Duration = Duration::from_secs(1);

    struct Fixture {
        state: ControlState,
        controller: Controller,
        next: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let config = ClusterConfig {
                partitions: 12,
                sync_backups: 1,
                async_backups: 0,
                min_in_sync: 1,
                lease_ms: 400,
                hash_seed: 1,
            };
            let controller = Controller::new(Timing::default(), 100 * SEC);
            let mut fixture = Fixture { state: ControlState::default(), controller, next: 1 };
            fixture.apply(Command::Form(config, 1));
            fixture
        }

        fn apply(&mut self, command: Command) -> Outcome {
            self.next += 1;
            self.state.apply(Index(self.next), command).outcome
        }

        fn member(&mut self, node: u64) -> MemberId {
            let member = MemberInfo { node: NodeId(node), address: node.to_string(), http: None };
            match self.apply(Command::Start { boot: 1, member }) {
                Outcome::Started(member) => member,
                other => panic!("{other:?}"),
            }
        }

        fn session(&mut self) -> SessionId {
            match self.apply(Command::OpenSession) {
                Outcome::SessionOpened(session) => session,
                other => panic!("{other:?}"),
            }
        }

        fn report(&mut self, member: MemberId, sessions: &[SessionId], now: Duration) {
            let sessions = sessions.to_vec();
            let report = Report { member, sessions, memory_free: 1, applied: Index(0) };
            self.controller.report(&report, now);
        }

        /// Decides and applies until nothing is left to do.
        fn settle(&mut self, now: Duration) -> Vec<Command> {
            let mut all = Vec::new();
            loop {
                let commands = self.controller.decide(&self.state, now);
                if commands.is_empty() {
                    return all;
                }
                for command in commands {
                    self.apply(command.clone());
                    all.push(command);
                }
            }
        }

        fn goals_of(&self, member: MemberId) -> usize {
            self.state.table().iter().filter(|record| record.goal.contains(&member)).count()
        }
    }

    #[test]
    fn who_reports_holds_something_and_who_is_silent_is_planned_around_once() {
        let mut f = Fixture::new();
        let members = [f.member(1), f.member(2), f.member(3)];
        let mut now = 100 * SEC;
        f.report(members[0], &[], now);
        assert!(f.settle(now).is_empty(), "the leader is new: the others may live");
        members.iter().for_each(|member| f.report(*member, &[], now));
        assert!(!f.settle(now).is_empty());
        assert!(members.iter().all(|member| f.goals_of(*member) == 8));
        assert!(f.controller.decide(&f.state, now).is_empty());
        now += 2 * SEC;
        assert!(f.settle(now).is_empty());
        for _ in 0..4 {
            now += SEC;
            f.report(members[0], &[], now);
            f.report(members[1], &[], now);
            f.settle(now);
        }
        assert_eq!(f.goals_of(members[2]), 0);
        assert!(f.state.table().iter().all(|record| record.goal.len() == 2));
        // Back again, it gets its share.
        f.report(members[2], &[], now);
        f.settle(now);
        assert!(f.goals_of(members[2]) > 4);
    }

    #[test]
    fn who_starts_under_an_old_leader_has_time_to_report() {
        let mut f = Fixture::new();
        let old = f.member(1);
        let mut now = 100 * SEC;
        f.report(old, &[], now);
        f.settle(now);
        now += 10_000 * SEC;
        f.report(old, &[], now);
        let new = f.member(2);
        f.settle(now);
        assert!(f.state.members().contains_key(&new), "it has just come");
        now += f.controller.timing.forget + SEC;
        f.report(old, &[], now);
        f.settle(now);
        assert!(!f.state.members().contains_key(&new), "it was never heard of");
    }

    #[test]
    fn who_is_about_to_end_is_planned_around_unless_all_are() {
        let mut f = Fixture::new();
        let members = [f.member(1), f.member(2), f.member(3)];
        let now = 100 * SEC;
        members.iter().for_each(|member| f.report(*member, &[], now));
        f.settle(now);
        f.apply(Command::Leaving(members[0]));
        f.settle(now);
        assert_eq!(members.map(|member| f.goals_of(member)), [0, 12, 12]);
        f.apply(Command::Leaving(members[1]));
        f.settle(now);
        assert_eq!(members.map(|member| f.goals_of(member)), [0, 0, 12]);
        f.apply(Command::Leaving(members[2]));
        f.settle(now);
        assert!(members.iter().all(|member| f.goals_of(*member) > 0));
        // It has ended, and nobody remembers that it was about to.
        f.apply(Command::Leave(members[0]));
        assert_eq!(f.state.leaving().len(), 2);
        assert!(matches!(f.apply(Command::Leaving(members[0])), Outcome::Refused(..)));
    }

    #[test]
    fn a_session_ends_when_no_member_heard_of_it_since_the_leader_leads() {
        let mut f = Fixture::new();
        let member = f.member(1);
        let (kept, silent) = (f.session(), f.session());
        let mut now = 100 * SEC;
        f.settle(now);
        for _ in 0..60 {
            now += SEC;
            f.report(member, &[kept], now);
            f.settle(now);
            assert!(f.state.has_session(silent));
        }
        now += SEC;
        assert_eq!(f.settle(now), [Command::ExpireSessions(vec![silent])]);
        assert!(f.state.has_session(kept) && !f.state.has_session(silent));
        // Another leader gives everybody the full time again.
        f.controller = Controller::new(Timing::default(), now);
        assert!(f.settle(now + 59 * SEC).is_empty());
    }

    #[test]
    fn a_member_is_forgotten_after_ten_minutes_unless_it_holds_something() {
        let mut f = Fixture::new();
        let members = [f.member(1), f.member(2)];
        let mut now = 100 * SEC;
        members.iter().for_each(|member| f.report(*member, &[], now));
        f.settle(now);
        // The second one becomes the only replica of partition 0.
        let change = |f: &mut Fixture, by, change| {
            let version = f.state.table()[0].version;
            f.apply(Command::Change { by, changes: vec![(PartitionId(0), version, change)] })
        };
        assert_eq!(change(&mut f, members[0], Change::Add(members[1])), Outcome::Taken(1));
        assert_eq!(change(&mut f, members[1], Change::Promote), Outcome::Taken(1));
        for _ in 0..700 {
            now += SEC;
            f.report(members[0], &[], now);
            f.settle(now);
        }
        assert!(f.state.members().contains_key(&members[1]));
        // What it held is lost and given to another.
        f.state.apply(Index(100_000), Command::Leave(members[1]));
        let third = f.member_at(3, 100_001);
        for _ in 0..700 {
            now += SEC;
            f.report(members[0], &[], now);
            f.next = f.next.max(100_001);
            f.settle(now);
        }
        assert!(!f.state.members().contains_key(&third));
        assert!(f.state.members().contains_key(&members[0]));
    }

    impl Fixture {
        fn member_at(&mut self, node: u64, index: u64) -> MemberId {
            self.next = index - 1;
            self.member(node)
        }
    }
}
