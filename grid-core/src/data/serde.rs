//! Types that already have a serde implementation: [`Serde`] and [`Json`].

use super::item::{self, put_count};
use super::probe::fingerprint_of;
use super::{Blob, DataError, DataResult, Decode, Encode, TypeTag, postcard};
use crate::error::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Any serde type, as [postcard](https://postcard.jamesmunns.com) behind a fingerprint of the type.
///
/// The fingerprint covers the name that serde has for the type (not its module path, so that code
/// can move; `#[serde(rename = "…")]` changes it) and the names of its fields or variants. A type
/// that changed in one of these is [`Kind::WrongType`] to its older self, never garbage. What
/// changed within the types of its fields is not noticed: data that is to evolve belongs in
/// `#[derive(GridData)]` types.
///
/// No key, as nothing is known of the bytes. What postcard cannot read back has no encoding:
/// untagged or internally tagged enums, `flatten`, [`serde_json::Value`] (see [`Json`]). Fields
/// left out by `skip_serializing_if` cannot be read back either.
///
/// ```
/// use grid_core::data::{BlobBuf, Serde};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Point { x: i32, y: i32 }
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Pixel { x: i32, y: i32 }
///
/// let blob = BlobBuf::of(&Serde(Point { x: 1, y: 2 }))?;
/// assert_eq!(blob.decode::<Serde<Point>>()?.0, Point { x: 1, y: 2 });
/// let error = blob.decode::<Serde<Pixel>>().unwrap_err();
/// assert_eq!(error.kind(), grid_core::Kind::WrongType);
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned> Encode for Serde<T> {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::SERDE
    }
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        let Some(fingerprint) = fingerprint_of::<T>() else {
            let name = std::any::type_name::<T>();
            return Err(DataError::new(Kind::Invalid, format!("postcard cannot read back {name}")));
        };
        out.extend_from_slice(&fingerprint.to_be_bytes());
        postcard::to_vec(&self.0, out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::SERDE)
    }
}

impl<T: DeserializeOwned> Decode for Serde<T> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let name = std::any::type_name::<T>();
        if blob.tag != TypeTag::SERDE {
            return Err(DataError::wrong_type(format_args!("Serde<{name}>"), blob.tag));
        }
        let mut bytes = item::Bytes(blob.payload);
        let found = u64::from_be_bytes(bytes.chunk()?);
        match fingerprint_of::<T>() {
            Some(expected) if expected == found => postcard::from_slice(bytes.0).map(Serde),
            _ => Err(DataError::new(
                Kind::WrongType,
                format!("expected {name}, found another serde type ({found:016x})"),
            )),
        }
    }
}

/// A value as JSON text: any JSON by default, or any serde type. Other clients and the members can
/// look into it.
///
/// ```
/// use grid_core::data::{BlobBuf, Json};
/// let blob = BlobBuf::of(&Json(serde_json::json!({"name": "Ada", "born": 1815})))?;
/// assert_eq!(blob.decode::<Json>()?.0["born"], 1815);
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T = serde_json::Value>(pub T);

impl<T: Serialize> Encode for Json<T> {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::JSON
    }
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        let start = out.len();
        put_count(0, out)?;
        serde_json::to_writer(&mut *out, &self.0)
            .map_err(|error| DataError::new(Kind::Invalid, error.to_string()))?;
        let text = &out[start + 4..];
        if json_depth(text) > JSON_DEPTH_MAX {
            let detail = format!("JSON nested deeper than {JSON_DEPTH_MAX} levels");
            return Err(DataError::too_large(detail));
        }
        let mut count = Vec::with_capacity(4);
        put_count(text.len(), &mut count)?;
        out[start..start + 4].copy_from_slice(&count);
        Ok(())
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::JSON)
    }
}

impl<T: DeserializeOwned> Decode for Json<T> {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let text = item::array(blob, TypeTag::JSON)?;
        serde_json::from_slice(text).map(Json).map_err(|error| {
            let kind = if error.is_data() { Kind::WrongType } else { Kind::Malformed };
            DataError::new(kind, error.to_string())
        })
    }
}

/// Most levels that the JSON reader follows.
const JSON_DEPTH_MAX: usize = 127;

/// The deepest nesting in a valid JSON text.
fn json_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}
