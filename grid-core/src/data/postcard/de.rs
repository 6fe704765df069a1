//! Reading.

use super::{EMPTY_ITEMS_MAX, Fault, too_many_empty};
use crate::data::depth::Level;
use crate::data::item::Bytes;
use crate::data::{DataError, DataResult};
use serde::de::value::U32Deserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The value that takes up all of `bytes`.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> DataResult<T> {
    let mut reader = Reader { bytes: Bytes(bytes), empty_items: 0 };
    let value = T::deserialize(&mut reader).map_err(|fault| fault.0)?;
    reader.bytes.end()?;
    Ok(value)
}

struct Reader<'de> {
    bytes: Bytes<'de>,
    /// Items read so far that took no bytes.
    empty_items: usize,
}

impl<'de> Reader<'de> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let [byte] = self.bytes.chunk()?;
        Ok(byte)
    }

    /// A number of at most `bits` bits.
    fn varint(&mut self, bits: u32) -> Result<u128, Fault> {
        let (mut value, mut shift) = (0u128, 0);
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if shift >= bits || (bits - shift < 7 && part >> (bits - shift) != 0) {
                return Err(DataError::malformed(format!("more than {bits} bits")).into());
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    fn zigzag(&mut self, bits: u32) -> Result<i128, Fault> {
        let value = self.varint(bits)?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn len(&mut self) -> Result<usize, Fault> {
        let len = self.varint(64)?;
        usize::try_from(len).map_err(|_| DataError::malformed("a length beyond memory").into())
    }

    fn counted(&mut self) -> Result<&'de [u8], Fault> {
        let len = self.len()?;
        Ok(self.bytes.take(len)?)
    }

    fn text(&mut self) -> Result<&'de str, Fault> {
        let bytes = self.counted()?;
        std::str::from_utf8(bytes).map_err(|error| DataError::malformed(error.to_string()).into())
    }

    fn flag(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DataError::malformed(format!("expected 0 or 1, found {other}")).into()),
        }
    }

    fn items(&mut self, left: usize, counted: bool) -> Result<Items<'_, 'de>, Fault> {
        Ok(Items { _level: Some(Level::enter()?), reader: self, left, counted })
    }
}

#[cold]
fn dynamic<T>() -> Result<T, Fault> {
    Err(DataError::malformed("postcard cannot tell what type its bytes are").into())
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident $how:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.$how($type::BITS)?;
            // `$how` has seen to the range.
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless)]
            visitor.$visit(value as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    numbers! {
        deserialize_u16 visit_u16 u16 varint; deserialize_u32 visit_u32 u32 varint;
        deserialize_u64 visit_u64 u64 varint; deserialize_u128 visit_u128 u128 varint;
        deserialize_i16 visit_i16 i16 zigzag; deserialize_i32 visit_i32 i32 zigzag;
        deserialize_i64 visit_i64 i64 zigzag; deserialize_i128 visit_i128 i128 zigzag;
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        dynamic()
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        dynamic()
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        dynamic()
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.flag()?)
    }
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u8(self.byte()?)
    }
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i8(self.byte()?.cast_signed())
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f32(f32::from_le_bytes(self.bytes.chunk()?))
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(f64::from_le_bytes(self.bytes.chunk()?))
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let mut chars = self.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => visitor.visit_char(char),
            _ => Err(DataError::malformed("a char that is not one char").into()),
        }
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.counted()?)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if !self.flag()? {
            return visitor.visit_none();
        }
        let _level = Level::enter()?;
        visitor.visit_some(self)
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let len = self.len()?;
        visitor.visit_seq(self.items(len, true)?)
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.items(len, false)?)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let len = self.len()?;
        visitor.visit_map(self.items(len, true)?)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(fields.len(), visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let _level = Level::enter()?;
        visitor.visit_enum(self)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Items or fields in turn, one level down.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    /// A count in the bytes says how many, not the type.
    counted: bool,
    /// `None` in a variant, which is a level already.
    _level: Option<Level>,
}

impl<'de> Items<'_, 'de> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.reader.bytes.0.len();
        let value = seed.deserialize(&mut *self.reader)?;
        if self.counted && self.reader.bytes.0.len() == before {
            self.reader.empty_items += 1;
            if self.reader.empty_items > EMPTY_ITEMS_MAX {
                return Err(too_many_empty());
            }
        }
        Ok(Some(value))
    }

    /// How many items to make room for: not more than there can be.
    fn hint(&self) -> usize {
        self.left.min(Level::share(self.reader.bytes.0.len()))
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Fault;
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Fault;
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.reader)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Fault;
    type Variant = Self;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let index = u32::deserialize(&mut *self)?;
        let index: U32Deserializer<Fault> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Fault;
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Items { _level: None, reader: self, left: len, counted: false })
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.tuple_variant(fields.len(), visitor)
    }
}
