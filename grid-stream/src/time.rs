//! Event time and the progress flow: watermarks travel the same edges as the data, in order, but
//! are decided here.
//!
//! A watermark `w` promises that no item older than `w` follows on the same edge. Two values are
//! special: [`IDLE`] (this edge says nothing about time, do not wait for it) and [`END`] (nothing
//! follows at all). Both are larger than any time, so that the minimum over edges ignores them as
//! long as another edge knows better.

pub mod align;
pub mod clock;

/// Event time: milliseconds since the Unix epoch.
pub type EventTime = i64;

/// The time of an item that was given none, and the watermark of an edge that has none.
pub const NONE: EventTime = i64::MIN;
/// Watermark of an edge that has nothing to say about time for now.
pub const IDLE: EventTime = i64::MAX - 1;
/// Watermark of an edge on which nothing follows.
pub const END: EventTime = i64::MAX;

/// Whether a watermark is a point in time rather than one of the special values.
#[must_use]
pub fn is_time(watermark: EventTime) -> bool {
    watermark > NONE && watermark < IDLE
}
