//! How a client is made.

use crate::client::Client;
use grid_core::error::{Error, Kind, Result};
use std::time::Duration;

/// Builds a [`Client`].
#[derive(Clone, Debug)]
#[must_use = "a client connects with `connect`"]
pub struct Builder {
    pub(crate) addresses: Vec<String>,
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) backoff: (Duration, Duration),
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            addresses: Vec::new(),
            cluster: "dev".into(),
            name: format!("client-{}", std::process::id()),
            connect_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(20), Duration::from_secs(2)),
        }
    }
}

impl Builder {
    /// Adds an address of a member, `HOST:PORT`. Names are looked up anew at every attempt. Without any,
    /// the client tries `127.0.0.1:5701`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Name of the cluster, `dev` unless set. Members of another one refuse the client.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Name of this client in logs and lists of the members.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long [`Builder::connect`] tries before it gives up, 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Deadline of operations that do not bring their own, 10 s unless set. Until then a lost connection
    /// is replaced and the operation sent again.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// A member that sends nothing for this long, heartbeats included, is taken for dead: 10 s unless set.
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Self {
        self.heartbeat_timeout = timeout;
        self
    }

    /// Shortest and longest pause between attempts to connect, 20 ms and 2 s unless set.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = (first, most);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// `WrongCluster`, `WrongVersion`, `Malformed` (the address serves something else) and `Invalid` at
    /// once; `Timeout` if no member could be reached in time.
    pub async fn connect(mut self) -> Result<Client> {
        if self.addresses.is_empty() {
            self.addresses.push("127.0.0.1:5701".into());
        }
        if let Some(bad) = self.addresses.iter().find(|address| !has_port(address)) {
            return Err(Error::with(
                Kind::Invalid,
                format!("'{bad}' is no address of the form HOST:PORT"),
            ));
        }
        Client::connect(self).await
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
