//! Helpers of the tests of the grid as a whole.

use grid_client::Client;
use grid_node::Member;

/// A member on a free port.
///
/// # Panics
/// If it does not start.
pub async fn member() -> Member {
    Member::builder().cores(2).start().await.unwrap_or_else(|error| panic!("no member: {error}"))
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
