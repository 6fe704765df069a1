//! How values become bytes, and how bytes become values.
//!
//! A [`Blob`] is a 4-byte [`TypeTag`] and a payload; the grid stores, moves and compares blobs and
//! knows nothing of Rust types. Two keys or values are equal if tag and payload are. A partition is
//! chosen by the hash of the payload alone ([`key_hash`]).
//!
//! | to store | use |
//! |---|---|
//! | numbers, `bool`, `char`, text, bytes, tuples, options, lists, maps, times | the type itself |
//! | your own types, which will change | `#[derive(GridData)]`: [records](#records) |
//! | types that have serde, and will not change | [`Serde`] |
//! | what others shall read as JSON | [`Json`] |
//! | keys next to other keys | [`Affinity`], or `#[grid(affinity = "field")]` |
//!
//! # Tags and layouts
//!
//! All numbers are big endian. What the Hazelcast serialization knows has its type ids and layouts;
//! what it lacks has tags from 18 000. The constants of [`TypeTag`] are the whole table, each with
//! its layout. Tags are never reused and layouts never changed: stored data, other versions and
//! other languages rely on them.
//!
//! # Composites
//!
//! An **item** is a blob inside a payload: `i32` tag, `u32` length, payload. The length is left out
//! where the tag tells it: types of fixed size, and strings, byte arrays and JSON, which begin with
//! their own.
//!
//! - list, set: `i32` count, `i32` tag of all items or 0, items. If the tag is not 0, the items go
//!   without theirs: a `Vec<u64>` takes 8 bytes per item.
//! - map: `i32` count, `i32` tag of all keys or 0, `i32` tag of all values or 0, keys and values in
//!   turn.
//! - sets and maps are sorted by the bytes of items or keys, so equal ones have equal bytes,
//!   hash maps too.
//! - tuple: items to the end.
//! - `Some(x)` is `x`; `None` has a tag of its own. Only what would be mistaken (`Some(None)`) is
//!   wrapped.
//!
//! # Records
//!
//! `#[derive(GridData)]` writes a table of the fields' ids in front of their payloads, so that a
//! member can read [`field`]s without the type and versions of the type can read each other:
//!
//! ```text
//! u64 fingerprint of the type's name
//! u8  flags: 1 = ends are u32, 2 = a variant id follows; others are refused
//! u16 variant id, for enums
//! u16 count of fields
//! count times, ids ascending:  u16 id | i16 tag | u16 or u32 end of the field's payload
//! the fields' payloads
//! ```
//!
//! A tag beyond `i16` is 0 in the table and stands in front of its payload. Names of fields are not
//! in the payload; [`Record::SCHEMA`] has them, by the fingerprint.
//!
//! ## How types may change
//!
//! | change | old reader, new data | new reader, old data |
//! |---|---|---|
//! | fields moved or renamed in the source | same | same |
//! | field added | skipped | default |
//! | field removed (put its id into `reserved`) | default | skipped |
//! | `T` made `Option<T>` | fine unless `None` ([`WrongType`]) | fine |
//! | variant added | [`WrongType`], or the `other` variant | same |
//! | type renamed | give it its old name by `#[grid(name = "…")]` | |
//! | type of a field changed | [`WrongType`] naming the field | the same |
//!
//! A default is `Default::default()`, or `#[grid(default = …)]`; `#[grid(required)]` makes a missing
//! field an error instead. An old reader that writes a value back drops the fields it does not
//! know. Keys must not change at all: an added field makes another key of it.
//!
//! [`WrongType`]: crate::Kind::WrongType
//!
//! # Limits
//!
//! Values nest to 128 levels, in writing and in reading. Decoders take any bytes: they never panic,
//! never trust a count before the bytes for it are there, and run in linear time.

mod blob;
mod bytes;
mod collections;
mod depth;
mod error;
mod item;
mod key;
mod pointer;
mod postcard;
mod probe;
mod record;
mod scalar;
mod schema;
mod serde;
mod tag;
mod tuple;

#[cfg(test)]
mod tests;

pub use self::blob::{Blob, BlobBuf};
pub use self::error::{DataError, DataResult};
pub use self::key::{Affinity, Key, KeyOf, key_hash};
pub use self::record::{RecordReader, RecordView, RecordWriter, field, path};
pub use self::scalar::Uuid;
pub use self::schema::{Field, Record, Schema, Variant, fingerprint};
pub use self::serde::{Json, Serde};
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
