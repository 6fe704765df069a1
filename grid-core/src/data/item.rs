//! Items: blobs inside a payload, and the list.
//!
//! An item is its tag, its length (only if the tag does not tell it) and its payload. Where all
//! items of a list have one tag, the list has it in front and the items go without.

use super::depth::Level;
use super::tag::Extent;
use super::{Blob, DataError, DataResult, Decode, Encode, TypeTag};
use crate::error::Kind;

/// Appends a count of items or bytes (`i32`, as the other clients read it).
#[inline]
pub(crate) fn put_count(count: usize, out: &mut Vec<u8>) -> DataResult<()> {
    let count = i32::try_from(count).map_err(|_| too_many(count))?;
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

#[cold]
fn too_many(count: usize) -> DataError {
    DataError::too_large(format!("{count} items or bytes are more than an i32 can count"))
}

/// What follows the count of an array or string with this tag; for those whose count is in bytes,
/// the count is checked.
#[inline]
pub(crate) fn array(blob: Blob<'_>, tag: TypeTag) -> DataResult<&[u8]> {
    if blob.tag != tag {
        return Err(DataError::wrong_type(tag, blob.tag));
    }
    let mut bytes = Bytes(blob.payload);
    let count = bytes.count()?;
    let width = match tag {
        TypeTag::I16S => 2,
        TypeTag::I32S | TypeTag::F32S => 4,
        TypeTag::I64S | TypeTag::F64S => 8,
        _ => 1,
    };
    if count.checked_mul(width) != Some(bytes.0.len()) {
        return Err(wrong_count(count, bytes.0.len()));
    }
    Ok(bytes.0)
}

#[cold]
fn wrong_count(count: usize, bytes: usize) -> DataError {
    DataError::malformed(format!("a count of {count} before {bytes} bytes"))
}

/// Bytes being read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> DataResult<&'a [u8]> {
        let Some((head, rest)) = self.0.split_at_checked(len) else {
            return Err(cut_off());
        };
        self.0 = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn chunk<const N: usize>(&mut self) -> DataResult<[u8; N]> {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else {
            return Err(cut_off());
        };
        self.0 = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> DataResult<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// A count that [`put_count`] wrote.
    #[inline]
    pub(crate) fn count(&mut self) -> DataResult<usize> {
        let count = self.u32()?.cast_signed();
        usize::try_from(count)
            .map_err(|_| DataError::malformed(format!("a count of {count} (null or negative)")))
    }

    #[inline]
    pub(crate) fn tag(&mut self) -> DataResult<TypeTag> {
        self.chunk().map(|bytes| TypeTag(i32::from_be_bytes(bytes)))
    }

    /// The next item; `tag` is that of the list if it has one for all.
    #[inline]
    pub(crate) fn item(&mut self, tag: Option<TypeTag>) -> DataResult<Blob<'a>> {
        let tag = match tag {
            Some(tag) => tag,
            None => self.tag()?,
        };
        let len = match tag.extent() {
            Extent::Fixed(len) => len,
            Extent::Counted => 4 + Bytes(self.0).count()?,
            Extent::Open => self.u32()? as usize,
        };
        Ok(Blob { tag, payload: self.take(len)? })
    }

    /// The header of a list or set: count of items, and the tag that all have, if one.
    pub(crate) fn list(&mut self) -> DataResult<(usize, Option<TypeTag>)> {
        let count = self.count()?;
        let tag = self.item_tag()?;
        self.expect_items(count, least_bytes(tag))?;
        Ok((count, tag))
    }

    pub(crate) fn item_tag(&mut self) -> DataResult<Option<TypeTag>> {
        let tag = self.tag()?;
        if tag != TypeTag::NULL && tag.extent() == Extent::Fixed(0) {
            return Err(DataError::malformed(format!("a list of {tag} without tags")));
        }
        Ok((tag != TypeTag::NULL).then_some(tag))
    }

    /// Refuses a count that the bytes left cannot hold, before anything is allocated for it.
    pub(crate) fn expect_items(&self, count: usize, least: usize) -> DataResult<()> {
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.0.len() => Ok(()),
            _ => Err(wrong_count(count, self.0.len())),
        }
    }

    #[inline]
    pub(crate) fn end(self) -> DataResult<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(DataError::malformed(format!("{} bytes behind the end", self.0.len())))
    }
}

