//! Control messages of a client.

use super::connection::Connection;
use crate::cell::Target;
use crate::status::Observe;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::FrameKind;
use grid_core::wire::control::{self, Control, ControlReply};
use std::sync::Arc;

/// Subscriptions that one connection may have.
const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Runs a control message and appends its answer.
///
/// # Errors
/// If it is malformed; the connection is to be ended.
pub(super) fn run(connection: &mut Connection, frame: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (call, message) = control::decode::<Control>(frame)?;
    let reply = answer(connection, message).unwrap_or_else(|error| {
        connection.shared.counters.refuse(error.kind());
        ControlReply::refused(&error)
    });
    control::encode(FrameKind::ControlReply, call, &reply, out)
}

fn answer(connection: &mut Connection, message: Control) -> Result<ControlReply> {
    let shared = &connection.shared;
    shared.check_open()?;
    match message {
        Control::Declare { name, kind } => {
            let (structure, config) = shared.control.declare(&name, kind)?;
            Ok(ControlReply::Declared { structure, config })
        }
        Control::Heartbeat => Ok(ControlReply::Done),
        Control::Subscribe { structure, partition, subscription } => {
            if connection.subscribed.len() >= SUBSCRIPTIONS_MAX {
                let text =
                    format!("{SUBSCRIPTIONS_MAX} subscriptions on one connection are the most");
                return Err(Error::with(Kind::Overloaded, text));
            }
            if connection.subscribed.iter().any(|(number, _)| *number == subscription) {
                return Err(Error::with(Kind::Invalid, "the subscription number is in use"));
            }
            let target = Target::Connection(Arc::clone(&connection.outbox), subscription);
            shared.cell(partition)?.subscribe(shared, structure, target)?;
            connection.subscribed.push((subscription, partition));
            Ok(ControlReply::Done)
        }
        Control::Unsubscribe { subscription } => {
            let outbox = &connection.outbox;
            for (number, partition) in &connection.subscribed {
                if *number == subscription {
                    let target = Target::Connection(Arc::clone(outbox), subscription);
                    shared.cell(*partition)?.unsubscribe(&target);
                }
            }
            connection.subscribed.retain(|(number, _)| *number != subscription);
            Ok(ControlReply::Done)
        }
        Control::Status => {
            let status = serde_json::to_string(&Observe::status(&**shared));
            let status = status.map_err(|e| Error::with(Kind::Internal, e.to_string()))?;
            Ok(ControlReply::Status(status))
        }
        Control::CloseSession => {
            shared.end_session(connection.session.id());
            Ok(ControlReply::Done)
        }
    }
}
