//! What serde knows of a type without a value of it.
//!
//! A deserializer is told what to expect (`deserialize_struct("Point", ["x", "y"])`). This one takes
//! note of it and gives up.

use super::schema::{fingerprint, fingerprint_more};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The fingerprint of a type: its name, kind and the names of its fields or variants, behind the
/// options, lists and newtypes around it. `None` if it wants to be told its own shape by the format
/// (untagged enums, dynamic values), which postcard cannot.
pub(crate) fn fingerprint_of<T: DeserializeOwned>() -> Option<u64> {
    let mut notes = Notes { hash: fingerprint(b"serde"), dynamic: false };
    let _ = T::deserialize(Probe { notes: &mut notes, depth: 0 });
    (!notes.dynamic).then_some(notes.hash)
}

struct Notes {
    hash: u64,
    dynamic: bool,
}

impl Notes {
    fn add(&mut self, text: &str) {
        // 0xff is in no UTF-8 text, so that no two sequences of texts are the same bytes.
        self.hash = fingerprint_more(fingerprint_more(self.hash, text.as_bytes()), &[0xff]);
    }
}

/// Most wrappers that are looked through; types can be recursive.
const DEPTH_MAX: u8 = 8;

struct Probe<'a> {
    notes: &'a mut Notes,
    depth: u8,
}

impl<'a> Probe<'a> {
    /// Into what is wrapped.
    fn inner<R>(self, kind: &str, go: impl FnOnce(Self) -> Result<R, Stop>) -> Result<R, Stop> {
        self.notes.add(kind);
        if self.depth == DEPTH_MAX {
            return Err(Stop);
        }
        go(Probe { notes: self.notes, depth: self.depth + 1 })
    }
}

/// The end of the probing; it says nothing of success.
#[derive(Debug)]
struct Stop;

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("probed")
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Stop
    }
}

macro_rules! leaves {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            self.notes.add(stringify!($method));
            Err(Stop)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    leaves! {
        deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.notes.dynamic = true;
        Err(Stop)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.inner("option", |probe| visitor.visit_some(probe))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.inner("seq", |probe| visitor.visit_seq(probe))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.inner("map", |probe| visitor.visit_map(probe))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.notes.add(&len.to_string());
        self.inner("tuple", |probe| visitor.visit_seq(probe))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Stop> {
        self.notes.add("unit struct");
        self.notes.add(name);
        Err(Stop)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.notes.add(name);
        self.inner("newtype", |probe| visitor.visit_newtype_struct(probe))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        _: V,
    ) -> Result<V::Value, Stop> {
        self.notes.add("tuple struct");
        self.notes.add(name);
        self.notes.add(&len.to_string());
        Err(Stop)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        self.notes.add("struct");
        self.notes.add(name);
        fields.iter().for_each(|field| self.notes.add(field));
        Err(Stop)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        self.notes.add("enum");
        self.notes.add(name);
        variants.iter().for_each(|variant| self.notes.add(variant));
        Err(Stop)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        seed.deserialize(Probe { notes: self.notes, depth: self.depth })?;
        Err(Stop)
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        seed.deserialize(Probe { notes: self.notes, depth: self.depth })?;
        Err(Stop)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, _: S) -> Result<S::Value, Stop> {
        Err(Stop)
    }
}
