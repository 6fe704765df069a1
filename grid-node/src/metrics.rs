//! The state of a member in the text format of Prometheus (0.0.4). Counts are kept where things are
//! counted; this renders a [`Status`] and keeps nothing.

mod cluster;

use crate::status::{Check, Health, Status, largest};
use std::fmt::{Display, Write};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Structures with metrics of their own, the largest; the rest share the name [`OTHER`], so that a
/// cluster with many names does not flood the database that scrapes it.
pub const STRUCTURES_MAX: usize = 200;
/// The name under which the remaining structures are summed up, by kind.
pub const OTHER: &str = "(other)";

/// Renders the metrics of a member.
#[must_use]
pub fn render(status: &Status, health: &Health) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    member(&mut page, status, health);
    cluster::render(&mut page, status);
    clients(&mut page, status);
    structures(&mut page, status);
    page.0
}

fn member(page: &mut Page, status: &Status, health: &Health) {
    let Status { cluster, member, memory, .. } = status;
    let id = member.id.to_string();
    let who: Labels<'_> = &[
        ("cluster", &cluster.name),
        ("member", &id),
        ("node", &member.name),
        ("version", &member.version),
    ];
    page.gauge("grid_member_info", "The member; always 1.").value(who, 1);
    let seconds = member.uptime_ms / 1000;
    page.gauge("grid_member_uptime_seconds", "Time since the member started.").value(&[], seconds);
    page.gauge("grid_member_cores", "Threads that serve connections.").value(&[], member.cores);
    page.gauge("grid_memory_used_bytes", "Memory in use for data, indexes and slack included.")
        .value(&[], memory.used_bytes);
    page.gauge("grid_memory_budget_bytes", "Memory that may be in use for data.")
        .value(&[], memory.budget_bytes);
    let as_number = |check: &Check| u8::from(check.ok);
    page.gauge("grid_health", "Whether the member is live, ready and safe to stop: 1 or 0.")
        .value(&[("check", "live")], as_number(&health.live))
        .value(&[("check", "ready")], as_number(&health.ready))
        .value(&[("check", "safe")], as_number(&health.safe));
}

fn clients(page: &mut Page, status: &Status) {
    let Status { clients, totals, .. } = status;
    page.gauge("grid_connections", "Open client connections.").value(&[], clients.connections);
    page.gauge("grid_sessions", "Registered sessions.").value(&[], clients.sessions);
    page.gauge("grid_subscriptions", "Topic subscriptions.").value(&[], clients.subscriptions);
    page.gauge("grid_parked_replies", "Answers that wait for their operation to be committed.")
        .value(&[], clients.parked_replies);
    page.counter("grid_connections_accepted_total", "Connections accepted.")
        .value(&[], totals.connections);
    page.counter(
        "grid_connections_offending_total",
        "Connections ended because their side broke the rules.",
    )
    .value(&[], totals.offenders);
    page.counter("grid_received_bytes_total", "Bytes read from clients.")
        .value(&[], totals.received_bytes);
    page.counter("grid_sent_bytes_total", "Bytes written to clients.")
        .value(&[], totals.sent_bytes);
    let mut operations = page.counter("grid_operations_total", "Operations, by what they do.");
    for (op, count) in &totals.operations {
        operations = operations.value(&[("op", op)], count);
    }
    let mut refused = page.counter("grid_refused_total", "Refused requests, by kind of error.");
    for (kind, count) in &totals.refused {
        refused = refused.value(&[("kind", kind)], count);
    }
}

