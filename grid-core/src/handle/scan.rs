//! Scans: all keys, values or entries of a map by bounded pages. A scan holds nothing on the member: a
//! page says from which hash to go on, and that means the same after writes, growth and failover.

use super::future::OpFuture;
use super::map::Map;
use super::named::Options;
use crate::data::{Decode, GridData, Key};
use crate::error::{Error, Kind, Result};
use crate::ids::PartitionId;
use crate::op::{OpCode, Part};
use crate::read::Read;
use crate::wire::bytes::Reader;
use futures_core::Stream;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

const PAGE_ENTRIES: u32 = 1000;

/// A walk over a map, partition by partition. Entries that exist during the whole scan are returned
/// exactly once, others at most once; an entry has the value that it had when its page was read.
#[must_use = "a scan does nothing before it is polled"]
pub struct Scan<K, V, T> {
    map: Map<K, V>,
    partition: u16,
    from: u64,
    part: Part,
    page_entries: u32,
    options: Options,
    decode: fn(&[u8]) -> Result<Page<T>>,
    items: VecDeque<T>,
    page: Option<OpFuture<Page<T>>>,
}

struct Page<T> {
    next: Option<u64>,
    items: VecDeque<T>,
}

impl<K: Key + GridData, V: GridData> Map<K, V> {
    fn scan<T>(&self, part: Part, decode: fn(&[u8]) -> Result<Page<T>>) -> Scan<K, V, T> {
        Scan {
            map: self.clone(),
            partition: 0,
            from: 0,
            part,
            page_entries: PAGE_ENTRIES,
            options: Options::default(),
            decode,
            items: VecDeque::new(),
            page: None,
        }
    }

    /// All keys.
    pub fn keys(&self) -> Scan<K, V, K> {
        self.scan(Part::Keys, |answer| page(answer, |r| key::<K>(r)))
    }

    /// All values.
    pub fn values(&self) -> Scan<K, V, V> {
        self.scan(Part::Entries, |answer| {
            page(answer, |r| {
                r.key()?;
                Ok(V::decode(r.value()?)?)
            })
        })
    }

    /// All entries.
    pub fn entries(&self) -> Scan<K, V, (K, V)> {
        self.scan(Part::Entries, |answer| {
            page(answer, |r| Ok((key::<K>(r)?, V::decode(r.value()?)?)))
        })
    }
}

fn key<K: Decode>(r: &mut Reader<'_>) -> Result<K> {
    let key = r.key()?;
    Ok(K::decode_key(key.blob, key.affinity)?)
}

fn page<T>(answer: &[u8], mut item: impl FnMut(&mut Reader<'_>) -> Result<T>) -> Result<Page<T>> {
    let mut r = Reader::new(answer);
    let done = r.u8()? != 0;
    let next = r.u64()?;
    let count = r.count(8)?;
    let mut items = VecDeque::with_capacity(count);
    for _ in 0..count {
        items.push_back(item(&mut r)?);
    }
    r.finish()?;
    Ok(Page { next: (!done).then_some(next), items })
}

impl<K: Key + GridData, V: GridData, T> Scan<K, V, T> {
    /// Entries to ask for at a time.
    pub fn page_entries(mut self, entries: u32) -> Self {
        self.page_entries = entries.max(1);
        self
    }

    /// What the pages may show, instead of the latest values.
    pub fn read(mut self, read: Read) -> Self {
        self.options.read = read;
        self
    }

    /// The next item, none at the end.
    ///
    /// # Errors
    /// Of the page that was read; the next call tries it again.
    pub async fn next(&mut self) -> Result<Option<T>> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await.transpose()
    }

    /// All items that are left. Mind the memory.
    ///
    /// # Errors
    /// The first that occurs.
    pub async fn all(mut self) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await? {
            items.push(item);
        }
        Ok(items)
    }

    fn start_page(&self) -> OpFuture<Page<T>> {
        let mut body = Vec::with_capacity(13);
        body.extend_from_slice(&self.from.to_le_bytes());
        body.extend_from_slice(&self.page_entries.to_le_bytes());
        body.push(self.part as u8);
        let partition = PartitionId(self.partition);
        self.map.named.start(OpCode::MapScan, partition, Ok(body), self.options, self.decode)
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            if self.partition >= self.map.named.invoke.partitions() {
                return Poll::Ready(None);
            }
            let mut page = self.page.take().unwrap_or_else(|| self.start_page());
            let Poll::Ready(result) = Pin::new(&mut page).poll(cx) else {
                self.page = Some(page);
                return Poll::Pending;
            };
            let page = ready!(Poll::Ready(result));
            match page {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Page { next: Some(next), items }) if next > self.from || !items.is_empty() => {
                    (self.from, self.items) = (next, items);
                }
                Ok(Page { next: Some(_), .. }) => {
                    let stuck = Error::with(Kind::Malformed, "a page that does not lead on");
                    return Poll::Ready(Some(Err(stuck)));
                }
                Ok(Page { next: None, items }) => {
                    (self.partition, self.from, self.items) = (self.partition + 1, 0, items);
                }
            }
        }
    }
}

impl<K: Key + GridData, V: GridData, T> Stream for Scan<K, V, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl<K, V, T> Unpin for Scan<K, V, T> {}

impl<K, V, T> std::fmt::Debug for Scan<K, V, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("map", &self.map)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
