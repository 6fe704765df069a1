//! What time changes: deadlines, attempts that take too long, probes, questions for the table.

use crate::controls::Purpose;
use crate::effects::Effects;
use crate::lane::Lane;
use crate::requests::Request;
use crate::state::State;
use crate::subscriptions::Place;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, PartitionId};
use grid_core::wire::control::{Control, ControlReply};
use std::time::Instant;

/// The number of questions for the table; other control messages count from 1.
const TABLE_CALL: u64 = u64::MAX;

impl State {
    /// Does what is due. Returns when the next thing is, if that is known.
    pub(crate) fn tick(&mut self, now: Instant, fx: &mut Effects) -> Option<Instant> {
        self.expire(now, fx);
        self.find_overdue(now);
        for (_, slot) in self.detours.take_due(now) {
            self.dispatch(slot);
        }
        self.ask_for_table(now);
        self.send_controls(now);
        self.look_after_lanes(now, fx);
        let refresh = self.refresh.next_due(self.patience).filter(|_| self.is_connected());
        let due =
            [self.detours.next_due(), refresh, self.controls.next_due(now), self.next_overdue];
        due.into_iter().flatten().min()
    }

    /// Ends what has waited for too long.
    fn expire(&mut self, now: Instant, fx: &mut Effects) {
        for slot in self.requests.take_expired(now) {
            let Some(request) = self.requests.at(slot) else { continue };
            let (lane, partition) = (request.lane, request.partition);
            let error = self.timeout(lane, Some(partition));
            self.give_up(slot, error, fx);
        }
        for waiting in self.controls.take_expired(now) {
            let lane = waiting.partition().map(|partition| self.lane_of(partition));
            let error = match lane.or_else(|| self.any_lane(None)) {
                Some(lane) => self.timeout(lane, waiting.partition()),
                None => no_connection(self.trouble.as_ref()),
            };
            fx.answers.push((waiting, Err(error)));
        }
        if !self.is_connected() {
            let leaving = self.controls.take(|w| matches!(w.purpose, Purpose::Leave(_)));
            let error = no_connection(self.trouble.as_ref());
            fx.answers.extend(leaving.into_iter().map(|waiting| (waiting, Err(error.clone()))));
        }
    }

    /// Why something that was for this lane was not answered in time.
    fn timeout(&self, lane: usize, partition: Option<PartitionId>) -> Error {
        if let Some(why) = partition.and_then(|partition| self.detours.why(partition)) {
            return Error::with(Kind::Timeout, format!("until the deadline: {why}"));
        }
        match self.lanes.get(lane) {
            Some(lane) if lane.up.is_some() => {
                Error::with(Kind::Timeout, "the member has not answered in time")
            }
            Some(lane) => no_connection(lane.trouble.as_ref().or(self.trouble.as_ref())),
            None => no_connection(self.trouble.as_ref()),
        }
    }

    /// Marks the requests that have no answer for too long, and sends those that are at the wrong member by now
    /// to the right one.
    fn find_overdue(&mut self, now: Instant) {
        if self.next_overdue.is_none_or(|next| next > now) {
            return;
        }
        let patience = self.patience;
        let waits = |request: &Request| request.is_sent() && !request.overdue;
        let late: Vec<u32> = self
            .requests
            .all()
            .filter(|(_, r)| waits(r) && r.sent_at + patience <= now)
            .map(|(slot, _)| slot)
            .collect();
        for slot in &late {
            if let Some(request) = self.requests.at(*slot) {
                request.overdue = true;
                self.overdue += 1;
            }
        }
        let rest = self.requests.all().filter(|(_, r)| waits(r)).map(|(_, r)| r.sent_at).min();
        self.next_overdue = rest.map(|sent_at| sent_at + patience);
        if !late.is_empty() {
            self.reroute();
        }
    }

    /// Asks a member for the table if there is a reason to.
    fn ask_for_table(&mut self, now: Instant) {
        let patience = self.patience;
        // Its backups may take over long before its requests are overdue.
        let suspect = |lane: &Lane| lane.is_cut_off(now, patience) || lane.is_quiet(now, patience);
        let suspect = self.lanes.iter().any(suspect);
        let none = self.route.index() == Index(0);
        let trouble =
            none || suspect || self.overdue > 0 || self.detours.astray() || self.controls.astray();
        let subscribed = self.subscriptions.any() || self.feed.is_heard();
        if !self.refresh.is_due((trouble, subscribed), self.patience, now) {
            return;
        }
        // One after the other: the one that knows nothing new, or nothing at all, is asked again last.
        // Those that have been silent for a while though something was asked are passed over.
        let count = self.lanes.len();
        let alive = (0..count).find_map(|_| {
            let at = self.any_lane(None)?;
            self.lanes.get(at).is_some_and(|lane| !lane.is_quiet(now, patience)).then_some(at)
        });
        let Some(at) = alive.or_else(|| self.any_lane(None)) else { return };
        let Some(number) = self.lanes.get(at).and_then(Lane::number) else { return };
        self.refresh.asked(at, number, now);
        let known = self.route.index();
        self.say((at, number), TABLE_CALL, &Control::Table { known });
    }

