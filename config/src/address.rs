//! `host:port` as it is written in files and flags; names are resolved only where they are used.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// A host (name, IPv4 or IPv6 literal without brackets) and a port; port 0 asks for a free one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPort {
    /// The name or literal, without brackets.
    pub host: String,
    /// The port; 0 asks the system for a free one.
    pub port: u16,
}

impl HostPort {
    /// The address of `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `127.0.0.1:7430`, `db1.example:7430`, `[::1]:0` or `:7430` (which is loopback).
    ///
    /// # Errors
    /// A sentence that says what was expected, fit to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "is not an address; write host:port, such as 127.0.0.1:7430";
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let port = port.parse().map_err(|_| {
            format!("has no port between 0 and 65535 after its last colon ({port:?})")
        })?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(EXPECTED)?,
            None if host.contains(':') => {
                return Err(
                    "is ambiguous; put an IPv6 address in brackets, such as [::1]:7430".into()
                );
            }
            None => host,
        };
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if !host.chars().all(allowed) {
            return Err(EXPECTED.into());
        }
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Self::new(host, port))
    }

    /// Reads a list separated by commas; empty text is the empty list.
    ///
    /// # Errors
    /// The first part that is no address, named.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                Self::parse(part).map_err(|reason| format!("has a part {part:?} that {reason}"))
            })
            .collect()
    }

    /// The first address the host resolves to. Blocks on the system's resolver when the host is
    /// a name: call it before the cores run.
    ///
    /// # Errors
    /// What the resolver says, with the name.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        self.resolve_all().map(|addresses| addresses[0])
    }

    /// All addresses the host resolves to, at least one. Blocks as [`HostPort::resolve`] does.
    ///
    /// # Errors
    /// What the resolver says, with the name.
    pub fn resolve_all(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot resolve {:?}: {error}", self.host))
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        if addresses.is_empty() {
            let nothing = format!("{:?} has no address", self.host);
            return Err(io::Error::new(io::ErrorKind::NotFound, nothing));
        }
        Ok(addresses)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("127.0.0.1:7430", "127.0.0.1", 7430),
            (":0", "127.0.0.1", 0),
            ("db-1.example:9", "db-1.example", 9),
            ("[::1]:7430", "::1", 7430),
        ] {
            assert_eq!(HostPort::parse(text), Ok(HostPort::new(host, port)), "{text}");
        }
        for text in [
            "",
            "localhost",
            "localhost:",
            "a:70000",
            "::1:7430",
            "[::1:7430",
            "a b:1",
            "http://x:1",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printed_addresses_read_back() {
        for text in ["127.0.0.1:7430", "[::1]:0", "host:1"] {
            assert_eq!(HostPort::parse(text).map(|a| a.to_string()), Ok(text.to_string()));
        }
    }

    #[test]
    fn lists() {
        assert_eq!(HostPort::parse_list(""), Ok(vec![]));
        assert_eq!(
            HostPort::parse_list("a:1, b:2"),
            Ok(vec![HostPort::new("a", 1), HostPort::new("b", 2)])
        );
        assert!(HostPort::parse_list("a:1,b").is_err_and(|reason| reason.contains("\"b\"")));
    }

    #[test]
    fn loopback_resolves() {
        let address = HostPort::new("127.0.0.1", 5).resolve();
        assert_eq!(address.ok(), Some(SocketAddr::from(([127, 0, 0, 1], 5))));
    }
}
