//! How fresh a read has to be.

use std::time::Duration;

/// What a read may return. Writes always take effect on the primary and are seen by every later
/// linearizable read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Read {
    /// The latest value, and nothing that a failover could take back. The primary answers, under its
    /// lease. The default.
    #[default]
    Linearizable,
    /// As linearizable, without trust in any clock: the primary answers once every in-sync replica has
    /// confirmed, after the read began, that it is still the primary. Costs a round trip among them.
    Confirmed,
    /// A committed value that was the latest at most this long ago, counted in whole milliseconds (rounded
    /// down). Any in-sync replica may answer, so that reads spread over them; the primary does if no
    /// backup is fresh enough.
    Stale(Duration),
}
