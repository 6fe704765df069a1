//! Numbers, `bool`, `char`, `()`, [`Uuid`], points in time.

use super::{Blob, DataError, DataResult, Decode, Encode, Key, TypeTag, item};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The payload of a blob that must have this tag and exactly `N` bytes.
#[inline]
pub(crate) fn fixed<const N: usize>(
    blob: Blob<'_>,
    tag: TypeTag,
    expected: &str,
) -> DataResult<[u8; N]> {
    if blob.tag != tag {
        return Err(DataError::wrong_type(expected, blob.tag));
    }
    match blob.payload.first_chunk::<N>() {
        Some(bytes) if blob.payload.len() == N => Ok(*bytes),
        _ => Err(wrong_length(expected, N, blob.payload.len())),
    }
}

#[cold]
fn wrong_length(of: &str, expected: usize, found: usize) -> DataError {
    DataError::malformed(format!("{of} has {expected} bytes, found {found}"))
}

macro_rules! number {
    ($($type:ident $tag:ident $($slice:ident)?;)*) => {$(
        impl Encode for $type {
            #[inline]
            fn tag(&self) -> TypeTag {
                TypeTag::$tag
            }
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
                out.extend_from_slice(&self.to_be_bytes());
                Ok(())
            }
            #[inline]
            fn item_tag() -> Option<TypeTag> {
                Some(TypeTag::$tag)
            }
            $(
                #[inline]
                fn slice_tag() -> TypeTag {
                    TypeTag::$slice
                }
                fn encode_slice(items: &[Self], out: &mut Vec<u8>) -> DataResult<()> {
                    item::put_count(items.len(), out)?;
                    out.reserve(size_of_val(items));
                    for item in items {
                        out.extend_from_slice(&item.to_be_bytes());
                    }
                    Ok(())
                }
            )?
        }

        impl Decode for $type {
            #[inline]
            fn decode(blob: Blob<'_>) -> DataResult<Self> {
                fixed(blob, TypeTag::$tag, stringify!($type)).map($type::from_be_bytes)
            }
            $(
                fn decode_slice(blob: Blob<'_>) -> DataResult<Vec<Self>> {
                    let items = item::array(blob, TypeTag::$slice)?;
                    let (items, []) = items.as_chunks::<{ size_of::<$type>() }>() else {
                        return Err(DataError::malformed("an array ends within an item"));
                    };
                    Ok(items.iter().map(|item| $type::from_be_bytes(*item)).collect())
                }
            )?
        }
    )*};
}

number! {
    i8 I8; i16 I16 I16S; i32 I32 I32S; i64 I64 I64S; i128 I128;
    u16 U16; u32 U32; u64 U64; u128 U128;
    f32 F32 F32S; f64 F64 F64S;
}

macro_rules! size {
    ($($type:ident $as:ident;)*) => {$(
        impl Encode for $type {
            #[inline]
            fn tag(&self) -> TypeTag {
                (*self as $as).tag()
            }
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
                (*self as $as).encode(out)
            }
            #[inline]
            fn item_tag() -> Option<TypeTag> {
                $as::item_tag()
            }
        }

        impl Decode for $type {
            #[inline]
            fn decode(blob: Blob<'_>) -> DataResult<Self> {
                let value = $as::decode(blob)?;
                $type::try_from(value).map_err(|_| DataError::malformed("beyond this platform"))
            }
        }
    )*};
}

size! { usize u64; isize i64; }

macro_rules! keys {
    ($($type:ty),*) => {$( impl Key for $type {} )*};
}

keys!(i8, i16, i32, i64, i128, isize, u16, u32, u64, u128, usize, bool, char, (), Uuid, Duration);

impl Encode for bool {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::BOOL
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        out.push(u8::from(*self));
        Ok(())
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::BOOL)
    }
    #[inline]
    fn slice_tag() -> TypeTag {
        TypeTag::BOOLS
    }
    fn encode_slice(items: &[Self], out: &mut Vec<u8>) -> DataResult<()> {
        item::put_count(items.len(), out)?;
        out.extend(items.iter().map(|item| u8::from(*item)));
        Ok(())
    }
}

#[inline]
fn bool_of(byte: u8) -> DataResult<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DataError::malformed(format!("a bool is 0 or 1, found {other}"))),
    }
}

impl Decode for bool {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let [byte] = fixed(blob, TypeTag::BOOL, "bool")?;
        bool_of(byte)
    }
    fn decode_slice(blob: Blob<'_>) -> DataResult<Vec<Self>> {
        item::array(blob, TypeTag::BOOLS)?.iter().map(|byte| bool_of(*byte)).collect()
    }
}

