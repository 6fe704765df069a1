//! How a client is made.

use crate::ask;
use crate::client::Client;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::control::{Control, ControlReply};
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
    /// Adds an address of a member, `HOST:PORT`: the client connects to any that answers, and learns the
    /// other members from it. A member is reached where it was reached before, or where it says that it is.
    /// Names are looked up anew at every attempt. Without any, the client tries `127.0.0.1:5701`.
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

    /// Deadline of operations that do not bring their own, 10 s unless set. Until then they are sent again,
    /// wherever their partition goes.
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

    /// Asks one member, the first address, one control message, and waits for the answer until the deadline
    /// of operations. It goes without a session, as an operator's does, so that it is answered where the
    /// cluster cannot agree on one. It is not sent again or elsewhere.
    ///
    /// # Errors
    /// What the member refuses it for; `Invalid` for an impossible address; `Disconnected` or `Timeout`,
    /// which say whether the message may have been acted on.
    pub async fn ask(self, message: Control) -> Result<ControlReply> {
        let builder = self.checked()?;
        ask::ask(&builder, &message).await
    }

    /// Connects.
    ///
    /// # Errors
    /// `WrongCluster`, `WrongVersion`, `Malformed` (the address serves something else) and `Invalid` at
    /// once; `Timeout` if no member could be reached in time.
    pub async fn connect(self) -> Result<Client> {
        Client::connect(self.checked()?).await
    }

    /// With an address, all of them possible.
    fn checked(mut self) -> Result<Self> {
        if self.addresses.is_empty() {
            self.addresses.push("127.0.0.1:5701".into());
        }
        if let Some(bad) = self.addresses.iter().find(|address| !has_port(address)) {
            return Err(Error::with(
                Kind::Invalid,
                format!("'{bad}' is no address of the form HOST:PORT"),
            ));
        }
        Ok(self)
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
