//! Strings, byte arrays and arrays.

use super::scalar::fixed;
use super::{Blob, DataError, DataResult, Decode, Encode, Key, TypeTag, item};
use ::bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

#[inline]
fn put_str(text: &str, out: &mut Vec<u8>) -> DataResult<()> {
    item::put_count(text.len(), out)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

#[inline]
fn utf8(bytes: &[u8]) -> DataResult<&str> {
    std::str::from_utf8(bytes).map_err(|error| DataError::malformed(error.to_string()))
}

#[inline]
fn str_of(blob: Blob<'_>) -> DataResult<&str> {
    utf8(item::array(blob, TypeTag::STRING)?)
}

impl Encode for str {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::STRING
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        put_str(self, out)
    }
}

impl Key for str {}

impl Encode for String {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::STRING
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        put_str(self, out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::STRING)
    }
    #[inline]
    fn slice_tag() -> TypeTag {
        TypeTag::STRINGS
    }
    fn encode_slice(items: &[Self], out: &mut Vec<u8>) -> DataResult<()> {
        item::put_count(items.len(), out)?;
        items.iter().try_for_each(|item| put_str(item, out))
    }
}

impl Decode for String {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        str_of(blob).map(str::to_owned)
    }
    fn decode_slice(blob: Blob<'_>) -> DataResult<Vec<Self>> {
        if blob.tag != TypeTag::STRINGS {
            return Err(DataError::wrong_type(TypeTag::STRINGS, blob.tag));
        }
        let mut bytes = item::Bytes(blob.payload);
        let count = bytes.count()?;
        bytes.expect_items(count, 4)?;
        let mut items = Vec::with_capacity(item::capacity::<String>(count, bytes.0.len()));
        for _ in 0..count {
            let len = bytes.count()?;
            items.push(utf8(bytes.take(len)?)?.to_owned());
        }
        bytes.end()?;
        Ok(items)
    }
}

impl Key for String {}

impl Decode for Box<str> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        str_of(blob).map(Box::from)
    }
}

impl Decode for Arc<str> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        str_of(blob).map(Arc::from)
    }
}

impl Decode for Cow<'static, str> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        String::decode(blob).map(Cow::Owned)
    }
}

impl Encode for u8 {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::U8
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        out.push(*self);
        Ok(())
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::U8)
    }
    #[inline]
    fn slice_tag() -> TypeTag {
        TypeTag::BYTES
    }
    #[inline]
    fn encode_slice(items: &[Self], out: &mut Vec<u8>) -> DataResult<()> {
        item::put_count(items.len(), out)?;
        out.extend_from_slice(items);
        Ok(())
    }
    #[inline]
    fn array_tag() -> TypeTag {
        TypeTag::FIXED_BYTES
    }
    #[inline]
    fn encode_array(items: &[Self], out: &mut Vec<u8>) -> DataResult<()> {
        out.extend_from_slice(items);
        Ok(())
    }
}

impl Decode for u8 {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        fixed(blob, TypeTag::U8, "u8").map(u8::from_be_bytes)
    }
    #[inline]
    fn decode_slice(blob: Blob<'_>) -> DataResult<Vec<Self>> {
        item::array(blob, TypeTag::BYTES).map(<[u8]>::to_vec)
    }
    #[inline]
    fn decode_array<const N: usize>(blob: Blob<'_>) -> DataResult<[Self; N]> {
        fixed(blob, TypeTag::FIXED_BYTES, "a fixed byte array")
    }
}

impl Key for u8 {}

impl Encode for Bytes {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::BYTES
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        u8::encode_slice(self, out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::BYTES)
    }
}

impl Decode for Bytes {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        item::array(blob, TypeTag::BYTES).map(Bytes::copy_from_slice)
    }
}

impl Key for Bytes {}

impl<T: Encode> Encode for [T] {
    #[inline]
    fn tag(&self) -> TypeTag {
        T::slice_tag()
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        T::encode_slice(self, out)
    }
}

impl<T: Key> Key for [T] {}

impl<T: Encode> Encode for Vec<T> {
    #[inline]
    fn tag(&self) -> TypeTag {
        T::slice_tag()
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        T::encode_slice(self, out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(T::slice_tag())
    }
}

impl<T: Decode> Decode for Vec<T> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        T::decode_slice(blob)
    }
}

impl<T: Key> Key for Vec<T> {}

impl<T: Decode> Decode for Box<[T]> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        T::decode_slice(blob).map(Vec::into_boxed_slice)
    }
}

impl<T: Decode> Decode for Arc<[T]> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        T::decode_slice(blob).map(Arc::from)
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    #[inline]
    fn tag(&self) -> TypeTag {
        T::array_tag()
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        T::encode_array(self, out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(T::array_tag())
    }
}

impl<T: Decode, const N: usize> Decode for [T; N] {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        T::decode_array(blob)
    }
}

impl<T: Key, const N: usize> Key for [T; N] {}
