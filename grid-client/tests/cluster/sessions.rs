//! One session over all members, and lives of the cluster's data.

use crate::fake::{Cluster, Manner};
use crate::{all, builder, client, in_time, key};
use grid_core::ids::Index;
use grid_core::{Applied, Kind};
use std::future::IntoFuture;
use std::time::Duration;

#[tokio::test]
async fn a_member_that_has_not_heard_of_the_session_is_tried_again() {
    let cluster = Cluster::start(2).await;
    cluster.with(|world| world.members[1].applied_max = Some(Index(1)));
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    map.set(&key(0, 0), &1).await.unwrap();
    let late = map.set(&key(1, 0), &1).into_future();
    cluster.until(|world| world.members[1].refused > 2).await;
    cluster.with(|world| world.members[1].applied_max = None);
    in_time(late).await.unwrap();
    assert_eq!(cluster.with(|world| world.sessions_opened), 1);
}

#[tokio::test]
async fn the_end_of_the_session_fails_what_was_sent_and_nothing_else() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    all((0..2).map(|p| map.set(&key(p, 0), &0))).await;
    cluster.with(|world| world.members[0].manner = Manner::Mute);
    let sent = map.set(&key(0, 0), &1).into_future();
    let read = map.get(&key(0, 0)).into_future();
    cluster.until(|world| world.seen.iter().filter(|s| s.member == 0).count() == 3).await;
    // Refused for certain: it waits for its partition to be served.
    cluster.with(|world| world.unserved.insert(1));
    let refused = map.set(&key(1, 0), &2).into_future();
    cluster.until(|world| world.seen.iter().any(|s| s.member == 1 && s.header.attempt > 0)).await;
    cluster.end_sessions();
    cluster.with(|world| world.members[0].manner = Manner::Normal);
    cluster.cut(0);
    let error = in_time(sent).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::SessionExpired, Applied::Maybe));
    assert_eq!(in_time(read).await, Ok(Some(1)), "a read needs no session");
    cluster.with(|world| world.unserved.clear());
    in_time(refused).await.unwrap();
    assert_eq!(map.get(&key(1, 0)).await, Ok(Some(2)));
    assert_eq!(cluster.with(|world| (world.sessions_opened, world.sessions.len())), (2, 1));
}

#[tokio::test]
async fn a_cluster_that_was_restarted_empty_is_a_new_life_for_all_connections_at_once() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let (map, other) = (client.map::<u64, u64>("m"), client.map::<u64, u64>("other"));
    all((0..60).map(|k| map.set(&k, &1))).await;
    other.set(&1, &1).await.unwrap();
    cluster.with(|world| world.members[0].manner = Manner::Mute);
    let sent = map.set(&key(0, 0), &2).into_future();
    let marked = cluster.with(|world| world.seen.len());
    cluster.until(|world| world.seen.len() > marked).await;
    cluster.restart_empty();
    cluster.with(|world| world.members[0].manner = Manner::Normal);
    let error = in_time(sent).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Disconnected, Applied::Maybe));
    // Until the client has noticed, operations fail; none meets a structure of another life.
    let value = loop {
        match in_time(other.get(&1).into_future()).await {
            Ok(value) => break value,
            Err(error) => assert_eq!(error.kind(), Kind::Disconnected, "{error}"),
        }
    };
    assert_eq!(value, None);
    all((0..60).map(|k| map.set(&k, &3))).await;
    assert!(all((0..60).map(|k| map.get(&k))).await.into_iter().all(|value| value == Some(3)));
    let lives = cluster.with(|world| world.sessions.len());
    assert!(lives <= 3, "{lives} sessions, one of them used");
}

#[tokio::test]
async fn a_shutdown_ends_the_session_or_does_not_wait_for_members_that_are_gone() {
    let cluster = Cluster::start(2).await;
    let there = client(&cluster).await;
    there.map::<u64, u64>("m").set(&key(1, 0), &1).await.unwrap();
    there.shutdown().await;
    assert_eq!(cluster.with(|world| (world.sessions.len(), world.closed_sessions)), (0, 1));
    for manner in [None, Some(Manner::Frozen)] {
        let hours = Duration::from_secs(36_000);
        let builder = builder(&cluster).operation_timeout(hours).heartbeat_timeout(hours);
        let client = builder.connect().await.unwrap();
        let map = client.map::<u64, u64>("m");
        map.set(&key(1, 0), &1).await.unwrap();
        match manner {
            Some(manner) => cluster.with(|world| {
                world.members.iter_mut().for_each(|member| member.manner = manner);
            }),
            None => (0..2).for_each(|at| cluster.kill(at)),
        }
        let waiting = map.set(&key(1, 0), &2).into_future();
        in_time(client.shutdown()).await;
        assert_eq!(waiting.await.unwrap_err().kind(), Kind::Closed);
        for at in 0..if manner.is_none() { 2 } else { 0 } {
            cluster.listen(at).await;
        }
    }
}
