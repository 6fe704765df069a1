//! Members as processes of this machine that are killed, stopped and started again.

use super::super::watch::Watch;
use grid_core::error::{Error, Kind, Result};
use grid_core::wire::table::TableView;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Name of the cluster.
pub(super) const CLUSTER: &str = "bench-failover";
/// Ports are looked for from here: below those that the system gives to connections, so that a member finds
/// its own free when it starts again.
const PORTS: std::ops::Range<u16> = 21_000..32_000;
/// The table has to be the same for this long.
const STILL: Duration = Duration::from_secs(1);
/// For a cluster to form or become whole again.
const WHOLE: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(20);

/// All of them. They end, and what they have left behind goes, when this is dropped.
#[derive(Debug)]
pub(super) struct Members {
    directory: PathBuf,
    keep: bool,
    all: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    address: SocketAddr,
    log: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn io(error: std::io::Error) -> Error {
    Error::with(Kind::Io, error.to_string())
}

impl Members {
    /// Starts so many with the settings of a member, changed only by the environment, and waits until they are
    /// one cluster. Their data directories and logs are in `directory`, or one that does not stay.
    ///
    /// # Errors
    /// If one cannot be started, or they do not form a cluster in time.
    pub(super) fn start(count: usize, directory: Option<&Path>) -> Result<Self> {
        let own = || std::env::temp_dir().join(format!("grid-bench-{}", std::process::id()));
        let keep = directory.is_some();
        let directory = directory.map_or_else(own, Path::to_path_buf);
        std::fs::create_dir_all(&directory).map_err(io)?;
        let addresses = free_addresses(count)?;
        let all = (0..count).map(|n| Member::new(n, &addresses, &directory)).collect();
        let mut members = Members { directory, keep, all };
        for member in &mut members.all {
            member.start()?;
        }
        members.wait_whole()?;
        Ok(members)
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(|member| member.address).collect()
    }

    /// The one that leads the control log, and its term there.
    ///
    /// # Errors
    /// If none says that it does.
    pub(super) fn leader(&self) -> Result<(usize, u64)> {
        let running = self.all.iter().enumerate().filter(|(_, member)| member.child.is_some());
        let leads = |(n, member): (usize, &Member)| {
            let log = Watch::open(member.address, CLUSTER).ok()?.status().ok()?.cluster.log;
            log.leads.then_some((log.term, n))
        };
        let none = || Error::with(Kind::NoQuorum, "no member says that it leads the control log");
        running.filter_map(leads).max().map(|(term, n)| (n, term)).ok_or_else(none)
    }

