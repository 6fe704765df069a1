//! Helpers of the tests of the grid as a whole. The code in the README is tested here too.

pub mod proxy;
pub mod raw;

use grid_client::Client;
use grid_node::Member;
use grid_node::test_backup::{Acks, TestBackup};
use std::sync::Arc;

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
