//! What one member sees of the cluster, and what it does for it. Sums over members count things of the whole
//! cluster several times: take the maximum of `grid_cluster_*`, and sum up the rest.

use super::{Family, Page};
use crate::status::{LinkStatus, LogRole, Status};

pub(super) fn render(page: &mut Page, status: &Status) {
    table(page, status);
    log(page, status);
    roles(page, status);
    links(page, status);
}

fn table(page: &mut Page, status: &Status) {
    let (cluster, partitions) = (&status.cluster, &status.partitions);
    page.gauge("grid_cluster_life", "Which life of the cluster's data this is.")
        .value(&[], cluster.life);
    let silent = cluster.members.iter().filter(|member| member.silent_ms.is_some()).count();
    page.gauge("grid_cluster_members", "Members, by whether they answer this one.")
        .value(&[("state", "alive")], cluster.members.len() - silent)
        .value(&[("state", "silent")], silent);
    let apart = cluster.members.iter().filter(|member| member.clock_complaint.is_some()).count();
    page.gauge("grid_cluster_clocks_apart", "Members whose clock differs visibly from this one's.")
        .value(&[], apart);
    page.gauge("grid_cluster_dangers", "Reasons why the end of one more member would do harm.")
        .value(&[], status.dangers.len());
    page.gauge("grid_cluster_partitions", "Partitions of the cluster.")
        .value(&[], partitions.count);
    page.gauge("grid_cluster_partitions_by_state", "Partitions of the cluster, by how they are.")
        .value(&[("state", "full")], partitions.full)
        .value(&[("state", "moving")], partitions.moving)
        .value(&[("state", "degraded")], partitions.degraded)
        .value(&[("state", "without_primary")], partitions.without_primary)
        .value(&[("state", "lost")], partitions.lost);
    page.gauge("grid_cluster_partitions_copying", "Partitions that are being copied to a member.")
        .value(&[], partitions.copying);
    let shortfall = |row: &crate::status::PartitionRow| {
        cluster.replicas.saturating_sub(row.in_sync.len() as u64)
    };
    let missing: u64 = partitions.not_full.iter().map(shortfall).sum();
    page.gauge("grid_cluster_replicas_missing", "In-sync replicas that partitions lack.")
        .value(&[], missing);
    page.gauge("grid_partitions", "Partitions that this member holds, by role.")
        .value(&[("role", "primary")], partitions.primary)
        .value(&[("role", "backup")], partitions.backup);
}

fn log(page: &mut Page, status: &Status) {
    let log = &status.cluster.log;
    page.gauge("grid_control_quorum", "Whether a majority of the voters answers: 1 or 0.")
        .value(&[], u8::from(log.quorum));
    page.gauge("grid_control_leader", "Whether this member leads the control log: 1 or 0.")
        .value(&[], u8::from(log.leads));
    page.gauge("grid_control_leader_known", "Whether any leader is known: 1 or 0.")
        .value(&[], u8::from(log.leader.is_some()));
    let me = status.cluster.members.iter().find(|member| member.id == status.member.id);
    let votes = me.is_some_and(|me| matches!(me.log, LogRole::Voter | LogRole::Leader));
    page.gauge("grid_control_voter", "Whether this member votes: 1 or 0.")
        .value(&[], u8::from(votes));
    page.gauge("grid_control_voters", "Voters of the control log.").value(&[], log.voters.len());
    page.gauge("grid_control_term", "Term of the control log.").value(&[], log.term);
    page.gauge("grid_control_applied_index", "Position up to which it is applied here.")
        .value(&[], log.applied);
    page.gauge("grid_control_last_index", "Position up to which it is here.").value(&[], log.last);
}

fn roles(page: &mut Page, status: &Status) {
    let roles = &status.totals.roles;
    page.counter("grid_partition_moves_total", "Changes of primary that this member took part in.")
        .value(&[("move", "takeover")], roles.takeovers)
        .value(&[("move", "handed_in")], roles.handed_in)
        .value(&[("move", "handed_out")], roles.handed_out)
        .value(&[("move", "deposed")], roles.deposed);
    page.counter("grid_replica_changes_total", "In-sync replicas that this primary has changed.")
        .value(&[("change", "dropped")], roles.dropped)
        .value(&[("change", "added")], roles.added);
    page.counter("grid_leases_refused_total", "Leases that were not granted, by whom.")
        .value(&[("by", "this")], roles.leases_withheld)
        .value(&[("by", "other")], roles.leases_refused);
}

fn links(page: &mut Page, status: &Status) {
    let ids: Vec<String> = status.links.iter().map(|link| link.member.to_string()).collect();
    let each = |mut family: Family<'_>, value: fn(&LinkStatus) -> u64| {
        for (link, id) in status.links.iter().zip(&ids) {
            family = family.value(&[("to", id)], value(link));
        }
    };
    let connected = page.gauge("grid_link_connected", "Whether the data connection is there.");
    each(connected, |link| link.connected.into());
    let sent = page.counter("grid_link_sent_bytes_total", "Bytes sent on data connections.");
    each(sent, |link| link.sent_bytes);
    let name = "grid_link_received_bytes_total";
    let received = page.counter(name, "Bytes of answers received on data connections.");
    each(received, |link| link.received_bytes);
    let name = "grid_link_queued_partitions";
    let queued = page.gauge(name, "Partitions that have something to send.");
    each(queued, |link| link.queued_partitions);
    let name = "grid_link_queued_bytes";
    let queued = page.gauge(name, "Bytes of questions that wait to be sent.");
    each(queued, |link| link.queued_bytes);
    let name = "grid_link_lag_operations";
    let lag = page.gauge(name, "Operations that followers have not acknowledged.");
    each(lag, |link| link.behind);
    let copies = page.gauge("grid_link_copies", "Copies of partitions under way.");
    each(copies, |link| link.copies);
    let waiting = page.gauge("grid_link_copies_waiting", "Copies that wait for others to end.");
    each(waiting, |link| link.copies_waiting);
    let copied = page.gauge("grid_link_copied_bytes", "Bytes sent of the copies under way.");
    each(copied, |link| link.copied_bytes);
}
