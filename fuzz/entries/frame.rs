//! Any bytes as a stream of frames: no decoder panics, and what one accepts it writes the same again.

use grid_core::wire::control::{Control, ControlReply};
use grid_core::wire::{FrameKind, bytes::Reader, control, event, reply, request, split_frame};

/// The entry.
pub(crate) fn run(mut bytes: &[u8]) {
    while let Ok(Some((frame, used))) = split_frame(bytes, 1 << 16) {
        assert_eq!(&bytes[4..used], frame);
        every_kind(frame);
        bytes = &bytes[used..];
    }
    let mut r = Reader::new(bytes);
    while r.key().is_ok() && r.value().is_ok() {}
    let _ = (r.count(8), r.finish());
}

fn every_kind(frame: &[u8]) {
    let _ = frame.first().map(|code| FrameKind::from_code(*code));
    if let Ok((header, body)) = request::decode(frame) {
        let mut again = Vec::new();
        request::encode(&header, body, &mut again);
        assert_eq!(again[5..], frame[1..]);
    }
    if let Ok((header, body)) = reply::decode(frame) {
        let mut again = Vec::new();
        let at = reply::begin(header.request, header.attempt, header.applied, &mut again);
        if header.failed {
            let error = reply::error(body);
            reply::fail(&error, at, &mut again);
            let (_, body) = reply::decode(&again[4..]).unwrap();
            assert_eq!(reply::error(body), error);
        }
    }
    if let Ok((subscription, event)) = event::decode(frame) {
        let mut again = Vec::new();
        event::encode(subscription, event, &mut again);
        assert_eq!(event::decode(&again[4..]), Ok((subscription, event)));
    }
    if let Ok((call, message)) = control::decode::<Control>(frame) {
        let mut again = Vec::new();
        control::encode(FrameKind::Control, call, &message, &mut again).unwrap();
        assert_eq!(control::decode(&again[4..]), Ok((call, message)));
    }
    if let Ok((call, message)) = control::decode::<ControlReply>(frame) {
        let mut again = Vec::new();
        control::encode(FrameKind::ControlReply, call, &message, &mut again).unwrap();
        assert_eq!(control::decode(&again[4..]), Ok((call, message)));
    }
}
