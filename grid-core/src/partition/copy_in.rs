//! How a replica becomes a full copy of its primary: pieces of a walk over the primary, and between
//! them its records. Of each record the copy applies what concerns the part of the walk that it has; the
//! rest comes with a later piece, which was read after that record.

use super::copy::{Head, KeyPlace, Part};
use super::dedupe::Sessions;
use super::effect::Effect;
use super::log::Log;
use super::{Container, Env, Partition};
use crate::control::StructureKind;
use crate::error::{Error, Kind, Result};
use crate::ids::{Seq, SessionId, StructureId};
use crate::mutant::{self, Mutant};
use crate::store::hash64;
use crate::wire::bytes::Reader;
use std::cmp::Ordering;

/// A map's index is made for as many entries as the sender has, so that what comes in the order of
/// hashes is spread over it, but not for more than so many per byte received: the sender may be wrong.
const EXPECTED_PER_BYTE: usize = 64;

/// How far a copy has come on its receiver.
#[derive(Debug)]
pub(super) struct Copying {
    /// Pieces taken in.
    pieces: u64,
    at: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// The structures below are whole; of this one, if it is a map, there are the entries up to a key,
    /// if a queue, the items from the head on.
    Structure(StructureId, Option<KeyPlace>),
    /// All structures are whole, and there are the sessions up to this one.
    Sessions(SessionId),
}

impl Copying {
    pub(super) fn has_begun(&self) -> bool {
        self.pieces > 0
    }

    /// Whether an effect concerns what is here already.
    pub(super) fn covers(&self, effect: &Effect<'_>, seed: u64) -> bool {
        if mutant::is(Mutant::CopyUnfiltered) {
            return true;
        }
        let (Some(id), Place::Structure(at, upto)) = (effect.structure(), &self.at) else {
            return true;
        };
        match (id.cmp(at), effect) {
            (Ordering::Less, _) => true,
            (Ordering::Greater, _) => false,
            (
                Ordering::Equal,
                Effect::MapSet(_, key, ..)
                | Effect::MapRemove(_, key, _)
                | Effect::MapTouch(_, key)
                | Effect::MapExpiry(_, key, _),
            ) => upto
                .as_ref()
                .is_some_and(|upto| upto.reaches(hash64(key.blob.payload, seed), key.blob)),
            // Where it ends is not known before the queue is whole.
            (Ordering::Equal, Effect::QueueAdd(..)) => false,
            (Ordering::Equal, _) => true,
        }
    }

    /// Whether what is remembered of a session is here already.
    pub(super) fn covers_session(&self, id: SessionId) -> bool {
        matches!(self.at, Place::Sessions(upto) if id <= upto)
    }
}

impl Partition {
    /// Throws everything away, to become a copy of another replica; all memory is given back. The structures
    /// stay declared. From now on the replica follows, and until its copy is whole it takes records only
    /// between pieces, must not lead, and its digest means nothing.
    pub fn copy_begin(&mut self) {
        let term = self.log.term;
        self.log = Log::default();
        self.log.term = term;
        self.sessions = Sessions::new(&self.env.ledger);
        self.containers.iter_mut().flatten().for_each(|container| container.wipe(&self.env));
        self.copied = Seq(0);
        self.copying =
            Some(Box::new(Copying { pieces: 0, at: Place::Structure(StructureId(0), None) }));
        self.follow();
    }

    /// Whether a copy has begun and is not whole.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Takes the next piece in, which [`Partition::copy_out`] has read at the `seq` that this replica has
    /// reached now. Returns whether the copy is whole: the replica is like any other that follows then.
    ///
    /// # Errors
    /// `Lost` if a piece or a record is missing before it, `UnknownStructure` if a structure must be
    /// declared first, `Malformed`, `WrongStructure`, `Internal` without [`Partition::copy_begin`]: nothing
    /// has changed then. `OutOfMemory` if the member's budget or its memory is used up: the replica is
    /// as after [`Partition::copy_begin`] then.
    pub fn copy_in(&mut self, piece: &[u8]) -> Result<bool> {
        let Some(mut copying) = self.copying.take() else {
            return Err(Error::with(Kind::Internal, "a piece of a copy that has not begun"));
        };
        let (head, parts) = match self.check_piece(&copying, piece) {
            Ok(checked) => checked,
            Err(error) => {
                self.copying = Some(copying);
                return Err(error);
            }
        };
        let taken = self.take_piece(&mut copying.at, &head, parts);
        match taken {
            Ok(true) => self.be_whole(),
            Ok(false) => {
                copying.pieces += 1;
                self.copying = Some(copying);
            }
            Err(_) => self.copy_begin(),
        }
        taken
    }

