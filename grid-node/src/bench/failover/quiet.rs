//! Full load without faults: whatever the table changes then is a failover for nothing.

use super::super::map::{self, Client, MapArgs};
use super::super::report::MapReport;
use super::members::{CLUSTER, Members};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{MemberId, PartitionId};
use grid_core::wire::table::TableView;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

/// Between two looks at the table. A promotion is not undone within that time.
const LOOK: Duration = Duration::from_millis(50);
/// How often is told how it goes.
const TELL: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Quiet {
    /// How long.
    pub minutes: f64,
    /// Partitions that got another primary, each time counted.
    pub promotions: u64,
    /// Partitions whose in-sync replicas became others or fewer, each time counted.
    pub shrinks: u64,
    /// Terms of the control log that began.
    pub elections: u64,
    /// The load and what it met.
    pub load: MapReport,
}

/// Loads the cluster for so many minutes.
pub(super) fn run(
    members: &Members,
    minutes: f64,
    progress: &mut dyn FnMut(&str),
) -> Result<Quiet> {
    let args = MapArgs {
        addr: members.addresses().iter().map(ToString::to_string).collect(),
        cluster: CLUSTER.to_owned(),
        map: "loaded".to_owned(),
        connections: 48,
        pipeline: 64,
        threads: 2,
        keys: 100_000,
        value_size: 100,
        reads: 50,
        seconds: minutes * 60.0,
        warmup: 1.0,
        rate: None,
        load: true,
        client: Client::Raw,
        json: false,
    };
    let load = std::thread::Builder::new()
        .name("bench-load".into())
        .spawn(move || map::run(&args))
        .map_err(|e| Error::with(Kind::Io, e.to_string()))?;
    let (mut watch, (_, term)) = (members.watch(None)?, members.leader()?);
    let (mut promotions, mut shrinks, mut told) = (0, 0, Instant::now());
    let began = Instant::now();
    while !load.is_finished() {
        std::thread::sleep(LOOK);
        let before = watch.table.clone();
        if watch.ask()? {
            let changed = changes(&before, &watch.table);
            (promotions, shrinks) = (promotions + changed.0, shrinks + changed.1);
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            let minutes = began.elapsed().as_secs() / 60;
            progress(&format!("{minutes} minutes: {promotions} promotions, {shrinks} shrinks"));
        }
    }
    let panicked = |_| Error::with(Kind::Internal, "the load has panicked");
    let load = load.join().map_err(panicked)??;
    let elections = members.leader()?.1.saturating_sub(term);
    Ok(Quiet { minutes, promotions, shrinks, elections, load })
}

/// How many partitions have another primary, and how many lost a replica.
fn changes(before: &TableView, after: &TableView) -> (u64, u64) {
    let ids = |table: &TableView, partition| -> Vec<MemberId> {
        let at = |at: &u16| table.members().get(usize::from(*at)).map(|known| known.member);
        table.replicas(partition).iter().filter_map(at).collect()
    };
    let (mut promotions, mut shrinks) = (0, 0);
    for partition in (0..after.partitions()).map(PartitionId) {
        let (old, new) = (ids(before, partition), ids(after, partition));
        promotions += u64::from(old.first() != new.first());
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (old.into_iter().collect(), new.into_iter().collect());
        shrinks += u64::from(!old.is_subset(&new));
    }
    (promotions, shrinks)
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quiet { minutes, promotions, shrinks, elections, load } = self;
        writeln!(
            f,
            "{minutes} minutes of full load without a fault: {promotions} promotions, {shrinks} replicas \
             dropped, {elections} elections"
        )?;
        write!(f, "{load}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::Index;
    use grid_core::wire::table::MemberAddress;

    fn table(ids: &[u64], partitions: &[&[u16]]) -> TableView {
        let at = |id: &u64| MemberAddress { member: MemberId(*id), address: format!("h:{id}") };
        let members = ids.iter().map(at).collect();
        TableView::new(Index(1), 1, members, partitions.iter().copied()).unwrap()
    }

    #[test]
    fn promotions_and_dropped_replicas_are_told_apart_from_what_a_table_may_do() {
        let before = table(&[1, 2, 3], &[&[0, 1], &[1, 2]]);
        assert_eq!(changes(&before, &before), (0, 0));
        // Positions are not what counts, and another replica is no loss.
        assert_eq!(changes(&before, &table(&[2, 1, 3], &[&[1, 0, 2], &[0, 2]])), (0, 0));
        assert_eq!(changes(&before, &table(&[1, 2, 3], &[&[0], &[1, 2]])), (0, 1));
        assert_eq!(changes(&before, &table(&[1, 2, 3], &[&[1, 0], &[2]])), (2, 1));
    }
}
