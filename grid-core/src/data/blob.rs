//! A value as bytes, borrowed or owned.

use super::{DataResult, Decode, Encode, TypeTag};
use bytes::Bytes;

/// A value as bytes: what it is, and its payload. Two blobs are equal if both are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blob<'a> {
    /// How to read the payload.
    pub tag: TypeTag,
    /// The bytes.
    pub payload: &'a [u8],
}

impl<'a> Blob<'a> {
    /// A blob of these parts.
    #[inline]
    #[must_use]
    pub const fn new(tag: TypeTag, payload: &'a [u8]) -> Self {
        Blob { tag, payload }
    }

    /// Decodes it: `blob.decode::<String>()`.
    pub fn decode<T: Decode>(self) -> DataResult<T> {
        T::decode(self)
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_buf(self) -> BlobBuf {
        BlobBuf { tag: self.tag, payload: Bytes::copy_from_slice(self.payload) }
    }
}

/// A blob that owns its bytes; cloning shares them.
///
/// ```
/// use grid_core::data::BlobBuf;
/// let blob = BlobBuf::of("foo")?;
/// assert_eq!(blob.payload, b"\0\0\0\x03foo"[..]);
/// assert_eq!(blob.decode::<String>()?, "foo");
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BlobBuf {
    /// How to read the payload.
    pub tag: TypeTag,
    /// The bytes.
    pub payload: Bytes,
}

impl BlobBuf {
    /// The blob of a value.
    pub fn of<T: Encode + ?Sized>(value: &T) -> DataResult<Self> {
        let mut out = Vec::new();
        value.encode(&mut out)?;
        Ok(BlobBuf { tag: value.tag(), payload: out.into() })
    }

    /// The same blob, borrowed.
    #[inline]
    #[must_use]
    pub fn as_blob(&self) -> Blob<'_> {
        Blob { tag: self.tag, payload: &self.payload }
    }

    /// Decodes it.
    pub fn decode<T: Decode>(&self) -> DataResult<T> {
        T::decode(self.as_blob())
    }
}

impl From<Blob<'_>> for BlobBuf {
    fn from(blob: Blob<'_>) -> Self {
        blob.to_buf()
    }
}

/// Most payload bytes that the debug text of a blob shows.
const SHOWN_BYTES_MAX: usize = 32;

fn show(blob: Blob<'_>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    write!(f, "Blob({}, {} bytes ", blob.tag, blob.payload.len())?;
    for byte in blob.payload.iter().take(SHOWN_BYTES_MAX) {
        write!(f, "{byte:02x}")?;
    }
    f.write_str(if blob.payload.len() > SHOWN_BYTES_MAX { "..)" } else { ")" })
}

impl std::fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        show(*self, f)
    }
}

impl std::fmt::Debug for BlobBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        show(self.as_blob(), f)
    }
}
