//! Tuples and options.

use super::depth::Level;
use super::item::{Bytes, put_item};
use super::{Blob, DataError, DataResult, Decode, Encode, Key, TypeTag};

macro_rules! tuple {
    ($($name:ident $at:tt),+) => {
        impl<$($name: Encode),+> Encode for ($($name,)+) {
            #[inline]
            fn tag(&self) -> TypeTag {
                TypeTag::TUPLE
            }
            fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
                let _level = Level::enter()?;
                $(put_item(&self.$at, None, out)?;)+
                Ok(())
            }
            #[inline]
            fn item_tag() -> Option<TypeTag> {
                Some(TypeTag::TUPLE)
            }
        }

        impl<$($name: Decode),+> Decode for ($($name,)+) {
            fn decode(blob: Blob<'_>) -> DataResult<Self> {
                if blob.tag != TypeTag::TUPLE {
                    return Err(DataError::wrong_type(TypeTag::TUPLE, blob.tag));
                }
                let _level = Level::enter()?;
                let mut bytes = Bytes(blob.payload);
                let tuple = ($($name::decode(bytes.item(None)?)?,)+);
                bytes.end()?;
                Ok(tuple)
            }
        }

        impl<$($name: Key),+> Key for ($($name,)+) {}
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// What `Some(x)` must be wrapped for, because it would be mistaken for an outer `None` or wrapper.
#[inline]
fn needs_wrapping(tag: TypeTag) -> bool {
    tag == TypeTag::NONE || tag == TypeTag::SOME
}

/// `Some(x)` encodes as `x`, so that a field can become optional later.
impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn tag(&self) -> TypeTag {
        match self.as_ref().map(Encode::tag) {
            None => TypeTag::NONE,
            Some(tag) if needs_wrapping(tag) => TypeTag::SOME,
            Some(tag) => tag,
        }
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        match self {
            None => Ok(()),
            Some(value) if needs_wrapping(value.tag()) => {
                let _level = Level::enter()?;
                put_item(value, None, out)
            }
            Some(value) => value.encode(out),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        match blob.tag {
            TypeTag::NONE if blob.payload.is_empty() => Ok(None),
            TypeTag::NONE => Err(DataError::malformed("a `None` with a payload")),
            TypeTag::SOME => {
                let _level = Level::enter()?;
                let mut bytes = Bytes(blob.payload);
                let item = bytes.item(None)?;
                bytes.end()?;
                if !needs_wrapping(item.tag) {
                    return Err(DataError::malformed("an option wrapped without need"));
                }
                T::decode(item).map(Some)
            }
            _ => T::decode(blob).map(Some),
        }
    }
}

impl<T: Key> Key for Option<T> {}
