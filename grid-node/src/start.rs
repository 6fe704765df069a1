//! How a member starts: its control thread opens the control log, comes to a cluster, and only then there
//! are replicas; connections of other members are taken from the first moment.

use crate::agreed::Agreed;
use crate::cluster::{ControlConfig, ControlNode, Timing};
use crate::config::{Address, Config};
use crate::cores::{self, Core, Task, stopped};
use crate::links::Links;
use crate::local::Local;
use crate::member::Member;
use crate::observe::Lookout;
use crate::plane::{Duty, Plane};
use crate::serve::Acceptor;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::status::Observe;
use crate::test_backup::TestBackup;
use grid_core::control::ClusterConfig;
use grid_core::error::{Error, Kind, Result};
use grid_core::handle::Grid;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How often the control thread looks after expiry, silent connections and deadlines.
const HOUSEKEEPING: Duration = Duration::from_millis(50);

const A_DAY: Duration = Duration::from_secs(86_400);

/// What the control thread needs.
struct Begin {
    config: Config,
    settings: Settings,
    listener: TcpListener,
    http: Option<TcpListener>,
    addresses: (SocketAddr, Option<SocketAddr>),
    tasks: Vec<mpsc::Sender<Task>>,
    stop: watch::Receiver<bool>,
    backup: Option<Arc<TestBackup>>,
}

type Begun = Result<Arc<Shared>>;

/// Starts a member.
pub(crate) async fn start(config: Config, backup: Option<Arc<TestBackup>>) -> Result<Member> {
    let settings = Settings::of(&config);
    let listener = config.bind().listen()?;
    let http = config.http().map(Address::listen).transpose()?;
    let local = |listener: &TcpListener| {
        listener.local_addr().map_err(|e| Error::with(Kind::Io, e.to_string()))
    };
    let addresses = (local(&listener)?, http.as_ref().map(local).transpose()?);
    let (stop, stopping) = watch::channel(false);
    let cores = (0..settings.cores).map(|n| cores::start(n, stopping.clone()));
    let cores = cores.collect::<Result<Vec<Core>>>()?;
    let tasks = cores.iter().map(|core| core.tasks.clone()).collect();
    let begin = Begin {
        config,
        settings,
        listener,
        http,
        addresses,
        tasks,
        stop: stopping,
        backup: backup.clone(),
    };
    let (tell, begun) = oneshot::channel::<Begun>();
    let (quiet, drained) = oneshot::channel();
    let control = cores::spawn("grid-control", run(begin, tell, quiet))?;
    let ended = || Error::with(Kind::Internal, "the control thread has ended");
    match begun.await.map_err(|_| ended()).and_then(|begun| begun) {
        Ok(shared) => {
            let local = Arc::new(Local::new(Arc::clone(&shared)));
            let grid = Grid::new(Arc::clone(&local) as Arc<dyn grid_core::handle::Invoke>);
            tracing::info!(
                cluster = %shared.settings.cluster, member = %shared.member, address = %addresses.0, "serving"
            );
            let control = Some(control);
            Ok(Member { shared, local, grid, stop, cores, control, drained, backup })
        }
        Err(error) => {
            let _ = stop.send(true);
            cores.into_iter().for_each(Core::join);
            let _ = control.join();
            Err(error)
        }
    }
}