fn structures(page: &mut Page, status: &Status) {
    let sorted = largest(&status.structures);
    let (shown, rest) = sorted.split_at(sorted.len().min(STRUCTURES_MAX));
    let mut rows: Vec<(String, &str, u64, u64)> =
        shown.iter().map(|s| (s.kind.to_string(), s.name.as_str(), s.entries, s.bytes)).collect();
    for s in rest {
        let kind = s.kind.to_string();
        match rows.iter_mut().find(|row| row.0 == kind && row.1 == OTHER) {
            Some(row) => {
                row.2 = row.2.saturating_add(s.entries);
                row.3 = row.3.saturating_add(s.bytes);
            }
            None => rows.push((kind, OTHER, s.entries, s.bytes)),
        }
    }
    page.gauge("grid_structures", "Named structures.").value(&[], status.structures.len());
    let mut entries =
        page.gauge("grid_structure_entries", "Entries or items that this member serves.");
    for (kind, name, count, _) in &rows {
        entries = entries.value(&[("kind", kind), ("name", name)], count);
    }
    let mut bytes =
        page.gauge("grid_structure_bytes", "Bytes that this member holds for the structure.");
    for (kind, name, _, count) in &rows {
        bytes = bytes.value(&[("kind", kind), ("name", name)], count);
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

struct Page(String);

/// A metric whose values are being written.
struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { page: self, name }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text); // writing to a string cannot fail
    }
}

impl Family<'_> {
    fn value(self, labels: Labels<'_>, value: impl Display) -> Self {
        self.page.0.push_str(self.name);
        for (i, (name, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            self.page.line(format_args!("{open}{name}=\"{}\"", escaped(text)));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.page.line(format_args!("{close} {value}\n"));
        self
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{StructureStatus, tests::example};
    use grid_core::control::StructureKind;
    use std::collections::BTreeSet;

    #[test]
    fn what_the_status_says_is_in_the_text() {
        let text = render(&example(), &Health { live: Check::well(), ..Health::default() });
        for line in [
            r#"grid_member_info{cluster="dev",member="7",node="a",version="0.1.0"} 1"#,
            "grid_member_uptime_seconds 61",
            "grid_memory_used_bytes 3145728",
            r#"grid_partitions{role="backup"} 1"#,
            r#"grid_cluster_members{state="silent"} 1"#,
            r#"grid_cluster_partitions_by_state{state="degraded"} 3"#,
            "grid_cluster_replicas_missing 3",
            "grid_cluster_partitions_copying 1",
            "grid_control_quorum 1",
            "grid_control_term 4",
            "grid_control_voter 1",
            r#"grid_partition_moves_total{move="takeover"} 5"#,
            r#"grid_link_sent_bytes_total{to="9"} 12"#,
            r#"grid_link_copies{to="9"} 1"#,
            r#"grid_health{check="live"} 1"#,
            r#"grid_health{check="safe"} 0"#,
            r#"grid_operations_total{op="read"} 5"#,
            r#"grid_refused_total{kind="out_of_memory"} 2"#,
            r#"grid_structure_bytes{kind="map",name="or\"de\\rs"} 2097152"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn each_metric_is_described_once_before_its_values_and_no_series_comes_twice() {
        let text = render(&example(), &Health::default());
        let (mut described, mut series) = (BTreeSet::new(), BTreeSet::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(described.insert(name.to_owned()), "{name} twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
                current = name.to_owned();
            } else if !line.starts_with('#') {
                let (id, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(id.split('{').next().unwrap(), current);
                assert!(series.insert(id.to_owned()), "{id} twice");
                value.parse::<u64>().unwrap();
            }
        }
        assert!(text.ends_with('\n') && described.len() > 15);
    }

    #[test]
    fn many_structures_share_one_label() {
        let mut status = example();
        let structure = |i: u64| {
            let kind = if i.is_multiple_of(2) { StructureKind::Map } else { StructureKind::Queue };
            StructureStatus {
                name: format!("s{i}"),
                kind,
                entries: 1,
                bytes: 10_000 - i,
                cluster_entries: None,
                cluster_bytes: None,
            }
        };
        status.structures = (0..STRUCTURES_MAX as u64 + 10).map(structure).collect();
        let text = render(&status, &Health::default());
        let rows = text.lines().filter(|l| l.starts_with("grid_structure_entries{")).count();
        assert_eq!(rows, STRUCTURES_MAX + 2);
        assert!(text.contains(r#"grid_structure_entries{kind="map",name="(other)"} 5"#), "{text}");
        assert!(text.contains(r#"name="s0""#) && !text.contains(r#"name="s205""#));
    }
}
