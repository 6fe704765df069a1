//! The table of type tags: one line per type, stable for ever.

/// Says how the payload of a [`Blob`](super::Blob) is to be read.
///
/// Tags up to 0 are type ids of the Hazelcast serialization with its layouts (big endian). The
/// range 18 000 to 18 999 belongs to the grid, for types which that family lacks. All other
/// positive numbers are free for hand-written [`Encode`](super::Encode) implementations.
///
/// A tag that was once given out keeps its meaning and its layout for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeTag(pub i32);

/// How many bytes the payload of a tag has, as far as the tag tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Always this many.
    Fixed(usize),
    /// A 4-byte count of bytes, then so many bytes.
    Counted,
    /// Only who wrote it knows.
    Open,
}

macro_rules! tags {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal, $text:literal, $extent:expr;)*) => {
        impl TypeTag {
            $($(#[doc = $doc])* pub const $name: TypeTag = TypeTag($id);)*

            /// Name of the type for people, `None` for a tag outside the table.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($id => Some($text),)* _ => None }
            }

            #[inline]
            pub(crate) fn extent(self) -> Extent {
                use Extent::{Counted, Fixed, Open};
                match self.0 { $($id => $extent,)* _ => Open }
            }

            #[cfg(test)]
            pub(crate) const TABLE: &[(i32, &str)] = &[$(($id, $text),)*];
        }
    };
}

tags! {
    /// Nothing. No value encodes to it, so that 0 can stand for "no blob" wherever blobs travel.
    NULL = 0, "null", Fixed(0);
    /// `i8`: 1 byte.
    I8 = -3, "i8", Fixed(1);
    /// `bool`: 1 byte, 0 or 1.
    BOOL = -4, "bool", Fixed(1);
    /// `char` up to U+FFFF: `u16`. See [`TypeTag::CHAR`].
    CHAR16 = -5, "char", Fixed(2);
    /// `i16`.
    I16 = -6, "i16", Fixed(2);
    /// `i32`.
    I32 = -7, "i32", Fixed(4);
    /// `i64`.
    I64 = -8, "i64", Fixed(8);
    /// `f32`: IEEE 754 bits.
    F32 = -9, "f32", Fixed(4);
    /// `f64`: IEEE 754 bits.
    F64 = -10, "f64", Fixed(8);
    /// `String`, `str`: `i32` count of bytes, UTF-8.
    STRING = -11, "String", Counted;
    /// `Vec<u8>`, `[u8]`, `Bytes`: `i32` count, bytes.
    BYTES = -12, "byte array", Counted;
    /// `Vec<bool>`: `i32` count, a byte each.
    BOOLS = -13, "bool array", Open;
    /// `Vec<i16>`: `i32` count, items.
    I16S = -15, "i16 array", Open;
    /// `Vec<i32>`: `i32` count, items.
    I32S = -16, "i32 array", Open;
    /// `Vec<i64>`: `i32` count, items.
    I64S = -17, "i64 array", Open;
    /// `Vec<f32>`: `i32` count, items.
    F32S = -18, "f32 array", Open;
    /// `Vec<f64>`: `i32` count, items.
    F64S = -19, "f64 array", Open;
    /// `Vec<String>`: `i32` count, items as [`TypeTag::STRING`].
    STRINGS = -20, "String array", Open;
    /// [`Uuid`](super::Uuid): 16 bytes, most significant first.
    UUID = -21, "Uuid", Fixed(16);
    /// [`Json`](super::Json): `i32` count of bytes, JSON text.
    JSON = -130, "Json", Counted;

    /// `()`: empty.
    UNIT = 18_000, "()", Fixed(0);
    /// `u8`.
    U8 = 18_001, "u8", Fixed(1);
    /// `u16`.
    U16 = 18_002, "u16", Fixed(2);
    /// `u32`.
    U32 = 18_003, "u32", Fixed(4);
    /// `u64`, `usize`.
    U64 = 18_004, "u64", Fixed(8);
    /// `u128`.
    U128 = 18_005, "u128", Fixed(16);
    /// `i128`.
    I128 = 18_006, "i128", Fixed(16);
    /// `char` above U+FFFF: `u32`.
    CHAR = 18_007, "char above U+FFFF", Fixed(4);
    /// `[u8; N]`: N bytes, no count.
    FIXED_BYTES = 18_010, "fixed byte array", Open;
    /// `Option::None`: empty.
    NONE = 18_011, "None", Fixed(0);
    /// `Some` of an option: an item. Other values are encoded in `Some` as they are.
    SOME = 18_012, "nested option", Open;
    /// Tuple: items to the end.
    TUPLE = 18_013, "tuple", Open;
    /// `Vec<T>` of a type without an array tag: see [`data`](super#composites).
    LIST = 18_014, "list", Open;
    /// Set: a list without repetition, sorted by the items' bytes.
    SET = 18_015, "set", Open;
    /// Map: entries sorted by the keys' bytes.
    MAP = 18_016, "map", Open;
    /// `Duration`: `u64` seconds, `u32` nanoseconds.
    DURATION = 18_020, "Duration", Fixed(12);
    /// `SystemTime`: `i64` seconds since the Unix epoch, `u32` nanoseconds.
    TIME = 18_021, "SystemTime", Fixed(12);
    /// `#[derive(GridData)]`: see [`data`](super#records).
    RECORD = 18_030, "record", Open;
    /// [`Serde`](super::Serde): `u64` fingerprint of the type, postcard.
    SERDE = 18_031, "Serde", Open;
}

impl std::fmt::Display for TypeTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (type {})", self.0),
            None => write!(f, "type {}", self.0),
        }
    }
}
