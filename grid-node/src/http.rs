//! The HTTP side of a member: health for orchestrators, metrics for Prometheus, status for people.
//! Read only, small answers; slow or many clients cannot hold it up or make it grow.

use crate::metrics;
use crate::status::{Check, Observe};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once; further ones wait in the backlog of the system.
const CONNECTIONS_MAX: usize = 64;
/// What one connection may take in all: longer than any scrape, shorter than patience.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// What the head of a request may take, and the silence before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What a request's head may hold, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What requests under way may take after the shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Pause after the system has refused a connection, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long clients may take; tests cannot wait as long as operators can.
#[derive(Clone, Copy, Debug)]
struct Patience {
    head: Duration,
    connection: Duration,
    shutdown: Duration,
}

impl Patience {
    const USUAL: Self =
        Patience { head: HEAD_TIMEOUT, connection: CONNECTION_LIFE, shutdown: SHUTDOWN_GRACE };
}

/// Serves until `shutdown` ends and what was under way then is answered. The listener may be blocking or
/// not; the runtime is the caller's.
///
/// # Errors
/// If the runtime cannot use the listener.
pub async fn serve(
    listener: std::net::TcpListener,
    observe: Arc<dyn Observe>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    serve_with(listener, observe, shutdown, Patience::USUAL).await
}

async fn serve_with(
    listener: std::net::TcpListener,
    observe: Arc<dyn Observe>,
    shutdown: impl Future<Output = ()>,
    patience: Patience,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopping) = watch::channel(());
    let router = router(observe);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (router, stopping) = (router.clone(), stopping.clone());
        connections.spawn(async move {
            connection(stream, router, stopping, patience).await;
            drop(permit);
        });
    }
    drop(listener);
    drop(stop);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(patience.shutdown, rest).await; // what is left ends with the set
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept an HTTP connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    mut stop: watch::Receiver<()>,
    patience: Patience,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = timeout(patience.connection, async {
        tokio::select! {
            ended = served.as_mut() => ended,
            _ = stop.changed() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    });
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection has failed"),
        Err(_) => tracing::debug!("an HTTP connection has lasted too long"),
    }
}

type Observed = State<Arc<dyn Observe>>;

fn router(observe: Arc<dyn Observe>) -> Router {
    Router::new()
        .route("/health/live", get(|State(o): Observed| look(move || health(&o.health().live))))
        .route("/health/ready", get(|State(o): Observed| look(move || health(&o.health().ready))))
        .route("/health/safe", get(|State(o): Observed| look(move || health(&o.health().safe))))
        .route("/metrics", get(|State(o): Observed| look(move || page(&*o))))
        .route("/status", get(|State(o): Observed| look(move || json(&o.status()))))
        .fallback(nothing_here)
        .with_state(observe)
}

/// Looks at the member beside the runtime: its timers must not wait for partition locks.
async fn look(at: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(at).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "looking at the member has failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "looking at the member has failed\n")
                .into_response()
        }
    }
}

fn health(check: &Check) -> Response {
    let code = if check.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, json(check)).into_response()
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn page(observe: &dyn Observe) -> Response {
    let text = metrics::render(&observe.status(), &observe.health());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn nothing_here(uri: Uri) -> Response {
    tracing::debug!(path = uri.path(), "an HTTP request for nothing");
    let hint =
        "nothing here; there are /health/live, /health/ready, /health/safe, /metrics and /status\n";
    (StatusCode::NOT_FOUND, hint).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Health, Status, tests::example};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    struct Member(Check);

    impl Observe for Member {
        fn status(&self) -> Status {
            example()
        }
        fn health(&self) -> Health {
            Health { live: Check::well(), ready: self.0.clone(), safe: Check::default() }
        }
    }

    struct Server {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        served: tokio::task::JoinHandle<std::io::Result<()>>,
    }

    fn server(ready: Check, patience: Patience) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let served =
            tokio::spawn(serve_with(listener, Arc::new(Member(ready)), shutdown, patience));
        Server { address, stop, served }
    }

    const PATIENT: Patience = Patience {
        head: HEAD_TIMEOUT,
        connection: CONNECTION_LIFE,
        shutdown: Duration::from_secs(3600),
    };

    /// Sends bytes and reads until the server closes the connection.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset ends it as well; for ever would be a hanging test.
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _ = read.await.expect("the server must end the connection");
        String::from_utf8(answer).unwrap()
    }

    async fn ask(server: &Server, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        exchange(server.address, request.as_bytes()).await
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").unwrap().1
    }

    #[tokio::test]
    async fn every_page_answers() {
        let server = server(Check::unless(vec!["starting".into()]), PATIENT);
        let live = ask(&server, "/health/live").await;
        assert!(live.starts_with("HTTP/1.1 200 ") && body(&live) == r#"{"ok":true}"#, "{live}");
        let ready = ask(&server, "/health/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        assert_eq!(body(&ready), r#"{"ok":false,"reasons":["starting"]}"#);
        assert!(ask(&server, "/health/safe").await.starts_with("HTTP/1.1 503 "));
        let metrics = ask(&server, "/metrics").await;
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(body(&metrics).contains("\ngrid_connections 4\n"), "{metrics}");
        let status = ask(&server, "/status?x=1").await;
        assert_eq!(serde_json::from_str::<Status>(body(&status)).unwrap(), example());
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let server = server(Check::well(), PATIENT);
        let lost = ask(&server, "/health").await;
        assert!(
            lost.starts_with("HTTP/1.1 404 ") && body(&lost).contains("/health/live"),
            "{lost}"
        );
        let post =
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert!(exchange(server.address, post).await.starts_with("HTTP/1.1 405 "));
        let garbage = exchange(server.address, b"\x00\xff\r\n\r\n").await;
        assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        assert!(!exchange(server.address, long.as_bytes()).await.contains(" 200 "));
        assert!(ask(&server, "/health/live").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn clients_that_never_finish_are_sent_away() {
        let hasty = Patience { head: Duration::from_millis(20), ..PATIENT };
        let slow_head = server(Check::well(), hasty);
        exchange(slow_head.address, b"GET /health/live HT").await; // ends, or the test does not
        exchange(slow_head.address, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let hasty = Patience { connection: Duration::from_millis(20), ..PATIENT };
        let slow_all = server(Check::well(), hasty);
        let body = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n";
        exchange(slow_all.address, body).await;
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_room() {
        let server =
            server(Check::well(), Patience { head: Duration::from_millis(200), ..PATIENT });
        let mut idle = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            idle.push(TcpStream::connect(server.address).await.unwrap());
        }
        // They hold all the room until they are sent away for their silence.
        assert!(ask(&server, "/health/live").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_shutdown_ends_idle_connections_and_frees_the_port() {
        let Server { address, stop, served } = server(Check::well(), PATIENT);
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.send(()).unwrap();
        // Well before the head of a next request is due.
        timeout(HEAD_TIMEOUT / 2, served).await.expect("idle ones are ended").unwrap().unwrap();
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
