//! The commit gate in the real shell: nothing leaves a member before its backup has it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_core::handle::Message;
use grid_core::{Applied, Kind};
use grid_node::test_backup::Acks;
use grid_tests::{client, member_with_backup};
use std::future::IntoFuture;
use std::time::Duration;

#[tokio::test]
async fn replies_wait_for_the_backup_and_reads_for_the_state_that_they_saw() {
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let client = client(&member).await;
    let (near, far) = (member.map::<u64, u64>("m"), client.map::<u64, u64>("m"));
    far.set(&1, &10).await.unwrap();
    far.set(&2, &20).await.unwrap();

    backup.set(Acks::Held);
    let write = tokio::spawn(far.set(&1, &11).into_future());
    backup_holds(&backup, 1).await;
    let local_read = near.get(&1).into_future();
    assert!(!local_read.is_ready(), "the value is not committed");
    let remote_read = tokio::spawn(far.get(&1).into_future());
    assert_eq!(far.get(&2).await.unwrap(), Some(20), "another key does not wait");
    assert!(near.get(&2).into_future().is_ready());
    let removal = tokio::spawn(far.remove(&2).into_future());
    backup_holds(&backup, 2).await;
    let missing = near.get(&2).into_future();
    assert!(!missing.is_ready(), "that the key is gone is not committed either");
    assert!(!write.is_finished() && !remote_read.is_finished() && !removal.is_finished());

    backup.release();
    write.await.unwrap().unwrap();
    assert_eq!(removal.await.unwrap().unwrap(), Some(20));
    assert_eq!(local_read.await.unwrap(), Some(11));
    assert_eq!(remote_read.await.unwrap().unwrap(), Some(11));
    assert_eq!(missing.await.unwrap(), None);
    let (different, compared) = backup.differences();
    assert_eq!((different, compared), (vec![], 271));
    member.shutdown().await;
}

/// Waits for acknowledgements to be held without blocking the test's runtime.
async fn backup_holds(backup: &std::sync::Arc<grid_node::test_backup::TestBackup>, count: usize) {
    let backup = std::sync::Arc::clone(backup);
    tokio::task::spawn_blocking(move || backup.wait_for_held(count)).await.unwrap();
}

#[tokio::test]
async fn with_a_dead_backup_writes_may_have_been_applied_and_reads_were_not() {
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let client = client(&member).await;
    let (near, far) = (member.map::<u64, u64>("m"), client.map::<u64, u64>("m"));
    far.set(&1, &1).await.unwrap();
    backup.set(Acks::Dead);
    let short = Duration::from_millis(100);
    for error in [
        far.set(&1, &2).timeout(short).await.unwrap_err(),
        near.set(&1, &3).timeout(short).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::Maybe));
    }
    for error in [
        far.get(&1).timeout(short).await.unwrap_err(),
        near.get(&1).timeout(short).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::No));
    }
}

#[tokio::test]
async fn a_backup_that_is_far_behind_stops_writes_before_they_are_applied() {
    let (member, backup) = member_with_backup(Acks::Held).await;
    let map = member.map::<u64, Vec<u8>>("m");
    assert_eq!(map.size().await.unwrap(), 0, "the name is known from now on");
    let value = vec![7u8; 1 << 20];
    let mut waiting = Vec::new();
    let refused = loop {
        let write = map.set(&1, &value).into_future();
        if write.is_ready() {
            break write.await.unwrap_err();
        }
        waiting.push(write);
        assert!(waiting.len() < 100, "the ring has a bound");
    };
    assert_eq!((refused.kind(), refused.applied()), (Kind::Overloaded, Applied::No));
    assert!(refused.retry_after().is_some());
    backup.set(Acks::AtOnce);
    backup.release();
    for write in waiting {
        write.await.unwrap();
    }
    map.set(&1, &value).await.unwrap();
    assert_eq!(backup.differences().0, []);
}

#[tokio::test]
async fn subscribers_see_only_what_is_committed() {
    let (member, backup) = member_with_backup(Acks::Held).await;
    let client = client(&member).await;
    let mut near = member.topic::<u64>("t").subscribe().await.unwrap();
    let mut far = client.topic::<u64>("t").subscribe().await.unwrap();
    let publish = tokio::spawn(client.topic::<u64>("t").publish(&5).into_future());
    backup_holds(&backup, 1).await;
    assert_eq!(near.try_next().unwrap(), None);
    backup.release();
    publish.await.unwrap().unwrap();
    for subscription in [&mut near, &mut far] {
        let message = subscription.next().await.unwrap();
        assert!(matches!(message, Some(Message::Item { value: 5, .. })), "{message:?}");
    }
}
