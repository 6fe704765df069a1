//! Members that die, go silent or come late.

use crate::fake::{Cluster, Manner, PARTITIONS};
use crate::{all, client, in_time, key};
use grid_core::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;

#[tokio::test]
async fn what_a_dead_primary_did_not_answer_takes_effect_once() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..120).map(|k| map.set(&k, &0))).await;
    // It executes, and its answers are lost with it.
    cluster.with(|world| world.members[1].manner = Manner::Mute);
    let writes: Vec<_> = (0..120).map(|k| map.put(&k, &1).into_future()).collect();
    let theirs = (0..120).filter(|k| part(*k) % 3 == 1).count();
    cluster.until(|world| world.seen.iter().filter(|s| s.member == 1).count() == 2 * theirs).await;
    cluster.kill(1);
    cluster.fail_over(1, 2);
    for write in writes {
        assert_eq!(in_time(write).await, Ok(Some(0)), "the answer of the first attempt");
    }
    let again = cluster.seen(|s| s.header.attempt > 0);
    let how: Vec<_> = again.iter().map(|s| (s.member, s.header.request.0)).collect();
    assert_eq!(again.len(), theirs, "{how:?}");
    let first: BTreeSet<u64> = cluster
        .seen(|s| s.member == 1 && s.header.code == again[0].header.code)
        .iter()
        .map(|s| s.header.request.0)
        .collect();
    assert!(again.iter().all(|s| s.member == 2 && first.contains(&s.header.request.0)));
    let ids: Vec<_> = again.iter().map(|s| s.header.request).collect();
    let mut by_partition: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for seen in &again {
        by_partition.entry(seen.header.partition.0).or_default().push(seen.header.request.0);
    }
    assert!(by_partition.values().all(|ids| ids.is_sorted()), "{ids:?}");
}

#[tokio::test]
async fn a_new_connection_gets_everything_again_in_order() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    let k = key(0, 0);
    map.set(&k, &0).await.unwrap();
    // Neither executed nor answered.
    cluster.with(|world| world.members[0].manner = Manner::Frozen);
    let writes: Vec<_> = (1..=50).map(|n| map.put(&k, &n).into_future()).collect();
    cluster.cut(0);
    cluster.until(|world| world.members[0].connections.is_empty()).await;
    cluster.with(|world| world.members[0].manner = Manner::Normal);
    for (n, write) in (0..50).zip(writes) {
        assert_eq!(in_time(write).await, Ok(Some(n)), "as they were begun");
    }
    let ids: Vec<_> = cluster.seen(|_| true).iter().map(|s| s.header.request.0).collect();
    assert!(ids.is_sorted() && ids.len() == 51, "{ids:?}");
}

fn part(k: u64) -> u16 {
    use grid_core::{data::key_hash, partitioning::partition_of};
    partition_of(key_hash(&k).unwrap(), PARTITIONS).0
}

#[tokio::test]
async fn a_primary_that_went_silent_is_replaced_while_its_connection_still_stands() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let (queue, map) = (client.queue::<u64>("q"), client.map::<u64, u64>("m"));
    all((0..60).map(|k| map.set(&k, &0))).await;
    queue.offer(&0).await.unwrap();
    for silent in [Manner::Mute, Manner::Frozen] {
        let gone = cluster.seen(|s| s.header.partition == queue_partition()).last().unwrap().member;
        let heir = (0..3).find(|at| *at != gone).unwrap();
        cluster.with(|world| world.members[gone].manner = silent);
        let offers: Vec<_> = (1..=20).map(|n| queue.offer(&n).into_future()).collect();
        let puts: Vec<_> = (0..60).map(|k| map.get(&k).into_future()).collect();
        cluster.fail_over(gone as u16, heir as u16);
        for offer in offers {
            assert_eq!(in_time(offer).await, Ok(true));
        }
        for put in puts {
            assert_eq!(in_time(put).await, Ok(Some(0)));
        }
        assert_eq!(cluster.with(|world| world.members[gone].connections.len()), 1);
        cluster.with(|world| world.members[gone].manner = Manner::Normal);
        for n in 0..=20 {
            assert_eq!(queue.poll().await, Ok(Some(n)), "in order, once, whatever was repeated");
        }
        assert_eq!(queue.poll().await, Ok(None));
        queue.offer(&0).await.unwrap();
        // The next round needs all three.
        (0..PARTITIONS).for_each(|p| cluster.assign(p, &[p % 3, (p + 1) % 3]));
        all((0..60).map(|k| map.get(&k))).await;
        assert_eq!(queue.size().await, Ok(1));
    }
}

fn queue_partition() -> grid_core::PartitionId {
    grid_core::partitioning::partition_of_name("q", PARTITIONS)
}

#[tokio::test]
async fn members_die_one_after_the_other_and_nothing_is_lost_or_doubled() {
    let cluster = Cluster::start(4).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    let mut round = 0;
    for dying in 0..3u16 {
        for cut in 0..5 {
            let writes: Vec<_> =
                (0..100).map(|k| map.put(&k, &(round + 1)).into_future()).collect();
            if cut == 2 {
                cluster.fail_over(dying, dying + 1);
                cluster.kill(usize::from(dying));
            } else {
                cluster.cut(3);
                cluster.cut(usize::from(dying) + 1);
            }
            for write in writes {
                let old = in_time(write).await.unwrap();
                assert_eq!(old.unwrap_or(0), round);
            }
            round += 1;
        }
    }
    assert_eq!(cluster.with(|world| world.sessions_opened), 1);
}

#[tokio::test]
async fn a_member_that_lags_is_asked_again_and_the_newest_table_is_kept() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..3).map(|p| map.set(&key(p, 0), &0))).await;
    // Two members have not heard of the move.
    cluster.with(|world| {
        let table = world.table();
        world.members[0].table = Some(table.clone());
        world.members[2].table = Some(table);
    });
    cluster.assign(0, &[1, 2]);
    assert_eq!(in_time(map.put(&key(0, 0), &1).into_future()).await, Ok(Some(0)));
    let questions = cluster.with(|world| world.table_questions.clone());
    assert!(questions.contains(&1), "{questions:?}");
    // A table that is older than the client's changes nothing.
    cluster.cut(0);
    cluster.cut(2);
    all((0..30).map(|k| map.set(&k, &5))).await;
    let to_old = cluster.seen(|s| s.header.partition.0 == 0).last().unwrap().member;
    assert_eq!(to_old, 1);
}

#[tokio::test]
async fn a_lost_partition_is_answered_by_whoever_is_asked() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    map.set(&key(0, 0), &0).await.unwrap();
    cluster.assign(0, &[]);
    let lost = || crate::refusal(Kind::Lost);
    cluster.with(|world| world.refusals.insert(0, vec![lost(), lost()]));
    for _ in 0..2 {
        let error = map.get(&key(0, 0)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Lost);
    }
}
