//! Accepting connections and handing them to the cores in turn.

use crate::shared::Shared;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Connections accepted for a core that it has not taken yet.
pub(crate) const HANDOVER_MAX: usize = 1024;

/// Accepts until the member drains.
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: TcpListener,
    pub(crate) cores: Vec<mpsc::Sender<TcpStream>>,
}

impl Acceptor {
    /// Runs until the future is dropped.
    pub(crate) async fn run(self) {
        let mut next = 0usize;
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for connections to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let counters = &self.shared.counters;
            counters.accepted.add(1);
            let max = self.shared.settings.connections_max as u64;
            if self.shared.is_draining() {
                continue;
            }
            if counters.connections.get() >= max {
                tracing::warn!(max, "a connection was refused: limits.connections-max");
                counters.offenders.add(1);
                continue;
            }
            let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
            let (Ok(stream), Some(core)) = (stream, self.cores.get(next % self.cores.len())) else {
                continue;
            };
            next = next.wrapping_add(1);
            counters.connections.add(1);
            if core.send(stream).await.is_err() {
                return;
            }
        }
    }
}