impl Encode for char {
    #[inline]
    fn tag(&self) -> TypeTag {
        if u16::try_from(*self).is_ok() { TypeTag::CHAR16 } else { TypeTag::CHAR }
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        match u16::try_from(*self) {
            Ok(short) => out.extend_from_slice(&short.to_be_bytes()),
            Err(_) => out.extend_from_slice(&u32::from(*self).to_be_bytes()),
        }
        Ok(())
    }
}

impl Decode for char {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let code = if blob.tag == TypeTag::CHAR {
            let code = u32::from_be_bytes(fixed(blob, TypeTag::CHAR, "char")?);
            if code <= 0xffff {
                return Err(DataError::malformed("a char in the longer of its two forms"));
            }
            code
        } else {
            u16::from_be_bytes(fixed(blob, TypeTag::CHAR16, "char")?).into()
        };
        char::from_u32(code).ok_or_else(|| DataError::malformed(format!("{code:#x} is no char")))
    }
}

impl Encode for () {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::UNIT
    }
    #[inline]
    fn encode(&self, _: &mut Vec<u8>) -> DataResult<()> {
        Ok(())
    }
}

impl Decode for () {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        fixed::<0>(blob, TypeTag::UNIT, "()").map(|_| ())
    }
}

/// A universally unique identifier; encodes as that of other clients of the grid.
///
/// ```
/// use grid_core::data::{BlobBuf, Uuid};
/// let id = Uuid(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
/// assert_eq!(id.to_string(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
/// assert_eq!(BlobBuf::of(&id)?.decode::<Uuid>()?, id);
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.0;
        let (a, b, c) = (id >> 96, (id >> 80) & 0xffff, (id >> 64) & 0xffff);
        let (d, e) = ((id >> 48) & 0xffff, id & 0xffff_ffff_ffff);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl Encode for Uuid {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::UUID
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        self.0.encode(out)
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::UUID)
    }
}

impl Decode for Uuid {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        fixed(blob, TypeTag::UUID, "Uuid").map(|bytes| Uuid(u128::from_be_bytes(bytes)))
    }
}

const NANOS_PER_SEC: u32 = 1_000_000_000;

fn put_time(secs: u64, nanos: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&secs.to_be_bytes());
    out.extend_from_slice(&nanos.to_be_bytes());
}

/// Seconds and nanoseconds.
fn time(blob: Blob<'_>, tag: TypeTag, expected: &str) -> DataResult<(u64, u32)> {
    let bytes = fixed::<12>(blob, tag, expected)?;
    let [secs @ .., a, b, c, d] = bytes;
    let (secs, nanos) = (u64::from_be_bytes(secs), u32::from_be_bytes([a, b, c, d]));
    if nanos >= NANOS_PER_SEC {
        return Err(DataError::malformed(format!("{expected} with {nanos} nanoseconds")));
    }
    Ok((secs, nanos))
}

impl Encode for Duration {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::DURATION
    }
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        put_time(self.as_secs(), self.subsec_nanos(), out);
        Ok(())
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::DURATION)
    }
}

impl Decode for Duration {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        time(blob, TypeTag::DURATION, "Duration").map(|(secs, nanos)| Duration::new(secs, nanos))
    }
}

/// Not a key: platforms differ in the precision they keep.
impl Encode for SystemTime {
    #[inline]
    fn tag(&self) -> TypeTag {
        TypeTag::TIME
    }
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        let beyond = || DataError::too_large("a SystemTime beyond 64-bit seconds");
        let (secs, nanos) = match self.duration_since(UNIX_EPOCH) {
            Ok(after) => {
                (i64::try_from(after.as_secs()).map_err(|_| beyond())?, after.subsec_nanos())
            }
            Err(before) => {
                let before = before.duration();
                let secs = i64::try_from(before.as_secs()).map_err(|_| beyond())?;
                match before.subsec_nanos() {
                    0 => (-secs, 0),
                    nanos => (-secs - 1, NANOS_PER_SEC - nanos),
                }
            }
        };
        put_time(secs.cast_unsigned(), nanos, out);
        Ok(())
    }
    #[inline]
    fn item_tag() -> Option<TypeTag> {
        Some(TypeTag::TIME)
    }
}

impl Decode for SystemTime {
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        let (secs, nanos) = time(blob, TypeTag::TIME, "SystemTime")?;
        let secs = secs.cast_signed();
        let whole = Duration::from_secs(secs.unsigned_abs());
        let time =
            if secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        time.and_then(|time| time.checked_add(Duration::from_nanos(nanos.into())))
            .ok_or_else(|| DataError::malformed("a SystemTime beyond this platform"))
    }
}
