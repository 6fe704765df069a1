//! Operations before they start: where their options are set.

use super::buffers;
use super::future::{Decode, OpFuture};
use super::named::{Named, Options};
use crate::data::{Encode, Key};
use crate::error::{Error, Kind, Result};
use crate::ids::PartitionId;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::op::{Life, OpCode, put_life};
use crate::partitioning::{partition_hash, partition_of};
use crate::read::Read;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

/// An operation with its operands.
pub(super) struct Prepared<'h, T> {
    named: &'h Arc<Named>,
    code: OpCode,
    operands: Result<(PartitionId, Vec<u8>)>,
    options: Options,
    decode: Decode<T>,
}

impl<'h, T> Prepared<'h, T> {
    #[inline(always)]
    pub(super) fn new(
        named: &'h Arc<Named>,
        code: OpCode,
        operands: Result<(PartitionId, Vec<u8>)>,
        decode: Decode<T>,
    ) -> Self {
        Prepared { named, code, operands, options: Options::default(), decode }
    }

    #[inline(always)]
    fn start(self) -> OpFuture<T> {
        match self.operands {
            Ok((partition, body)) => {
                self.named.start(self.code, partition, Ok(body), self.options, self.decode)
            }
            Err(error) => Named::invalid(error),
        }
    }
}

/// A read. Await it to start it.
#[must_use = "nothing happens before it is awaited"]
pub struct Query<'h, T>(pub(super) Prepared<'h, T>);

impl<T> Query<'_, T> {
    /// What may be returned, instead of the latest value.
    pub fn read(mut self, read: Read) -> Self {
        self.0.options.read = read;
        self
    }

    /// How long to wait for the answer, instead of the configured time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.options.timeout = Some(timeout);
        self
    }
}

impl<T> IntoFuture for Query<'_, T> {
    type Output = Result<T>;
    type IntoFuture = OpFuture<T>;

    #[inline(always)]
    fn into_future(self) -> OpFuture<T> {
        self.0.start()
    }
}

/// A change without options beyond its deadline. Await it to start it.
#[must_use = "nothing happens before it is awaited"]
pub struct Update<'h, T>(pub(super) Prepared<'h, T>);

impl<T> Update<'_, T> {
    /// How long to wait for the answer, instead of the configured time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.options.timeout = Some(timeout);
        self
    }
}

impl<T> IntoFuture for Update<'_, T> {
    type Output = Result<T>;
    type IntoFuture = OpFuture<T>;

    #[inline(always)]
    fn into_future(self) -> OpFuture<T> {
        self.0.start()
    }
}

/// A write of a value, which can be given a life. Await it to start it.
#[must_use = "nothing happens before it is awaited"]
pub struct Write<'h, T> {
    prepared: Prepared<'h, T>,
    life: Life,
}

impl<'h, T> Write<'h, T> {
    #[inline(always)]
    pub(super) fn new(prepared: Prepared<'h, T>) -> Self {
        Write { prepared, life: Life::default() }
    }

    /// The entry ends this long after the write, rounded up to milliseconds; zero: never. Instead of
    /// the map's configured time-to-live.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.life.ttl_ms = Some(millis(ttl));
        self
    }

    /// The entry ends after this long without access, rounded up to milliseconds; zero: never.
    /// Accesses are noted at most eight times within that time.
    pub fn max_idle(mut self, idle: Duration) -> Self {
        self.life.max_idle_ms = Some(u32::try_from(millis(idle)).unwrap_or(u32::MAX));
        self
    }

    /// How long to wait for the answer, instead of the configured time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.prepared.options.timeout = Some(timeout);
        self
    }
}

impl<T> IntoFuture for Write<'_, T> {
    type Output = Result<T>;
    type IntoFuture = OpFuture<T>;

    #[inline(always)]
    fn into_future(mut self) -> OpFuture<T> {
        if let Ok((_, body)) = &mut self.prepared.operands {
            put_life(body, self.life);
        }
        self.prepared.start()
    }
}

/// Milliseconds, rounded up: only zero is zero.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Appends a key; returns its partition.
#[inline(always)]
pub(super) fn encode_key<Q: Key + ?Sized>(
    key: &Q,
    partitions: u16,
    out: &mut Vec<u8>,
) -> Result<PartitionId> {
    const AFFINITY_BIT: u32 = 1 << 31;
    let affinity = key.affinity();
    let at = out.len();
    out.extend_from_slice(&(u64::from(key.tag().0.cast_unsigned()) << 32).to_le_bytes());
    if let Some(hash) = affinity {
        out.extend_from_slice(&hash.to_le_bytes());
    }
    let start = out.len();
    key.encode(out)?;
    let payload = out.get(start..).unwrap_or_default();
    if payload.len() > KEY_BYTES_MAX {
        return Err(too_large("key", payload.len(), KEY_BYTES_MAX));
    }
    let hash = affinity.unwrap_or_else(|| partition_hash(payload));
    #[allow(clippy::cast_possible_truncation)] // at most KEY_BYTES_MAX
    let len = payload.len() as u32 | if affinity.is_some() { AFFINITY_BIT } else { 0 };
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&len.to_le_bytes());
    }
    Ok(partition_of(hash, partitions))
}

/// Appends a value.
#[inline]
pub(super) fn encode_value<V: Encode + ?Sized>(value: &V, out: &mut Vec<u8>) -> Result<()> {
    let at = out.len();
    out.extend_from_slice(&(u64::from(value.tag().0.cast_unsigned()) << 32).to_le_bytes());
    let start = out.len();
    value.encode(out)?;
    let len = out.len() - start;
    if len > VALUE_BYTES_MAX {
        return Err(too_large("value", len, VALUE_BYTES_MAX));
    }
    #[allow(clippy::cast_possible_truncation)] // at most VALUE_BYTES_MAX
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&(len as u32).to_le_bytes());
    }
    Ok(())
}

#[cold]
fn too_large(what: &str, len: usize, max: usize) -> Error {
    Error::with(Kind::TooLarge, format!("a {what} of {len} bytes, at most {max} are possible"))
}

/// Operands that begin with a key.
#[inline(always)]
pub(super) fn keyed<Q: Key + ?Sized>(
    partitions: u16,
    key: &Q,
    rest: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<(PartitionId, Vec<u8>)> {
    let mut body = buffers::operands();
    body.reserve(64);
    let partition = encode_key(key, partitions, &mut body)?;
    rest(&mut body)?;
    Ok((partition, body))
}
