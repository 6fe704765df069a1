//! `grid admin`: orders that give something up.

use super::target::Target;
use super::{Failure, Result, block_on, remark, say};
use clap::{Args, Subcommand};
use grid_core::ids::{MemberId, PartitionId};
use grid_core::limits::PARTITION_COUNT_MAX;
use grid_core::wire::control::{AdminCommand, Control, ControlReply};
use grid_node::status::{PartitionState, Status};
use serde_json::json;
use std::time::Duration;

/// How long a member may take over an order: it asks others, some of which are gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// Order what the cluster never does by itself, because something is given up
///
/// Without --yes nothing is done: the command says what it would do and what would be lost, and ends with
/// status 2. The member at --addr acts on the order.
#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(flatten)]
    target: Target,
    /// Do it
    #[arg(long, global = true)]
    yes: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give a lost partition an owner again
    ///
    /// When: operations on the partition are refused because its data is lost: all members that had it in
    /// sync have ended. Started again, they come back empty.
    ///
    /// Lost: all that the partition held, of every structure. With --from-last-removed only the writes that
    /// were acknowledged after that member had left.
    ///
    /// New structures use the partition at once; those that are older than the loss, after `grid admin
    /// accept-loss NAME`.
    ResetLost {
        /// Number of the partition, or "all": each that is lost
        #[arg(value_parser = which)]
        partition: Which,
        /// Begin with what the member has that left the in-sync replicas last, instead of empty. It is
        /// refused if that member has ended
        #[arg(long)]
        from_last_removed: bool,
    },
    /// Let a structure answer again where data was lost
    ///
    /// When: `grid admin reset-lost` gave the lost partitions owners, and the programs that use the structure
    /// can do with what is left, or load the rest anew.
    ///
    /// Lost: nothing more. But the refusals end that told programs of the loss: entries that were lost look
    /// as if they had never been written.
    AcceptLoss {
        /// Name of the structure
        name: String,
    },
    /// Go on without the voters, most of which are gone for good
    ///
    /// When: members answer that there is no quorum, and more than half of the voters (three members, in
    /// clusters of three and more) can not be started again with their data directories. While there is a
    /// quorum, it is refused. Make sure that the lost ones are down: one that still runs would go on
    /// serving the clients that reach it, and there would be two clusters.
    ///
    /// Lost: what the cluster agreed on that no survivor knows of. Members that cannot be reached now stay
    /// out; partitions whose in-sync replicas are all among them are lost. They can come back only with empty
    /// data directories.
    ///
    /// The member at --addr begins, and the other survivors that it reaches follow it.
    ForceNewCluster,
    /// Count a member out that has ended for good
    ///
    /// When: its process has ended, it will not come back, and partitions still name it, so that it is not
    /// removed by itself. Stop it first if it runs.
    ///
    /// Lost: what it alone had in sync. Those partitions are lost (see reset-lost). A member that does
    /// come back is taken in as a new one.
    Remove {
        /// Its id, as `grid status` shows it
        member: u64,
    },
    /// Move everything off a member (not there yet)
    #[command(hide = true)]
    Drain {
        #[arg(hide = true)]
        member: Option<u64>,
    },
}

impl Admin {
    pub(super) fn run(self) -> Result {
        let Admin { target, yes, verb } = self;
        let all = matches!(verb, Verb::ResetLost { partition: Which::All, .. });
        let order = verb.order()?;
        if !yes {
            let text = format!("nothing was done; with --yes, {}", consequence(&order, all));
            return Err(Failure { status: 2, text });
        }
        block_on(async {
            let all = all.then_some(&order);
            let told = match all {
                Some(AdminCommand::ResetLost { from_last_removed, .. }) => {
                    reset_all(&target, *from_last_removed).await?
                }
                _ => give(&target, order.clone()).await?,
            };
            if target.json {
                return say(json!({ "done": true, "told": told }));
            }
            say(format_args!("done: {told}"))?;
            remark(next(&order));
            Ok(())
        })
    }
}

