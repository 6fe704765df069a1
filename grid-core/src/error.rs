//! The one error type. It answers what the caller may do now: [`Error::applied`] says whether the
//! operation can have taken effect, [`Error::kind`] why it failed, [`Error::retry_after`] when to
//! come back.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Result of an operation on the grid.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether the failed operation can have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// Nothing was applied anywhere; trying again is safe.
    No,
    /// It may have been applied, now or later. Within one session the grid itself has already
    /// retried safely until the deadline; a new attempt would be a new operation.
    Maybe,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why an operation failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Kind { $($(#[doc = $doc])* $name = $code,)* }

        impl Kind {
            /// The kind with this code on the wire; an unknown code is [`Kind::Internal`].
            #[must_use]
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Kind::$name,)* _ => Kind::Internal }
            }
            fn text(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// The deadline passed before an answer came.
    Timeout = 1, "the deadline passed before an answer came";
    /// The connection ended before an answer came and could not be replaced in time.
    Disconnected = 2, "the connection to the member was lost";
    /// The member (or this client) has no room for the request right now.
    Overloaded = 3, "too many requests are waiting";
    /// The memory budget is used up and the policy is to refuse.
    OutOfMemory = 4, "the memory budget is used up";
    /// A key, value, name or frame is longer than its limit.
    TooLarge = 5, "too large";
    /// Stored bytes are of another type than the one asked for.
    WrongType = 6, "the stored type is another one";
    /// The name belongs to a structure of another kind.
    WrongStructure = 7, "the name belongs to another kind of structure";
    /// The member does not know this structure id (the cluster was restarted empty).
    UnknownStructure = 8, "the structure is not known to the member";
    /// The session of this client has expired; its unanswered operations may have been applied.
    SessionExpired = 9, "the session has expired";
    /// The member does not serve this partition now.
    NotServing = 10, "the member does not serve this partition";
    /// Bytes that follow no rule of the protocol or of an encoding.
    Malformed = 11, "malformed bytes";
    /// The other side speaks another protocol version.
    WrongVersion = 12, "the other side speaks another protocol version";
    /// The other side belongs to a cluster of another name.
    WrongCluster = 13, "the other side belongs to another cluster";
    /// The handle, client or member was shut down.
    Closed = 14, "shut down";
    /// A setting or argument has an impossible value.
    Invalid = 15, "invalid argument";
    /// A file or socket could not be used.
    Io = 16, "input or output failed";
    /// The data of this partition was lost with its last replica.
    Lost = 17, "the data of this partition was lost";
    /// A fault inside the grid; please report it.
    Internal = 18, "internal fault";
    /// A user function failed or panicked.
    UserCode = 19, "a user function failed";
    /// Too few members are reachable to agree on anything.
    NoQuorum = 20, "the cluster has no quorum";
}

/// An error of the grid. See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    applied: Applied,
    retry_after_ms: u32,
    detail: Option<Box<str>>,
}

const _: () = assert!(size_of::<Error>() <= 32);

impl Error {
    /// An error after which nothing was applied.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Error { kind, applied: Applied::No, retry_after_ms: 0, detail: None }
    }

    /// An error after which nothing was applied, with a sentence for people.
    #[must_use]
    pub fn with(kind: Kind, detail: impl Into<Box<str>>) -> Self {
        Error { detail: Some(detail.into()), ..Error::new(kind) }
    }

    /// The same error for an operation that may have been applied.
    #[must_use]
    pub fn maybe_applied(mut self) -> Self {
        self.applied = Applied::Maybe;
        self
    }

    /// The same error with advice when to try again.
    #[must_use]
    pub fn retry_in(mut self, after: Duration) -> Self {
        self.retry_after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Why it failed.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the operation can have taken effect.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// When trying again may help, if waiting can help at all.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_ms > 0).then(|| Duration::from_millis(self.retry_after_ms.into()))
    }

    /// The sentence for people beyond the kind, if there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.text())?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if self.applied == Applied::Maybe {
            f.write_str(" (the operation may have been applied)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