    /// Sends control messages that are due, those that make subscriptions anew among them.
    fn send_controls(&mut self, now: Instant) {
        for (number, message) in self.subscriptions.to_renew() {
            if !self.controls.makes(number) {
                // Tried again at the next tick.
                let _ = self.controls.add(message, Purpose::Renewal(number), now, None);
            }
        }
        self.controls.give_up_silent(now, self.patience);
        let mut controls = std::mem::take(&mut self.controls);
        let due = controls.take_due(now, |partition, avoid| {
            let at = match partition {
                Some(partition) => self.lane_of(partition),
                None => self.any_lane(avoid)?,
            };
            self.lanes.get(at)?.number().map(|number| (at, number))
        });
        self.controls = controls;
        for (call, place, message, subscription) in due {
            if let Some(number) = subscription {
                self.subscriptions.asked(number, place);
            }
            self.say(place, call, &message);
        }
    }

    /// Takes the answer to a control message that came on a connection.
    ///
    /// # Errors
    /// If the connection that it came on is to be ended.
    pub(crate) fn control_reply(
        &mut self,
        place: Place,
        call: u64,
        reply: ControlReply,
        fx: &mut Effects,
    ) -> Result<()> {
        if call == TABLE_CALL {
            let before = self.route.index();
            let installed = match &reply {
                ControlReply::Table(table) => self.install(table, fx),
                _ => Ok(()),
            };
            self.refresh.answered(self.route.index() > before);
            fx.alarm = true;
            return installed;
        }
        let subscription = self.controls.subscription(call);
        let answered = self.controls.answered(call, &reply, Instant::now());
        if let Some(number) = subscription {
            match (&answered, &reply) {
                (Some(_), ControlReply::Done) => {
                    fx.wakers.extend(self.subscriptions.made(number, place));
                }
                _ => self.subscriptions.refused(number, place),
            }
        }
        match answered {
            Some(waiting) => fx.answers.push((waiting, Ok(reply))),
            None => fx.alarm = true,
        }
        Ok(())
    }

    /// Has lanes connected that are of use, and retires those that are not.
    fn look_after_lanes(&mut self, now: Instant, fx: &mut Effects) {
        for lane in &mut self.lanes {
            let waits = lane.open > 0 && lane.up.is_none();
            lane.waits_since = waits.then(|| lane.waits_since.unwrap_or(now));
        }
        for at in 0..self.lanes.len() {
            if self.wants(at)
                && let Some(lane) = self.lanes.get(at)
            {
                lane.dial.notify_one();
            }
        }
        let others = self.lanes.iter().any(|lane| lane.up.is_some() && lane.listed.is_some());
        for at in 0..if others { self.lanes.len() } else { 0 } {
            let Some(lane) = self.lanes.get(at) else { return };
            if lane.listed.is_some() || lane.open > 0 || lane.retired {
                continue;
            }
            if let Some(number) = lane.number() {
                let error = Error::with(Kind::Disconnected, "the member has left the cluster");
                self.lost(at, number, error, fx);
            }
            if let Some(lane) = self.lanes.get_mut(at) {
                lane.retire();
            }
        }
    }

    /// Whether a lane without a connection should have one.
    pub(crate) fn wants(&self, at: usize) -> bool {
        let Some(lane) = self.lanes.get(at) else { return false };
        let here = |partition| self.route.primary(partition) == Some(at);
        lane.up.is_none()
            && !lane.retired
            && (lane.open > 0
                || lane.wished
                || self.controls.any_in(here)
                || self.subscriptions.any_in(here))
    }
}

/// Why something was not answered while no member was there.
pub(crate) fn no_connection(trouble: Option<&Error>) -> Error {
    let text = match trouble {
        Some(trouble) => format!("there is no connection to a member: {trouble}"),
        None => "there is no connection to a member".into(),
    };
    Error::with(Kind::Timeout, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::{connected, get};
    use grid_core::limits::FRAME_BYTES_MAX;
    use grid_core::wire::control;
    use grid_core::wire::split_frame;
    use std::time::Duration;

    /// Whether the member of a lane is asked for the table.
    fn is_asked(state: &State, at: usize) -> bool {
        let controls = state.lanes[at].up.as_ref().map(|up| up.controls.as_slice());
        let frame = split_frame(controls.unwrap_or_default(), FRAME_BYTES_MAX).unwrap();
        frame.is_some_and(|(frame, _)| {
            matches!(control::decode(frame), Ok((TABLE_CALL, Control::Table { .. })))
        })
    }

    #[test]
    fn others_are_asked_for_the_table_before_the_requests_at_a_silent_member_are_overdue() {
        let (mut state, _sockets) = connected(3);
        let (now, mut fx) = (Instant::now(), Effects::default());
        state.tick(now + state.patience / 2, &mut fx);
        assert!((0..3).all(|at| !is_asked(&state, at)), "nothing is under way");
        get(&mut state, PartitionId(1), now);
        let on_time = now + Duration::from_millis(1);
        state.tick(on_time, &mut fx);
        assert!((0..3).all(|at| !is_asked(&state, at)), "it has time to answer");
        state.tick(now + state.patience / 2, &mut fx);
        assert_eq!(state.overdue, 0);
        assert!(is_asked(&state, 0) || is_asked(&state, 2));
        assert!(!is_asked(&state, 1), "it would not answer that either");
    }
}
