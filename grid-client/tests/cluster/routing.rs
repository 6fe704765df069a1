//! Which member gets what.

use crate::fake::{Cluster, Manner, PARTITIONS, Seen};
use crate::{LONG, all, builder, client, in_time, key, refusal};
use grid_client::Client;
use grid_core::handle::Read;
use grid_core::{Applied, Kind, RequestId};
use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;

#[tokio::test]
async fn each_operation_goes_to_the_primary_on_one_connection_per_member_in_one_session() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    map.set(&key(0, 0), &0).await.unwrap();
    map.set(&key(3, 0), &0).await.unwrap();
    let connections = |cluster: &Cluster| {
        cluster.with(|world| world.members.iter().map(|m| m.welcomed).collect::<Vec<_>>())
    };
    assert_eq!(connections(&cluster), [1, 0, 0], "the others are not needed yet");
    all((0..300).map(|k| map.set(&k, &k))).await;
    let values = all((0..300).map(|k| map.get(&k))).await;
    assert!(values.into_iter().eq((0..300).map(Some)));
    assert_eq!(connections(&cluster), [1, 1, 1]);
    assert_eq!(cluster.with(|world| (world.sessions_opened, world.sessions.len())), (1, 1));
    let seen = cluster.seen(|_| true);
    assert_eq!(seen.len(), 602, "nothing twice");
    assert!(seen.iter().all(|s| usize::from(s.header.partition.0 % 3) == s.member));
    assert!(seen.iter().all(|s| !s.header.attempt > 0 && s.header.read == Read::Linearizable));
    assert_eq!(cluster.with(|world| world.table_questions.len()), 0, "nothing was wrong");
    assert_eq!(client.outstanding(), 0);
}

#[tokio::test]
async fn any_listed_address_will_do_and_the_others_are_learnt() {
    let cluster = Cluster::start(3).await;
    cluster.kill(0);
    let client = Client::builder()
        .address(cluster.address(0))
        .address(cluster.address(1))
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .connect()
        .await
        .unwrap();
    cluster.fail_over(0, 2);
    let map = client.map::<u64, u64>("m");
    all((0..50).map(|k| map.set(&k, &k))).await;
    assert!(client.status().await.unwrap().contains("member"));
    // The one that it came by goes too.
    cluster.fail_over(1, 2);
    cluster.kill(1);
    let values = all((0..50).map(|k| map.get(&k))).await;
    assert!(values.into_iter().eq((0..50).map(Some)));
    assert!(cluster.seen(|s| s.member == 0).is_empty());
}

#[tokio::test]
async fn a_member_is_found_by_its_table_address_when_all_known_ones_are_gone() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    let value = in_time(async {
        map.set(&key(0, 0), &1).await.unwrap();
        // It has never been connected to, and is all that is left.
        cluster.fail_over(0, 1);
        cluster.kill(0);
        map.get(&key(0, 0)).await
    });
    assert_eq!(value.await, Ok(Some(1)));
}

#[tokio::test]
async fn stale_reads_spread_over_the_replicas_and_other_reads_do_not() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..PARTITIONS).map(|p| map.set(&key(p, 0), &1))).await;
    let stale = Read::Stale(Duration::from_millis(50));
    let k = key(0, 0);
    let counts = async |read| {
        cluster.with(|world| world.seen.clear());
        for _ in 0..20 {
            assert_eq!(map.get(&k).read(read).await, Ok(Some(1)));
        }
        assert!(cluster.seen(|_| true).iter().all(|s| s.header.read == read));
        [0, 1, 2].map(|at| cluster.seen(|s| s.member == at).len())
    };
    assert_eq!(counts(Read::Linearizable).await, [20, 0, 0]);
    assert_eq!(counts(Read::Confirmed).await, [20, 0, 0]);
    assert_eq!(counts(stale).await, [10, 10, 0], "primary and backup in turn");
    // A backup that is not fresh enough: the primary answers.
    cluster.with(|world| world.stale_refused = true);
    assert_eq!(counts(stale).await, [20, 10, 0]);
    assert_eq!(
        cluster.with(|world| world.table_questions.len()),
        0,
        "no reason to doubt the table"
    );
    // A backup that is gone.
    cluster.kill(1);
    assert_eq!(counts(stale).await[0], 20);
}

#[tokio::test]
async fn a_partition_that_has_moved_is_followed_and_the_table_asked_for_once_in_a_while() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..200).map(|k| map.set(&k, &0))).await;
    (0..PARTITIONS).for_each(|p| cluster.assign(p, &[(p + 1) % 3, p % 3]));
    let old = all((0..200).map(|k| map.put(&k, &1))).await;
    assert!(old.into_iter().all(|old| old == Some(0)));
    let questions = cluster.with(|world| world.table_questions.len());
    assert!((1..=10).contains(&questions), "{questions} questions for one change");
    // Refused ones wait for one probe of their partition, and go again in the order of their ids.
    let mut moved: BTreeMap<u16, Vec<(u64, usize)>> = BTreeMap::new();
    for Seen { member, header } in cluster.seen(|s| s.header.attempt > 0) {
        moved.entry(header.partition.0).or_default().push((header.request.0, member));
    }
    assert_eq!(moved.len(), usize::from(PARTITIONS));
    for (partition, sent) in moved {
        let (first, heir) = (sent[0].0, usize::from((partition + 1) % 3));
        assert!(sent.iter().is_sorted_by_key(|(id, _)| id), "{sent:?}");
        assert!(sent.iter().all(|(id, member)| *member == heir || *id == first), "{sent:?}");
    }
}

