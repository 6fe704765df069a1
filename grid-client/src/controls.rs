//! Control messages without an answer: to whom they go, and when they are sent again.

use crate::backoff::Backoff;
use crate::detour::PAUSES;
use crate::subscriptions::Place;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::PartitionId;
use grid_core::wire::control::{Control, ControlReply};
use hashbrown::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Control messages that may wait for their answers.
const WAITING_MAX: usize = 65_536;

/// Who is told the answer.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// Somebody waits.
    Caller(oneshot::Sender<Result<ControlReply>>),
    /// A subscription of this number is made; somebody waits.
    Subscriber(u64, oneshot::Sender<Result<ControlReply>>),
    /// A subscription of this number is made anew.
    Renewal(u64),
    /// The client leaves: not worth waiting for if no member is there.
    Leave(oneshot::Sender<Result<ControlReply>>),
}

/// A message.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Control,
    pub(crate) purpose: Purpose,
    /// None: it is tried for ever.
    deadline: Option<Instant>,
    /// The connection that it was sent on, and when.
    at: Option<(Place, Instant)>,
    /// A lane whose member did not answer.
    avoid: Option<usize>,
    /// When it is to be sent.
    due: Instant,
    pauses: Backoff,
}

impl Waiting {
    /// Where the message has to go; none: to any member.
    pub(crate) fn partition(&self) -> Option<PartitionId> {
        match self.message {
            Control::Subscribe { partition, .. } => Some(partition),
            _ => None,
        }
    }

    /// Hands over the answer.
    pub(crate) fn answer(self, answer: Result<ControlReply>) {
        match self.purpose {
            Purpose::Caller(to) | Purpose::Subscriber(_, to) | Purpose::Leave(to) => {
                // Nobody may wait any more.
                let _ = to.send(answer);
            }
            Purpose::Renewal(_) => {}
        }
    }

    /// The number of the subscription that is made.
    pub(crate) fn subscription(&self) -> Option<u64> {
        match self.purpose {
            Purpose::Subscriber(number, _) | Purpose::Renewal(number) => Some(number),
            _ => None,
        }
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    next: u64,
    waiting: HashMap<u64, Waiting>,
}

impl Controls {
    /// Adds a message, to be sent at once.
    pub(crate) fn add(
        &mut self,
        message: Control,
        purpose: Purpose,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Result<()> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Error::with(Kind::Overloaded, "too many control messages wait"));
        }
        self.next += 1;
        let pauses = Backoff::new(PAUSES.0, PAUSES.1);
        let waiting =
            Waiting { message, purpose, deadline, at: None, avoid: None, due: now, pauses };
        self.waiting.insert(self.next, waiting);
        Ok(())
    }

    /// Whether a subscription is being made.
    pub(crate) fn makes(&self, number: u64) -> bool {
        self.waiting.values().any(|waiting| waiting.subscription() == Some(number))
    }

    /// Messages that are to be sent: those for which `place` knows a connection are marked as sent there. It
    /// is given the partition that matters, and a lane to avoid.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        mut place: impl FnMut(Option<PartitionId>, Option<usize>) -> Option<Place>,
    ) -> Vec<(u64, Place, Control, Option<u64>)> {
        let due = self.waiting.iter_mut().filter(|(_, w)| w.at.is_none() && w.due <= now);
        let mut out: Vec<_> = due
            .filter_map(|(call, waiting)| {
                let at = place(waiting.partition(), waiting.avoid)?;
                waiting.at = Some((at, now));
                Some((*call, at, waiting.message.clone(), waiting.subscription()))
            })
            .collect();
        out.sort_unstable_by_key(|(call, ..)| *call);
        out
    }

    /// Takes the answer of a message; none if it is to be sent again or nobody's. What it was then.
    pub(crate) fn answered(
        &mut self,
        call: u64,
        reply: &ControlReply,
        now: Instant,
    ) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&call)?;
        let again = match reply {
            ControlReply::Refused { kind: Kind::NotServing | Kind::Closed, .. } => true,
            ControlReply::Refused { .. } => matches!(waiting.purpose, Purpose::Renewal(_)),
            _ => false,
        };
        if again {
            waiting.at = None;
            waiting.due = now + waiting.pauses.next();
            return None;
        }
        self.waiting.remove(&call)
    }

    /// The number of the subscription that a message makes.
    pub(crate) fn subscription(&self, call: u64) -> Option<u64> {
        self.waiting.get(&call)?.subscription()
    }

    /// A connection was lost: what was sent there is to be sent again.
    pub(crate) fn lost(&mut self, place: Place) {
        for waiting in self.waiting.values_mut().filter(|w| w.at.is_some_and(|(at, _)| at == place))
        {
            waiting.at = None;
        }
    }

    /// Messages that any member can answer are not left to one that is silent.
    pub(crate) fn give_up_silent(&mut self, now: Instant, patience: Duration) {
        for waiting in self.waiting.values_mut().filter(|w| w.partition().is_none()) {
            let over = |(_, at): &(Place, Instant)| now.saturating_duration_since(*at) > patience;
            if let Some(((lane, _), _)) = waiting.at.take_if(|at| over(at)) {
                waiting.avoid = Some(lane);
            }
        }
    }

    /// Takes out the messages for which `over` says so.
    pub(crate) fn take(&mut self, over: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.waiting.extract_if(|_, waiting| over(waiting)).map(|(_, w)| w).collect()
    }

    /// Takes out the messages whose deadline is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Waiting> {
        self.take(|waiting| waiting.deadline.is_some_and(|deadline| deadline <= now))
    }

    /// Whether a message waits for a member that serves its partition.
    pub(crate) fn astray(&self) -> bool {
        self.waiting.values().any(|w| w.at.is_none() && w.partition().is_some())
    }

    /// Whether a message waits for a connection of the lane of one of these partitions.
    pub(crate) fn any_in(&self, mut lane_of: impl FnMut(PartitionId) -> bool) -> bool {
        let mut waiting = self.waiting.values().filter(|w| w.at.is_none());
        waiting.any(|w| w.partition().is_some_and(&mut lane_of))
    }

    /// When a message that was refused is to be sent again.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.values().filter(|w| w.at.is_none() && w.due > now);
        waiting.map(|w| w.due).min()
    }
}
