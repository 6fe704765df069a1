//! What connections that come and go, and tables, change.

use crate::effects::Effects;
use crate::lane::{Lane, Up};
use crate::requests::Stage;
use crate::route::Route;
use crate::session::Entry;
use crate::state::State;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::ClusterView;
use grid_core::ids::{MemberId, PartitionId, SessionId};
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::wire::control::Control;
use grid_core::wire::hello::Welcome;
use grid_core::wire::table::TableView;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What an attempt may take beyond a lease.
const MARGIN_MIN: Duration = Duration::from_millis(200);

impl State {
    /// Takes a new connection into use. Returns its lane and its number.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(crate) fn adopt(
        &mut self,
        address: &str,
        welcome: &Welcome,
        socket: std::net::TcpStream,
        fx: &mut Effects,
    ) -> Result<(usize, u64)> {
        if self.closed {
            return Err(Error::with(Kind::Closed, "the client was shut down"));
        }
        if welcome.partitions != self.partitions {
            let text = format!("{} partitions now, {} before", welcome.partitions, self.partitions);
            return Err(Error::with(Kind::Invalid, text));
        }
        if self.session.enter(welcome)? == Entry::AnotherLife {
            self.begin_life(fx);
        }
        let at = self.lane_for(welcome.member, fx);
        if let Some(number) = self.lanes.get(at).and_then(Lane::number) {
            // The member has given the session to the new connection.
            let error = Error::with(Kind::Disconnected, "another connection has taken its place");
            self.lost(at, number, error, fx);
        }
        self.session_timeout = Duration::from_millis(welcome.session_timeout_ms);
        let lease = Duration::from_millis(welcome.lease_ms.into());
        self.patience = lease + (lease / 2).max(MARGIN_MIN);
        self.applied = self.applied.max(welcome.applied);
        self.frame_bytes_max = usize::try_from(welcome.frame_bytes_max).unwrap_or(FRAME_BYTES_MAX);
        self.numbers += 1;
        let number = self.numbers;
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.reached = Some(address.to_owned());
            (lane.trouble, lane.wished) = (None, false);
            lane.up = Some(Up::new(number, socket));
        }
        self.trouble = None;
        fx.alarm = true;
        if let Some(table) = &welcome.table
            && let Err(error) = self.install(table, fx)
        {
            self.lost(at, number, error.clone(), fx);
            return Err(error);
        }
        Ok((at, number))
    }

    /// The lane of a member, made if there is none.
    fn lane_for(&mut self, member: MemberId, fx: &mut Effects) -> usize {
        let known = |lane: &Lane| lane.member == member && !lane.retired;
        if let Some(at) = self.lanes.iter().position(known) {
            return at;
        }
        let lane = Lane::new(member);
        let at = self.lanes.iter().position(|lane| lane.vacant).unwrap_or(self.lanes.len());
        match self.lanes.get_mut(at) {
            Some(vacant) => *vacant = lane,
            None => self.lanes.push(lane),
        }
        fx.lanes.push(at);
        at
    }

    /// A connection has ended. What was sent on it is to be sent again, in the order of the ids, with what
    /// waits for it.
    pub(crate) fn lost(&mut self, at: usize, number: u64, error: Error, fx: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(at) else { return };
        let Some(up) = lane.up.take_if(|up| up.number == number) else { return };
        up.kick.notify_one();
        lane.trouble = Some(error);
        lane.queue.clear();
        let mut waiting: Vec<(u64, u32, bool)> = Vec::new();
        for (slot, request) in self.requests.all().filter(|(_, request)| request.lane == at) {
            match request.stage {
                Stage::Sent(by) if by == number => waiting.push((request.id, slot, true)),
                Stage::Queued => waiting.push((request.id, slot, false)),
                _ => {}
            }
        }
        waiting.sort_unstable();
        for (id, slot, sent) in waiting {
            self.unsend(slot);
            if let Some(request) = self.requests.at(slot) {
                request.doubt |= sent && request.code.writes();
            }
            if let Some(lane) = self.lanes.get_mut(at) {
                lane.queue.push_back((id, slot));
            }
        }
        let place = (at, number);
        self.controls.lost(place);
        self.refresh.lost(at, number);
        self.subscriptions.detach(|_, on| on == place, &mut fx.wakers);
        self.reroute();
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.dial.notify_one();
        }
        fx.alone |= !self.is_connected();
        fx.alarm = true;
    }

    /// Sends requests to where their partitions are now: those that were not sent, and those that were sent to
    /// a member that does not answer.
    pub(crate) fn reroute(&mut self) {
        let now = Instant::now();
        let silent = |lane: &Lane| match &lane.up {
            Some(up) => now.saturating_duration_since(up.heard) > self.patience / 2,
            None => true,
        };
        let astray = |lane: usize, partition: PartitionId, read| match read {
            // Any replica that is connected will do.
            grid_core::Read::Stale(_) => self.lanes.get(lane).is_none_or(|lane| lane.up.is_none()),
            _ => match self.route.primary(partition) {
                Some(primary) => primary != lane,
                None => self.lanes.get(lane).is_none_or(|lane| lane.up.is_none()),
            },
        };
        let mut moving: Vec<(u64, u32)> = Vec::new();
        for (slot, request) in self.requests.all() {
            let leaves = match request.stage {
                Stage::Queued => true,
                Stage::Sent(_) => {
                    request.overdue || self.lanes.get(request.lane).is_none_or(silent)
                }
                _ => false,
            };
            if leaves && astray(request.lane, request.partition, request.read) {
                moving.push((request.id, slot));
            }
        }
        moving.sort_unstable();
        for (_, slot) in moving {
            if let Some(request) = self.requests.at(slot) {
                request.doubt |= request.is_sent() && request.code.writes();
            }
            self.dispatch(slot);
        }
    }

    /// Takes a table into use, if it is newer.
    ///
    /// # Errors
    /// If it is not of this cluster, or of another life: the connection that it came on is to be ended.
    pub(crate) fn install(&mut self, table: &TableView, fx: &mut Effects) -> Result<()> {
        if self.session.life() != Some(table.life()) {
            let text = "the cluster was restarted empty";
            return Err(Error::with(Kind::Disconnected, text));
        }
        if table.partitions() != self.partitions {
            let text = format!("a table of {} partitions", table.partitions());
            return Err(Error::with(Kind::Malformed, text));
        }
        if table.index() <= self.route.index() {
            return Ok(());
        }
        self.lanes.iter_mut().for_each(|lane| lane.listed = None);
        let mut lanes = Vec::with_capacity(table.members().len());
        for known in table.members() {
            let at = self.lane_for(known.member, fx);
            if let Some(lane) = self.lanes.get_mut(at) {
                lane.listed = Some(known.address.clone());
            }
            lanes.push(at);
        }
        let blocked: Vec<_> = self.detours.partitions().collect();
        let before: Vec<_> = blocked.iter().map(|p| self.route.primary(*p)).collect();
        self.route.install(table.clone(), lanes);
        fx.wakers.extend(self.feed.see(ClusterView::of_table(table)));
        let now = Instant::now();
        for (partition, before) in blocked.into_iter().zip(before) {
            if self.route.primary(partition) != before {
                self.detours.moved(partition, now);
            }
        }
        let route = &self.route;
        let moved = |partition, (lane, _): (usize, u64)| {
            route.primary(partition).is_some_and(|primary| primary != lane)
        };
        for (subscription, place) in self.subscriptions.detach(moved, &mut fx.wakers) {
            self.say(place, 0, &Control::Unsubscribe { subscription });
        }
        self.reroute();
        fx.alarm = true;
        Ok(())
    }

    /// The members have ended this session: what was sent in it and has no answer cannot be sent again, but
    /// for reads. What was not sent goes on in the next session.
    pub(crate) fn lose_session(&mut self, id: SessionId, error: &Error, fx: &mut Effects) {
        if self.session.id != Some(id) {
            return;
        }
        self.session.lose();
        let mut failing: Vec<(u64, u32)> = self
            .requests
            .all()
            .filter(|(_, r)| r.code.writes() && (r.doubt || r.is_sent()))
            .map(|(slot, request)| (request.id, slot))
            .collect();
        failing.sort_unstable();
        for (_, slot) in failing {
            self.give_up(slot, error.clone(), fx);
        }
        self.drop_connections(error, fx);
    }

    /// Ends all connections; what was sent on them is to be sent again.
    fn drop_connections(&mut self, error: &Error, fx: &mut Effects) {
        for at in 0..self.lanes.len() {
            if let Some(number) = self.lanes.get(at).and_then(Lane::number) {
                self.lost(at, number, error.clone(), fx);
            }
        }
    }

    /// The cluster was restarted empty: whatever waits has lost what it was for.
    fn begin_life(&mut self, fx: &mut Effects) {
        let error = Error::with(Kind::Disconnected, "the cluster was restarted empty");
        self.detours.clear();
        let all: Vec<u32> = self.requests.all().map(|(slot, _)| slot).collect();
        for slot in all {
            self.give_up(slot, error.clone(), fx);
        }
        self.life.fetch_add(1, Ordering::AcqRel);
        self.names.clear();
        // They name structures by ids that mean others now.
        let stale = self.controls.take(|waiting| waiting.partition().is_some());
        fx.answers.extend(stale.into_iter().map(|waiting| (waiting, Err(error.clone()))));
        self.drop_connections(&error, fx);
        self.lanes.iter_mut().for_each(Lane::retire);
        self.route = Route::default();
        self.applied = grid_core::ids::Index(0);
        fx.declare = self.subscriptions.forget_ids();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use grid_core::Read;
    use grid_core::handle::Call;
    use grid_core::ids::{Index, StructureId};
    use grid_core::op::OpCode;
    use grid_core::wire::table::MemberAddress;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    /// A client with a connection to each of so many members, which never say anything: lane n leads
    /// partition n. The sockets are the members' ends.
    pub(crate) fn connected(members: u16) -> (State, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let at = |n| MemberAddress { member: MemberId(n), address: address.to_string() };
        let all = (1..=members.into()).map(at).collect();
        let partitions: Vec<[u16; 1]> = (0..members).map(|n| [n]).collect();
        let partitions = partitions.iter().map(<[u16; 1]>::as_slice);
        let table = TableView::new(Index(9), 1, all, partitions).unwrap();
        let mut state = State::new(members, Arc::default());
        let mut sockets = Vec::new();
        for member in 1..=members.into() {
            let socket = TcpStream::connect(address).unwrap();
            sockets.push(listener.accept().unwrap().0);
            let welcome = Welcome {
                cluster_life: 1,
                member: MemberId(member),
                session: SessionId(5),
                session_timeout_ms: 60_000,
                partitions: members,
                frame_bytes_max: 1 << 20,
                applied: Index(9),
                lease_ms: 400,
                table: (member == 1).then(|| table.clone()),
            };
            let mut fx = Effects::default();
            state.adopt(&address.to_string(), &welcome, socket, &mut fx).unwrap();
        }
        (state, sockets)
    }

    /// Begins a read of a partition.
    pub(crate) fn get(state: &mut State, partition: PartitionId, now: Instant) {
        let call = Call {
            code: OpCode::MapGet,
            partition,
            structure: StructureId(0),
            life: 0,
            body: &[],
            timeout: None,
            read: Read::Linearizable,
        };
        state.begin(&call, now, now + Duration::from_secs(60)).unwrap();
    }
}
