//! The proxy over real sockets where connections matter, over pipes and paused time where time does.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

/// An echo server behind a proxy.
struct Echo {
    proxy: Proxy,
    at: SocketAddr,
    server: JoinHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = front.local_addr().unwrap();
        Echo { proxy: Proxy::start(front, to, Rng::new(1)), at, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    fn set(&self, direction: Direction, trouble: Trouble) {
        self.proxy.handle.set(direction, trouble);
    }
}

async fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_reset(result: std::io::Result<String>) -> bool {
    result.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn without_trouble_all_bytes_and_the_end_pass() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let (mut read, mut write) = stream.split();
    let mut received = Vec::new();
    let send = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, got) = tokio::join!(send, read.read_to_end(&mut received));
    assert_eq!(got.unwrap(), sent.len());
    assert!(received == sent);
    assert_eq!(echo.proxy.handle.counters.passed.load(Relaxed), 6_000_000);
    assert_eq!(echo.proxy.handle.counters.resets.load(Relaxed), 0);
}

#[tokio::test]
async fn a_reset_reaches_both_ends_and_new_connections_are_served() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    assert_eq!(ask(&mut stream, "a").await.unwrap(), "a");
    echo.proxy.handle.reset();
    assert!(is_reset(ask(&mut stream, "b").await));
    assert_eq!(ask(&mut echo.connect().await, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn an_end_that_cannot_be_reached_resets_the_connection() {
    let echo = Echo::start().await;
    echo.server.abort();
    let _ = echo.server.await; // its listener has gone
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = front.local_addr().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let _proxy = Proxy::start(front, gone, Rng::new(1));
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut byte = [0];
    let error = stream.read_exact(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn swallowed_bytes_never_come_and_the_hole_ends_the_connection() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    assert_eq!(ask(&mut stream, "a").await.unwrap(), "a");
    echo.set(Direction::ToServer, Trouble { swallow: true, ..Trouble::default() });
    stream.write_all(b"lost").await.unwrap();
    // The proxy says when it has thrown them away: nothing here waits for a time.
    while echo.proxy.handle.counters.swallowed.load(Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
    let untouched = echo.connect().await;
    echo.set(Direction::ToServer, Trouble::default());
    assert!(is_reset(ask(&mut stream, "b").await));
    let mut untouched = untouched;
    assert_eq!(ask(&mut untouched, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn flips_change_bytes_and_nothing_else() {
    let echo = Echo::start().await;
    echo.set(Direction::ToClient, Trouble { flips_per_million: 1_000_000, ..Trouble::default() });
    let mut stream = echo.connect().await;
    stream.write_all(&[0; 100]).await.unwrap();
    let mut answer = [0; 100];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.iter().all(|byte| byte.count_ones() == 1), "{answer:?}");
    assert_eq!(echo.proxy.handle.counters.flipped.load(Relaxed), 100);
}

#[tokio::test]
async fn the_proxy_ends_its_connections_when_it_is_dropped() {
    let Echo { proxy, at, .. } = Echo::start().await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert_eq!(ask(&mut stream, "a").await.unwrap(), "a");
    drop(proxy);
    assert!(ask(&mut stream, "b").await.is_err());
}

fn handle() -> Handle {
    let settings = Arc::new(watch::Sender::new(Settings::default()));
    Handle { settings, counters: Arc::default() }
}

fn latency(base_ms: u64, jitter_ms: u64) -> Trouble {
    let ms = Duration::from_millis;
    let latency = Latency { base: ms(base_ms), jitter: ms(jitter_ms), ..Latency::default() };
    Trouble { latency, ..Trouble::default() }
}

/// Runs a pipe between two in-process streams beside `test`, which gets their outer ends.
async fn with_pipe<F: Future<Output = ()>>(
    handle: &Handle,
    test: impl FnOnce(tokio::io::DuplexStream, tokio::io::DuplexStream) -> F,
) {
    let (near, inner) = duplex(1 << 20);
    let (outer, far) = duplex(1 << 20);
    let pipe = Pipe { direction: Direction::ToServer, handle, nature: &Nature::default() };
    let (read, _) = tokio::io::split(inner);
    let (_, write) = tokio::io::split(outer);
    tokio::select! {
        ended = pipe.run(read, write, Rng::new(2)) => panic!("the pipe has ended: {ended:?}"),
        () = test(near, far) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn latency_delays_each_piece_and_keeps_the_order() {
    let handle = handle();
    handle.set(Direction::ToServer, latency(100, 300));
    with_pipe(&handle, async |mut near, mut far| {
        let began = Instant::now();
        for byte in 0..20u8 {
            near.write_all(&[byte]).await.unwrap();
            let mut got = [0];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(got, [byte]);
        }
        let taken = began.elapsed();
        assert!((20 * 150..20 * 350).contains(&taken.as_millis()), "{taken:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_piece_passes_when_the_stall_ends() {
    let handle = handle();
    handle.set(Direction::ToServer, Trouble { stall: true, ..Trouble::default() });
    with_pipe(&handle, async |mut near, mut far| {
        near.write_all(b"x").await.unwrap();
        let mut got = [0];
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, far.read_exact(&mut got)).await.is_err());
        handle.set(Direction::ToServer, Trouble::default());
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"x");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_lifting_it_frees_what_waits() {
    let handle = handle();
    handle.set(Direction::ToServer, Trouble { bytes_per_s: 1 << 10, ..Trouble::default() });
    with_pipe(&handle, async |mut near, mut far| {
        let began = Instant::now();
        near.write_all(&[7; 64 << 10]).await.unwrap();
        let mut got = vec![0; 32 << 10];
        far.read_exact(&mut got).await.unwrap();
        // The first piece of 16 KiB passes at once, the next one 16 s later.
        assert_eq!(began.elapsed().as_secs(), 16);
        handle.set(Direction::ToServer, Trouble::default());
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 16);
    })
    .await;
}
