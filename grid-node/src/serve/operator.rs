//! Operators: they have no session, so that they are served where the cluster cannot agree on one, and by
//! the control thread, so that they are served when the cores are busy. A member that has not come to its
//! cluster answers them too.

use super::handshake::Stranger;
use super::table;
use crate::observe::Lookout;
use crate::shared::Shared;
use crate::status::Observe;
use grid_core::control::{Command, ControlState};
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
        Control::Admin(AdminCommand::ForceNewCluster) => force(lookout).await,
        Control::Admin(order) => obey(&*lookout.shared()?, order).await,
        _ => Err(Error::with(Kind::Invalid, "operators have no session for this")),
    }
}

/// The only order that a member obeys which waits for its cluster to agree that it starts.
async fn force(lookout: &Lookout) -> Result<ControlReply> {
    tracing::warn!("an operator orders a new beginning without the lost voters");
    let followed = lookout.node.force_new_cluster(&[]).await?;
    let with = if followed.is_empty() { "nobody".to_owned() } else { followed.join(", ") };
    let text = format!("the cluster goes on with this member; with it: {with}");
    tracing::warn!("{text}");
    Ok(ControlReply::Obeyed(text))
}

async fn obey(shared: &Shared, order: AdminCommand) -> Result<ControlReply> {
    tracing::warn!(?order, "an operator orders");
    let lost = || {
        let count =
            |state: &ControlState| state.table().iter().filter(|record| record.lost).count();
        shared.agreed.read(count)
    };
    let before = lost();
    let command = command_of(shared, &order)?;
    let owner = if let Command::ResetLost { owner, .. } = &command { owner.0 } else { 0 };
    shared.agreed.propose(command, shared.settings.operation_timeout).await?;
    let told = match order {
        AdminCommand::ResetLost { partition, from_last_removed: true } => {
            format!("partition {partition} goes on with what member {owner} has of it")
        }
        AdminCommand::ResetLost { partition, .. } => {
            format!("partition {partition} is empty; member {owner} owns it")
        }
        AdminCommand::AcceptLoss { name } => {
            format!("'{name}' answers again wherever partitions have owners; {before} are lost now")
        }
        AdminCommand::RemoveMember { member } => {
            let lost = lost().saturating_sub(before);
            format!("member {member} counts as ended; {lost} partitions are lost with it")
        }
        AdminCommand::ForceNewCluster => String::new(),
    };
    tracing::warn!("{told}");
    Ok(ControlReply::Obeyed(told))
}

fn command_of(shared: &Shared, order: &AdminCommand) -> Result<Command> {
    let invalid = |text: String| Error::with(Kind::Invalid, text);
    match order {
        AdminCommand::ResetLost { partition, from_last_removed } => {
            let record = shared.agreed.read(|state| state.record(*partition).cloned());
            let unknown = || invalid(format!("there is no partition {partition}"));
            let record = record.ok_or_else(unknown)?;
            if !record.lost {
                return Err(invalid(format!("partition {partition} is not lost")));
            }
            let gone =
                || invalid(format!("the replica that left partition {partition} last is gone too"));
            let owner =
                if *from_last_removed { record.removed.ok_or_else(gone)? } else { shared.member };
            Ok(Command::ResetLost { partition: *partition, owner, keep: *from_last_removed })
        }
        AdminCommand::AcceptLoss { name } => Ok(Command::AcceptLoss(name.clone())),
        AdminCommand::RemoveMember { member } => {
            if !shared.agreed.read(|state| state.members().contains_key(member)) {
                return Err(invalid(format!("there is no member {member}")));
            }
            if *member == shared.member || shared.answers(*member) {
                let text =
                    format!("member {member} still answers: stop it, and it leaves by itself");
                return Err(invalid(text));
            }
            Ok(Command::Leave(*member))
        }
        AdminCommand::ForceNewCluster => {
            Err(Error::with(Kind::Internal, "this order is obeyed elsewhere"))
        }
    }
}
