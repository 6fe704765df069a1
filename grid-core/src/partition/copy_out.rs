//! How a primary gives a full copy of a partition away, in pieces that it reads between operations.

use super::copy::{First, Head, KeyPlace, Piece};
use super::map::MapPart;
use super::queue::QueuePart;
use super::{Container, Partition};
use crate::ids::{SessionId, StructureId};
use std::ops::ControlFlow;

/// How far a copy has come on its sender; valid for the replica that it was used with.
#[derive(Clone, Debug, Default)]
pub struct CopyCursor {
    pieces: u64,
    at: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// The structures below are whole.
    Structure(StructureId, Within),
    /// All structures are, and so are the sessions up to this one.
    Sessions(SessionId),
}

impl Default for Place {
    fn default() -> Self {
        Place::Structure(StructureId(0), Within::Start)
    }
}

/// What has been sent of a structure.
#[derive(Clone, Debug)]
enum Within {
    Start,
    /// Entries of a map up to this key.
    Upto(KeyPlace),
    /// Items of a queue before the one with this ordinal.
    Before(u64),
}

impl Partition {
    /// Appends the next piece of a full copy to `out`, as of [`Partition::last`]: about `bytes_max` bytes,
    /// but at least one entry, item or session. Returns whether it was the last one.
    ///
    /// The receiver takes each piece in with [`Partition::copy_in`] when it has every record up to that
    /// `last` but none after it. [`Partition::retain`] keeps the records that it needs in between. The
    /// copy has none up to the `last` of its first piece: before the receiver is required, that must be
    /// committed, so that nobody will ask it for one of them.
    pub fn copy_out(&self, cursor: &mut CopyCursor, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let first = || First {
            time: self.log.time,
            expired: self.sessions.expired(),
            term: self.log.last_term,
        };
        let head = Head {
            number: cursor.pieces,
            seq: self.log.seq,
            first: (cursor.pieces == 0).then(first),
        };
        let mut piece = Piece::begin(out, bytes_max, &head);
        cursor.pieces += 1;
        while let Place::Structure(id, within) = &mut cursor.at {
            let id = *id;
            let whole = match self.containers.get(id.0 as usize) {
                Some(Some(Container::Map(map))) => copy_map(map, id, within, &mut piece),
                Some(Some(Container::Queue(queue))) => copy_queue(queue, id, within, &mut piece),
                Some(Some(Container::Topic(_)) | None) => true,
                None => {
                    piece.structures_end();
                    cursor.at = Place::Sessions(SessionId(0));
                    break;
                }
            };
            if !whole {
                return false;
            }
            cursor.at = Place::Structure(StructureId(id.0 + 1), Within::Start);
        }
        if let Place::Sessions(upto) = &mut cursor.at {
            for session in self.sessions.after(*upto) {
                if !piece.takes(Piece::session_bytes(&session)) {
                    return false;
                }
                piece.session(&session);
                *upto = session.id;
            }
        }
        piece.end();
        true
    }
}

/// Writes the next entries of a map. Returns whether that was all.
fn copy_map(map: &MapPart, id: StructureId, within: &mut Within, piece: &mut Piece<'_>) -> bool {
    let sent = match &*within {
        Within::Upto(place) => Some(place.clone()),
        _ => None,
    };
    let mut last = None;
    let next = map.store.walk(sent.as_ref().map_or(0, |place| place.hash), |hash, entry| {
        let key = entry.key();
        if entry.is_tombstone() || sent.as_ref().is_some_and(|place| place.reaches(hash, key)) {
            return ControlFlow::Continue(());
        }
        // Named even if nothing of it fits: then the receiver knows that those below are whole.
        piece.structure(id, map.len());
        let value = entry.value();
        if !piece.takes(key.payload.len() + value.payload.len()) {
            return ControlFlow::Break(());
        }
        piece.entry(key, value, &entry.meta());
        last = Some((hash, key));
        ControlFlow::Continue(())
    });
    if let Some((hash, key)) = last {
        *within = Within::Upto(KeyPlace::of(hash, key));
    }
    next.is_none()
}

/// Writes the next items of a queue. Returns whether that was all.
fn copy_queue(
    queue: &QueuePart,
    id: StructureId,
    within: &mut Within,
    piece: &mut Piece<'_>,
) -> bool {
    let from = match *within {
        Within::Before(ordinal) => ordinal,
        _ => 0,
    };
    for (ordinal, item) in queue.items_from(from) {
        piece.structure(id, queue.len());
        if !piece.takes(item.payload.len()) {
            *within = Within::Before(ordinal);
            return false;
        }
        piece.item(item);
    }
    true
}
