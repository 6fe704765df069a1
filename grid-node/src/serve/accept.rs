//! Accepting connections: the control thread reads who it is, and hands clients and data connections of
//! members to the cores in turn. Control connections stay.

use super::handshake::{self, Stranger};
use super::{connection, operator, table};
use crate::cores::Task;
use crate::links;
use crate::observe::Lookout;
use crate::shared::Shared;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::hello::{
    Answer, MemberAnswer, MemberHello, MemberWelcome, PeerKind, Plane as Carries, Welcome,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Connections that have not said yet who they are.
const STRANGERS_MAX: usize = 4096;

/// Accepts until the future is dropped.
pub(crate) struct Acceptor {
    pub(crate) lookout: Arc<Lookout>,
    pub(crate) cores: Vec<mpsc::Sender<Task>>,
    pub(crate) next: AtomicUsize,
}

impl Acceptor {
    /// Runs until the future is dropped.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(STRANGERS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for connections to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if self.lookout.plane.shared().is_some_and(|shared| shared.is_draining()) {
                continue;
            }
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let from = stream.peer_addr().map_or_else(|_| "?".to_owned(), |a| a.to_string());
                let welcomed = this.welcome(stream, permit).await;
                if let Err(error) = welcomed {
                    if let Some(shared) = this.lookout.plane.shared() {
                        shared.counters.offenders.add(1);
                    }
                    tracing::warn!(%from, %error, "connection refused");
                }
            });
        }
    }

    async fn welcome(
        &self,
        stream: TcpStream,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<()> {
        let io = |error: std::io::Error| Error::with(Kind::Io, error.to_string());
        stream.set_nodelay(true).map_err(io)?;
        let timeout = self.lookout.settings.handshake_timeout;
        let stranger = tokio::time::timeout(timeout, handshake::read(stream)).await;
        let late = |_| Error::with(Kind::Timeout, format!("no hello within {timeout:?}"));
        let stranger = stranger.map_err(late)??;
        drop(permit);
        match stranger.hello.kind.clone() {
            PeerKind::Member(member) if member.plane == Carries::Control => {
                let Stranger { stream, hello, rest } = stranger;
                Arc::clone(&self.lookout.node).serve(stream, hello, rest).await
            }
            PeerKind::Member(member) => self.welcome_member(stranger, &member).await,
            PeerKind::Client => self.welcome_client(stranger).await,
            PeerKind::Operator => self.welcome_operator(stranger).await,
        }
    }

    async fn welcome_member(&self, mut stranger: Stranger, member: &MemberHello) -> Result<()> {
        let admitted = self.lookout.node.admit_member(&stranger.hello.cluster, &member.config);
        let result = admitted.and_then(|()| self.lookout.shared()).and_then(|shared| {
            let known = |id| shared.agreed.read(|state| state.members().contains_key(&id));
            let id = member.member.filter(|id| known(*id));
            let unknown =
                || Error::with(Kind::NotServing, "this member has not heard of the caller yet");
            Ok((shared, id.ok_or_else(unknown)?))
        });
        let answer = match &result {
            Ok((shared, _)) => MemberAnswer::Welcome(MemberWelcome {
                node: self.lookout.node.node(),
                member: Some(shared.member),
            }),
            Err(error) => MemberAnswer::Refused {
                kind: error.kind(),
                detail: error.detail().unwrap_or_default().to_owned(),
            },
        };
        stranger.answer(&answer).await?;
        let (shared, from) = match result {
            Ok(known) => known,
            Err(error) if error.kind() == Kind::NotServing => return Ok(()),
            Err(error) => return Err(error),
        };
        let (stream, rest) = stranger.into_std()?;
        let task = async move {
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            if let Err(error) = links::serve(shared, from, stream, rest).await {
                tracing::debug!(%from, %error, "a data connection ended");
            }
        };
        self.hand_over(Box::pin(task)).await
    }

    async fn welcome_client(&self, mut stranger: Stranger) -> Result<()> {
        let result = self.admit_client(&stranger).await;
        let (answer, result) = match result {
            Ok((shared, pass, welcome)) => (Answer::Welcome(welcome), Ok((shared, pass))),
            Err(error) => {
                let detail = error.detail().unwrap_or_default().to_owned();
                (Answer::Refused { kind: error.kind(), detail }, Err(error))
            }
        };
        let told = stranger.answer(&answer).await;
        let (shared, pass) = result?;
        told?;
        let name = stranger.hello.name.clone();
        let (stream, rest) = stranger.into_std()?;
        shared.counters.connections.add(1);
        let task = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    connection::serve(Arc::clone(&shared), pass, &name, stream, rest).await;
                }
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
            shared.counters.connections.add(-1);
        };
        self.hand_over(Box::pin(task)).await
    }

    async fn welcome_operator(&self, mut stranger: Stranger) -> Result<()> {
        match self.check_cluster(&stranger) {
            Ok(()) => operator::serve(Arc::clone(&self.lookout), stranger).await,
            Err(error) => {
                let detail = error.detail().unwrap_or_default().to_owned();
                stranger.answer(&Answer::Refused { kind: error.kind(), detail }).await?;
                Err(error)
            }
        }
    }

    fn check_cluster(&self, stranger: &Stranger) -> Result<()> {
        let (own, asked) = (&self.lookout.settings.cluster, &stranger.hello.cluster);
        if asked == own {
            return Ok(());
        }
        let asked: String = asked.chars().take(255).collect();
        let text = format!("this is cluster '{own}', the caller asked for '{asked}'");
        Err(Error::with(Kind::WrongCluster, text))
    }

    async fn admit_client(
        &self,
        stranger: &Stranger,
    ) -> Result<(Arc<Shared>, crate::sessions::Pass, Welcome)> {
        self.check_cluster(stranger)?;
        let shared = self.lookout.shared()?;
        shared.counters.accepted.add(1);
        let max = self.lookout.settings.connections_max as u64;
        if shared.counters.connections.get() >= max {
            let text = format!("{max} connections are the most (limits.connections-max)");
            return Err(Error::with(Kind::Overloaded, text));
        }
        let pass = handshake::admit(&shared, &stranger.hello).await?;
        let welcome = table::welcome(&shared, &stranger.hello, pass.id(), stranger.reached())?;
        Ok((shared, pass, welcome))
    }

    async fn hand_over(&self, task: Task) -> Result<()> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.cores.len().max(1);
        let closed = || Error::with(Kind::Closed, "the member was shut down");
        let core = self.cores.get(at).ok_or_else(closed)?;
        core.send(task).await.map_err(|_| closed())
    }
}
