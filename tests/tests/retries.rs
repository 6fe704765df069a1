//! Answers that are lost on the way: the client asks again under the same request id, and the operation
//! takes effect once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_client::Client;
use grid_core::{Applied, Kind};
use grid_node::test_backup::Acks;
use grid_tests::member_with_backup;
use grid_tests::proxy::Proxy;
use std::future::IntoFuture;
use std::time::Duration;

async fn through(proxy: &Proxy) -> Client {
    let builder = Client::builder().address(proxy.address().to_string());
    builder.backoff(Duration::from_millis(1), Duration::from_millis(5)).connect().await.unwrap()
}

#[tokio::test]
async fn lost_answers_neither_lose_nor_double_an_operation() {
    const ITEMS: u64 = 400;
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let proxy = Proxy::start(member.address(), 5).await;
    let client = through(&proxy).await;
    let (queue, map) = (client.queue::<u64>("q"), client.map::<u64, u64>("m"));
    for n in 0..ITEMS {
        assert!(queue.offer(&n).await.unwrap());
        let old = map.put(&(n % 7), &n).await.unwrap();
        assert_eq!(
            old,
            n.checked_sub(7),
            "an answer that was lost is the same when it is repeated"
        );
    }
    for n in 0..ITEMS {
        assert_eq!(queue.poll().await.unwrap(), Some(n), "after {} cuts", proxy.cuts());
    }
    assert_eq!(queue.poll().await.unwrap(), None);
    assert!(proxy.cuts() > 50, "only {} cuts", proxy.cuts());
    assert_eq!(backup.differences().0, [], "the backup has the same records");
}

#[tokio::test]
async fn many_operations_under_way_survive_cuts_in_any_order() {
    let (member, _backup) = member_with_backup(Acks::AtOnce).await;
    let proxy = Proxy::start(member.address(), 3).await;
    let client = through(&proxy).await;
    let map = client.map::<u64, u64>("m");
    for round in 0..40u64 {
        let writes: Vec<_> = (0..200u64).map(|n| map.put(&n, &round).into_future()).collect();
        for write in writes {
            assert_eq!(write.await.unwrap(), round.checked_sub(1));
        }
    }
    assert!(proxy.cuts() > 5, "only {} cuts", proxy.cuts());
}

#[tokio::test]
async fn a_caller_never_hangs_when_the_member_is_gone() {
    let (member, _backup) = member_with_backup(Acks::AtOnce).await;
    let proxy = Proxy::start(member.address(), 0).await;
    let client = through(&proxy).await;
    let map = client.map::<u64, u64>("m");
    map.set(&1, &1).await.unwrap();
    proxy.refuse();
    let short = Duration::from_millis(200);
    let error = map.set(&1, &2).timeout(short).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::Maybe));
    let error = map.set(&1, &3).timeout(short).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::No), "it was never sent");
    let error = map.get(&1).timeout(short).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::No));
    // The look-up of a name counts too.
    let unknown = client.map::<u64, u64>("never used").get(&1).timeout(short).into_future();
    let error = tokio::time::timeout(Duration::from_secs(5), unknown).await.expect("in time");
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::No));
    assert!(error.to_string().contains("no connection to a member: "), "{error}");
}

#[tokio::test]
async fn a_session_that_ended_fails_what_was_sent_in_it_and_the_client_goes_on_with_a_new_one() {
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let proxy = Proxy::start(member.address(), 0).await;
    let client = through(&proxy).await;
    let map = client.map::<u64, u64>("m");
    map.set(&1, &1).await.unwrap();
    backup.set(Acks::Held);
    let under_way = map.set(&1, &2).into_future();
    let held = std::sync::Arc::clone(&backup);
    tokio::task::spawn_blocking(move || held.wait_for_held(1)).await.unwrap();
    member.end_all_sessions().await.unwrap();
    let error = under_way.await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::SessionExpired, Applied::Maybe));
    backup.set(Acks::AtOnce);
    backup.release();
    map.set(&1, &3).await.unwrap();
    assert_eq!(map.get(&1).await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_client_notices_that_the_cluster_was_restarted_empty() {
    let (member, _backup) = member_with_backup(Acks::AtOnce).await;
    let address = member.address();
    let client = Client::builder()
        .address(address.to_string())
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .connect()
        .await
        .unwrap();
    let other = client.map::<u64, u64>("other");
    let map = client.map::<u64, u64>("m");
    other.set(&1, &1).await.unwrap();
    map.set(&1, &1).await.unwrap();
    let mut subscription = client.topic::<u64>("t").subscribe().await.unwrap();
    member.shutdown().await;
    let member = grid_node::Member::builder().bind(address).start().await.unwrap();
    // Until the client has noticed, operations fail or wait; none is answered from the wrong structure.
    let value = loop {
        match map.get(&1).await {
            Ok(value) => break value,
            Err(error) => assert_eq!(error.kind(), Kind::Disconnected, "{error}"),
        }
    };
    assert_eq!(value, None, "the new cluster is empty");
    map.set(&1, &2).await.unwrap();
    assert_eq!(map.get(&1).await.unwrap(), Some(2));
    let mut published = 0;
    loop {
        member.topic::<u64>("t").publish(&published).await.unwrap();
        published += 1;
        match tokio::time::timeout(Duration::from_millis(20), subscription.next()).await {
            Ok(message) => match message.unwrap() {
                Some(grid_core::handle::Message::Item { .. }) => break,
                Some(grid_core::handle::Message::Gap { missed }) => assert_eq!(missed, None),
                None => panic!("the subscription ended"),
            },
            Err(_) => assert!(published < 500, "the subscription was not renewed"),
        }
    }
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_no_session_behind() {
    let (member, _backup) = member_with_backup(Acks::AtOnce).await;
    let client = Client::builder().address(member.address().to_string()).connect().await.unwrap();
    client.map::<u64, u64>("m").set(&1, &1).await.unwrap();
    assert_eq!(member.status().clients.sessions, 1);
    drop(client);
    while member.status().clients.sessions > 0 {
        tokio::task::yield_now().await;
    }
}
