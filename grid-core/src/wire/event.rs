//! Events of a subscription, in the order of the partition's log. After the length field:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | [`FrameKind::Event`] |
//! | 1 | 1 | 0 item, 1 gap |
//! | 2 | 2 | reserved, 0 |
//! | 4 | 8 | subscription |
//! | 12 | 8 | position (`seq`) of the item; of a gap: how many items were missed |
//! | 20 | | item: tag and payload |

use super::bytes::Reader;
use super::{FrameKind, begin_frame, end_frame};
use crate::data::{Blob, TypeTag};
use crate::error::Result;

/// An event as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A published item at this position of its partition.
    Item {
        /// Position in the partition.
        seq: u64,
        /// The item.
        item: Blob<'a>,
    },
    /// The subscriber was too slow and missed this many items.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// Appends an event frame.
pub fn encode(subscription: u64, event: Event<'_>, out: &mut Vec<u8>) {
    let at = begin_frame(out);
    let (gap, number) = match event {
        Event::Item { seq, .. } => (0, seq),
        Event::Gap { missed } => (1, missed),
    };
    out.extend_from_slice(&[FrameKind::Event as u8, gap, 0, 0]);
    out.extend_from_slice(&subscription.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    if let Event::Item { item, .. } = event {
        out.extend_from_slice(&item.tag.0.to_le_bytes());
        out.extend_from_slice(item.payload);
    }
    end_frame(out, at);
}

/// Reads an event frame: subscription and event.
///
/// # Errors
/// `Malformed` if the frame is too short.
pub fn decode(frame: &[u8]) -> Result<(u64, Event<'_>)> {
    let mut r = Reader::new(frame);
    let _kind = r.u8()?;
    let gap = r.u8()? != 0;
    let _reserved = r.u16()?;
    let subscription = r.u64()?;
    let number = r.u64()?;
    if gap {
        r.finish()?;
        return Ok((subscription, Event::Gap { missed: number }));
    }
    let tag = TypeTag(r.u32()?.cast_signed());
    Ok((subscription, Event::Item { seq: number, item: Blob { tag, payload: r.rest() } }))
}
