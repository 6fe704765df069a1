//! Who is where in the network of a run.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// Where members listen for clients and members.
pub const CLIENT_PORT: u16 = 5701;
/// Where members answer HTTP.
pub const HTTP_PORT: u16 = 8701;
/// Arrives at the client port of a member; proxies connect here, so that only they go around themselves.
pub(super) const DETOUR_PORT: u16 = 15701;

/// An end of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A member, counted from 0.
    Member(usize),
    /// All clients together.
    Clients,
}

impl Place {
    /// The places of a run with so many members.
    pub fn all(members: usize) -> impl Iterator<Item = Place> {
        (0..members).map(Place::Member).chain([Place::Clients])
    }

    /// Its address.
    #[must_use]
    pub fn ip(self) -> Ipv4Addr {
        match self {
            Place::Member(index) => {
                Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).unwrap_or(255))
            }
            Place::Clients => Ipv4Addr::new(10, 77, 1, 1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Member(index) => write!(f, "m{}", index + 1),
            Place::Clients => f.write_str("c"),
        }
    }
}

/// Address of the harness on the bridge.
pub(super) fn operator() -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, 1)
}

/// Where, in every other namespace, the proxy to this member listens.
#[must_use]
pub fn proxy_port(member: usize) -> u16 {
    20_000 + u16::try_from(member).unwrap_or(u16::MAX - 20_000)
}

/// Where proxies connect to, to reach this member.
#[must_use]
pub(crate) fn detour_address(member: usize) -> SocketAddr {
    (Place::Member(member).ip(), DETOUR_PORT).into()
}
