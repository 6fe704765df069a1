//! Operators: they have no session, so that they are served where the cluster cannot agree on one, and by
//! the control thread, so that they are served when the cores are busy. A member that has not come to its
//! cluster answers them too.

use super::handshake::Stranger;
use super::table;
use crate::observe::Lookout;
use crate::shared::Shared;
use crate::status::Observe;
use grid_core::control::{Command, Outcome};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::SessionId;
use grid_core::wire::control::{self, AdminCommand, Control, ControlReply};
use grid_core::wire::hello::Answer;
use grid_core::wire::{FrameKind, split_frame};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest question.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// An operator that asks nothing for this long is not there any more.
const SILENCE: Duration = Duration::from_secs(300);

/// Answers an operator until it leaves.
///
/// # Errors
/// What it did wrong.
pub(super) async fn serve(lookout: Arc<Lookout>, mut stranger: Stranger) -> Result<()> {
    let io = |error: std::io::Error| Error::with(Kind::Io, error.to_string());
    let reached = stranger.reached();
    let welcome = match lookout.shared() {
        Ok(shared) => table::welcome(&shared, &stranger.hello, SessionId(0), reached)?,
        Err(_) => table::welcome_early(&lookout),
    };
    stranger.answer(&Answer::Welcome(welcome)).await?;
    let Stranger { mut stream, rest: mut bytes, .. } = stranger;
    loop {
        while let Some((frame, used)) = split_frame(&bytes, FRAME_BYTES_MAX)? {
            let (call, message) = control::decode::<Control>(frame)?;
            bytes.drain(..used);
            let reply = match answer(&lookout, message, reached).await {
                Ok(reply) => reply,
                Err(error) => ControlReply::refused(&error),
            };
            let mut out = Vec::new();
            control::encode(FrameKind::ControlReply, call, &reply, &mut out)?;
            stream.write_all(&out).await.map_err(io)?;
        }
        match tokio::time::timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(Err(error)) => return Err(io(error)),
            _ => return Ok(()),
        }
    }
}

async fn answer(
    lookout: &Lookout,
    message: Control,
    reached: Option<std::net::SocketAddr>,
) -> Result<ControlReply> {
    match message {
        Control::Status => {
            let status = serde_json::to_string(&lookout.status());
            let status = status.map_err(|e| Error::with(Kind::Internal, e.to_string()))?;
            Ok(ControlReply::Status(status))
        }
        Control::Table { known } => {
            let table = table::newer_than(known, &*lookout.shared()?, reached)?;
            Ok(table.map_or(ControlReply::Unchanged, ControlReply::Table))
        }
        Control::Heartbeat => Ok(ControlReply::Done),
        Control::Admin(AdminCommand::ForceNewCluster) => {
            tracing::warn!("an operator orders a new beginning without the lost voters");
            let followed = lookout.node.force_new_cluster(&[]).await?;
            tracing::warn!(?followed, "these members follow");
            Ok(ControlReply::Done)
        }
        Control::Admin(order) => obey(&*lookout.shared()?, order).await,
        _ => Err(Error::with(Kind::Invalid, "operators have no session for this")),
    }
}

async fn obey(shared: &Shared, order: AdminCommand) -> Result<ControlReply> {
    tracing::warn!(?order, "an operator orders");
    let command = match order {
        AdminCommand::ResetLost { partition, from_last_removed } => {
            let record = shared.agreed.read(|state| state.record(partition).cloned());
            let unknown =
                || Error::with(Kind::Invalid, format!("there is no partition {partition}"));
            let record = record.ok_or_else(unknown)?;
            let nobody = || {
                let text = format!("the replica that left partition {partition} last is gone too");
                Error::with(Kind::Invalid, text)
            };
            let owner =
                if from_last_removed { record.removed.ok_or_else(nobody)? } else { shared.member };
            Command::ResetLost { partition, owner, keep: from_last_removed }
        }
        AdminCommand::AcceptLoss { name } => Command::AcceptLoss(name),
        AdminCommand::RemoveMember { member } => {
            let known = shared.agreed.read(|state| state.members().contains_key(&member));
            if !known {
                return Err(Error::with(Kind::Invalid, format!("there is no member {member}")));
            }
            if member == shared.member || shared.answers(member) {
                let text =
                    format!("member {member} still answers: stop it, and it leaves by itself");
                return Err(Error::with(Kind::Invalid, text));
            }
            Command::Leave(member)
        }
        AdminCommand::ForceNewCluster => {
            return Err(Error::with(Kind::Internal, "this is obeyed elsewhere"));
        }
    };
    match shared.agreed.propose(command, shared.settings.operation_timeout).await? {
        Outcome::Refused(kind, detail) => Err(Error::with(kind, detail)),
        _ => Ok(ControlReply::Done),
    }
}
