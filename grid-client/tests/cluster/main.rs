//! The client before a cluster whose members, tables and connections fail as the tests want it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod failover;
mod fake;
mod routing;
mod sessions;
mod subscriptions;
mod truth;

use fake::{Cluster, PARTITIONS};
use grid_client::{Builder, Client};
use grid_core::Error;
use grid_core::Result;
use grid_core::data::key_hash;
use grid_core::partitioning::partition_of;
use std::future::IntoFuture;
use std::time::Duration;

/// More than any test needs.
const LONG: Duration = Duration::from_secs(60);

fn builder(cluster: &Cluster) -> Builder {
    Client::builder()
        .address(cluster.address(0))
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .operation_timeout(LONG)
}

async fn client(cluster: &Cluster) -> Client {
    builder(cluster).connect().await.unwrap()
}

/// The `n`-th key of a partition.
fn key(partition: u16, n: usize) -> u64 {
    let mut all =
        (0u64..).filter(|k| partition_of(key_hash(k).unwrap(), PARTITIONS).0 == partition);
    all.nth(n).unwrap()
}

/// Starts operations together, and waits for all.
async fn all<T>(
    operations: impl IntoIterator<Item = impl IntoFuture<Output = Result<T>>>,
) -> Vec<T> {
    let started: Vec<_> = operations.into_iter().map(IntoFuture::into_future).collect();
    let mut results = Vec::new();
    for operation in started {
        results.push(operation.await.unwrap());
    }
    results
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG / 2, future).await.expect("it ends by itself")
}

fn refusal(kind: grid_core::Kind) -> Error {
    Error::with(kind, "by the test")
}
