//! Operations on a partition as they travel: borrowed from the frame they arrived in. What they do
//! is in [`crate::partition`].

use crate::data::Blob;
use crate::error::{Error, Kind, Result};
use crate::wire::bytes::{KeyRef, Reader, put_key, put_value};

macro_rules! codes {
    ($($name:ident = $code:literal),* $(,)?) => {
        /// Code of an operation on the wire; never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // each is described at the variant of `Op` of the same name
        pub enum OpCode { $($name = $code),* }

        impl OpCode {
            /// The operation with this code.
            #[must_use]
            #[inline]
            pub fn from_code(code: u8) -> Option<Self> {
                Some(match code { $($code => OpCode::$name,)* _ => return None })
            }
        }
    };
}

codes! {
    MapGet = 1, MapContains = 2, MapView = 3, MapPut = 4, MapSet = 5, MapPutIfAbsent = 6, MapReplace = 7,
    MapReplaceIfSame = 8, MapRemove = 9, MapRemoveIfSame = 10, MapDelete = 11, MapSetTtl = 12,
    MapGetAll = 13, MapPutAll = 14, MapSize = 15, MapClear = 16, MapScan = 17,
    QueueOffer = 32, QueuePoll = 33, QueuePeek = 34, QueueSize = 35, QueueClear = 36,
    TopicPublish = 48,
}

/// How long a written entry lives, as far as its writer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Milliseconds after the write; 0: for ever; none: as the map is configured.
    pub ttl_ms: Option<u64>,
    /// Milliseconds without access; 0: any; none: as the map is configured.
    pub max_idle_ms: Option<u32>,
}

/// Which part of each entry a scan returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// Keys only.
    Keys = 0,
    /// Keys and values. (Values alone need no third form: the key is small beside what it saves.)
    Entries = 1,
}

