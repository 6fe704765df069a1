//! Clusters of embedded members: every handle works on all partitions, whoever has them, and members that die
//! or come take nothing away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_core::Applied;
use grid_core::handle::{Grid, Map};
use grid_node::status::Status;
use grid_tests::{client, cluster, is_whole, join, until};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

/// What a counter must be in the end: what was acknowledged, and at most what else may have been applied.
#[derive(Clone, Copy, Default)]
struct Counted {
    sure: u64,
    maybe: u64,
}

/// Adds to counters by compare-and-set, until told to stop.
async fn count(map: Map<u64, u64>, counters: u64, stop: Arc<AtomicBool>) -> Counted {
    let mut counted = Counted::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = n % counters;
        let Ok(Some(before)) = map.get(&key).await else { continue };
        match map.replace_if_same(&key, &before, &(before + 1)).await {
            Ok(true) => counted.sure += 1,
            Ok(false) => {}
            Err(error) if error.applied() == Applied::Maybe => counted.maybe += 1,
            Err(_) => {}
        }
    }
    counted
}

async fn total(grid: &Grid, counters: u64) -> u64 {
    let map = grid.map::<u64, u64>("counters");
    let mut total = 0;
    for key in 0..counters {
        total += map.get(&key).await.unwrap().unwrap();
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_works_on_all_partitions() {
    let members = cluster(3).await;
    for (at, member) in (0..).zip(&members) {
        let map = member.map::<u64, u64>("m");
        for key in (0..200).map(|n| n * 3 + at) {
            map.set(&key, &at).await.unwrap();
        }
    }
    for member in &members {
        let map = member.map::<u64, u64>("m");
        for key in 0..600 {
            assert_eq!(map.get(&key).await.unwrap(), Some(key % 3));
        }
        assert_eq!(map.size().await.unwrap(), 600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact_though_a_member_dies() {
    const COUNTERS: u64 = 40;
    let mut members = cluster(3).await;
    let thin = client(&members[0]).await;
    for key in 0..COUNTERS {
        thin.map::<u64, u64>("counters").set(&key, &0).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for grid in [members[0].grid(), members[1].grid(), thin.grid()] {
        tasks.spawn(count(grid.map("counters"), COUNTERS, Arc::clone(&stop)));
    }
    drop(members.pop()); // as one that is killed
    for member in &members {
        let twice = |status: &Status| status.partitions.full == 31;
        until(member, "all partitions twice again", twice).await;
    }
    members.push(join(members.first(), |builder| builder).await);
    for member in &members {
        until(member, "a whole cluster", |status| is_whole(status, 3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let counted = tasks.join_all().await;
    let sure: u64 = counted.iter().map(|counted| counted.sure).sum();
    let maybe: u64 = counted.iter().map(|counted| counted.maybe).sum();
    assert!(counted.iter().all(|counted| counted.sure > 0), "everybody got on");
    for member in &members {
        let total = total(member, COUNTERS).await;
        assert!((sure..=sure + maybe).contains(&total), "{total} of {sure} and perhaps {maybe}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_members_have_been_replaced_everything_is_there() {
    let mut members = cluster(3).await;
    let (map, queue) = (members[0].map::<u64, String>("m"), members[0].queue::<u64>("q"));
    for n in 0..500 {
        map.set(&n, &format!("value {n}")).await.unwrap();
        assert!(queue.offer(&n).await.unwrap());
    }
    for _ in 0..3 {
        members.remove(0).shutdown().await;
        members.push(join(members.first(), |builder| builder).await);
        for member in &members {
            let whole = |status: &Status| is_whole(status, 3) && status.dangers.is_empty();
            until(member, "a whole cluster without dangers", whole).await;
        }
    }
    let last = members.pop().unwrap();
    let (map, queue) = (last.map::<u64, String>("m"), last.queue::<u64>("q"));
    for n in 0..500 {
        assert_eq!(map.get(&n).await.unwrap(), Some(format!("value {n}")));
        assert_eq!(queue.poll().await.unwrap(), Some(n));
    }
    assert_eq!(queue.poll().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_item_leaves_a_queue_once_though_its_member_dies() {
    let mut members = cluster(3).await;
    let names: Vec<String> = (0..12).map(|n| format!("queue {n}")).collect();
    let mut tasks = JoinSet::new();
    for name in &names {
        let (from, to) = (members[0].queue::<u64>(name), members[1].queue::<u64>(name));
        tasks.spawn(async move {
            let (mut offered, mut polled, mut doubt) = (BTreeSet::new(), Vec::new(), 0);
            for n in 0..150 {
                match from.offer(&n).await {
                    Ok(true) => drop(offered.insert(n)),
                    Ok(false) => panic!("it is not full"),
                    Err(error) => doubt += u32::from(error.applied() == Applied::Maybe),
                }
                match to.poll().await {
                    Ok(item) => polled.extend(item),
                    Err(error) => doubt += u32::from(error.applied() == Applied::Maybe),
                }
            }
            while let Some(item) = to.poll().await.unwrap() {
                polled.push(item);
            }
            assert!(polled.is_sorted_by(|a, b| a < b), "in order and once: {polled:?}");
            let polled: BTreeSet<u64> = polled.into_iter().collect();
            let missing = offered.difference(&polled).count();
            assert!(missing <= doubt as usize, "{missing} are lost, {doubt} may have been taken");
        });
    }
    drop(members.pop());
    tasks.join_all().await;
}
