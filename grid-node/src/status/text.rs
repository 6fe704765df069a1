//! A status for people, in lines.

use super::{
    ClientStatus, CopyStatus, LogRole, PartitionRow, PartitionState, PeerStatus, Status, largest,
};
use std::fmt::{self, Display, Formatter};

/// Structures that the text shows; the largest.
const STRUCTURES_SHOWN: usize = 20;
/// Groups of partitions that it shows; the worst.
const GROUPS_SHOWN: usize = 20;

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (cluster, member) = (&self.cluster, &self.member);
        if let Some(waiting) = &self.waiting {
            writeln!(f, "WAITING     for {waiting}")?;
        }
        if self.waiting.is_none() && !cluster.log.quorum {
            let voters = cluster.log.voters.join(", ");
            writeln!(f, "NO QUORUM   a majority of the voters ({voters}) does not answer")?;
        }
        write!(f, "cluster     {}, {} partitions", cluster.name, self.partitions.count)?;
        writeln!(f, ", {} replicas each, life {}", cluster.replicas, cluster.life)?;
        let http = member.http.as_deref().unwrap_or("off");
        let name = format!("{} ({})", member.id, member.name);
        writeln!(
            f,
            "this member {name} at {}, http {http}, {} cores",
            member.address, member.cores
        )?;
        // A member that has never been in a cluster knows nothing of one.
        if self.waiting.is_none() || !cluster.members.is_empty() {
            control_log(self, f)?;
            partitions(self, f)?;
        }
        if self.dangers.is_empty() && self.waiting.is_none() {
            writeln!(f, "safe        any one member may end without loss of data")?;
        }
        for danger in &self.dangers {
            writeln!(f, "not safe    {danger}")?;
        }
        members(self, f)?;
        not_full(self, f)?;
        writeln!(f)?;
        own(self, f)?;
        structures(self, f)
    }
}

fn control_log(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let log = &status.cluster.log;
    let leader = match (&log.leader_address, log.leads) {
        (_, true) => "this member leads".to_owned(),
        (Some(address), _) => format!("{address} leads"),
        (None, _) => "no leader is known".to_owned(),
    };
    let quorum = if log.quorum { "quorum" } else { "no quorum" };
    write!(f, "control log {quorum}, {leader}, term {}, applied {}", log.term, log.applied)?;
    writeln!(f, " of {}", log.last.max(log.applied))
}

fn partitions(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let p = &status.partitions;
    write!(f, "partitions  {} full", p.full)?;
    let rest = [
        (p.degraded, "degraded"),
        (p.moving, "moving"),
        (p.without_primary, "without primary"),
        (p.lost, "LOST"),
        (p.copying, "being copied"),
    ];
    for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
        write!(f, ", {count} {what}")?;
    }
    writeln!(f)
}

fn members(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let members = &status.cluster.members;
    if members.is_empty() {
        return Ok(());
    }
    let width = members.iter().map(|m| m.address.len()).max().unwrap_or(0).max(7);
    writeln!(
        f,
        "\n{:>6}  {:width$}  {:12}  {:8}  {:>7}  {:>6}  {:8}  {:>9}  node",
        "member", "address", "state", "log", "primary", "backup", "version", "up"
    )?;
    for peer in members {
        let PeerStatus { id, node, address, log, primary, backup, .. } = peer;
        let state = match peer.silent_ms {
            None => "alive".to_owned(),
            Some(ms) => format!("SILENT {}", Span(ms)),
        };
        let log = match log {
            LogRole::Absent => "-",
            LogRole::Learner => "learner",
            LogRole::Voter => "voter",
            LogRole::Leader => "leader",
        };
        let version = peer.version.as_deref().unwrap_or("?");
        let up = peer.uptime_ms.map_or("?".to_owned(), |ms| Span(ms).to_string());
        write!(
            f,
            "{id:>6}  {address:width$}  {state:12}  {log:8}  {primary:>7}  {backup:>6}  {version:8}  {up:>9}  {node}"
        )?;
        match &peer.clock_complaint {
            Some(complaint) => writeln!(f, "  ({complaint})")?,
            None => writeln!(f)?,
        }
    }
    Ok(())
}

