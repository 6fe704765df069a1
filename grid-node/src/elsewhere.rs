//! Operations of this process on partitions that other members serve: an embedded member is a client of its
//! own cluster for them, with a session, retries and all.

use crate::shared::Shared;
use grid_client::Client;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{BoxFuture, Call, Invoke, Mailbox, Started, Token};
use grid_core::ids::{PartitionId, StructureId};
use grid_core::op::OpCode;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    shared: Weak<Shared>,
    way: Arc<Way>,
}

/// The client, once somebody has needed it.
struct Way {
    invoke: OnceLock<Arc<dyn Invoke>>,
    client: Mutex<Option<Client>>,
    connecting: Mutex<Option<watch::Receiver<bool>>>,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("connected", &self.invoke.get().is_some()).finish()
    }
}

/// A call that owns its operands.
struct Owned {
    code: OpCode,
    partition: PartitionId,
    structure: StructureId,
    body: Vec<u8>,
    read: grid_core::Read,
    timeout: Option<Duration>,
}

impl Elsewhere {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let way =
            Way { invoke: OnceLock::new(), client: Mutex::default(), connecting: Mutex::default() };
        Elsewhere { shared: Arc::downgrade(shared), way: Arc::new(way) }
    }

    fn shared(&self) -> Result<Arc<Shared>> {
        self.shared.upgrade().ok_or_else(|| Error::with(Kind::Closed, "the member was shut down"))
    }

    /// Starts an operation. A token is one of the client's, or one of the member's own slots.
    pub(crate) fn start(&self, call: &Call<'_>, reply: &mut Vec<u8>) -> Result<Sent> {
        if let Some(invoke) = self.way.invoke.get() {
            let call = Call { life: invoke.life(), ..*call };
            return match invoke.start(&call, reply) {
                Started::Ready(result) => result.map(|()| Sent::Done),
                Started::Waiting(token) => Ok(Sent::There(token)),
            };
        }
        let shared = self.shared()?;
        let timeout = call.timeout.unwrap_or(shared.settings.operation_timeout);
        let token = shared.slots.open(Instant::now() + timeout, call.code.writes());
        let owned = Owned {
            code: call.code,
            partition: call.partition,
            structure: call.structure,
            body: call.body.to_vec(),
            read: call.read,
            timeout: call.timeout,
        };
        let way = Arc::clone(&self.way);
        shared.agreed.spawn({
            let shared = Arc::clone(&shared);
            async move {
                let result = way.carry_out(&shared, owned).await;
                if let Some(waker) = shared.slots.complete(token, result) {
                    waker.wake();
                }
            }
        });
        Ok(Sent::Here(token))
    }

    pub(crate) fn poll(
        &self,
        token: Token,
        cx: &mut Context<'_>,
        reply: &mut Vec<u8>,
    ) -> Poll<Result<()>> {
        match self.way.invoke.get() {
            Some(invoke) => invoke.poll(token, cx, reply),
            None => Poll::Ready(Err(Error::new(Kind::Closed).maybe_applied())),
        }
    }

    pub(crate) fn forget(&self, token: Token) {
        if let Some(invoke) = self.way.invoke.get() {
            invoke.forget(token);
        }
    }

    pub(crate) fn subscribe(
        &self,
        structure: StructureId,
        partition: PartitionId,
        items_max: usize,
    ) -> BoxFuture<Result<Arc<Mailbox>>> {
        let (way, shared) = (Arc::clone(&self.way), self.shared());
        Box::pin(async move {
            let shared = shared?;
            let known = shared.agreed.read(|state| state.structure(structure).cloned());
            let unknown = || Error::with(Kind::UnknownStructure, format!("structure {structure}"));
            let known = known.ok_or_else(unknown)?;
            let agreed = Arc::clone(&shared);
            let work = async move { way.connected(&shared).await };
            let invoke = agreed.agreed.on_control(work).await?;
            let kind = known.config.kind();
            let structure = invoke.declare(&known.name, kind, None).await?;
            invoke.subscribe(structure, invoke.life(), partition, items_max).await
        })
    }

    /// Ends the client, if there is one.
    pub(crate) fn close(&self) {
        drop(self.way.client.lock().take());
    }
}

/// Where an operation has gone.
pub(crate) enum Sent {
    /// It is done.
    Done,
    /// To the client, under its token.
    There(Token),
    /// It waits in this member's slots.
    Here(Token),
}

impl Way {
    /// The client, connected by whoever needs it first. On the control thread.
    async fn connected(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<Arc<dyn Invoke>> {
        let mut done = {
            let mut connecting = self.connecting.lock();
            match &*connecting {
                Some(done) => done.clone(),
                None => {
                    let (tell, done) = watch::channel(false);
                    *connecting = Some(done.clone());
                    tokio::spawn(Arc::clone(self).connect(Arc::clone(shared), tell));
                    done
                }
            }
        };
        // An error means that it has failed; the next one tries again.
        let _ = done.wait_for(|done| *done).await;
        let failed = || Error::with(Kind::Disconnected, "the other members cannot be reached");
        self.invoke.get().map(Arc::clone).ok_or_else(failed)
    }

    async fn connect(self: Arc<Self>, shared: Arc<Shared>, tell: watch::Sender<bool>) {
        let own = shared.addresses.0;
        let ip =
            if own.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { own.ip() };
        let builder = Client::builder()
            .address(std::net::SocketAddr::new(ip, own.port()).to_string())
            .cluster(shared.settings.cluster.clone())
            .name(format!("member {}", shared.member))
            .operation_timeout(shared.settings.operation_timeout);
        match builder.connect().await {
            Ok(client) => {
                // Only this sets it.
                let _ = self.invoke.set(client.invoke());
                *self.client.lock() = Some(client);
                tell.send_replace(true);
            }
            Err(error) => {
                tracing::warn!(%error, "this member cannot connect to itself");
                *self.connecting.lock() = None;
            }
        }
    }

    async fn carry_out(self: &Arc<Self>, shared: &Arc<Shared>, owned: Owned) -> Result<Box<[u8]>> {
        let invoke = self.connected(shared).await?;
        let call = Call {
            code: owned.code,
            partition: owned.partition,
            structure: owned.structure,
            life: invoke.life(),
            body: &owned.body,
            read: owned.read,
            timeout: owned.timeout,
        };
        let mut reply = Vec::new();
        match invoke.start(&call, &mut reply) {
            Started::Ready(result) => result?,
            Started::Waiting(token) => poll_fn(|cx| invoke.poll(token, cx, &mut reply)).await?,
        }
        Ok(reply.into())
    }
}
