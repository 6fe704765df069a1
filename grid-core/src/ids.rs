//! Identifiers as newtypes: never a bare integer in a signature.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

ids! {
    /// One process life of a member: the control log index of its accepted `Start`, never reused.
    MemberId(u64);
    /// Durable identity of a node in the control log.
    NodeId(u64);
    /// A hash partition, `0 .. partition count`.
    PartitionId(u16);
    /// A named structure (map, queue, topic, …): the control log index that first declared it.
    StructureId(u32);
    /// Changes with the primary of a partition, and only then.
    Term(u64);
    /// Changes with every change of a partition's record in the table.
    Version(u64);
    /// Number of an operation in a partition; dense, the first is 1, 0 stands for "before all".
    Seq(u64);
    /// Position in the control log.
    Index(u64);
    /// A client identity registered in the control log (the index of its registration).
    SessionId(u64);
    /// Number of a request in a session, ascending.
    RequestId(u64);
    /// Epoch of a stream job.
    Epoch(u64);
}

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Seq(self.0 + 1)
    }
}

/// Milliseconds of partition time: wall-clock milliseconds since the Unix epoch, never running
/// backwards within a partition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Millis(pub u64);