/// Partitions that are alike, as ranges.
fn not_full(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let rows = &status.partitions.not_full;
    if rows.is_empty() {
        return Ok(());
    }
    let mut groups: Vec<(&PartitionRow, Vec<u16>)> = Vec::new();
    for row in rows {
        let like = |(other, _): &&mut (&PartitionRow, Vec<u16>)| {
            let of = |r: &PartitionRow| (r.state, r.primary, r.in_sync.clone(), r.wanted.clone());
            row.copies.is_empty() && other.copies.is_empty() && of(row) == of(other)
        };
        match groups.iter_mut().find(like) {
            Some((_, numbers)) => numbers.push(row.partition),
            None => groups.push((row, vec![row.partition])),
        }
    }
    groups.sort_by_key(|(row, numbers)| {
        let copies = row.copies.is_empty();
        (row.state, copies, numbers.first().copied())
    });
    writeln!(
        f,
        "\n{:15}  {:>7}  {:14}  {:14}  {:>5}  partitions",
        "not full", "primary", "in sync", "wanted", "count"
    )?;
    for (row, numbers) in groups.iter().take(GROUPS_SHOWN) {
        let state = match row.state {
            PartitionState::Lost => "LOST",
            PartitionState::WithoutPrimary => "without primary",
            PartitionState::Degraded => "degraded",
            PartitionState::Moving => "moving",
            PartitionState::Full => "full",
        };
        let (in_sync, wanted) = (list(&row.in_sync), list(&row.wanted));
        write!(
            f,
            "{state:15}  {:>7}  {in_sync:14}  {wanted:14}  {:>5}  {}",
            row.primary,
            numbers.len(),
            ranges(numbers)
        )?;
        for CopyStatus { to, bytes, of_bytes, arrived, pieces } in &row.copies {
            let (sent, all) = (Bytes(*bytes), Bytes(*of_bytes));
            write!(
                f,
                ", copied to {to}: {sent} of about {all}, {arrived} of {pieces} pieces arrived"
            )?;
        }
        writeln!(f)?;
    }
    match groups.len().saturating_sub(GROUPS_SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "and {more} more kinds (--json shows all)"),
    }
}

/// What only the member that is asked knows.
fn own(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let Status { member, memory, partitions, clients, totals, .. } = status;
    write!(f, "on this member, up {}", Span(member.uptime_ms))?;
    writeln!(f, ": {} partitions as primary, {} as backup", partitions.primary, partitions.backup)?;
    let (used, budget) = (Bytes(memory.used_bytes), Bytes(memory.budget_bytes));
    writeln!(f, "memory      {used} of {budget}")?;
    let ClientStatus { connections, sessions, subscriptions, parked_replies } = clients;
    writeln!(
        f,
        "clients     {connections} connections, {sessions} sessions, {subscriptions} subscriptions, {parked_replies} answers waiting"
    )?;
    let operations: u64 = totals.operations.values().sum();
    let refused: u64 = totals.refused.values().sum();
    write!(
        f,
        "since start {operations} operations, {refused} refused, {} received, {} sent",
        Bytes(totals.received_bytes),
        Bytes(totals.sent_bytes)
    )?;
    let roles = &totals.roles;
    let moved = [
        (roles.takeovers, "taken over"),
        (roles.handed_in, "handed in"),
        (roles.handed_out, "handed out"),
        (roles.deposed, "lost to others"),
    ];
    for (n, (count, what)) in moved.into_iter().filter(|(count, _)| *count > 0).enumerate() {
        let lead = if n == 0 { "; partitions" } else { "," };
        write!(f, "{lead} {count} {what}")?;
    }
    Ok(())
}