    /// A connection to any that runs and is not this one.
    ///
    /// # Errors
    /// If none answers.
    pub(super) fn watch(&self, avoid: Option<usize>) -> Result<Watch> {
        let mut last = Error::with(Kind::Io, "no member runs");
        for (n, member) in self.all.iter().enumerate() {
            if Some(n) != avoid && member.child.is_some() {
                match Watch::open(member.address, CLUSTER) {
                    Ok(watch) => return Ok(watch),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// Waits until all are members, every partition has a backup in sync, and the table does not change any
    /// more.
    ///
    /// # Errors
    /// `Timeout`, with what is missing.
    pub(super) fn wait_whole(&mut self) -> Result<TableView> {
        let (began, mut since) = (Instant::now(), Instant::now());
        let mut watch: Option<Watch> = None;
        loop {
            self.check()?;
            let changed = match &mut watch {
                Some(open) => open.ask(),
                None => self.watch(None).map(|new| {
                    watch = Some(new);
                    true
                }),
            };
            let wanting = match (&changed, &watch) {
                (Ok(_), Some(watch)) => wanting(&watch.table, self.all.len()),
                (Err(error), _) => Some(error.to_string()),
                (Ok(_), None) => None,
            };
            if changed.as_ref().copied().unwrap_or(true) || wanting.is_some() {
                since = Instant::now();
            }
            if changed.is_err() {
                watch = None;
            }
            if let Some(watch) = watch.take_if(|_| since.elapsed() > STILL) {
                return Ok(watch.table);
            }
            if began.elapsed() > WHOLE {
                let what = wanting.unwrap_or_else(|| "the table goes on changing".to_owned());
                let text = format!(
                    "the cluster is not whole after {} s: {what}; logs are in {}",
                    WHOLE.as_secs(),
                    self.directory.display()
                );
                self.keep = true;
                return Err(Error::with(Kind::Timeout, text));
            }
            std::thread::sleep(TICK);
        }
    }

    /// A member that has ended by itself is an error.
    fn check(&mut self) -> Result<()> {
        for member in &mut self.all {
            let ended = member.child.as_mut().map(Child::try_wait).transpose().map_err(io)?;
            if let Some(status) = ended.flatten() {
                self.keep = true;
                let (address, log) = (member.address, member.log.display());
                let text = format!("the member {address} has ended by itself, {status}: {log}");
                return Err(Error::with(Kind::Internal, text));
            }
        }
        Ok(())
    }

    /// Ends one with SIGKILL.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn kill(&mut self, member: usize) -> Result<()> {
        let Some(mut child) = self.all.get_mut(member).and_then(|m| m.child.take()) else {
            return Ok(());
        };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(io)
    }

    /// Starts one again that was killed.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn restart(&mut self, member: usize) -> Result<()> {
        self.all.get_mut(member).map_or(Ok(()), Member::start)
    }

    /// Stops one with SIGSTOP.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn stop(&self, member: usize) -> Result<()> {
        self.signal(member, Signal::STOP)
    }

    /// Lets one go on with SIGCONT.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn resume(&self, member: usize) -> Result<()> {
        self.signal(member, Signal::CONT)
    }

    fn signal(&self, member: usize, signal: Signal) -> Result<()> {
        let child = self.all.get(member).and_then(|member| member.child.as_ref());
        let id = child.and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        id.map_or(Ok(()), |id| kill_process(id, signal).map_err(|error| io(error.into())))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in 0..self.all.len() {
            // One that cannot be killed has ended.
            let _ = self.kill(member);
        }
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

impl Member {
    fn new(n: usize, addresses: &[SocketAddr], directory: &Path) -> Self {
        let address = addresses[n];
        let others = addresses.iter().filter(|other| **other != address);
        let join = others.map(ToString::to_string).collect::<Vec<_>>().join(",");
        let data = directory.join(format!("m{}.data", n + 1)).to_string_lossy().into_owned();
        let bind = address.to_string();
        let arguments = ["start", "--http", "off", "--cluster", CLUSTER];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        for (flag, value) in [("--bind", bind), ("--join", join), ("--data-dir", data)] {
            arguments.extend([flag.to_owned(), value]);
        }
        Member { address, log: directory.join(format!("m{}.log", n + 1)), arguments, child: None }
    }

    fn start(&mut self) -> Result<()> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).map_err(io)?;
        let program = std::env::current_exe().map_err(io)?;
        let mut command = Command::new(program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().map_err(io)?);
        Ok(())
    }
}

/// What a table lacks for the cluster to be whole.
fn wanting(table: &TableView, members: usize) -> Option<String> {
    if table.members().len() != members {
        return Some(format!("{} of {members} members", table.members().len()));
    }
    let partitions = (0..table.partitions()).map(grid_core::PartitionId);
    let alone = partitions.filter(|partition| table.replicas(*partition).len() < 2).count();
    (alone > 0).then(|| format!("{alone} partitions have no backup in sync"))
}

fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let first = usize::try_from(std::process::id()).unwrap_or(0) % (PORTS.len() / 2);
    let ports = PORTS.skip(first).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let free: Vec<_> =
        ports.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect();
    if free.len() < count {
        return Err(Error::with(Kind::Io, "no free ports"));
    }
    Ok(free)
}
