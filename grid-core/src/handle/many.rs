//! Map operations on many keys: grouped by partition, all partitions at once.

use super::future::OpFuture;
use super::map::{Map, ValueOf, count, unit};
use super::op::{encode_key, encode_value};
use crate::data::{Decode, GridData, Key, KeyOf};
use crate::error::{Applied, Error, Kind, Result};
use crate::ids::PartitionId;
use crate::op::{Life, OpCode, entries_body, keys_body};
use crate::wire::bytes::Reader;
use std::collections::BTreeMap;

/// Encoded bytes after which the next key of a partition goes into another request.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The values of some keys of one partition.
type Values<V> = OpFuture<Vec<Option<V>>>;

/// Operands for one partition.
#[derive(Default)]
struct Group {
    /// Positions of the keys in the caller's order, and where each begins in `encoded`.
    keys: Vec<(usize, usize)>,
    encoded: Vec<u8>,
}

#[derive(Default)]
struct Groups {
    open: BTreeMap<PartitionId, Group>,
    closed: Vec<(PartitionId, Group)>,
}

impl Groups {
    fn add<Q: Key + ?Sized>(
        &mut self,
        at: usize,
        key: &Q,
        partitions: u16,
        rest: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut encoded = Vec::new();
        let partition = encode_key(key, partitions, &mut encoded)?;
        rest(&mut encoded)?;
        let group = self.open.entry(partition).or_default();
        if !group.keys.is_empty() && group.encoded.len() + encoded.len() > GROUP_BYTES_MAX {
            self.closed.push((partition, std::mem::take(group)));
        }
        group.keys.push((at, group.encoded.len()));
        group.encoded.extend_from_slice(&encoded);
        Ok(())
    }

    fn into_all(mut self) -> Vec<(PartitionId, Group)> {
        self.closed.extend(self.open);
        self.closed
    }
}

impl<K: Key + GridData, V: GridData> Map<K, V> {
    /// The values of many keys, in the order of the keys.
    ///
    /// # Errors
    /// The first that a partition returned.
    pub async fn get_all<'q, Q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Result<Vec<Option<V>>>
    where
        Q: KeyOf<K> + ?Sized + 'q,
    {
        let (groups, mut values) = {
            let mut groups = Groups::default();
            let mut values: Vec<Option<V>> = Vec::new();
            for key in keys {
                groups.add(values.len(), key, self.named.invoke.partitions(), |_| Ok(()))?;
                values.push(None);
            }
            (groups, values)
        };
        self.named.known().await?;
        let all = groups.into_all();
        let started: Vec<Values<V>> =
            all.iter().map(|(partition, group)| self.get_some(*partition, group, 0)).collect();
        for ((partition, group), mut future) in all.iter().zip(started) {
            let mut done = 0;
            loop {
                let some = future.await?;
                if some.is_empty() {
                    return Err(Error::with(Kind::Malformed, "an answer without a value"));
                }
                for ((at, _), value) in group.keys.iter().skip(done).zip(some) {
                    if let Some(slot) = values.get_mut(*at) {
                        *slot = value;
                    }
                    done += 1;
                }
                if done >= group.keys.len() {
                    break;
                }
                // Large values come in several answers.
                future = self.get_some(*partition, group, done);
            }
        }
        Ok(values)
    }

    /// Asks for the values of a group but for those that are there already.
    fn get_some(&self, partition: PartitionId, group: &Group, done: usize) -> Values<V> {
        let from = group.keys.get(done).map_or(0, |(_, from)| *from);
        let rest = group.encoded.get(from..).unwrap_or_default();
        let body = keys_body(group.keys.len() - done, rest);
        self.named.start(OpCode::MapGetAll, partition, Ok(body), None, values_answer::<V>)
    }

    /// Writes many entries. Those of one partition are written together or not at all (up to 1 MiB of
    /// them); the partitions are independent, so an error can leave some of them written.
    ///
    /// # Errors
    /// The first that a partition returned. [`Error::applied`] speaks of all partitions: it is `No` only
    /// if no partition has written anything.
    pub async fn put_all<'q, Q, W>(
        &self,
        entries: impl IntoIterator<Item = (&'q Q, &'q W)>,
    ) -> Result<()>
    where
        Q: KeyOf<K> + ?Sized + 'q,
        W: ValueOf<V> + ?Sized + 'q,
    {
        let groups = {
            let mut groups = Groups::default();
            for (at, (key, value)) in entries.into_iter().enumerate() {
                groups
                    .add(at, key, self.named.invoke.partitions(), |out| encode_value(value, out))?;
            }
            groups
        };
        self.named.known().await?;
        let started: Vec<OpFuture<()>> = groups
            .into_all()
            .into_iter()
            .map(|(partition, group)| {
                let body = entries_body(group.keys.len(), &group.encoded, Life::default());
                self.named.start(OpCode::MapPutAll, partition, Ok(body), None, unit)
            })
            .collect();
        let (mut written, mut failed) = (false, None);
        for future in started {
            match future.await {
                Ok(()) => written = true,
                Err(error) => {
                    written |= error.applied() == Applied::Maybe;
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            None => Ok(()),
            Some(error) if written => Err(error.maybe_applied()),
            Some(error) => Err(error),
        }
    }

    /// Number of entries. Each partition counts at its own moment.
    ///
    /// # Errors
    /// The first that a partition returned.
    pub async fn size(&self) -> Result<u64> {
        let mut sum = 0;
        for future in self.on_all(OpCode::MapSize, count).await? {
            sum += future.await?;
        }
        Ok(sum)
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// The first that a partition returned.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.size().await? == 0)
    }

    /// Removes all entries, partition by partition.
    ///
    /// # Errors
    /// The first that a partition returned; the others may have been cleared.
    pub async fn clear(&self) -> Result<()> {
        for future in self.on_all(OpCode::MapClear, unit).await? {
            future.await.map_err(Error::maybe_applied)?;
        }
        Ok(())
    }

    async fn on_all<T>(
        &self,
        code: OpCode,
        decode: fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<OpFuture<T>>> {
        self.named.known().await?;
        let start = |n| self.named.start(code, PartitionId(n), Ok(Vec::new()), None, decode);
        Ok((0..self.named.invoke.partitions()).map(start).collect())
    }
}

fn values_answer<V: Decode>(answer: &[u8]) -> Result<Vec<Option<V>>> {
    let mut r = Reader::new(answer);
    let mut values = Vec::new();
    while !r.rest().is_empty() {
        values.push(match r.u8()? {
            0 => None,
            1 => Some(V::decode(r.value()?)?),
            _ => {
                return Err(Error::with(
                    Kind::Malformed,
                    "an answer that is neither value nor none",
                ));
            }
        });
    }
    Ok(values)
}