fn structures(status: &Status, f: &mut Formatter<'_>) -> fmt::Result {
    let structures = &status.structures;
    if structures.is_empty() {
        return Ok(());
    }
    write!(f, "\n\n{:5}  {:>12}  {:>12}  name", "kind", "entries", "memory")?;
    for s in largest(structures).into_iter().take(STRUCTURES_SHOWN) {
        let (kind, memory) = (s.kind.to_string(), Bytes(s.bytes).to_string());
        write!(f, "\n{kind:5}  {:>12}  {memory:>12}  {}", s.entries, s.name)?;
    }
    match structures.len().saturating_sub(STRUCTURES_SHOWN) {
        0 => Ok(()),
        more => write!(f, "\nand {more} more (--json shows all)"),
    }
}

fn list(ids: &[u64]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Ranges that are shown of numbers.
const RANGES_SHOWN: usize = 8;

/// Ascending numbers as `1-4, 7`, the first of them.
pub(crate) fn ranges(numbers: &[u16]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for n in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*n) => *last = *n,
            _ => ranges.push((*n, *n)),
        }
    }
    let range = |(a, b): &(u16, u16)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    let more = if ranges.len() > RANGES_SHOWN { ", …" } else { "" };
    ranges.iter().take(RANGES_SHOWN).map(range).collect::<Vec<_>>().join(", ") + more
}

struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (shift, unit) = if self.0 < 1 << 20 { (10, "KiB") } else { (20, "MiB") };
        let tenths = (u128::from(self.0) * 10) >> shift;
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let text = match (days, hours, minutes) {
            (0, 0, 0) if self.0 < 10_000 => format!("{}.{}s", seconds, self.0 / 100 % 10),
            (0, 0, 0) => format!("{seconds}s"),
            (0, 0, m) => format!("{m}m {}s", seconds % 60),
            (0, h, m) => format!("{h}h {m}m"),
            (d, h, _) => format!("{d}d {h}h"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    fn lines(status: &Status) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        status.to_string().lines().map(words).collect()
    }

    #[test]
    fn the_text_shows_members_and_what_is_not_as_it_should_be() {
        let lines = lines(&example());
        for line in [
            "cluster dev, 271 partitions, 2 replicas each, life 3",
            "control log quorum, this member leads, term 4, applied 77 of 78",
            "partitions 268 full, 3 degraded, 1 being copied",
            "not safe something",
            "7 127.0.0.1:5701 alive leader 135 136 0.1.0 1m 1s 907",
            "9 127.0.0.1:5702 SILENT 12s learner 135 136 0.1.0 1m 1s 909",
            "degraded 7 7 7, 9 2 5-6",
            "degraded 7 7 7, 9 1 4, copied to 9: 3.0 MiB of about 4.0 MiB, 2 of 3 pieces arrived",
            "memory 3.0 MiB of 1024.0 MiB",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}\n{}", example());
        }
    }

    #[test]
    fn a_member_that_waits_or_has_no_quorum_says_so_first() {
        let mut status = example();
        status.cluster.log.quorum = false;
        let first = "NO QUORUM a majority of the voters (127.0.0.1:5701) does not answer";
        assert_eq!(lines(&status)[0], first);
        status.waiting = Some("an answer of b:1 (refused)".into());
        assert_eq!(lines(&status)[0], "WAITING for an answer of b:1 (refused)");
    }

    #[test]
    fn the_text_shows_the_largest_structures_first() {
        let mut status = example();
        let text = status.to_string();
        assert!(text.find("rs\n").unwrap() < text.find("small").unwrap(), "{text}");
        let one = status.structures[0].clone();
        status.structures = vec![one; STRUCTURES_SHOWN + 5];
        assert!(status.to_string().ends_with("and 5 more (--json shows all)"));
    }

    #[test]
    fn numbers_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        let odd: Vec<u16> = (0..20).map(|n| 2 * n + 1).collect();
        assert_eq!(ranges(&odd), "1, 3, 5, 7, 9, 11, 13, 15, …");
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[u16::MAX]), "65535");
    }
}
