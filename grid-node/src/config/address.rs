//! Addresses as people write them: a host or IP address, and a port.

use grid_core::{Error, Kind};
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

/// A host name or IP address with a port; the name is looked up when it is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// Not of the form `HOST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl Address {
    /// What stands where no address has been set yet.
    pub(super) fn nowhere() -> Self {
        Address { host: String::new(), port: 0 }
    }

    /// The host: a name or an IP address, that of IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0: any that is free.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it stands for all addresses of a machine, as `0.0.0.0` and `[::]` do. Names are not looked up.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether only processes of the same machine get there. Of names, only `localhost` is known to be so.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
    }

    /// Whether one can connect there, as far as that shows.
    pub(super) fn leads_somewhere(&self) -> bool {
        self.port != 0 && !self.is_unspecified()
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Listens there. Looks up the name, so this may block.
    ///
    /// # Errors
    /// `Io`, with a sentence that says whether the port is in use, the address is another machine's, ..
    pub fn listen(&self) -> Result<TcpListener, Error> {
        (self.host.as_str(), self.port)
            .to_socket_addrs()
            .and_then(|a| TcpListener::bind(&*a.collect::<Vec<_>>()))
            .map_err(|e| {
                let why = match e.kind() {
                    ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
                    ErrorKind::AddrNotAvailable => {
                        "the address is not one of this machine".to_owned()
                    }
                    ErrorKind::PermissionDenied => {
                        "the port needs a privilege that this process has not".to_owned()
                    }
                    _ => e.to_string(),
                };
                Error::with(Kind::Io, format!("cannot listen on {self}: {why}"))
            })
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        const HOST_BYTES_MAX: usize = 253;
        let (host, port) = text.trim().rsplit_once(':').ok_or(NotAnAddress)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAnAddress);
        }
        let port = port.parse().map_err(|_| NotAnAddress)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => {
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| NotAnAddress)?;
                inner
            }
            None => host,
        };
        let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok() && text.contains('[');
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !(ipv6 || host.chars().all(named)) {
            return Err(NotAnAddress);
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address is HOST:PORT, such as 127.0.0.1:5701 or [::1]:5701")
    }
}

impl std::error::Error for NotAnAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in
            ["127.0.0.1:5701", "localhost:0", "[::1]:65535", "grid-0.grid.svc:5701", "a_b:1"]
        {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":",
            ":1",
            "a",
            "a:",
            "a:65536",
            "a:-1",
            "a:+1",
            "::1:5",
            "[::1]",
            "[x]:1",
            "a b:1",
            "http://a:1",
            "ä:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn where_an_address_leads_is_known_without_a_look_up() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        for text in ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"] {
            assert!(address(text).is_unspecified() && !address(text).is_loopback(), "{text}");
        }
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "LocalHost:1"]
        {
            assert!(address(text).is_loopback() && !address(text).is_unspecified(), "{text}");
        }
        for text in ["10.0.0.1:1", "grid-1:1", "[2001:db8::1]:1"] {
            assert!(!address(text).is_loopback() && !address(text).is_unspecified(), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_is_said_to_be() {
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let taken = address.listen().unwrap();
        let address: Address = taken.local_addr().unwrap().to_string().parse().unwrap();
        let error = address.listen().unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(
            error.to_string().contains("in use")
                && error.to_string().contains(&address.to_string())
        );
    }
}