/// The control thread.
async fn run(mut begin: Begin, tell: oneshot::Sender<Begun>, drained: oneshot::Sender<()>) {
    let (stop, backup) = (begin.stop.clone(), begin.backup.clone());
    let (plane, http) = (Plane::default(), begin.http.take());
    let (node, acceptor, listener) = match open(&begin, &plane).await {
        Ok(opened) => opened,
        Err(error) => {
            // Nobody waits if the member was dropped meanwhile.
            let _ = tell.send(Err(error));
            return;
        }
    };
    if let Some(http) = http {
        let observe: Arc<dyn Observe> = Arc::clone(&acceptor.lookout) as Arc<dyn Observe>;
        tokio::spawn(crate::http::serve(http, observe, stopped(stop.clone())));
    }
    let main = async {
        match come_to_cluster(begin, &node, &plane).await {
            Ok(shared) => {
                let begun = Ok(Arc::clone(&shared));
                let ready = async {
                    let attached = match &backup {
                        Some(backup) => backup.attach(&shared).await,
                        None => Ok(()),
                    };
                    let _ = tell.send(attached.and(begun));
                };
                tokio::join!(ready, do_duty(&shared), keep_house(&shared, drained));
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    };
    tokio::select! {
        () = stopped(stop.clone()) => {}
        () = acceptor.run(listener) => {}
        () = main => {}
        () = log_failed(&node) => {
            // Without a log it must not serve: it could not learn that others do.
            if let Some(shared) = plane.shared() {
                shared.close();
                shared.links.close();
            }
        }
    }
    node.close().await;
}

async fn log_failed(node: &ControlNode) {
    // An error means that the node is gone.
    let _ = node.failure().wait_for(Option::is_some).await;
}

async fn open(
    begin: &Begin,
    plane: &Plane,
) -> Result<(Arc<ControlNode>, Arc<Acceptor>, tokio::net::TcpListener)> {
    let io = |error: std::io::Error| Error::with(Kind::Io, error.to_string());
    let listener = begin.listener.try_clone().map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(io)?;
    let settings = &begin.settings;
    let address = settings.advertise.clone().unwrap_or_else(|| begin.addresses.0.to_string());
    let control = ControlConfig {
        cluster: settings.cluster.clone(),
        config: ClusterConfig {
            partitions: settings.partitions,
            sync_backups: settings.sync_backups,
            async_backups: settings.async_backups,
            min_in_sync: settings.min_in_sync,
            lease_ms: settings.lease_ms,
            hash_seed: settings.hash_seed,
        },
        address,
        http: begin.addresses.1.map(|http| http.to_string()),
        join: settings.join.clone(),
        data_dir: settings.data_dir.clone(),
        timing: Timing {
            session: settings.session_timeout,
            // A test decides for itself who holds what.
            control: if begin.backup.is_some() { A_DAY } else { Timing::default().control },
            ..Timing::default()
        },
    };
    let events = {
        let plane = plane.clone();
        Box::new(move |event: crate::cluster::ControlEvent<'_>| plane.on_event(event))
    };
    let node = ControlNode::open(control, events, Arc::new(plane.clone())).await?;
    let lookout = Lookout {
        settings: settings.clone(),
        node: Arc::clone(&node),
        plane: plane.clone(),
        addresses: begin.addresses,
        started: Instant::now(),
    };
    let acceptor = Acceptor {
        lookout: Arc::new(lookout),
        cores: begin.tasks.clone(),
        next: AtomicUsize::new(0),
    };
    Ok((node, Arc::new(acceptor), listener))
}

async fn come_to_cluster(
    begin: Begin,
    node: &Arc<ControlNode>,
    plane: &Plane,
) -> Result<Arc<Shared>> {
    let member = node.start().await?;
    let config = begin.config;
    let configure = move |kind, name: &str| config.structure_config(kind, name);
    let agreed = Agreed::new(Arc::clone(node), Box::new(configure));
    let partitions = begin.settings.partitions;
    let links = Links::new(partitions, begin.tasks);
    let shared = Shared::new(begin.settings, agreed, member, begin.addresses, links)?;
    let shared = Arc::new(shared);
    plane.begin(&shared);
    // A member that is alone serves at once; one that joins has nothing to serve yet.
    Duty::new(Arc::clone(&shared)).tick();
    Ok(shared)
}

async fn do_duty(shared: &Arc<Shared>) {
    let mut duty = Duty::new(Arc::clone(shared));
    let mut tick = tokio::time::interval(duty.interval());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        duty.tick();
    }
}

async fn keep_house(shared: &Arc<Shared>, drained: oneshot::Sender<()>) {
    let mut drained = Some(drained);
    let mut silence_due = Instant::now() + shared.silence_interval();
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = Instant::now();
        if shared.is_drained(now)
            && let Some(drained) = drained.take()
        {
            let _ = drained.send(());
        }
        shared.slots.expire(now);
        if now >= silence_due {
            silence_due = now + shared.silence_interval();
            shared.close_silent();
        }
        shared.forget_sessions();
        for cell in shared.cells() {
            while cell.expire(shared) {
                tokio::task::yield_now().await;
            }
        }
    }
}
