//! Control messages of a client.

use super::connection::Connection;
use super::table;
use crate::cell::Target;
use crate::shared::Shared;
use crate::status::Observe;
use grid_core::control::{Command, ControlState};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::SessionId;
use grid_core::replica::Structures as _;
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
    let message = match needs_agreement(connection, message) {
        Ok(message) => message,
        Err(message) => {
            agree(connection, call, message);
            return Ok(());
        }
    };
    let reply = answer(connection, message).unwrap_or_else(|error| {
        connection.shared.counters.refuse(error.kind());
        ControlReply::refused(&error)
    });
    control::encode(FrameKind::ControlReply, call, &reply, out)
}

/// Tells the messages (`Err`) that take the cluster's agreement from those that are answered at once.
fn needs_agreement(connection: &Connection, message: Control) -> Result<Control, Control> {
    let known = |name: &str, kind| {
        let named = |state: &ControlState| {
            state.structure_named(name).is_some_and(|(_, config)| config.kind() == kind)
        };
        connection.shared.agreed.read(named)
    };
    match &message {
        Control::Declare { name, kind } if !known(name, *kind) => Err(message),
        Control::CloseSession => Err(message),
        _ => Ok(message),
    }
}

/// Has the control thread do it; the answer goes to the connection when it is there.
fn agree(connection: &Connection, call: u64, message: Control) {
    let (shared, outbox) = (Arc::clone(&connection.shared), Arc::clone(&connection.outbox));
    let session = connection.session.id();
    outbox.park();
    connection.shared.agreed.spawn(async move {
        let reply = decide(&shared, session, message).await.unwrap_or_else(|error| {
            shared.counters.refuse(error.kind());
            ControlReply::refused(&error)
        });
        let mut frame = Vec::new();
        if control::encode(FrameKind::ControlReply, call, &reply, &mut frame).is_err() {
            frame.clear();
        }
        if let Some(waker) = outbox.reply(&frame) {
            waker.wake();
        }
    });
}

async fn decide(shared: &Shared, session: SessionId, message: Control) -> Result<ControlReply> {
    let within = shared.settings.operation_timeout;
    match message {
        Control::Declare { name, kind } => {
            let (structure, config) = shared.agreed.declare(&name, kind, within).await?;
            let since = shared.agreed.since(structure);
            Ok(ControlReply::Declared { structure, config, since })
        }
        Control::CloseSession => {
            shared.agreed.propose(Command::ExpireSessions(vec![session]), within).await?;
            Ok(ControlReply::Done)
        }
        _ => Err(Error::with(Kind::Internal, "a message that needs no agreement")),
    }
}

fn answer(connection: &mut Connection, message: Control) -> Result<ControlReply> {
    let shared = &connection.shared;
    shared.check_open()?;
    match message {
        Control::Declare { name, kind } => {
            let known = |state: &ControlState| {
                let (id, config) = state.structure_named(&name)?;
                let since = state.structure(id)?.since;
                (config.kind() == kind).then(|| (id, config.clone(), since))
            };
            let gone = || Error::with(Kind::Internal, "a name that is not known any more");
            let (structure, config, since) = shared.agreed.read(known).ok_or_else(gone)?;
            Ok(ControlReply::Declared { structure, config, since })
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
        Control::Table { known } => {
            let table = table::newer_than(known, shared, connection.reached())?;
            Ok(table.map_or(ControlReply::Unchanged, ControlReply::Table))
        }
        Control::Status => {
            let status = serde_json::to_string(&Observe::status(&**shared));
            let status = status.map_err(|e| Error::with(Kind::Internal, e.to_string()))?;
            Ok(ControlReply::Status(status))
        }
        Control::CloseSession => Err(Error::with(Kind::Internal, "this needs agreement")),
        Control::Admin(_) => Err(Error::with(Kind::Invalid, "only operators order that")),
    }
}
