//! Reads that may be a little old, answered by backups.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_core::Read;
use grid_node::Member;
use grid_tests::{client, cluster};
use std::time::{Duration, Instant};

const BOUND: Read = Read::Stale(Duration::from_secs(20));

/// Reads that a member has been asked for by clients, and requests that it has refused.
fn asked(member: &Member) -> (u64, u64) {
    let totals = member.status().totals;
    (totals.operations.get("read").copied().unwrap_or(0), totals.refused.values().sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_spreads_stale_reads_over_all_replicas() {
    let members = cluster(2).await;
    let thin = client(&members[0]).await;
    let map = thin.map::<u64, u64>("m");
    map.set(&7, &77).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before: Vec<_> = members.iter().map(asked).collect();
        for _ in 0..10 {
            assert_eq!(map.get(&7).read(BOUND).await.unwrap(), Some(77));
        }
        let after: Vec<_> = members.iter().map(asked).collect();
        let served = |((reads, refused), (now, still)): (&(u64, u64), &(u64, u64))| {
            now > reads && refused == still
        };
        if before.iter().zip(&after).all(served) {
            return;
        }
        assert!(Instant::now() < deadline, "the backup answers none: {before:?} {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_member_reads_what_it_has_as_a_backup_by_itself() {
    let members = cluster(2).await;
    let writer = members[0].map::<u64, u64>("m");
    for key in 0..60 {
        writer.set(&key, &key).await.unwrap();
    }
    // Half of the keys have their primary in the other member.
    let reader = members[1].map::<u64, u64>("m");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (before, _) = asked(&members[0]);
        for key in 0..60 {
            assert_eq!(reader.get(&key).read(BOUND).await.unwrap(), Some(key));
        }
        if asked(&members[0]).0 == before {
            return;
        }
        assert!(Instant::now() < deadline, "the other member is asked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_that_nobody_can_keep_is_kept_by_the_primary() {
    let members = cluster(2).await;
    let thin = client(&members[1]).await;
    let map = thin.map::<u64, u64>("m");
    for n in 0..200u64 {
        map.set(&1, &n).await.unwrap();
        let read = map.get(&1).read(Read::Stale(Duration::ZERO)).await.unwrap();
        assert_eq!(read, Some(n), "no older than what was acknowledged before it was asked for");
    }
}
