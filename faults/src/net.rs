//! A network of its own for a run: a namespace with a bridge, one namespace for each member and one for all
//! clients, each connected to the bridge by a pair of virtual interfaces.
//!
//! ```text
//!   10.77.0.1   10.77.0.2   10.77.0.3   10.77.1.1
//!    member 1    member 2    member 3    clients        namespaces RUN-m1, RUN-m2, RUN-m3, RUN-c
//!        \__________\___________/___________/
//!                 bridge, 10.77.2.1                     namespace RUN-b; the harness looks on from here
//! ```
//!
//! What is wrong with the network is one value, [`Weather`]; [`Net::apply`] makes the namespaces follow it:
//! cuts and losses as rules of `nft` where packets arrive (so each direction of a link has its own), rates as
//! `tc tbf` where they leave. Everything goes when the [`Net`] is dropped.

mod address;
mod namespace;
mod weather;

pub(crate) use address::detour_address;
pub use address::{CLIENT_PORT, HTTP_PORT, Place, proxy_port};
pub use namespace::Namespace;
pub use weather::Weather;

use crate::error::{Error, Result};
use crate::run_id::RunId;
use crate::shell;
use std::collections::BTreeMap;

/// Name of the only interface within a namespace of a member or of the clients.
const INTERFACE: &str = "eth0";
const BRIDGE: &str = "br0";

/// The network of a run. See the module documentation.
#[derive(Debug)]
pub struct Net {
    places: BTreeMap<Place, Namespace>,
    bridge: Namespace,
    members: usize,
    detour: bool,
    /// Rules and rate in force, by place.
    rules: BTreeMap<Place, String>,
    rates: BTreeMap<Place, u32>,
}

impl Net {
    /// Builds the network for so many members. With `detour`, connections to the members' client port go
    /// through a port of [`proxy_port`] in the namespace they come from, where a proxy must listen; what
    /// the proxy sends to another port arrives at the client port.
    ///
    /// # Errors
    /// [`Error::Missing`] if this machine has not what it takes; `Failed` if a step fails.
    pub fn build(run: RunId, members: usize, detour: bool) -> Result<Self> {
        check_machine()?;
        if members > 250 {
            return Err(Error::failed("the network", "there is room for 250 members"));
        }
        let bridge = Namespace::create(format!("{run}-b")).map_err(refused)?;
        let b = bridge.name();
        ip(&["-n", b, "link", "add", "name", BRIDGE, "type", "bridge"])?;
        ip(&["-n", b, "addr", "add", &format!("{}/16", address::operator()), "dev", BRIDGE])?;
        ip(&["-n", b, "link", "set", "dev", BRIDGE, "up"])?;
        ip(&["-n", b, "link", "set", "dev", "lo", "up"])?;
        let mut net = Net {
            places: BTreeMap::new(),
            bridge,
            members,
            detour,
            rules: BTreeMap::new(),
            rates: BTreeMap::new(),
        };
        for place in Place::all(members) {
            net.add(run, place)?;
        }
        net.apply(&Weather::default())?;
        Ok(net)
    }

    fn add(&mut self, run: RunId, place: Place) -> Result<()> {
        let namespace = Namespace::create(format!("{run}-{place}"))?;
        let (n, b, port) = (namespace.name(), self.bridge.name(), format!("p-{place}"));
        #[rustfmt::skip]
        ip(&["-n", b, "link", "add", "name", &port, "type", "veth", "peer", "name", INTERFACE, "netns", n])?;
        ip(&["-n", b, "link", "set", "dev", &port, "master", BRIDGE, "up"])?;
        ip(&["-n", n, "addr", "add", &format!("{}/16", place.ip()), "dev", INTERFACE])?;
        ip(&["-n", n, "link", "set", "dev", INTERFACE, "up"])?;
        ip(&["-n", n, "link", "set", "dev", "lo", "up"])?;
        self.places.insert(place, namespace);
        Ok(())
    }

    /// The namespace of a place; none if the run has no such place.
    #[must_use]
    pub fn namespace(&self, place: Place) -> Option<&Namespace> {
        self.places.get(&place)
    }

    /// The namespace of the bridge, from which everybody is reached whatever is cut.
    #[must_use]
    pub fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    /// Makes the network follow this weather. Only what differs from the weather so far is touched; the
    /// rules of one place change at once, those of several one after the other.
    ///
    /// # Errors
    /// If a tool refuses; what was changed before stays.
    pub fn apply(&mut self, weather: &Weather) -> Result<()> {
        for (place, namespace) in &self.places {
            let rules = weather.rules(*place, self.members, self.detour);
            if self.rules.get(place) != Some(&rules) {
                shell::feed("ip", &["netns", "exec", namespace.name(), "nft", "-f", "-"], &rules)?;
                self.rules.insert(*place, rules);
            }
            let rate = weather.rate(*place);
            if self.rates.get(place).copied() != rate {
                set_rate(namespace, rate)?;
                match rate {
                    Some(kbit) => self.rates.insert(*place, kbit),
                    None => self.rates.remove(place),
                };
            }
        }
        Ok(())
    }
}

/// Root in a container may not be allowed to make namespaces.
fn refused(error: Error) -> Error {
    let text = error.to_string();
    match text.contains("not permitted") || text.contains("ermission denied") {
        true => Error::Missing(format!("no network namespaces for this process: {text}")),
        false => error,
    }
}

fn set_rate(namespace: &Namespace, kbit: Option<u32>) -> Result<()> {
    let n = namespace.name();
    let Some(kbit) = kbit else {
        return shell::run("tc", &["-n", n, "qdisc", "del", "dev", INTERFACE, "root"]).map(drop);
    };
    // A bucket of 20 ms, and never less than a segment that was put together for sending.
    let (rate, burst) = (format!("{kbit}kbit"), (kbit / 400).max(64));
    #[rustfmt::skip]
    let arguments = ["-n", n, "qdisc", "replace", "dev", INTERFACE, "root", "tbf", "rate", &rate,
        "burst", &format!("{burst}kb"), "latency", "500ms"];
    shell::run("tc", &arguments).map(drop)
}

fn ip(arguments: &[&str]) -> Result<()> {
    shell::run("ip", arguments).map(drop)
}

/// What building a network needs.
fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Missing("network namespaces need root".into()));
    }
    let tools = [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")];
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| !shell::has(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> =
        missing.iter().map(|(t, package)| format!("{t} (package {package})")).collect();
    Err(Error::Missing(format!("not installed: {}", list.join(", "))))
}