/// An operation on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The value of a key.
    MapGet(KeyRef<'a>),
    /// Whether the key has a value.
    MapContains(KeyRef<'a>),
    /// Value, version and life of an entry.
    MapView(KeyRef<'a>),
    /// Writes and returns the old value.
    MapPut(KeyRef<'a>, Blob<'a>, Life),
    /// Writes.
    MapSet(KeyRef<'a>, Blob<'a>, Life),
    /// Writes if there is no value; returns the one that is there.
    MapPutIfAbsent(KeyRef<'a>, Blob<'a>, Life),
    /// Writes if there is a value; returns the old one.
    MapReplace(KeyRef<'a>, Blob<'a>),
    /// Writes if the value equals the expected one (the first blob); returns whether it did.
    MapReplaceIfSame(KeyRef<'a>, Blob<'a>, Blob<'a>),
    /// Removes and returns the old value.
    MapRemove(KeyRef<'a>),
    /// Removes if the value equals the expected one; returns whether it did.
    MapRemoveIfSame(KeyRef<'a>, Blob<'a>),
    /// Removes.
    MapDelete(KeyRef<'a>),
    /// Gives an entry a new time-to-live from now, in milliseconds, 0 for ever; returns whether there is one.
    MapSetTtl(KeyRef<'a>, u64),
    /// The values of keys of this partition: of as many from the first on as one answer takes.
    MapGetAll(Keys<'a>),
    /// Writes entries of this partition, all or none.
    MapPutAll(Entries<'a>, Life),
    /// Number of entries.
    MapSize,
    /// Removes all entries.
    MapClear,
    /// The entries from a hash on.
    MapScan {
        /// First hash of the part of the partition that is still to be seen.
        from: u64,
        /// Most entries to return.
        entries_max: u32,
        /// What to return of them.
        part: Part,
    },
    /// Adds an item at the tail; returns false if the queue is full.
    QueueOffer(Blob<'a>),
    /// Takes the item at the head.
    QueuePoll,
    /// Shows the item at the head.
    QueuePeek,
    /// Number of items.
    QueueSize,
    /// Removes all items.
    QueueClear,
    /// Hands an item to all subscribers.
    TopicPublish(Blob<'a>),
}

/// Keys of one partition, decoded one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// Entries of one partition, decoded one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    count: usize,
    bytes: &'a [u8],
}

const KEY_BYTES_MIN: usize = 8;

impl<'a> Keys<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self> {
        let count = r.count(KEY_BYTES_MIN)?;
        let keys = Keys { count, bytes: r.rest() };
        for _ in 0..count {
            r.key()?;
        }
        Ok(keys)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The keys in their order.
    pub fn iter(&self) -> impl Iterator<Item = KeyRef<'a>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| r.key().ok())
    }
}

impl<'a> Entries<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self> {
        let count = r.count(2 * KEY_BYTES_MIN)?;
        let entries = Entries { count, bytes: r.rest() };
        for _ in 0..count {
            r.key()?;
            r.value()?;
        }
        Ok(entries)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (KeyRef<'a>, Blob<'a>)> + use<'a> {
        let mut r = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| Some((r.key().ok()?, r.value().ok()?)))
    }
}

impl Life {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let flags = r.u8()?;
        Ok(Life {
            ttl_ms: if flags & 1 == 0 { None } else { Some(r.u64()?) },
            max_idle_ms: if flags & 2 == 0 { None } else { Some(r.u32()?) },
        })
    }

    fn write(self, out: &mut Vec<u8>) {
        out.push(u8::from(self.ttl_ms.is_some()) | u8::from(self.max_idle_ms.is_some()) << 1);
        if let Some(ttl) = self.ttl_ms {
            out.extend_from_slice(&ttl.to_le_bytes());
        }
        if let Some(idle) = self.max_idle_ms {
            out.extend_from_slice(&idle.to_le_bytes());
        }
    }
}

impl<'a> Op<'a> {
    /// Reads the operation `code` from the rest of its frame.
    ///
    /// # Errors
    /// `Malformed` for an unknown code, missing or surplus bytes; `TooLarge` for a key or value over its limit.
    #[inline(always)]
    pub fn decode(code: u8, body: &'a [u8]) -> Result<Self> {
        let Some(code) = OpCode::from_code(code) else {
            return Err(Error::with(Kind::Malformed, format!("unknown operation {code}")));
        };
        let mut r = Reader::new(body);
        let op = match code {
            OpCode::MapGet => Op::MapGet(r.key()?),
            OpCode::MapContains => Op::MapContains(r.key()?),
            OpCode::MapView => Op::MapView(r.key()?),
            OpCode::MapPut => Op::MapPut(r.key()?, r.value()?, Life::read(&mut r)?),
            OpCode::MapSet => Op::MapSet(r.key()?, r.value()?, Life::read(&mut r)?),
            OpCode::MapPutIfAbsent => Op::MapPutIfAbsent(r.key()?, r.value()?, Life::read(&mut r)?),
            OpCode::MapReplace => Op::MapReplace(r.key()?, r.value()?),
            OpCode::MapReplaceIfSame => Op::MapReplaceIfSame(r.key()?, r.value()?, r.value()?),
            OpCode::MapRemove => Op::MapRemove(r.key()?),
            OpCode::MapRemoveIfSame => Op::MapRemoveIfSame(r.key()?, r.value()?),
            OpCode::MapDelete => Op::MapDelete(r.key()?),
            OpCode::MapSetTtl => Op::MapSetTtl(r.key()?, r.u64()?),
            OpCode::MapGetAll => Op::MapGetAll(Keys::read(&mut r)?),
            OpCode::MapPutAll => Op::MapPutAll(Entries::read(&mut r)?, Life::read(&mut r)?),
            OpCode::MapSize => Op::MapSize,
            OpCode::MapClear => Op::MapClear,
            OpCode::MapScan => Op::MapScan {
                from: r.u64()?,
                entries_max: r.u32()?,
                part: if r.u8()? == 0 { Part::Keys } else { Part::Entries },
            },
            OpCode::QueueOffer => Op::QueueOffer(r.value()?),
            OpCode::QueuePoll => Op::QueuePoll,
            OpCode::QueuePeek => Op::QueuePeek,
            OpCode::QueueSize => Op::QueueSize,
            OpCode::QueueClear => Op::QueueClear,
            OpCode::TopicPublish => Op::TopicPublish(r.value()?),
        };
        r.finish()?;
        Ok(op)
    }

    /// Its code on the wire.
    #[inline]
    #[must_use]
    pub fn code(&self) -> OpCode {
        match self {
            Op::MapGet(_) => OpCode::MapGet,
            Op::MapContains(_) => OpCode::MapContains,
            Op::MapView(_) => OpCode::MapView,
            Op::MapPut(..) => OpCode::MapPut,
            Op::MapSet(..) => OpCode::MapSet,
            Op::MapPutIfAbsent(..) => OpCode::MapPutIfAbsent,
            Op::MapReplace(..) => OpCode::MapReplace,
            Op::MapReplaceIfSame(..) => OpCode::MapReplaceIfSame,
            Op::MapRemove(_) => OpCode::MapRemove,
            Op::MapRemoveIfSame(..) => OpCode::MapRemoveIfSame,
            Op::MapDelete(_) => OpCode::MapDelete,
            Op::MapSetTtl(..) => OpCode::MapSetTtl,
            Op::MapGetAll(_) => OpCode::MapGetAll,
            Op::MapPutAll(..) => OpCode::MapPutAll,
            Op::MapSize => OpCode::MapSize,
            Op::MapClear => OpCode::MapClear,
            Op::MapScan { .. } => OpCode::MapScan,
            Op::QueueOffer(_) => OpCode::QueueOffer,
            Op::QueuePoll => OpCode::QueuePoll,
            Op::QueuePeek => OpCode::QueuePeek,
            Op::QueueSize => OpCode::QueueSize,
            Op::QueueClear => OpCode::QueueClear,
            Op::TopicPublish(_) => OpCode::TopicPublish,
        }
    }

    /// The key, of operations on one key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<KeyRef<'a>> {
        match *self {
            Op::MapGet(key)
            | Op::MapContains(key)
            | Op::MapView(key)
            | Op::MapPut(key, ..)
            | Op::MapSet(key, ..)
            | Op::MapPutIfAbsent(key, ..)
            | Op::MapReplace(key, _)
            | Op::MapReplaceIfSame(key, ..)
            | Op::MapRemove(key)
            | Op::MapRemoveIfSame(key, _)
            | Op::MapDelete(key)
            | Op::MapSetTtl(key, _) => Some(key),
            Op::MapGetAll(_)
            | Op::MapPutAll(..)
            | Op::MapSize
            | Op::MapClear
            | Op::MapScan { .. }
            | Op::QueueOffer(_)
            | Op::QueuePoll
            | Op::QueuePeek
            | Op::QueueSize
            | Op::QueueClear
            | Op::TopicPublish(_) => None,
        }
    }
}

impl OpCode {
    /// Whether the operation can change the partition; only those need a session and its request ids.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            OpCode::MapGet
            | OpCode::MapContains
            | OpCode::MapView
            | OpCode::MapGetAll
            | OpCode::MapSize
            | OpCode::MapScan
            | OpCode::QueuePeek
            | OpCode::QueueSize => false,
            OpCode::MapPut
            | OpCode::MapSet
            | OpCode::MapPutIfAbsent
            | OpCode::MapReplace
            | OpCode::MapReplaceIfSame
            | OpCode::MapRemove
            | OpCode::MapRemoveIfSame
            | OpCode::MapDelete
            | OpCode::MapSetTtl
            | OpCode::MapPutAll
            | OpCode::MapClear
            | OpCode::QueueOffer
            | OpCode::QueuePoll
            | OpCode::QueueClear
            | OpCode::TopicPublish => true,
        }
    }
}

