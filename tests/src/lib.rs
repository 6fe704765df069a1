//! Helpers of the tests of the grid as a whole. The code in the README is tested here too.

pub mod proxy;
pub mod raw;

use grid_client::Client;
use grid_node::status::Status;
use grid_node::test_backup::{Acks, TestBackup};
use grid_node::{Builder, Member};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// A member on a free port.
///
/// # Panics
/// If it does not start.
pub async fn member() -> Member {
    Member::builder().cores(2).start().await.unwrap_or_else(|error| panic!("no member: {error}"))
}

/// A member with a second replica in the same process.
///
/// # Panics
/// If it does not start.
pub async fn member_with_backup(acks: Acks) -> (Member, Arc<TestBackup>) {
    let backup = TestBackup::new();
    let member = Member::builder().cores(2).test_backup(Arc::clone(&backup)).start().await;
    let member = member.unwrap_or_else(|error| panic!("no member: {error}"));
    backup.set(acks);
    (member, backup)
}

/// A client of this member.
///
/// # Panics
/// If it does not connect.
pub async fn client(member: &Member) -> Client {
    let address = member.address().to_string();
    let client = Client::builder().address(address).connect().await;
    client.unwrap_or_else(|error| panic!("no client: {error}"))
}

/// A cluster of so many members in this process, once every partition has all its replicas where they
/// should be. The first one forms it, the others join it.
///
/// # Panics
/// If they do not start.
pub async fn cluster(count: usize) -> Vec<Member> {
    cluster_with(count, |builder| builder).await
}

/// As [`cluster`], with settings of their own.
///
/// # Panics
/// If they do not start.
pub async fn cluster_with(count: usize, set: impl Fn(Builder) -> Builder) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..count {
        members.push(join(members.first(), &set).await);
    }
    for member in &members {
        until(member, "a whole cluster", |status| is_whole(status, count)).await;
    }
    members
}

/// A member that joins the cluster of another one, or forms one.
///
/// # Panics
/// If it does not start.
pub async fn join(first: Option<&Member>, set: impl Fn(Builder) -> Builder) -> Member {
    let builder =
        set(Member::builder().cores(1).memory_budget(64 << 20).set("cluster.partitions", 31));
    let builder = builder.join(first.map(Member::address));
    builder.start().await.unwrap_or_else(|error| panic!("no member: {error}"))
}

/// Whether so many members answer, and every partition is as it should be.
#[must_use]
pub fn is_whole(status: &Status, count: usize) -> bool {
    let alive = status.cluster.members.iter().filter(|member| member.silent_ms.is_none());
    let voters = if count < 3 { 1 } else { 3 };
    alive.count() == count
        && status.partitions.full == status.partitions.count
        && status.cluster.log.voters.len() == voters
}

/// Waits until a member sees the cluster as wanted.
///
/// # Panics
/// If that takes longer than anything does on a busy machine.
pub async fn until(member: &Member, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        look.tick().await;
        let status = member.status();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what} never came about:\n{status}");
    }
}

/// Waits until every member knows so many structures: the name was used through another one.
pub async fn known(members: &[Member], structures: usize) {
    for member in members {
        until(member, "the structure", |status| status.structures.len() >= structures).await;
    }
}
