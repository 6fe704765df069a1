//! A TCP proxy that cuts connections where a test wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Forwards connections to a member. Every so many chunks of answers it drops one and resets the
/// connection: the request was executed, its answer is lost.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    refusing: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

struct Plan {
    to: SocketAddr,
    /// Cut at each chunk of answers whose number is a multiple of this; 0: never.
    every: u64,
    chunks: AtomicU64,
    cuts: Arc<AtomicU64>,
    refusing: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy before `to` that cuts at every `every`-th chunk of answers (0: never).
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start(to: SocketAddr, every: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|e| panic!("{e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("{e}"));
        let (cuts, refusing) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let plan = Plan {
            to,
            every,
            chunks: AtomicU64::new(0),
            cuts: Arc::clone(&cuts),
            refusing: Arc::clone(&refusing),
        };
        let plan = Arc::new(plan);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let plan = Arc::clone(&plan);
                tokio::spawn(async move { forward(stream, &plan).await });
            }
        });
        Proxy { address, cuts, refusing, task }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were cut with an answer under way.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// From now on every answer is lost and nobody gets in.
    pub fn refuse(&self) {
        self.refusing.store(true, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, plan: &Plan) -> Option<()> {
    if plan.refusing.load(Ordering::Acquire) {
        return None;
    }
    let member = TcpStream::connect(plan.to).await.ok()?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_member, mut to_member) = member.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_member).await });
    let mut chunk = vec![0; 64 << 10];
    // The first chunk is the answer to the handshake.
    let mut first = true;
    loop {
        let n = from_member.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        let number = plan.chunks.fetch_add(u64::from(!first), Ordering::AcqRel) + 1;
        let cut = plan.every > 0 && number.is_multiple_of(plan.every);
        if !first && (cut || plan.refusing.load(Ordering::Acquire)) {
            plan.cuts.fetch_add(1, Ordering::AcqRel);
            up.abort();
            return None;
        }
        first = false;
        to_client.write_all(&chunk[..n]).await.ok()?;
    }
}
