//! What errors say about whether the operation was applied.

use crate::fake::{Cluster, Manner};
use crate::{builder, client, in_time, key, refusal};
use grid_core::Applied::{Maybe, No};
use grid_core::{Error, Kind, Map};
use std::future::IntoFuture;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

async fn one() -> (Cluster, grid_client::Client, Map<u64, u64>) {
    let cluster = Cluster::start(2).await;
    let client = client(&cluster).await;
    let map = client.map::<u64, u64>("m");
    map.set(&key(0, 0), &0).await.unwrap();
    (cluster, client, map)
}

fn says(error: &Error) -> (Kind, grid_core::Applied) {
    (error.kind(), error.applied())
}

#[tokio::test]
async fn a_refusal_of_the_only_attempt_is_certain() {
    let (cluster, _client, map) = one().await;
    cluster.with(|world| world.refusals.insert(0, vec![refusal(Kind::OutOfMemory)]));
    assert_eq!(says(&map.set(&key(0, 0), &1).await.unwrap_err()), (Kind::OutOfMemory, No));
    // However often it was refused before.
    let refusals = vec![
        refusal(Kind::OutOfMemory),
        refusal(Kind::NotServing),
        refusal(Kind::Overloaded).retry_in(Duration::from_millis(1)),
        refusal(Kind::Closed),
    ];
    cluster.with(|world| world.refusals.insert(0, refusals));
    assert_eq!(says(&map.set(&key(0, 0), &1).await.unwrap_err()), (Kind::OutOfMemory, No));
    assert_eq!(map.get(&key(0, 0)).await, Ok(Some(0)));
}

#[tokio::test]
async fn a_refusal_after_an_attempt_whose_answer_was_lost_is_not() {
    let (cluster, _client, map) = one().await;
    for (code, expected) in [(true, Maybe), (false, No)] {
        cluster.with(|world| world.members[0].manner = Manner::Mute);
        let (write, read) = (map.set(&key(0, 0), &9).into_future(), map.get(&key(0, 0)));
        let read = read.into_future();
        let seen = cluster.with(|world| world.seen.len());
        cluster.until(|world| world.seen.len() >= seen.max(3)).await;
        let out = || refusal(Kind::OutOfMemory);
        cluster.with(|world| {
            world.members[0].manner = Manner::Normal;
            world.refusals.insert(0, vec![out(), out()]);
        });
        cluster.cut(0);
        let error = match code {
            true => in_time(write).await.unwrap_err(),
            false => in_time(read).await.unwrap_err(),
        };
        assert_eq!(says(&error), (Kind::OutOfMemory, expected));
        cluster.with(|world| world.refusals.clear());
    }
}

#[tokio::test]
async fn only_the_answer_to_the_last_attempt_counts() {
    let (cluster, _client, map) = one().await;
    let (there, other) = (crate::client(&cluster).await, key(0, 0));
    let elsewhere = there.map::<u64, u64>("m");
    // Both know both members.
    elsewhere.get(&other).await.unwrap();
    elsewhere.get(&key(1, 0)).await.unwrap();
    map.get(&key(1, 0)).await.unwrap();
    cluster.with(|world| world.members[0].manner = Manner::Late);
    // The first attempt finds 0 and changes nothing; then it is 1.
    let seen = cluster.with(|world| world.seen.len());
    let swap = map.replace_if_same(&key(0, 0), &1, &2).into_future();
    cluster.until(|world| world.seen.len() == seen + 1).await;
    let set = elsewhere.set(&other, &1).into_future();
    cluster.until(|world| world.seen.len() == seen + 2).await;
    // Without an answer the client asks around, and finds another primary: the second attempt takes effect.
    cluster.with(|world| world.members[1].manner = Manner::Late);
    cluster.assign(0, &[1, 0]);
    let again = |world: &crate::fake::World| {
        world.seen.iter().filter(|s| s.member == 1 && s.header.attempt > 0).count() == 2
    };
    cluster.until(again).await;
    // Now the answer to the first one comes, with that to another request behind it.
    cluster.with(|world| world.members[0].manner = Manner::Normal);
    assert_eq!(in_time(map.get(&key(2, 0)).into_future()).await, Ok(None));
    cluster.with(|world| world.members[1].manner = Manner::Normal);
    assert_eq!(in_time(swap).await, Ok(true));
    assert_eq!(in_time(set).await, Ok(()));
}

#[tokio::test]
async fn a_member_that_says_maybe_is_believed() {
    let (cluster, _client, map) = one().await;
    let maybe = refusal(Kind::Overloaded).retry_in(Duration::from_millis(1)).maybe_applied();
    cluster.with(|world| world.refusals.insert(0, vec![refusal(Kind::OutOfMemory), maybe]));
    assert_eq!(says(&map.set(&key(0, 0), &1).await.unwrap_err()), (Kind::OutOfMemory, Maybe));
}

#[tokio::test]
async fn at_the_deadline_an_attempt_without_an_answer_may_have_been_applied() {
    let (cluster, _client, map) = one().await;
    cluster.with(|world| world.members[0].manner = Manner::Frozen);
    let (write, read) = (map.set(&key(0, 0), &1), map.get(&key(0, 0)));
    let (write, read) = (write.timeout(SHORT).into_future(), read.timeout(SHORT).into_future());
    assert_eq!(says(&in_time(write).await.unwrap_err()), (Kind::Timeout, Maybe));
    assert_eq!(says(&in_time(read).await.unwrap_err()), (Kind::Timeout, No));
}

#[tokio::test]
async fn at_the_deadline_what_was_refused_or_never_sent_was_not_applied() {
    let (cluster, _client, map) = one().await;
    cluster.with(|world| world.unserved.insert(0));
    let error = in_time(map.set(&key(0, 0), &1).timeout(SHORT).into_future()).await.unwrap_err();
    assert_eq!(says(&error), (Kind::Timeout, No));
    // Never connected, and gone.
    cluster.kill(1);
    let error = in_time(map.set(&key(1, 0), &1).timeout(SHORT).into_future()).await.unwrap_err();
    assert!(error.to_string().contains("no connection to a member: "), "{error}");
    assert_eq!(says(&error), (Kind::Timeout, No));
}

#[tokio::test]
async fn a_lost_attempt_is_remembered_through_later_refusals_until_the_deadline() {
    let (cluster, _client, map) = one().await;
    cluster.with(|world| world.members[0].manner = Manner::Mute);
    let write = map.set(&key(0, 0), &7).timeout(SHORT * 2).into_future();
    cluster.until(|world| world.seen.len() == 2).await;
    cluster.with(|world| {
        world.unserved.insert(0);
        world.members[0].manner = Manner::Normal;
    });
    cluster.cut(0);
    assert_eq!(says(&in_time(write).await.unwrap_err()), (Kind::Timeout, Maybe));
    let again = cluster.seen(|s| s.header.attempt > 0);
    assert!(again.len() > 1, "it was tried again");
    cluster.with(|world| world.unserved.clear());
    assert_eq!(map.get(&key(0, 0)).await, Ok(Some(7)), "and it had been applied");
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_refused_before_it_is_sent() {
    let cluster = Cluster::start(2).await;
    let client = builder(&cluster).connect().await.unwrap();
    let map = client.map::<u64, Vec<u8>>("m");
    map.set(&key(0, 0), &vec![1]).await.unwrap();
    let seen = cluster.with(|world| world.seen.len());
    let error = map.set(&key(0, 0), &vec![0; 17 << 20]).await.unwrap_err();
    assert_eq!(says(&error), (Kind::TooLarge, No));
    assert_eq!(cluster.with(|world| world.seen.len()), seen);
}
