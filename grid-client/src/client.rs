//! The client.

use crate::builder::Builder;
use crate::driver;
use crate::invoke::Remote;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::{ClusterEvents, Grid, Invoke};
use grid_core::wire::control::{Control, ControlReply};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A thin client of a grid. It derefs to the [`Grid`] that programs work with. Dropping it fails what is
/// under way and leaves the cluster; [`Client::shutdown`] waits until the session has ended there.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    grid: Grid,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// A client of the cluster `dev` at `127.0.0.1:5701`, unless told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn connect(builder: Builder) -> Result<Self> {
        let (ready, connected) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("grid-client".into())
            .spawn(move || driver::run(builder, ready))
            .map_err(|error| Error::with(Kind::Io, error.to_string()))?;
        let ended = |_| Error::with(Kind::Internal, "the client's thread has ended");
        let shared = connected.await.map_err(ended)??;
        let grid = Grid::new(Arc::new(Remote(Arc::clone(&shared))));
        Ok(Client { shared, grid, thread: Some(thread) })
    }

    /// The grid, to be cloned and kept.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid.clone()
    }

    /// What the handles of this client work with.
    #[must_use]
    pub fn invoke(&self) -> Arc<dyn Invoke> {
        Arc::new(Remote(Arc::clone(&self.shared)))
    }

    /// What a member says of itself and its cluster: one JSON object.
    ///
    /// # Errors
    /// `Timeout`, `Disconnected`, `Closed`.
    pub async fn status(&self) -> Result<String> {
        match self.shared.call(Control::Status, None).await? {
            ControlReply::Status(json) => Ok(json),
            other => Err(Error::with(Kind::Malformed, format!("the member answered {other:?}"))),
        }
    }

    /// What happens to the cluster from now on: who joins and leaves, which data is lost. The members that are
    /// there come first. While somebody listens, the client asks for the table once a second; it learns sooner
    /// of what gets in the way of its operations.
    ///
    /// ```no_run
    /// # async fn example(client: grid_client::Client) {
    /// use grid_core::ClusterEvent;
    /// let mut events = client.listen();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         ClusterEvent::Joined { address, .. } => println!("{address} is there"),
    ///         ClusterEvent::PartitionsLost(lost) => println!("{} partitions are lost", lost.len()),
    ///         ClusterEvent::Gap { missed } => println!("too slow for {missed} events"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn listen(&self) -> ClusterEvents {
        let events = self.shared.state.lock().feed.listen(None);
        self.shared.alarm.notify_one();
        events
    }

    /// Operations of this client without an answer.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.state.lock().requests.open()
    }

    /// Ends the session with all it holds, then the client. Operations that are under way fail. Members that
    /// do not answer are waited for only as long as one attempt of an operation takes.
    pub async fn shutdown(mut self) {
        if let Err(error) = self.shared.leave().await {
            tracing::debug!(%error, "the session ends by its timeout");
        }
        self.end();
    }

    fn end(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the client's thread has panicked");
        }
    }
}

impl std::ops::Deref for Client {
    type Target = Grid;

    fn deref(&self) -> &Grid {
        &self.grid
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// What the client's thread hands over once it is connected.
pub(crate) type Ready = oneshot::Sender<Result<Arc<Shared>>>;
