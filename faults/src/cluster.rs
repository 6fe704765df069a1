//! The members of a run: where they are, their processes, disks and health.

use crate::detours::Detours;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::http;
use crate::net::{CLIENT_PORT, HTTP_PORT, Namespace, Net, Place};
use crate::process::{Process, Spec};
use crate::rng::Rng;
use crate::run_id::RunId;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a single question to a member may take.
const ASK: Duration = Duration::from_secs(2);
/// How often members are asked while something is waited for.
const TICK: Duration = Duration::from_millis(50);

/// What members to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many.
    pub members: usize,
    /// The binary `grid`.
    pub program: PathBuf,
    /// Further arguments of `grid start`.
    pub arguments: Vec<String>,
    /// Variables of the members.
    pub environment: Vec<(String, String)>,
    /// On addresses of the loopback interface, with plain directories: needs no root.
    pub direct: bool,
    /// Puts a proxy in the path of each link; not if `direct`.
    pub detours: bool,
    /// Room of a member's disk, in mebibytes; not if `direct`.
    pub disk_mebibytes: u32,
    /// Gets logs and data directories.
    pub out: PathBuf,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// Its process.
    pub process: Process,
    /// Its data directory.
    pub disk: Disk,
    /// Where it listens for clients and members.
    pub address: SocketAddr,
    http: SocketAddr,
}

/// What a member says of itself on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Status 200.
    Well,
    /// Another status, and what it says.
    Unwell(String),
    /// No answer, and why.
    Silent(String),
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Health::Well => f.write_str("well"),
            Health::Unwell(why) => f.write_str(why),
            Health::Silent(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// Running members. All that belongs to them goes when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    // In the order in which they have to go.
    members: Vec<Member>,
    detours: Option<Detours>,
    net: Option<Net>,
}

impl Cluster {
    /// Makes the network and the disks. No member runs yet.
    ///
    /// # Errors
    /// `Missing` if this machine has not what it takes; `Failed` if a step fails.
    pub fn build(config: &Config, run: RunId, rng: Rng) -> Result<Self> {
        let mut net = None;
        let mut detours = None;
        if !config.direct {
            let built = Net::build(run, config.members, config.detours)?;
            if config.detours {
                detours = Some(Detours::start(&built, config.members, rng)?);
            }
            net = Some(built);
        }
        let ips = match net {
            Some(_) => (0..config.members).map(|member| Place::Member(member).ip()).collect(),
            None => loopbacks(config.members)?,
        };
        let members = (0..config.members).map(|member| Member::new(config, run, &ips, member));
        Ok(Cluster { members: members.collect::<Result<_>>()?, detours, net })
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One of them.
    pub fn member(&mut self, member: usize) -> Option<&mut Member> {
        self.members.get_mut(member)
    }

    /// The network; none on the loopback interface.
    pub fn net(&mut self) -> Option<&mut Net> {
        self.net.as_mut()
    }

    /// The proxies in the links, if there are any.
    #[must_use]
    pub fn detours(&self) -> Option<&Detours> {
        self.detours.as_ref()
    }

    /// Where clients are to run; none: anywhere.
    #[must_use]
    pub fn clients(&self) -> Option<&Namespace> {
        self.net.as_ref()?.namespace(Place::Clients)
    }

    /// Starts a member that does not run.
    ///
    /// # Errors
    /// If its process cannot be started.
    pub fn start(&mut self, member: usize) -> Result<()> {
        let namespace = self.net.as_ref().and_then(|net| net.namespace(Place::Member(member)));
        let found = self.members.get_mut(member);
        found.map_or(Ok(()), |found| found.process.start(namespace))
    }

    /// The members that have ended by themselves since this was last asked, and how.
    pub fn deaths(&mut self) -> Vec<(usize, String)> {
        let members = self.members.iter_mut().enumerate();
        members.filter_map(|(index, member)| Some((index, member.death()?))).collect()
    }

    /// What a member says on its page `/health/PAGE`.
    #[must_use]
    pub fn health(&self, member: usize, page: &str) -> Health {
        let Some(member) = self.members.get(member) else {
            return Health::Silent("no such member".into());
        };
        let ask = || http::get(member.http, &format!("/health/{page}"), ASK);
        let answer = match &self.net {
            Some(net) => net.bridge().within(ask).map_err(|error| error.to_string()),
            None => Ok(ask()),
        };
        match answer.and_then(|answer| answer.map_err(|error| error.to_string())) {
            Ok(answer) if answer.status == 200 => Health::Well,
            Ok(answer) => Health::Unwell(format!("{} {}", answer.status, answer.body)),
            Err(error) => Health::Silent(error),
        }
    }

    /// Waits until all these members say that they are well on a page; returns how long that took.
    ///
    /// # Errors
    /// If one does not in time, or has ended: who, and what it says.
    pub fn wait(&mut self, page: &str, members: &[usize], patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        for member in members {
            loop {
                let health = self.health(*member, page);
                if health == Health::Well {
                    break;
                }
                let name = Place::Member(*member);
                if let Some(how) = self.members.get_mut(*member).and_then(Member::death) {
                    return Err(Error::failed(name, how));
                }
                if began.elapsed() > patience {
                    let what = format!("{name} is not {page} after {patience:?}");
                    return Err(Error::failed(what, health));
                }
                std::thread::sleep(TICK);
            }
        }
        Ok(began.elapsed())
    }
}

impl Member {
    fn new(config: &Config, run: RunId, ips: &[Ipv4Addr], index: usize) -> Result<Self> {
        let at = |member: usize, port| {
            SocketAddr::from((ips.get(member).copied().unwrap_or(Ipv4Addr::LOCALHOST), port))
        };
        let (address, http) = (at(index, CLIENT_PORT), at(index, HTTP_PORT));
        let name = Place::Member(index).to_string();
        let path = config.out.join(format!("{name}.data"));
        let disk = match config.direct {
            true => Disk::plain(path)?,
            false => Disk::small(path, run, config.disk_mebibytes)?,
        };
        let others = (0..config.members).filter(|other| *other != index);
        let others: Vec<_> = others.map(|other| at(other, CLIENT_PORT).to_string()).collect();
        let mut arguments = start_arguments(address, http, disk.path(), &others);
        arguments.extend(config.arguments.iter().cloned());
        let spec = Spec {
            log: config.out.join(format!("{name}.log")),
            name,
            program: config.program.clone(),
            arguments,
            environment: config.environment.clone(),
        };
        Ok(Member { process: Process::new(spec, run), disk, address, http })
    }