#[cold]
fn cut_off() -> DataError {
    DataError::malformed("the bytes end too early")
}

/// Fewest bytes that an item of a list with this tag takes.
pub(crate) fn least_bytes(tag: Option<TypeTag>) -> usize {
    match tag.map(TypeTag::extent) {
        Some(Extent::Fixed(width)) => width,
        _ => 4,
    }
}

/// Room to reserve for `count` items of type `T` that `bytes` bytes claim to hold.
pub(crate) fn capacity<T>(count: usize, bytes: usize) -> usize {
    count.min(Level::share(bytes) / size_of::<T>().max(1))
}

/// Appends an item; `tag` is that of the list if it has one for all.
#[inline]
pub(crate) fn put_item<T: Encode + ?Sized>(
    item: &T,
    tag: Option<TypeTag>,
    out: &mut Vec<u8>,
) -> DataResult<()> {
    let own = item.tag();
    if tag.is_none() {
        if own == TypeTag::NULL {
            return Err(DataError::new(Kind::Invalid, "a value with the tag of null"));
        }
        out.extend_from_slice(&own.0.to_be_bytes());
    }
    let at = out.len();
    let fits = match own.extent() {
        Extent::Fixed(width) => {
            item.encode(out)?;
            out.len() - at == width
        }
        Extent::Counted => {
            item.encode(out)?;
            Bytes(&out[at..]).count().is_ok_and(|count| out.len() - at == 4 + count)
        }
        Extent::Open => {
            out.extend_from_slice(&[0; 4]);
            item.encode(out)?;
            let len = out.len() - at - 4;
            let short = u32::try_from(len).map_err(|_| too_many(len))?;
            out[at..at + 4].copy_from_slice(&short.to_be_bytes());
            true
        }
    };
    if fits && tag.is_none_or(|tag| tag == own) { Ok(()) } else { Err(wrong_encoder(own)) }
}

#[cold]
fn wrong_encoder(tag: TypeTag) -> DataError {
    DataError::new(Kind::Invalid, format!("an encoder broke the layout of {tag}"))
}

pub(crate) fn put_tag(tag: Option<TypeTag>, out: &mut Vec<u8>) {
    out.extend_from_slice(&tag.unwrap_or(TypeTag::NULL).0.to_be_bytes());
}

/// `count`, the tag of all items or 0, items.
pub(crate) fn encode_list<T: Encode>(items: &[T], out: &mut Vec<u8>) -> DataResult<()> {
    let _level = Level::enter()?;
    put_count(items.len(), out)?;
    let tag = T::item_tag();
    put_tag(tag, out);
    for item in items {
        put_item(item, tag, out)?;
    }
    Ok(())
}

pub(crate) fn decode_list<T: Decode>(blob: Blob<'_>) -> DataResult<Vec<T>> {
    if blob.tag != TypeTag::LIST {
        return Err(DataError::wrong_type(TypeTag::LIST, blob.tag));
    }
    let _level = Level::enter()?;
    let mut bytes = Bytes(blob.payload);
    let (count, tag) = bytes.list()?;
    let mut items = Vec::with_capacity(capacity::<T>(count, bytes.0.len()));
    if let Some((tag, Extent::Fixed(width))) = tag.map(|tag| (tag, tag.extent())) {
        for payload in bytes.take(count * width)?.chunks_exact(width) {
            items.push(T::decode(Blob { tag, payload })?);
        }
    } else {
        for _ in 0..count {
            items.push(T::decode(bytes.item(tag)?)?);
        }
    }
    bytes.end()?;
    Ok(items)
}
