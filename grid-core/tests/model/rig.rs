//! A partition that knows all structures, with a clock, for directed tests.

use super::commands::{Cmd, SEED, Val, env, partition};
use grid_core::data::{Blob, TypeTag};
use grid_core::error::Applied;
use grid_core::ids::{MemberId, Millis, RequestId, Seq, SessionId, StructureId, Term};
use grid_core::op::{Life, Op};
use grid_core::partition::{Outcome, Partition, Request, Stamp};
use grid_core::store::hash64;
use grid_core::time::ManualClock;
use grid_core::{Error, Kind};

pub(crate) const B1: MemberId = MemberId(1);
pub(crate) const B2: MemberId = MemberId(2);
pub(crate) const SMALL: Val = Val { len: 8, fill: 1 };

pub(crate) struct Rig(pub(crate) Partition, pub(crate) ManualClock);

impl Rig {
    pub(crate) fn new(budget: u64) -> Self {
        Rig(partition(env(budget, 64 << 20)), ManualClock::at(Millis(1000)))
    }

    pub(crate) fn replicated() -> Self {
        let mut rig = Rig::new(u64::MAX);
        rig.0.lead(Term(1), &[(B1, Seq(0)), (B2, Seq(0))]).unwrap();
        rig
    }

    pub(crate) fn following() -> Self {
        let mut rig = Rig::new(u64::MAX);
        rig.0.follow();
        rig
    }

    pub(crate) fn run(&mut self, cmd: &Cmd, stamp: Option<Stamp>) -> Result<(Seq, Vec<u8>), Error> {
        self.send(cmd, stamp, false)
    }

    /// `again`: it may have been sent before.
    pub(crate) fn send(
        &mut self,
        cmd: &Cmd,
        stamp: Option<Stamp>,
        again: bool,
    ) -> Result<(Seq, Vec<u8>), Error> {
        let sent = cmd.send(None, 0);
        let op = Op::decode(sent.code as u8, &sent.body).unwrap();
        let hash = op.key().map_or(0, |key| hash64(key.blob.payload, SEED));
        let request = Request { structure: sent.structure, op, stamp, hash, again };
        let mut reply = Vec::new();
        loop {
            match self.0.step(&self.1, &request, &mut reply) {
                Outcome::Answered(gate) => return Ok((gate, reply)),
                Outcome::Refused(error) => return Err(error),
                Outcome::Again => {}
            }
        }
    }

    pub(crate) fn stamp(request: u64) -> Option<Stamp> {
        Self::stamp_of(5, request)
    }

    pub(crate) fn stamp_of(session: u64, request: u64) -> Option<Stamp> {
        let (request, floor) = (RequestId(request), RequestId(1));
        Some(Stamp { session: SessionId(session), request, floor })
    }

    /// Offers an item to a queue that no command knows.
    pub(crate) fn offer_to(&mut self, structure: StructureId) {
        let op = Op::QueueOffer(Blob::new(TypeTag(1), b"item"));
        let request = Request { structure, op, stamp: None, hash: 0, again: false };
        let outcome = self.0.step(&self.1, &request, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
    }

    pub(crate) fn gate(&mut self, cmd: &Cmd) -> Seq {
        self.run(cmd, None).unwrap_or_else(|e| panic!("{cmd:?}: {e}")).0
    }

    /// Whether there was room for it in the ring.
    pub(crate) fn gate_or_full(&mut self, cmd: &Cmd) -> bool {
        match self.run(cmd, None) {
            Ok(_) => true,
            Err(error) => error.kind() != Kind::Overloaded,
        }
    }

    pub(crate) fn set(&mut self, m: u8, k: u8, len: usize) -> Result<(Seq, Vec<u8>), Error> {
        self.run(&Cmd::Set(m, k, Val { len, fill: 0 }, Life::default()), None)
    }

    pub(crate) fn size(&mut self, m: u8) -> u64 {
        let (_, answer) = self.run(&Cmd::Size(m), None).unwrap();
        u64::from_le_bytes(answer.try_into().unwrap())
    }

    pub(crate) fn state(&self) -> (Seq, u64) {
        (self.0.last(), self.0.digest())
    }

    /// Refused for want of room in the ring, with nothing done.
    pub(crate) fn overloaded(&mut self, cmd: &Cmd) {
        let before = self.state();
        let error = self.run(cmd, None).unwrap_err();
        assert_eq!((error.kind(), error.applied()), (Kind::Overloaded, Applied::No), "{cmd:?}");
        assert!(error.retry_after().is_some());
        assert_eq!(self.state(), before, "{cmd:?}");
    }
}

/// Sends a backup what it lacks; acknowledges it if `acknowledge`.
pub(crate) fn feed(from: &mut Partition, to: &mut Partition, member: MemberId, acknowledge: bool) {
    let (records, last) = from.records_after(to.last(), usize::MAX).expect("in the ring");
    assert_eq!(to.replicate(records, from.committed()), Ok(last));
    if acknowledge {
        from.acknowledge(member, last);
    }
}
