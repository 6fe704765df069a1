//! Reading and writing the little-endian fields of the data path. A [`Reader`] never reads past its
//! slice and never panics; what is missing is [`Kind::Malformed`].

use crate::data::{Blob, TypeTag};
use crate::error::{Error, Kind, Result};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A key as it travels: its blob and, for affinity keys, the hash that decides its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// Tag and payload; keys are equal when both are.
    pub blob: Blob<'a>,
    /// Partition hash of the affinity part, if the partition is not decided by the payload.
    pub affinity: Option<u32>,
}

impl KeyRef<'_> {
    /// The hash that decides the partition.
    #[inline]
    #[must_use]
    pub fn partition_hash(&self) -> u32 {
        self.affinity.unwrap_or_else(|| crate::partitioning::partition_hash(self.blob.payload))
    }
}

const AFFINITY_BIT: u32 = 1 << 31;

/// A cursor over received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

#[cold]
fn short() -> Error {
    Error::with(Kind::Malformed, "the message ends too early")
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Malformed` if there are fewer.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// `Malformed` if there are fewer.
    #[inline]
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// An unsigned byte.
    ///
    /// # Errors
    /// `Malformed` at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A 16-bit number.
    ///
    /// # Errors
    /// `Malformed` at the end.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// `Malformed` at the end.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// `Malformed` at the end.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A key: length (top bit: affinity), tag, affinity hash if any, payload.
    ///
    /// # Errors
    /// `Malformed` at the end, `TooLarge` over [`KEY_BYTES_MAX`].
    #[inline(always)]
    pub fn key(&mut self) -> Result<KeyRef<'a>> {
        let len = self.u32()?;
        let tag = TypeTag(self.u32()?.cast_signed());
        let affinity = if len & AFFINITY_BIT == 0 { None } else { Some(self.u32()?) };
        let len = (len & !AFFINITY_BIT) as usize;
        if len > KEY_BYTES_MAX {
            return Err(over("key", len, KEY_BYTES_MAX));
        }
        Ok(KeyRef { blob: Blob { tag, payload: self.slice(len)? }, affinity })
    }

    /// A value: length, tag, payload.
    ///
    /// # Errors
    /// `Malformed` at the end, `TooLarge` over [`VALUE_BYTES_MAX`].
    #[inline(always)]
    pub fn value(&mut self) -> Result<Blob<'a>> {
        let len = self.u32()? as usize;
        if len > VALUE_BYTES_MAX {
            return Err(over("value", len, VALUE_BYTES_MAX));
        }
        let tag = TypeTag(self.u32()?.cast_signed());
        Ok(Blob { tag, payload: self.slice(len)? })
    }

    /// A count of items that each take at least `item_bytes_min` bytes of what is left.
    ///
    /// # Errors
    /// `Malformed` if that many items cannot follow, so that nobody allocates for them.
    #[inline]
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize> {
        let n = self.u32()? as usize;
        if n.saturating_mul(item_bytes_min) > self.rest.len() {
            return Err(short());
        }
        Ok(n)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// `Malformed` if something is.
    #[inline]
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::with(Kind::Malformed, "the message is longer than its content"))
        }
    }
}

#[cold]
fn over(what: &str, len: usize, max: usize) -> Error {
    Error::with(Kind::TooLarge, format!("a {what} of {len} bytes, at most {max} are possible"))
}

/// Appends a key in the form that [`Reader::key`] reads.
#[inline]
pub fn put_key(out: &mut Vec<u8>, key: KeyRef<'_>) {
    let len = u32_len(key.blob.payload);
    out.extend_from_slice(
        &(len | if key.affinity.is_some() { AFFINITY_BIT } else { 0 }).to_le_bytes(),
    );
    out.extend_from_slice(&key.blob.tag.0.to_le_bytes());
    if let Some(hash) = key.affinity {
        out.extend_from_slice(&hash.to_le_bytes());
    }
    out.extend_from_slice(key.blob.payload);
}

/// Appends a value in the form that [`Reader::value`] reads.
#[inline]
pub fn put_value(out: &mut Vec<u8>, value: Blob<'_>) {
    out.extend_from_slice(&u32_len(value.payload).to_le_bytes());
    out.extend_from_slice(&value.tag.0.to_le_bytes());
    out.extend_from_slice(value.payload);
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
fn u32_len(bytes: &[u8]) -> u32 {
    debug_assert!(bytes.len() < AFFINITY_BIT as usize);
    bytes.len() as u32
}
