//! Map operations on many keys: grouped by partition, all partitions at once.

use super::future::OpFuture;
use super::invoke::BoxFuture;
use super::map::{Map, ValueOf, count, unit};
use super::named::{Named, Options};
use super::op::{encode_key, encode_value};
use crate::data::{Decode, GridData, Key, KeyOf};
use crate::error::{Applied, Error, Kind, Result};
use crate::ids::PartitionId;
use crate::op::{Life, OpCode, entries_body, keys_body};
use crate::read::Read;
use crate::wire::bytes::Reader;
use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

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
    pub fn get_all<'q, Q>(&self, keys: impl IntoIterator<Item = &'q Q>) -> GetAll<V>
    where
        Q: KeyOf<K> + ?Sized + 'q,
    {
        let partitions = self.named.invoke.partitions();
        let mut groups = Groups::default();
        let mut count = 0;
        let added = keys.into_iter().try_for_each(|key| {
            count += 1;
            groups.add(count - 1, key, partitions, |_| Ok(()))
        });
        GetAll {
            named: Arc::clone(&self.named),
            groups: added.map(|()| groups.into_all()),
            count,
            options: Options::default(),
            values: PhantomData,
        }
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
                let options = Options::default();
                self.named.start(OpCode::MapPutAll, partition, Ok(body), options, unit)
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
    pub fn size(&self) -> Size {
        Size { named: Arc::clone(&self.named), options: Options::default() }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> IsEmpty {
        IsEmpty(self.size())
    }

    /// Removes all entries, partition by partition.
    ///
    /// # Errors
    /// The first that a partition returned; the others may have been cleared.
    pub async fn clear(&self) -> Result<()> {
        for future in on_all(&self.named, OpCode::MapClear, Options::default(), unit).await? {
            future.await.map_err(Error::maybe_applied)?;
        }
        Ok(())
    }
}

/// Starts an operation without operands on all partitions at once.
async fn on_all<T>(
    named: &Arc<Named>,
    code: OpCode,
    options: Options,
    decode: fn(&[u8]) -> Result<T>,
) -> Result<Vec<OpFuture<T>>> {
    named.known().await?;
    let start = |n| named.start(code, PartitionId(n), Ok(Vec::new()), options, decode);
    Ok((0..named.invoke.partitions()).map(start).collect())
}

/// The values of many keys. Await it to ask for them; the first error of a partition is that of all.
#[must_use = "nothing happens before it is awaited"]
pub struct GetAll<V> {
    named: Arc<Named>,
    groups: Result<Vec<(PartitionId, Group)>>,
    count: usize,
    options: Options,
    values: PhantomData<fn() -> V>,
}

impl<V: GridData> GetAll<V> {
    /// What may be returned, instead of the latest values.
    pub fn read(mut self, read: Read) -> Self {
        self.options.read = read;
        self
    }

    async fn run(self) -> Result<Vec<Option<V>>> {
        let mut values: Vec<Option<V>> = (0..self.count).map(|_| None).collect();
        let all = self.groups?;
        let get = Get { named: self.named, options: self.options };
        get.named.known().await?;
        let started: Vec<Values<V>> =
            all.iter().map(|(partition, group)| get.some(*partition, group, 0)).collect();
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
                future = get.some(*partition, group, done);
            }
        }
        Ok(values)
    }
}

/// How to ask for the keys of a group.
struct Get {
    named: Arc<Named>,
    options: Options,
}

impl Get {
    /// Asks for the values of a group but for those that are there already.
    fn some<V: GridData>(&self, partition: PartitionId, group: &Group, done: usize) -> Values<V> {
        let from = group.keys.get(done).map_or(0, |(_, from)| *from);
        let rest = group.encoded.get(from..).unwrap_or_default();
        let body = keys_body(group.keys.len() - done, rest);
        self.named.start(OpCode::MapGetAll, partition, Ok(body), self.options, values_answer::<V>)
    }
}

impl<V: GridData> IntoFuture for GetAll<V> {
    type Output = Result<Vec<Option<V>>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The number of entries of a map. Await it to ask for it; the first error of a partition is that of all.
#[must_use = "nothing happens before it is awaited"]
pub struct Size {
    named: Arc<Named>,
    options: Options,
}

impl Size {
    /// What may be counted, instead of the latest state.
    pub fn read(mut self, read: Read) -> Self {
        self.options.read = read;
        self
    }

    async fn run(self) -> Result<u64> {
        let mut sum = 0;
        for future in on_all(&self.named, OpCode::MapSize, self.options, count).await? {
            sum += future.await?;
        }
        Ok(sum)
    }
}

impl IntoFuture for Size {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Whether a map has no entry; as [`Size`].
#[must_use = "nothing happens before it is awaited"]
pub struct IsEmpty(Size);

impl IsEmpty {
    /// As [`Size::read`].
    pub fn read(self, read: Read) -> Self {
        IsEmpty(self.0.read(read))
    }
}

impl IntoFuture for IsEmpty {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.0.run().await? == 0) })
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
