//! Orders of an operator that give something up, with whole members.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_client::Client;
use grid_core::ids::{MemberId, PartitionId};
use grid_core::wire::control::{AdminCommand, Control, ControlReply};
use grid_core::{ClusterEvent, Kind, Result};
use grid_node::Member;
use grid_node::status::Status;
use grid_tests::{client, cluster, cluster_with, join, known, until};
use std::time::Duration;

async fn order(member: &Member, order: AdminCommand) -> Result<ControlReply> {
    let operator = Client::builder().address(member.address().to_string());
    operator.operation_timeout(Duration::from_secs(60)).ask(Control::Admin(order)).await
}

async fn refused(member: &Member, what: AdminCommand) -> String {
    let error = order(member, what).await.unwrap_err();
    assert_eq!(error.applied(), grid_core::Applied::No, "{error}");
    error.to_string()
}

fn reset(partition: u16, from_last_removed: bool) -> AdminCommand {
    AdminCommand::ResetLost { partition: PartitionId(partition), from_last_removed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_partitions_answer_again_only_by_order_and_structures_that_are_older_by_another() {
    // Without backups, the end of a member is a loss.
    let mut members = cluster_with(3, |b| b.set("cluster.sync-backups", 0)).await;
    let even = |status: &Status| (6..16).contains(&status.partitions.primary);
    for member in &members {
        until(member, "an even share", even).await;
    }
    let dead = members.remove(2);
    let id = dead.id();
    let (stays, other) = (&members[0], &members[1]);
    let client = client(stays).await;
    let map = client.map::<u32, u32>("old");
    let _ = map.size().await;
    known(&members, 1).await;
    until(&dead, "the structure", |status| status.structures.len() == 1).await;
    for n in 0..200 {
        map.set(&n, &n).await.unwrap();
    }
    assert!(refused(stays, reset(0, false)).await.contains("partition 0 is not lost"));
    assert!(refused(stays, reset(31, false)).await.contains("there is no partition 31"));
    let unknown = AdminCommand::RemoveMember { member: MemberId(9999) };
    assert!(refused(stays, unknown).await.contains("there is no member 9999"));
    let unknown = AdminCommand::AcceptLoss { name: "new".into() };
    assert!(refused(stays, unknown).await.contains("'new'"));
    let living = AdminCommand::RemoveMember { member: other.id() };
    assert!(refused(stays, living).await.contains("still answers"));

    drop(dead);
    // It may come back, so nothing is lost until somebody says that it will not.
    let orphaned = |status: &Status| status.partitions.without_primary > 0;
    until(stays, "partitions without a primary", orphaned).await;
    order(stays, AdminCommand::RemoveMember { member: id }).await.unwrap();
    let lost = |s: &Status| s.partitions.lost > 0 && s.partitions.without_primary == 0;
    let status = until(stays, "the loss", lost).await;
    assert!(status.cluster.members.iter().all(|member| member.id != id.0));
    let short = Duration::from_secs(2);
    let mut gone = Vec::new();
    for n in 0..200 {
        match map.get(&n).timeout(short).await {
            Ok(value) => assert_eq!(value, Some(n)),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Lost, "{error}");
                gone.push(n);
            }
        }
    }
    assert!(!gone.is_empty());

    for row in &status.partitions.not_full {
        // Where a member that lives had it before the dead one, that one's data is what is left.
        if let Err(error) = order(stays, reset(row.partition, true)).await {
            assert!(error.to_string().contains("is gone too"), "{error}");
            order(other, reset(row.partition, false)).await.unwrap();
        }
    }
    until(stays, "owners of all", |status| status.partitions.lost == 0).await;
    assert_eq!(map.get(&gone[0]).await.unwrap_err().kind(), Kind::Lost, "older than the loss");
    let new = client.map::<u32, u32>("new");
    let _ = new.size().await;
    known(&members, 2).await;
    new.set(&gone[0], &1).await.unwrap();
    order(stays, AdminCommand::AcceptLoss { name: "old".into() }).await.unwrap();
    for n in 0..200 {
        let wanted = if gone.contains(&n) { None } else { Some(n) };
        assert_eq!(settled(&map, n).await, wanted, "{n}");
    }
}

