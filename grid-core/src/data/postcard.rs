//! The postcard format, with limits.
//!
//! The crate of that name follows recursive types as deep as the bytes lead, up to the end of the
//! stack, and counts to 2^64 where items take no bytes. Values come from anywhere, so both are
//! bounded here, in reading and, so that nothing is written that cannot be read, in writing. The
//! format is the same; tests hold it against the crate's.

mod de;
mod ser;

pub(super) use self::de::from_slice;
pub(super) use self::ser::to_vec;

use super::DataError;
use crate::error::Kind;

/// Most items without bytes (`()` in a `Vec`) in one value.
const EMPTY_ITEMS_MAX: usize = 65_536;

/// The error of both directions.
#[derive(Debug)]
struct Fault(DataError);

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Fault(error)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Fault(DataError::new(Kind::Invalid, message.to_string()))
    }
}

impl serde::de::Error for Fault {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Fault(DataError::malformed(message.to_string()))
    }
}

#[cold]
fn too_many_empty() -> Fault {
    Fault(DataError::too_large(format!("over {EMPTY_ITEMS_MAX} items without bytes")))
}
