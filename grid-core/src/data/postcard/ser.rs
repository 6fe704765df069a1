//! Writing.

use super::{EMPTY_ITEMS_MAX, Fault, too_many_empty};
use crate::data::depth::Level;
use crate::data::{DataError, DataResult};
use crate::error::Kind;
use serde::{Serialize, ser};

/// Appends `value`.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> DataResult<()> {
    let mut writer = Writer { out, empty_items: 0 };
    value.serialize(&mut writer).map_err(|fault| fault.0)
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Items written so far that took no bytes.
    empty_items: usize,
}

impl Writer<'_> {
    fn varint(&mut self, mut value: u128) {
        while value > 0x7f {
            #[allow(clippy::cast_possible_truncation)]
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        #[allow(clippy::cast_possible_truncation)]
        self.out.push(value as u8);
    }

    fn zigzag(&mut self, value: i128) {
        self.varint(((value << 1) ^ (value >> 127)).cast_unsigned());
    }

    fn len(&mut self, len: Option<usize>) -> Result<(), Fault> {
        let Some(len) = len else {
            let detail = "postcard needs to know the length of a sequence or map beforehand";
            return Err(Fault(DataError::new(Kind::Invalid, detail)));
        };
        self.varint(len as u128);
        Ok(())
    }

    fn variant(&mut self, index: u32) -> Result<Level, Fault> {
        self.varint(index.into());
        Ok(Level::enter()?)
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty => $how:ident;)*) => {$(
        fn $method(self, value: $type) -> Result<(), Fault> {
            self.$how(value.into());
            Ok(())
        }
    )*};
}

impl<'w, 'a> ser::Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Compound<'w, 'a>;
    type SerializeTuple = Compound<'w, 'a>;
    type SerializeTupleStruct = Compound<'w, 'a>;
    type SerializeTupleVariant = Compound<'w, 'a>;
    type SerializeMap = Compound<'w, 'a>;
    type SerializeStruct = Compound<'w, 'a>;
    type SerializeStructVariant = Compound<'w, 'a>;

    numbers! {
        serialize_u16 u16 => varint; serialize_u32 u32 => varint; serialize_u64 u64 => varint;
        serialize_u128 u128 => varint;
        serialize_i16 i16 => zigzag; serialize_i32 i32 => zigzag; serialize_i64 i64 => zigzag;
        serialize_i128 i128 => zigzag;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.serialize_u8(value.into())
    }
    fn serialize_u8(self, value: u8) -> Result<(), Fault> {
        self.out.push(value);
        Ok(())
    }
    fn serialize_i8(self, value: i8) -> Result<(), Fault> {
        self.serialize_u8(value.cast_unsigned())
    }
    fn serialize_f32(self, value: f32) -> Result<(), Fault> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn serialize_f64(self, value: f64) -> Result<(), Fault> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.serialize_bytes(value.as_bytes())
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.varint(value.len() as u128);
        self.out.extend_from_slice(value);
        Ok(())
    }
    fn serialize_none(self) -> Result<(), Fault> {
        self.serialize_u8(0)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let _level = Level::enter()?;
        self.out.push(1);
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Fault> {
        self.variant(index).map(|_| ())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        let _level = self.variant(index)?;
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'w, 'a>, Fault> {
        self.len(len)?;
        Compound::new(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Compound<'w, 'a>, Fault> {
        Compound::new(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'w, 'a>, Fault> {
        Compound::new(self)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'w, 'a>, Fault> {
        let level = self.variant(index)?;
        Ok(Compound { writer: self, _level: level })
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'w, 'a>, Fault> {
        self.len(len)?;
        Compound::new(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'w, 'a>, Fault> {
        Compound::new(self)
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'w, 'a>, Fault> {
        self.serialize_tuple_variant(name, index, variant, len)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// One level of items or fields.
struct Compound<'w, 'a> {
    writer: &'w mut Writer<'a>,
    _level: Level,
}

impl<'w, 'a> Compound<'w, 'a> {
    fn new(writer: &'w mut Writer<'a>) -> Result<Self, Fault> {
        Ok(Compound { writer, _level: Level::enter()? })
    }

    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self.writer)
    }

    /// Like `put`, for items that only a count announces.
    fn put_counted<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let before = self.writer.out.len();
        self.put(value)?;
        if self.writer.out.len() == before {
            self.writer.empty_items += 1;
            if self.writer.empty_items > EMPTY_ITEMS_MAX {
                return Err(too_many_empty());
            }
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.put_counted(value)
    }
    fn end(self) -> Result<(), Fault> {
        Ok(())
    }
}

impl ser::SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.put_counted(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.put(value)
    }
    fn end(self) -> Result<(), Fault> {
        Ok(())
    }
}

macro_rules! fixed {
    ($($trait:ident $method:ident;)*) => {$(
        impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = Fault;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.put(value)
            }
            fn end(self) -> Result<(), Fault> {
                Ok(())
            }
        }
    )*};
}

fixed! {
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! named {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = Fault;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Fault> {
                self.put(value)
            }
            fn end(self) -> Result<(), Fault> {
                Ok(())
            }
        }
    )*};
}

named! { SerializeStruct SerializeStructVariant }