impl Verb {
    fn order(self) -> Result<AdminCommand> {
        Ok(match self {
            Verb::ResetLost { partition, from_last_removed } => {
                let partition =
                    PartitionId(if let Which::One(number) = partition { number } else { 0 });
                AdminCommand::ResetLost { partition, from_last_removed }
            }
            Verb::AcceptLoss { name } => AdminCommand::AcceptLoss { name },
            Verb::ForceNewCluster => AdminCommand::ForceNewCluster,
            Verb::Remove { member } => AdminCommand::RemoveMember { member: MemberId(member) },
            Verb::Drain { .. } => {
                return Err(Failure::new(
                    "admin drain: this version of the binary has no such order",
                ));
            }
        })
    }
}

/// Partitions that an order is for.
#[derive(Clone, Copy, Debug)]
enum Which {
    One(u16),
    All,
}

fn which(text: &str) -> std::result::Result<Which, String> {
    if text == "all" {
        return Ok(Which::All);
    }
    let number = text.parse().ok().filter(|number| *number < PARTITION_COUNT_MAX);
    let possible = || format!("possible: 0 to {}, or all", PARTITION_COUNT_MAX - 1);
    number.map(Which::One).ok_or_else(possible)
}

/// Gives an order. Returns what it did.
async fn give(target: &Target, order: AdminCommand) -> Result<String> {
    let patient = target.builder().operation_timeout(PATIENCE);
    match patient.ask(Control::Admin(order)).await? {
        ControlReply::Obeyed(told) => Ok(told),
        other => Err(Failure::new(format!("the member answered {other:?}"))),
    }
}

/// Resets each partition that is lost now.
async fn reset_all(target: &Target, from_last_removed: bool) -> Result<String> {
    let ControlReply::Status(json) = target.builder().ask(Control::Status).await? else {
        return Err(Failure::new("the member tells no status"));
    };
    let status: Status = serde_json::from_str(&json).map_err(|e| Failure::new(e.to_string()))?;
    let lost = status.partitions.not_full.iter().filter(|row| row.state == PartitionState::Lost);
    let (mut count, mut refused) = (0, Vec::new());
    for row in lost {
        let partition = PartitionId(row.partition);
        match give(target, AdminCommand::ResetLost { partition, from_last_removed }).await {
            Ok(_) => count += 1,
            Err(failure) => refused.push(failure.text),
        }
    }
    match refused.first() {
        None => Ok(format!("{count} partitions have owners again")),
        Some(first) => Err(Failure::new(format!(
            "{count} partitions have owners again, {} were refused: {first}",
            refused.len()
        ))),
    }
}

/// What an order does, for who has not given it yet.
fn consequence(order: &AdminCommand, all: bool) -> String {
    let of = |partition: &PartitionId| match all {
        true => "each lost partition".to_owned(),
        false => format!("partition {partition}"),
    };
    match order {
        AdminCommand::ResetLost { partition, from_last_removed: false } => format!(
            "{} gets an owner again and is empty: all that it held is lost",
            of(partition)
        ),
        AdminCommand::ResetLost { partition, from_last_removed: true } => format!(
            "{} goes on with what the member has that left its in-sync replicas last: \
             writes that were acknowledged after that are lost",
            of(partition)
        ),
        AdminCommand::AcceptLoss { name } => format!(
            "'{name}' answers again in all partitions that were lost: what it held there counts as never \
             written"
        ),
        AdminCommand::ForceNewCluster => "the cluster goes on with the members that this one reaches now: \
             what only the others know is lost, and they can come back only with empty data directories. \
             Make sure that they are down"
            .to_owned(),
        AdminCommand::RemoveMember { member } => format!(
            "member {member} counts as ended for good: what it alone had in sync is lost. Make sure that it \
             is down"
        ),
    }
}

/// What usually follows an order.
fn next(order: &AdminCommand) -> &'static str {
    match order {
        AdminCommand::ResetLost { .. } => {
            "structures that are older than the loss answer there after: grid admin accept-loss NAME"
        }
        AdminCommand::AcceptLoss { .. } => {
            "lost partitions have owners after: grid admin reset-lost all"
        }
        AdminCommand::ForceNewCluster => {
            "see with `grid status` that the survivors have followed; members that are gone, and are still \
             named there, are counted out by: grid admin remove MEMBER"
        }
        AdminCommand::RemoveMember { .. } => {
            "see with `grid status` whether partitions were lost; they get owners by: grid admin reset-lost all"
        }
    }
}