    /// Whether the piece is the next one and all of it has where to go.
    fn check_piece<'p>(&self, copying: &Copying, piece: &'p [u8]) -> Result<(Head, Reader<'p>)> {
        let mut parts = Reader::new(piece);
        let head = Head::read(&mut parts)?;
        if head.number != copying.pieces {
            let text = format!("piece {} of a copy comes as piece {}", head.number, copying.pieces);
            return Err(Error::with(Kind::Lost, text));
        }
        if head.number > 0 && head.seq != self.log.seq {
            let text = format!("a piece read at {} for a copy at {}", head.seq, self.log.seq);
            return Err(Error::with(Kind::Lost, text));
        }
        self.check_parts(&copying.at, head.seq, parts)?;
        Ok((head, parts))
    }

    fn check_parts(&self, at: &Place, last: Seq, mut parts: Reader<'_>) -> Result<()> {
        let (mut at, mut named) = match at {
            Place::Structure(id, _) => (Some(*id), None),
            Place::Sessions(_) => (None, None),
        };
        let named_as = |named: Option<StructureId>, kind| {
            let id = named.ok_or_else(|| Error::with(Kind::Malformed, "a part of no structure"))?;
            self.check_kind(id, kind)
        };
        while !parts.rest().is_empty() {
            match (Part::read(&mut parts)?, at) {
                (Part::Structure(id, _), Some(before)) if before <= id => {
                    (at, named) = (Some(id), Some(id));
                }
                (Part::Entry(_, _, meta), Some(_)) if Seq(meta.seq) <= last => {
                    named_as(named, StructureKind::Map)?;
                }
                (Part::Item(_), Some(_)) => named_as(named, StructureKind::Queue)?,
                (Part::StructuresEnd, Some(_)) => at = None,
                (Part::Session(session), None)
                    if session.answers().all(|(_, seq, _)| seq <= last) => {}
                (Part::End, None) => return parts.finish(),
                _ => return Err(Error::with(Kind::Malformed, "a copy in the wrong order")),
            }
        }
        Ok(())
    }

    /// Takes the parts of a checked piece in. Returns whether the copy is whole.
    fn take_piece(&mut self, at: &mut Place, head: &Head, mut parts: Reader<'_>) -> Result<bool> {
        let bytes = parts.rest().len();
        if !self.env.ledger.admits(bytes as u64) {
            return Err(self.no_memory());
        }
        if let Some(first) = &head.first {
            self.log.begin_at(head.seq, first.term, first.time);
            self.sessions.set_expired(first.expired);
        }
        let mut last = None;
        while !parts.rest().is_empty() {
            match Part::read(&mut parts)? {
                Part::Structure(id, entries) => {
                    if !matches!(at, Place::Structure(same, _) if *same == id) {
                        (*at, last) = (Place::Structure(id, None), None);
                    }
                    if let Some(Some(Container::Map(map))) = self.containers.get_mut(id.0 as usize)
                    {
                        let most = (map.len() + bytes).saturating_mul(EXPECTED_PER_BYTE);
                        map.store.expect(usize::try_from(entries).unwrap_or(most).min(most));
                    }
                }
                Part::Entry(key, value, meta) => {
                    let hash = hash64(key.blob.payload, self.env.seed);
                    if let Some(Container::Map(map)) = self.container_at(at) {
                        map.put(hash, key.blob, value, &meta)?;
                    }
                    last = Some((hash, key.blob));
                }
                Part::Item(item) => {
                    if let Some(Container::Queue(queue)) = self.container_at(at) {
                        queue.restore(item);
                    }
                }
                Part::StructuresEnd => (*at, last) = (Place::Sessions(SessionId(0)), None),
                Part::Session(session) => {
                    if !mutant::is(Mutant::CopyForgetsSessions) {
                        self.sessions.restore(&session);
                    }
                    *at = Place::Sessions(session.id);
                }
                Part::End => return Ok(true),
            }
        }
        if let (Place::Structure(_, upto), Some((hash, key))) = (at, last) {
            *upto = Some(KeyPlace::of(hash, key));
        }
        Ok(false)
    }

    fn container_at(&mut self, at: &Place) -> Option<&mut Container> {
        let Place::Structure(id, _) = at else { return None };
        self.containers.get_mut(id.0 as usize)?.as_mut()
    }

    /// The copy equals its sender now. When each key and queue changed last is not known exactly, so
    /// everything waits for the present `seq`, also what is declared only later.
    fn be_whole(&mut self) {
        self.copied = self.log.seq;
        for container in self.containers.iter_mut().flatten() {
            match container {
                Container::Map(map) => map.be_whole(self.copied),
                Container::Queue(queue) => queue.be_whole(self.copied),
                Container::Topic(_) => {}
            }
        }
    }
}

impl Container {
    /// Becomes as it was when it was declared.
    fn wipe(&mut self, env: &Env) {
        match self {
            Container::Map(map) => **map = map.emptied(env),
            Container::Queue(queue) => **queue = queue.emptied(env),
            Container::Topic(_) => {}
        }
    }
}