#[tokio::test]
async fn partitions_that_nobody_serves_cost_one_probe_per_pause_whatever_waits() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..3).map(|p| map.set(&key(p, 0), &0))).await;
    cluster.with(|world| {
        world.unserved.extend([0, 1, 2]);
        world.seen.clear();
    });
    let until = Duration::from_millis(600);
    let writes: Vec<_> =
        (0..2000).map(|n| map.set(&key(n % 3, 0), &1).timeout(until).into_future()).collect();
    let mut probes = 0;
    for write in writes {
        let error = write.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        match error.applied() {
            Applied::No => assert!(error.to_string().contains("does not serve"), "{error}"),
            Applied::Maybe => probes += 1,
        }
    }
    assert!(probes <= 3, "{probes} were under way at their deadline");
    let (questions, seen) = cluster.with(|world| (world.table_questions.len(), world.seen.len()));
    assert!((2..=25).contains(&questions), "{questions} questions within {until:?}");
    // All may have been under way when the first was refused; from then on only probes are.
    assert!(seen < 2000 + 3 * 25, "{seen} requests");
    // Those of a served partition were not held up, and neither are these once they are served again.
    let waiting: Vec<_> = (0..30).map(|n| map.put(&key(n % 3, 1), &1).into_future()).collect();
    map.set(&key(4, 0), &1).await.unwrap();
    cluster.with(|world| world.unserved.clear());
    for write in waiting {
        write.await.unwrap();
    }
}

#[tokio::test]
async fn an_overloaded_partition_is_given_time_and_nobody_asks_for_the_table() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    map.set(&key(0, 0), &0).await.unwrap();
    let busy = || refusal(Kind::Overloaded).retry_in(Duration::from_millis(3));
    let full = || refusal(Kind::Overloaded);
    cluster.with(|world| world.refusals.insert(0, vec![busy(), full(), busy()]));
    let writes: Vec<_> = (1..=20).map(|n| map.put(&key(0, 0), &n)).collect();
    let mut values = all(writes).await;
    values.push(map.get(&key(0, 0)).await.unwrap());
    values.sort_unstable();
    assert!(values.into_iter().eq((0..=20).map(Some)), "each took effect once");
    assert_eq!(cluster.with(|world| world.table_questions.len()), 0);
    // Waiting beyond the deadline helps nobody.
    let later = refusal(Kind::Overloaded).retry_in(LONG * 2);
    cluster.with(|world| world.refusals.insert(0, vec![later]));
    let error = map.set(&key(0, 0), &0).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Overloaded, Applied::No));
    assert_eq!(error.retry_after(), Some(LONG * 2));
}

#[tokio::test]
async fn a_member_that_is_gone_holds_up_nobody_else() {
    let cluster = Cluster::start(2).await;
    let client = builder(&cluster).connect().await.unwrap();
    let map = client.map::<u64, u64>("m");
    all((0..2).map(|p| map.set(&key(p, 0), &0))).await;
    cluster.with(|world| world.members[1].manner = Manner::Frozen);
    let (here, gone) = (key(0, 0), key(1, 0));
    let theirs: Vec<u64> = (1..PARTITIONS).step_by(2).map(|p| key(p, 0)).collect();
    // As many as there is room for, with the first of them answered last.
    let mut stuck = Vec::new();
    let refused = loop {
        let write = map.set(&theirs[stuck.len() % theirs.len()], &1).into_future();
        if write.is_ready() {
            break write.await.unwrap_err();
        }
        stuck.push(write);
        assert!(stuck.len() < 65_536, "one member takes all the room");
    };
    assert_eq!((refused.kind(), refused.applied()), (Kind::Overloaded, Applied::No));
    // It comes after the one that was answered.
    let first = RequestId(cluster.seen(|s| s.member == 1)[0].header.request.0 + 1);
    for round in 0..20 {
        let writes: Vec<_> = (0..1000).map(|n| map.set(&here, &(round * 1000 + n))).collect();
        in_time(all(writes)).await;
    }
    assert_eq!(map.get(&here).await, Ok(Some(19_999)));
    let floors = cluster.seen(|s| s.member == 0 && s.header.request > first);
    assert!(!floors.is_empty());
    assert!(floors.iter().all(|s| s.header.floor == first), "the floor waits for the frozen one");
    cluster.fail_over(1, 0);
    // As soon as those that waited have been sent to the heir, there is room again.
    let value = in_time(async {
        loop {
            match map.get(&gone).await {
                Err(error) if error.kind() == Kind::Overloaded => tokio::task::yield_now().await,
                value => break value,
            }
        }
    });
    assert_eq!(value.await, Ok(Some(1)));
    for write in stuck {
        in_time(write).await.unwrap();
    }
    map.set(&here, &0).await.unwrap();
    let last = cluster.seen(|s| s.member == 0).last().unwrap().header;
    assert_eq!(last.floor, last.request, "everything is answered");
}
