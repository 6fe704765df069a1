//! What an operation does to a partition: the decision, never the code that took it. Primary and
//! backup apply the same effect with the same function, so that they cannot drift apart.

use crate::control::StructureKind;
use crate::data::Blob;
use crate::error::{Error, Kind, Result};
use crate::ids::{Index, SessionId, StructureId};
use crate::wire::bytes::{KeyRef, Reader, put_key, put_value};

/// Why an entry went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// Somebody removed it.
    Removed = 0,
    /// Its time-to-live or idle time ended.
    Expired = 1,
}

/// When an entry expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifespan {
    /// Partition time at which it ends, whatever happens.
    pub expires_at: Option<u64>,
    /// It ends after this many milliseconds without access.
    pub max_idle_ms: Option<u32>,
}

/// One change of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// An entry has this value now.
    MapSet(StructureId, KeyRef<'a>, Blob<'a>, Lifespan),
    /// An entry is gone.
    MapRemove(StructureId, KeyRef<'a>, Why),
    /// An entry was accessed now.
    MapTouch(StructureId, KeyRef<'a>),
    /// An entry has another time-to-live.
    MapExpiry(StructureId, KeyRef<'a>, Option<u64>),
    /// All entries are gone.
    MapClear(StructureId),
    /// An item was added at the tail.
    QueueAdd(StructureId, Blob<'a>),
    /// The item at the head is gone.
    QueueTake(StructureId),
    /// All items are gone.
    QueueClear(StructureId),
    /// An item was published.
    TopicPublish(StructureId, Blob<'a>),
    /// A session has expired, at this position of the control log: nothing of it is remembered.
    SessionExpired(SessionId, Index),
}

impl<'a> Effect<'a> {
    /// The structure that it changes; none: a session.
    pub(crate) fn structure(&self) -> Option<StructureId> {
        match *self {
            Effect::MapSet(s, ..)
            | Effect::MapRemove(s, ..)
            | Effect::MapTouch(s, _)
            | Effect::MapExpiry(s, ..)
            | Effect::MapClear(s)
            | Effect::QueueAdd(s, _)
            | Effect::QueueTake(s)
            | Effect::QueueClear(s)
            | Effect::TopicPublish(s, _) => Some(s),
            Effect::SessionExpired(..) => None,
        }
    }

    /// The entry that it changes, if it is about one.
    #[inline]
    pub(crate) fn entry(&self) -> Option<(StructureId, KeyRef<'a>)> {
        match *self {
            Effect::MapSet(s, key, ..)
            | Effect::MapRemove(s, key, _)
            | Effect::MapTouch(s, key)
            | Effect::MapExpiry(s, key, _) => Some((s, key)),
            _ => None,
        }
    }

    /// Whether it takes something away that was there.
    pub(crate) fn removes(&self) -> bool {
        matches!(
            self,
            Effect::MapRemove(..)
                | Effect::MapClear(_)
                | Effect::QueueTake(_)
                | Effect::QueueClear(_)
        )
    }

    /// The kind of that structure.
    pub(crate) fn kind(&self) -> StructureKind {
        match self {
            Effect::QueueAdd(..) | Effect::QueueTake(_) | Effect::QueueClear(_) => {
                StructureKind::Queue
            }
            Effect::TopicPublish(..) => StructureKind::Topic,
            _ => StructureKind::Map,
        }
    }

    /// Upper bound of the bytes that [`Effect::write`] appends.
    pub(crate) fn bytes_max(&self) -> usize {
        const FIXED: usize = 60;
        FIXED
            + match self {
                Effect::MapSet(_, key, value, _) => key.blob.payload.len() + value.payload.len(),
                Effect::MapRemove(_, key, _)
                | Effect::MapTouch(_, key)
                | Effect::MapExpiry(_, key, _) => key.blob.payload.len(),
                Effect::QueueAdd(_, item) | Effect::TopicPublish(_, item) => item.payload.len(),
                Effect::MapClear(_)
                | Effect::QueueTake(_)
                | Effect::QueueClear(_)
                | Effect::SessionExpired(..) => 0,
            }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut head = |code: u8, structure: StructureId| {
            out.push(code);
            out.extend_from_slice(&structure.0.to_le_bytes());
        };
        match *self {
            Effect::MapSet(s, key, value, life) => {
                head(1, s);
                put_key(out, key);
                put_value(out, value);
                put_option(out, life.expires_at);
                put_option(out, life.max_idle_ms.map(u64::from));
            }
            Effect::MapRemove(s, key, why) => {
                head(2, s);
                put_key(out, key);
                out.push(why as u8);
            }
            Effect::MapTouch(s, key) => {
                head(3, s);
                put_key(out, key);
            }
            Effect::MapExpiry(s, key, expires_at) => {
                head(4, s);
                put_key(out, key);
                put_option(out, expires_at);
            }
            Effect::MapClear(s) => head(5, s),
            Effect::QueueAdd(s, item) => {
                head(6, s);
                put_value(out, item);
            }
            Effect::QueueTake(s) => head(7, s),
            Effect::QueueClear(s) => head(8, s),
            Effect::TopicPublish(s, item) => {
                head(9, s);
                put_value(out, item);
            }
            Effect::SessionExpired(session, index) => {
                out.push(10);
                out.extend_from_slice(&session.0.to_le_bytes());
                out.extend_from_slice(&index.0.to_le_bytes());
            }
        }
    }

    #[inline(always)] // as `Record::read`
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self> {
        let code = r.u8()?;
        if code == 10 {
            return Ok(Effect::SessionExpired(SessionId(r.u64()?), Index(r.u64()?)));
        }
        let s = StructureId(r.u32()?);
        Ok(match code {
            1 => {
                let (key, value) = (r.key()?, r.value()?);
                let expires_at = option(r)?;
                let max_idle_ms = option(r)?.map(|idle| u32::try_from(idle).unwrap_or(u32::MAX));
                Effect::MapSet(s, key, value, Lifespan { expires_at, max_idle_ms })
            }
            2 => Effect::MapRemove(
                s,
                r.key()?,
                if r.u8()? == 0 { Why::Removed } else { Why::Expired },
            ),
            3 => Effect::MapTouch(s, r.key()?),
            4 => Effect::MapExpiry(s, r.key()?, option(r)?),
            5 => Effect::MapClear(s),
            6 => Effect::QueueAdd(s, r.value()?),
            7 => Effect::QueueTake(s),
            8 => Effect::QueueClear(s),
            9 => Effect::TopicPublish(s, r.value()?),
            _ => return Err(Error::with(Kind::Malformed, format!("unknown effect {code}"))),
        })
    }
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn option(r: &mut Reader<'_>) -> Result<Option<u64>> {
    Ok(if r.u8()? == 0 { None } else { Some(r.u64()?) })
}
