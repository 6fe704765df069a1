//! How values become bytes.
//!
//! A [`Blob`] is a 4-byte [`TypeTag`] and a payload. Keys are compared as blobs: equal tag, equal
//! payload.

mod blob;
mod bytes;
mod collections;
mod depth;
mod error;
mod item;
mod key;
mod pointer;
mod scalar;
mod tag;
mod tuple;

pub use self::blob::{Blob, BlobBuf};
pub use self::error::{DataError, DataResult};
pub use self::key::{Affinity, Key, KeyOf, key_hash};
pub use self::scalar::Uuid;
pub use self::tag::TypeTag;

/// A value that can become a [`Blob`].
///
/// Derive it with [`GridData`](macro@crate::GridData); write it by hand only for a layout of your
/// own, under a tag of your own:
///
/// ```
/// use grid_core::data::{Blob, BlobBuf, DataError, DataResult, Decode, Encode, TypeTag};
///
/// #[derive(Debug, PartialEq)]
/// struct Rgb([u8; 3]);
/// const RGB: TypeTag = TypeTag(7);
///
/// impl Encode for Rgb {
///     fn tag(&self) -> TypeTag { RGB }
///     fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
///         out.extend_from_slice(&self.0);
///         Ok(())
///     }
/// }
/// impl Decode for Rgb {
///     fn decode(blob: Blob<'_>) -> DataResult<Self> {
///         if blob.tag != RGB {
///             return Err(DataError::wrong_type("Rgb", blob.tag));
///         }
///         blob.payload.try_into().map(Rgb).map_err(|_| DataError::malformed("an Rgb has 3 bytes"))
///     }
/// }
/// assert_eq!(BlobBuf::of(&Rgb([1, 2, 3]))?.decode::<Rgb>()?, Rgb([1, 2, 3]));
/// # Ok::<(), DataError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no encoding",
    note = "derive `GridData`, or wrap the value: `Serde(value)` for serde types, `Json(value)`"
)]
pub trait Encode {
    /// The tag of this value's blob.
    fn tag(&self) -> TypeTag;

    /// Appends the payload. It may fail only for what no blob can hold: too long, too deep, or a
    /// serde type that postcard or JSON cannot express. `out` then holds part of the payload.
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()>;

    /// The tag that all values of this type have, if there is one: lists then write it once.
    #[doc(hidden)]
    #[inline]
    fn item_tag() -> Option<TypeTag>
    where
        Self: Sized,
    {
        None
    }

    /// The tag of `[Self]`; with [`Encode::encode_slice`], what makes `Vec<u8>` a byte array.
    #[doc(hidden)]
    #[inline]
    fn slice_tag() -> TypeTag
    where
        Self: Sized,
    {
        TypeTag::LIST
    }

    #[doc(hidden)]
    #[inline]
    fn encode_slice(items: &[Self], out: &mut Vec<u8>) -> DataResult<()>
    where
        Self: Sized,
    {
        item::encode_list(items, out)
    }

    /// The tag of `[Self; N]`.
    #[doc(hidden)]
    #[inline]
    fn array_tag() -> TypeTag
    where
        Self: Sized,
    {
        Self::slice_tag()
    }

    #[doc(hidden)]
    #[inline]
    fn encode_array(items: &[Self], out: &mut Vec<u8>) -> DataResult<()>
    where
        Self: Sized,
    {
        Self::encode_slice(items, out)
    }
}

/// A value that can be made from a [`Blob`].
///
/// Decoders meet bytes of any origin: they never panic, take memory in proportion to the payload,
/// and give up on what is nested too deep.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be decoded",
    note = "derive `GridData`, or wrap the value: `Serde(value)` for serde types, `Json(value)`"
)]
pub trait Decode: Sized {
    /// The value of this blob.
    fn decode(blob: Blob<'_>) -> DataResult<Self>;

    /// The key of an entry that is stored with this blob and, if its key had one, this
    /// [`Key::affinity`].
    #[inline]
    fn decode_key(blob: Blob<'_>, affinity: Option<u32>) -> DataResult<Self> {
        let _ = affinity;
        Self::decode(blob)
    }

    #[doc(hidden)]
    #[inline]
    fn decode_slice(blob: Blob<'_>) -> DataResult<Vec<Self>> {
        item::decode_list(blob)
    }

    #[doc(hidden)]
    #[inline]
    fn decode_array<const N: usize>(blob: Blob<'_>) -> DataResult<[Self; N]> {
        let items = Self::decode_slice(blob)?;
        let found = items.len();
        items.try_into().map_err(|_| {
            DataError::new(
                crate::Kind::WrongType,
                format!("expected an array of {N} items, found {found}"),
            )
        })
    }
}

/// What a map, queue or topic can hold. Implemented for everything that has its two halves.
pub trait GridData: Encode + Decode + Send + Sync + 'static {}

impl<T: Encode + Decode + Send + Sync + 'static> GridData for T {}
