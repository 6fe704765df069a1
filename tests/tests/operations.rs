//! What an operator sees and does, with whole members.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_client::Client;
use grid_core::Map;
use grid_core::wire::control::{Control, ControlReply};
use grid_node::Member;
use grid_node::status::{LogRole, PartitionState, Status};
use grid_tests::{cluster, cluster_with, is_whole, known, until};
use std::future::IntoFuture;
use std::time::Duration;

/// A client of a member, and a map with a hundred entries.
async fn filled(member: &Member) -> (Client, Map<u32, u32>) {
    let client = grid_tests::client(member).await;
    let map = client.map::<u32, u32>("m");
    for n in 0..100 {
        map.set(&n, &n).await.unwrap();
    }
    (client, map)
}

async fn ask(address: &str) -> grid_core::Result<Status> {
    match Client::builder().address(address).ask(Control::Status).await? {
        ControlReply::Status(json) => Ok(serde_json::from_str(&json).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_tells_of_all_and_of_one_that_is_gone() {
    let mut members = cluster(3).await;
    let (_client, _map) = filled(&members[0]).await;
    for member in &members {
        let all = |status: &Status| {
            status.structures.first().is_some_and(|m| m.cluster_entries == Some(100))
        };
        let status = until(member, "all entries", all).await;
        assert!((1..100).contains(&status.structures[0].entries), "{status}");
        let status = ask(&member.address().to_string()).await.unwrap();
        assert_eq!(status.cluster.members.len(), 3);
        assert_eq!(status.member.id, member.id().0);
        assert!(status.waiting.is_none() && status.dangers.is_empty(), "{status}");
        let sum = |of: fn(&grid_node::status::PeerStatus) -> u64| {
            status.cluster.members.iter().map(of).sum::<u64>()
        };
        assert_eq!((sum(|m| m.primary), sum(|m| m.backup)), (31, 31), "{status}");
        let leaders = status.cluster.members.iter().filter(|m| m.log == LogRole::Leader);
        assert_eq!(leaders.count(), 1, "{status}");
        assert_eq!((status.cluster.log.voters.len(), status.cluster.log.quorum), (3, true));
        assert!(status.cluster.members.iter().all(|m| m.version.is_some()));
    }
    let gone = members.remove(1);
    let id = gone.id().0;
    drop(gone); // as one that is killed: it tells nobody
    let silent = |status: &Status| {
        let peer = status.cluster.members.iter().find(|member| member.id == id);
        peer.is_some_and(|peer| peer.silent_ms.is_some() && peer.primary == 0)
    };
    let status = until(&members[0], "the other one's silence", silent).await;
    let text = status.to_string();
    assert!(text.contains("SILENT"), "{text}");
    assert!(status.dangers.iter().any(|d| d.contains("has not answered for")), "{text}");
    assert!(status.dangers.iter().any(|d| d.contains("2 of 3 voters answer")), "{text}");
    for member in &members {
        let whole = |status: &Status| status.partitions.full == 31;
        until(member, "all partitions twice again", whole).await;
    }
    let taken: u64 = members.iter().map(|m| m.status().totals.roles.takeovers).sum();
    assert!(taken > 0, "somebody took over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_is_degraded_and_says_why_it_is_not_safe() {
    let member = grid_tests::join(None, |builder| builder).await;
    let status = member.status();
    assert_eq!((status.partitions.degraded, status.partitions.full), (31, 0));
    assert_eq!(status.partitions.not_full.len(), 31);
    assert_eq!(status.partitions.not_full[0].state, PartitionState::Degraded);
    assert!(status.dangers[0].contains("stopping it loses the data"), "{status}");
    // Without backups it is as it should be.
    let single = grid_tests::join(None, |builder| builder.set("cluster.sync-backups", 0)).await;
    assert!(is_whole(&single.status(), 1), "{}", single.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_members_say_so_and_serve_what_they_have() {
    // Three of five vote: without two of those, the others have all replicas of some partitions.
    let members = cluster(5).await;
    let voters = members[0].status().cluster.log.voters;
    let votes = |member: &Member| voters.contains(&member.address().to_string());
    let (voting, mut rest): (Vec<Member>, Vec<Member>) = members.into_iter().partition(votes);
    let client = grid_tests::client(&rest[0]).await;
    let map = client.map::<u32, u32>("m");
    let _ = map.size().await; // from now on the name is agreed on
    known(&voting, 1).await;
    known(&rest, 1).await;
    for n in 0..60 {
        map.set(&n, &n).await.unwrap();
    }
    let mut voting = voting.into_iter();
    rest.extend(voting.next());
    voting.for_each(drop);
    for member in &rest {
        let status = until(member, "no quorum", |status| !status.cluster.log.quorum).await;
        assert!(status.to_string().starts_with("NO QUORUM"), "{status}");
        assert!(status.dangers[0].contains("no quorum"), "{status}");
    }
    // An operator is answered; a new client is told.
    let address = rest[0].address().to_string();
    assert!(!ask(&address).await.unwrap().cluster.log.quorum);
    let refused = Client::builder().address(address).connect().await.unwrap_err();
    assert_eq!(refused.kind(), grid_core::Kind::NoQuorum, "{refused}");
    // Clients that are there go on wherever all replicas are.
    let patience = Duration::from_secs(3);
    let reads: Vec<_> =
        (0..60).map(|n| tokio::spawn(map.get(&n).timeout(patience).into_future())).collect();
    let mut answered = 0;
    for (n, read) in (0..).zip(reads) {
        answered += u32::from(read.await.unwrap() == Ok(Some(n)));
    }
    assert!(answered > 0, "{}", rest[0].status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_waits_for_others_says_for_whom() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = own.local_addr().unwrap().to_string();
    drop(own);
    let builder = Member::builder().cores(1).bind(&address).set("join", &absent);
    let starting = tokio::spawn(builder.start());
    let status = loop {
        match ask(&address).await {
            Ok(status) if status.waiting.as_ref().is_some_and(|w| w.contains(&absent)) => {
                break status;
            }
            _ => assert!(!starting.is_finished()),
        }
    };
    assert!(status.to_string().starts_with("WAITING     for an answer of"), "{status}");
    assert_eq!((status.member.id, status.cluster.log.quorum), (0, true), "no false alarm");
    let refused = Client::builder()
        .address(address)
        .connect_timeout(Duration::from_millis(300))
        .connect()
        .await;
    assert!(refused.unwrap_err().to_string().contains("it waits for an answer of"));
    starting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stops_in_order_is_succeeded_without_waiting_for_its_lease() {
    // Longer than the operations below wait.
    let mut members = cluster_with(3, |builder| builder.set("cluster.lease", "5s")).await;
    let hasty = Duration::from_secs(3);
    let (_client, map) = filled(&members[1]).await;
    let leaving = members.remove(0);
    let id = leaving.id().0;
    assert_eq!(leaving.shutdown().await, []);
    for n in 0..100 {
        assert_eq!(map.get(&n).timeout(hasty).await.unwrap(), Some(n));
        map.set(&n, &(n + 1)).timeout(hasty).await.unwrap();
    }
    for member in &members {
        let gone = |status: &Status| {
            let named = status.cluster.members.iter().any(|member| member.id == id);
            !named && status.cluster.log.voters.len() == 1 && status.partitions.full == 31
        };
        until(member, "two that go on without it", gone).await;
    }
    // The next one, and then the last: with that the data ends.
    assert_eq!(members.remove(0).shutdown().await, []);
    assert_eq!(map.size().await.unwrap(), 100);
    assert_eq!(members.remove(0).shutdown().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_leaving_member_has_is_copied_first_or_named() {
    let alone = |timeout: &'static str| {
        move |b: grid_node::Builder| {
            b.set("cluster.sync-backups", 0).set("limits.leave-timeout", timeout)
        }
    };
    let mut members = cluster_with(2, alone("60s")).await;
    let (_client, map) = filled(&members[1]).await;
    assert_eq!(members.remove(0).shutdown().await, []);
    for n in 0..100 {
        assert_eq!(map.get(&n).await.unwrap(), Some(n));
    }

    let mut members = cluster_with(2, alone("0s")).await;
    let even = |s: &Status| (10..20).contains(&s.partitions.primary) && s.partitions.full == 31;
    until(&members[0], "an even share", even).await;
    let lost = members.remove(0).shutdown().await;
    let count = lost.len() as u64;
    assert!(count > 0);
    let status = until(&members[0], "the loss", |status| status.partitions.lost == count).await;
    let first = lost[0].0;
    let row = status.partitions.not_full.iter().find(|row| row.partition == first).unwrap();
    assert_eq!((row.state, row.in_sync.len()), (PartitionState::Lost, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_is_refused_with_both_values() {
    let first = grid_tests::join(None, |builder| builder).await;
    let cases: [(&str, &str, &[&str]); 5] = [
        ("cluster.name", "other", &["'dev'", "'other'"]),
        ("cluster.partitions", "30", &["partitions: 31 here, 30 there"]),
        ("cluster.sync-backups", "2", &["sync backups: 1 here, 2 there"]),
        ("cluster.async-backups", "1", &["async backups: 0 here, 1 there"]),
        ("cluster.lease", "800ms", &["lease in milliseconds: 400 here, 800 there"]),
    ];
    for (key, value, told) in cases {
        let builder = Member::builder().cores(1).set("cluster.partitions", 31);
        let refused = builder.set(key, value).set("join", first.address()).start().await;
        let text = refused.unwrap_err().to_string();
        assert!(told.iter().all(|part| text.contains(part)), "{key}: {text}");
    }
    assert_eq!(first.status().cluster.members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_a_member_whose_address_leads_nowhere() {
    let first = grid_tests::join(None, |builder| builder.bind("0.0.0.0:0")).await;
    let port = first.address().port();
    let builder = Member::builder().cores(1).set("cluster.partitions", 31);
    let joining = builder.set("join", format!("127.0.0.1:{port}")).start().await;
    let text = joining.unwrap_err().to_string();
    assert!(text.contains("it needs `advertise`"), "{text}");
    // By itself it serves those who find it.
    let client = Client::builder().address(format!("127.0.0.1:{port}")).connect().await.unwrap();
    client.map::<u32, u32>("m").set(&1, &1).await.unwrap();
}