/// Appends the body of an operation. The inverse of [`Op::decode`].
pub fn encode(op: &Op<'_>, out: &mut Vec<u8>) -> OpCode {
    match *op {
        Op::MapGet(key)
        | Op::MapContains(key)
        | Op::MapView(key)
        | Op::MapRemove(key)
        | Op::MapDelete(key) => put_key(out, key),
        Op::MapPut(key, value, life)
        | Op::MapSet(key, value, life)
        | Op::MapPutIfAbsent(key, value, life) => {
            put_key(out, key);
            put_value(out, value);
            life.write(out);
        }
        Op::MapReplace(key, value) | Op::MapRemoveIfSame(key, value) => {
            put_key(out, key);
            put_value(out, value);
        }
        Op::MapReplaceIfSame(key, expected, value) => {
            put_key(out, key);
            put_value(out, expected);
            put_value(out, value);
        }
        Op::MapSetTtl(key, ttl) => {
            put_key(out, key);
            out.extend_from_slice(&ttl.to_le_bytes());
        }
        Op::MapGetAll(keys) => {
            put_count(keys.count, out);
            keys.iter().for_each(|key| put_key(out, key));
        }
        Op::MapPutAll(entries, life) => {
            put_count(entries.count, out);
            for (key, value) in entries.iter() {
                put_key(out, key);
                put_value(out, value);
            }
            life.write(out);
        }
        Op::MapScan { from, entries_max, part } => {
            out.extend_from_slice(&from.to_le_bytes());
            out.extend_from_slice(&entries_max.to_le_bytes());
            out.push(part as u8);
        }
        Op::QueueOffer(item) | Op::TopicPublish(item) => put_value(out, item),
        Op::MapSize
        | Op::MapClear
        | Op::QueuePoll
        | Op::QueuePeek
        | Op::QueueSize
        | Op::QueueClear => {}
    }
    op.code()
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Body of a [`Op::MapGetAll`] from keys encoded by [`put_key`], one after the other.
#[must_use]
pub fn keys_body(count: usize, encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + encoded.len());
    put_count(count, &mut out);
    out.extend_from_slice(encoded);
    out
}

/// Body of a [`Op::MapPutAll`] from keys and values encoded by [`put_key`] and [`put_value`] in turn.
#[must_use]
pub fn entries_body(count: usize, encoded: &[u8], life: Life) -> Vec<u8> {
    let mut out = keys_body(count, encoded);
    life.write(&mut out);
    out
}

/// Appends a [`Life`] behind a key and a value that the caller has encoded.
pub fn put_life(out: &mut Vec<u8>, life: Life) {
    life.write(out);
}