    /// If it has ended by itself since this was last asked: how.
    fn death(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("it has ended by itself, {status}; {}", self.process.last_words()))
    }
}

/// How a member is started: all members the same way, each told of all others.
fn start_arguments(
    address: SocketAddr,
    http: SocketAddr,
    data: &Path,
    others: &[String],
) -> Vec<String> {
    let (address, http) = (address.to_string(), http.to_string());
    let data = data.to_string_lossy().into_owned();
    let mut arguments = vec!["start", "--bind", &address, "--http", &http, "--data-dir", &data];
    let others = others.join(",");
    if !others.is_empty() {
        arguments.extend(["--join", &others]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// Addresses of the loopback interface on which nobody listens, so that members have the same ports
/// everywhere.
fn loopbacks(members: usize) -> Result<Vec<Ipv4Addr>> {
    let first = u8::try_from(std::process::id() % 250).unwrap_or(0);
    let net = |n: u8| {
        let ips = (0..members).map(move |member| {
            Ipv4Addr::new(127, 77, first.wrapping_add(n), u8::try_from(member + 1).unwrap_or(255))
        });
        ips.collect::<Vec<_>>()
    };
    let free = |ip: &Ipv4Addr| {
        [CLIENT_PORT, HTTP_PORT].iter().all(|port| TcpListener::bind((*ip, *port)).is_ok())
    };
    let found = (0..=255).map(net).find(|ips| ips.iter().all(free));
    found.ok_or_else(|| Error::failed("the loopback interface", "no free addresses in 127.77/16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_told_of_all_others() {
        let at = |n: u8| SocketAddr::from(([10, 77, 0, n], 5701));
        let others = [at(2).to_string(), at(3).to_string()];
        let told = start_arguments(at(1), at(9), Path::new("/d"), &others).join(" ");
        assert_eq!(
            told,
            "start --bind 10.77.0.1:5701 --http 10.77.0.9:5701 --data-dir /d --join 10.77.0.2:5701,10.77.0.3:5701"
        );
        assert!(!start_arguments(at(1), at(9), Path::new("/d"), &[]).contains(&"--join".into()));
    }

    #[test]
    fn used_loopback_addresses_are_passed_over() {
        let first = loopbacks(2).unwrap();
        let _used = TcpListener::bind((first[1], HTTP_PORT)).unwrap();
        let second = loopbacks(2).unwrap();
        assert_ne!(first, second);
        assert_eq!(first[0].octets()[..2], [127, 77]);
    }
}
