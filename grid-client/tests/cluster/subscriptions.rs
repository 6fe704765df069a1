//! Topic subscriptions through failovers.

use crate::fake::{Cluster, PARTITIONS};
use crate::{client, in_time};
use grid_core::Kind;
use grid_core::handle::{Message, Subscription, Topic};
use grid_core::partitioning::partition_of_name;
use std::time::Duration;

/// Publishes until something comes that is no gap; returns the gaps before it.
async fn gaps(topic: &Topic<u64>, subscription: &mut Subscription<u64>, from: u64) -> usize {
    let mut gaps = 0;
    for n in from.. {
        topic.publish(&n).await.unwrap();
        let soon = Duration::from_millis(20);
        while let Ok(message) = tokio::time::timeout(soon, subscription.next()).await {
            match message.unwrap() {
                Some(Message::Item { value, .. }) => {
                    assert!(value >= from, "{value} is from before");
                    return gaps;
                }
                Some(Message::Gap { missed: None }) => gaps += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_subscription_follows_its_partition_and_tells_once_that_something_was_missed() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster).await;
    let topic = client.topic::<u64>("t");
    let partition = partition_of_name("t", PARTITIONS).0;
    let mut subscription = topic.subscribe().await.unwrap();
    for n in 0..10 {
        topic.publish(&n).await.unwrap();
    }
    for n in 0..10 {
        let message = in_time(subscription.next()).await.unwrap();
        assert!(matches!(message, Some(Message::Item { value, .. }) if value == n), "{message:?}");
    }
    // Its primary dies.
    let first = cluster.with(|world| world.owners[usize::from(partition)][0]);
    let second = (first + 1) % 3;
    cluster.kill(usize::from(first));
    cluster.fail_over(first, second);
    assert_eq!(in_time(gaps(&topic, &mut subscription, 100)).await, 1);
    // It moves, and both members live.
    let third = (first + 2) % 3;
    cluster.assign(partition, &[third, second]);
    assert_eq!(in_time(gaps(&topic, &mut subscription, 1000)).await, 1);
    cluster.until(|world| world.subscribers.len() == 1).await;
    // Connections come and go, and nobody serves it for a while.
    for _ in 0..5 {
        cluster.cut(usize::from(third));
        cluster.until(|world| world.subscribers.is_empty()).await;
        cluster.until(|world| world.subscribers.len() == 1).await;
    }
    cluster.with(|world| world.unserved.insert(partition));
    for _ in 0..5 {
        cluster.cut(usize::from(third));
        cluster.until(|world| world.members[usize::from(third)].connections.is_empty()).await;
        cluster.until(|world| !world.members[usize::from(third)].connections.is_empty()).await;
    }
    cluster.with(|world| world.unserved.clear());
    assert_eq!(in_time(gaps(&topic, &mut subscription, 10_000)).await, 1, "told once");
    drop(subscription);
    cluster.until(|world| world.subscribers.is_empty()).await;
}

#[tokio::test]
async fn a_subscription_gets_its_id_in_the_new_life() {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let (topic, other) = (client.topic::<u64>("t"), client.topic::<u64>("other"));
    let mut subscription = topic.subscribe().await.unwrap();
    cluster.restart_empty();
    // In the new life the id of the one is the other's.
    loop {
        match other.publish(&1).await {
            Ok(()) => break,
            Err(error) => {
                let kinds = [Kind::Disconnected, Kind::UnknownStructure];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
        }
    }
    assert!(in_time(gaps(&topic, &mut subscription, 100)).await <= 1);
}
