//! What can be wrong with bytes, or with a value that is to become bytes.

use super::TypeTag;
use crate::error::{Error, Kind};

/// Result of encoding or decoding.
pub type DataResult<T> = Result<T, DataError>;

/// Why a value could not be encoded or decoded. One word wide, so that results of decoders travel
/// in registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError(Box<(Kind, String)>);

const _: () = assert!(size_of::<DataResult<u64>>() == 16);

impl DataError {
    /// An error of this kind.
    #[cold]
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        DataError(Box::new((kind, detail.into())))
    }

    /// The bytes are those of another type. `expected` names the type that was asked for.
    #[cold]
    #[must_use]
    pub fn wrong_type(expected: impl std::fmt::Display, found: TypeTag) -> Self {
        DataError::new(Kind::WrongType, format!("expected {expected}, found {found}"))
    }

    /// The bytes do not follow the layout of their tag.
    #[cold]
    #[must_use]
    pub fn malformed(what: impl Into<String>) -> Self {
        DataError::new(Kind::Malformed, what)
    }

    /// The value has more bytes, items or levels than the encoding allows.
    #[cold]
    #[must_use]
    pub fn too_large(what: impl Into<String>) -> Self {
        DataError::new(Kind::TooLarge, what)
    }

    /// The same error, saying in which field of which type it was found.
    #[cold]
    #[must_use]
    pub fn in_field(mut self, of: &str, field: &str) -> Self {
        self.0.1 = format!("{of}.{field}: {}", self.0.1);
        self
    }

    /// [`Kind::WrongType`], [`Kind::Malformed`], [`Kind::TooLarge`] or [`Kind::Invalid`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.0
    }

    /// The sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.1
    }
}

impl std::fmt::Display for DataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.1)
    }
}

impl std::error::Error for DataError {}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        let (kind, detail) = *error.0;
        Error::with(kind, detail)
    }
}
