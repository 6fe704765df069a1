//! References and smart pointers: as what they point to. And blobs themselves.

use super::{Blob, BlobBuf, DataError, DataResult, Decode, Encode, Key, TypeTag};
use crate::error::Kind;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

macro_rules! pointer {
    ($($type:ty),*) => {$(
        impl<T: Encode + ?Sized> Encode for $type {
            #[inline]
            fn tag(&self) -> TypeTag {
                (**self).tag()
            }
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
                (**self).encode(out)
            }
        }

        impl<T: Key + ?Sized> Key for $type {
            #[inline]
            fn affinity(&self) -> Option<u32> {
                (**self).affinity()
            }
        }
    )*};
}

pointer!(&T, Box<T>, Arc<T>, Rc<T>);

impl<T: Encode + ToOwned + ?Sized> Encode for Cow<'_, T> {
    #[inline]
    fn tag(&self) -> TypeTag {
        (**self).tag()
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        (**self).encode(out)
    }
}

impl<T: Key + ToOwned + ?Sized> Key for Cow<'_, T> {
    #[inline]
    fn affinity(&self) -> Option<u32> {
        (**self).affinity()
    }
}

macro_rules! decode_pointer {
    ($($pointer:ident),*) => {$(
        impl<T: Decode> Decode for $pointer<T> {
            #[inline]
            fn decode(blob: Blob<'_>) -> DataResult<Self> {
                T::decode(blob).map($pointer::new)
            }
            #[inline]
            fn decode_key(blob: Blob<'_>, affinity: Option<u32>) -> DataResult<Self> {
                T::decode_key(blob, affinity).map($pointer::new)
            }
        }
    )*};
}

decode_pointer!(Box, Arc, Rc);

/// A blob is its own encoding, of whatever type it is: for tools that move data they do not know.
impl Encode for Blob<'_> {
    #[inline]
    fn tag(&self) -> TypeTag {
        self.tag
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        if self.tag == TypeTag::NULL {
            return Err(DataError::new(Kind::Invalid, "null is no value"));
        }
        out.extend_from_slice(self.payload);
        Ok(())
    }
}

impl Key for Blob<'_> {}

impl Encode for BlobBuf {
    #[inline]
    fn tag(&self) -> TypeTag {
        self.tag
    }
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
        self.as_blob().encode(out)
    }
}

impl Decode for BlobBuf {
    #[inline]
    fn decode(blob: Blob<'_>) -> DataResult<Self> {
        Ok(blob.to_buf())
    }
}

impl Key for BlobBuf {}
