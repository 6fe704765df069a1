//! `grid start`: runs a member until it is told to stop.

use super::{Failure, Result, say};
use clap::Args;
use grid_node::config::{Config, Layers};
use grid_node::{Member, logging};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run a member until SIGTERM or SIGINT
///
/// Settings: the compiled-in default, then the file, then GRID_ variables, then these flags; what is set
/// later wins. With --join it first waits until the others are there, or it is told to stop. When it serves,
/// it prints one line that says where. Told to stop, it first hands over what it serves (limits.leave-timeout);
/// a second signal stops at once.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// A file with settings, as config/grid.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen for clients and members [default: 127.0.0.1:5701]
    #[arg(long, value_name = "HOST:PORT")]
    bind: Option<String>,
    /// Members of the cluster to join, or to form with; this one may be among them
    #[arg(long, value_name = "HOST:PORT,...")]
    join: Option<String>,
    /// Where others reach this member, if not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Where to answer HTTP, or "off" [default: 127.0.0.1:8701]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Name of the cluster [default: dev]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Where to keep the node's identity and the control log; data stays in memory
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
}

impl Start {
    pub(super) fn run(self) -> Result {
        let config = self.layers().build()?;
        logging::start(config.log())?;
        // Two threads: a shutdown may block, and the second signal must still be heard.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime
            .worker_threads(1)
            .thread_name("grid-signals")
            .enable_all()
            .build()?
            .block_on(serve(config))
    }

    fn layers(&self) -> Layers {
        let mut layers = Layers::new();
        if let Some(file) = &self.config {
            layers = layers.file(file);
        }
        layers = layers.environment(std::env::vars_os());
        let flags = [
            ("--bind", "bind", &self.bind),
            ("--join", "join", &self.join),
            ("--advertise", "advertise", &self.advertise),
            ("--http", "http", &self.http),
            ("--cluster", "cluster.name", &self.cluster),
            ("--data-dir", "data-dir", &self.data_dir),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                layers = layers.flag(flag, key, value);
            }
        }
        layers
    }
}

async fn serve(config: Config) -> Result {
    let mut signals = Signals::listen()?;
    let cluster = config.cluster().name.clone();
    let start = Member::builder().config(config).start();
    // It may wait for other members for as long as they take.
    let member = tokio::select! {
        member = start => member?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it had come to a cluster");
            return Ok(());
        }
    };
    let http = member.http_address().map_or("off".to_owned(), |http| format!("http://{http}"));
    let (version, id, address) = (env!("CARGO_PKG_VERSION"), member.id(), member.address());
    say(format_args!(
        "grid {version}: member {id} of cluster '{cluster}' serves {address}, http {http}"
    ))?;
    tokio::select! {
        first = signals.next() => tracing::info!(signal = first, "shutting down"),
        why = member.failed() => return Err(Failure::new(why)),
    }
    tokio::spawn(async move {
        let second = signals.next().await;
        tracing::warn!(signal = second, "stopping at once");
        std::process::exit(1);
    });
    let lost = member.shutdown().await;
    if !lost.is_empty() {
        return Err(Failure::new(format!(
            "stopped, but the data of {} partitions has ended with this member: no other one had it in time",
            lost.len()
        )));
    }
    tracing::info!("stopped");
    Ok(())
}

/// The signals that mean "stop".
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let cannot = |e| Failure::new(format!("cannot listen for signals: {e}"));
        let terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt()).map_err(cannot)? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