/// What a key has, once every member has heard of the order.
async fn settled(map: &grid_core::Map<u32, u32>, key: u32) -> Option<u32> {
    for _ in 0..1000 {
        match map.get(&key).await {
            Ok(value) => return value,
            Err(error) => assert_eq!(error.kind(), Kind::Lost, "{error}"),
        }
    }
    panic!("it stays lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_that_is_gone_is_given_up_by_order_only_without_it() {
    let mut members = cluster_with(3, |b| b.set("cluster.sync-backups", 2)).await;
    let survivor = members.remove(1);
    let map = client(&survivor).await;
    let map = map.map::<u32, u32>("m");
    let _ = map.size().await;
    known(&members, 1).await;
    until(&survivor, "the structure", |status| status.structures.len() == 1).await;
    for n in 0..100 {
        map.set(&n, &n).await.unwrap();
    }
    let force = || order(&survivor, AdminCommand::ForceNewCluster);
    let text = force().await.unwrap_err().to_string();
    assert!(text.contains("the cluster has a quorum: nothing may be forced"), "{text}");
    let dead: Vec<MemberId> = members.iter().map(Member::id).collect();
    members.into_iter().for_each(drop);
    until(&survivor, "no quorum", |status| !status.cluster.log.quorum).await;
    force().await.unwrap();
    until(&survivor, "a quorum of one", |status| {
        status.cluster.log.quorum && status.cluster.log.voters.len() == 1
    })
    .await;
    for member in dead {
        order(&survivor, AdminCommand::RemoveMember { member }).await.unwrap();
    }
    let serves = |status: &Status| status.partitions.without_primary + status.partitions.lost == 0;
    until(&survivor, "all partitions", serves).await;
    // A new client: the other one's session went on, its connection may still be sought.
    let map = client(&survivor).await;
    let map = map.map::<u32, u32>("m");
    for n in 0..100 {
        assert_eq!(map.get(&n).await.unwrap(), Some(n), "nothing that was acknowledged is lost");
    }
    let second = join(Some(&survivor), |b| b.set("cluster.sync-backups", 2)).await;
    let two = |s: &Status| {
        s.cluster.members.len() == 2 && s.partitions.primary + s.partitions.backup == 31
    };
    until(&second, "two replicas", two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_that_is_removed_is_not_waited_for() {
    let mut members = cluster(3).await;
    let dead = members.remove(2);
    let id = dead.id();
    drop(dead);
    let silent = |status: &Status| {
        status.cluster.members.iter().any(|m| m.id == id.0 && m.silent_ms.is_some())
    };
    until(&members[0], "its silence", silent).await;
    order(&members[1], AdminCommand::RemoveMember { member: id }).await.unwrap();
    let gone = |s: &Status| s.cluster.members.len() == 2 && s.partitions.full == 31;
    until(&members[0], "two whole members", gone).await;
    let again = refused(&members[0], AdminCommand::RemoveMember { member: id }).await;
    assert!(again.contains("there is no member"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_clients_hear_of_who_comes_and_goes_and_of_what_is_lost() {
    let hasty =
        |b: grid_node::Builder| b.set("cluster.sync-backups", 0).set("limits.leave-timeout", "0s");
    let first = join(None, hasty).await;
    let client = client(&first).await;
    let second = join(Some(&first), hasty).await;
    let even = |s: &Status| (10..20).contains(&s.partitions.primary) && s.partitions.full == 31;
    until(&first, "an even share", even).await;
    let (mut near, mut far) = (first.listen(), client.listen());
    let id = second.id();
    let lost = second.shutdown().await;
    assert!(!lost.is_empty());
    for events in [&mut near, &mut far] {
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(ClusterEvent::PartitionsLost(_))) {
            seen.push(events.next().await.unwrap());
        }
        // A client hears of it later, and perhaps of all at once.
        let is = |event: &ClusterEvent, id: MemberId, joined: bool| match event {
            ClusterEvent::Joined { member, .. } => joined && *member == id,
            ClusterEvent::Left { member, .. } => !joined && *member == id,
            _ => false,
        };
        assert!(seen.iter().any(|event| is(event, first.id(), true)), "{seen:?}");
        assert_eq!(
            seen.iter().any(|event| is(event, id, true)),
            seen.iter().any(|event| is(event, id, false)),
            "{seen:?}"
        );
        assert_eq!(seen.last(), Some(&ClusterEvent::PartitionsLost(lost.clone())), "{seen:?}");
    }
    order(&first, reset(lost[0].0, false)).await.unwrap();
    let recovered = Some(ClusterEvent::PartitionsRecovered(vec![lost[0]]));
    assert_eq!(near.next().await, recovered);
    assert_eq!(far.next().await, recovered);
    client.shutdown().await;
    assert_eq!(far.next().await, None);
    first.shutdown().await;
    assert_eq!(near.next().await, None);
}
