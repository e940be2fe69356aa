//! `phantom://user:password@host:port/database?sslmode=require&connect_timeout=seconds`

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Port of a node's shared door.
pub const DEFAULT_PORT: u16 = 7430;

/// Longest URL taken.
const URL_BYTES_MAX: usize = 4096;

/// Whether a connection is encrypted, and how the server has to prove who it is. As in libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// In clear.
    Disable,
    /// Encrypted where the server can; in clear where it cannot. No protection from who sits
    /// between.
    Prefer,
    /// Encrypted. The server's certificate is looked at only where [`Options::sslrootcert`] names
    /// whom it must come from.
    Require,
    /// Encrypted, with a certificate that comes from [`Options::sslrootcert`].
    VerifyCa,
    /// The same, and the certificate names the server.
    VerifyFull,
}

impl SslMode {
    fn parse(text: &str) -> Option<SslMode> {
        Some(match text {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return None,
        })
    }
}

/// How to reach a server, and as whom. `Display` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Sent only where the server asks for it.
    pub password: Option<String>,
    /// Database.
    pub database: String,
    /// What the server's list of sessions shows.
    pub application: String,
    /// Whether the connection is encrypted. `None`: in clear to this host itself, where nobody
    /// listens in, and [`SslMode::Prefer`] to others.
    pub sslmode: Option<SslMode>,
    /// PEM file of the certificates that the server's must come from.
    pub sslrootcert: Option<PathBuf>,
    /// The name that the server's certificate must have, where it is not `host`.
    pub server_name: Option<String>,
    /// From the name's look-up to the end of the handshake.
    pub connect_timeout: Duration,
    /// For each wait for an answer; when it passes, the connection is given up. `None`: for ever.
    pub answer_timeout: Option<Duration>,
    /// How many bytes of rows of one request may be on their way unread.
    pub window: u32,
    /// How often a lost connection is tried again before giving up, where that is safe.
    pub reconnects_max: u32,
    /// Applied in order at the beginning of the session, as `SET` would.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            user: "phantom".to_owned(),
            password: None,
            database: "phantom".to_owned(),
            application: String::new(),
            sslmode: None,
            sslrootcert: None,
            server_name: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: None,
            window: 1 << 20,
            reconnects_max: 5,
            settings: Vec::new(),
        }
    }
}

impl Options {
    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The same server, at another of its doors (`host:port`); `None` where that is no address.
    pub fn at(&self, address: &str) -> Option<Options> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok()?;
        let server_name = self.server_name.clone().or_else(|| Some(self.host.clone()));
        Some(Options { host: host.to_owned(), port, server_name, ..self.clone() })
    }

    /// Whether the connection is encrypted, all said and unsaid considered.
    pub(crate) fn effective_sslmode(&self) -> SslMode {
        let own = match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_name) => self.host == "localhost",
        };
        self.sslmode.unwrap_or(if own { SslMode::Disable } else { SslMode::Prefer })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Options({self})")
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phantom://{}@{}/{}", self.user, self.address(), self.database)
    }
}

/// Why a URL makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in the URL (it reads phantom://user:password@host:port/database)")]
pub struct UrlError {
    problem: String,
}

fn problem<T>(problem: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError { problem: problem.into() })
}

impl FromStr for Options {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Options, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return problem(format!("more than {URL_BYTES_MAX} bytes"));
        }
        let Some(rest) = url.strip_prefix("phantom://") else {
            return problem("no phantom:// at the beginning");
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let mut options = Options::default();
        let place = match authority.rsplit_once('@') {
            Some((credentials, place)) => {
                options.read_credentials(credentials)?;
                place
            }
            None => authority,
        };
        options.read_place(place)?;
        if !database.is_empty() {
            options.database = decode(database)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.read_parameter(name, &decode(value)?)?;
        }
        let verifies = matches!(options.sslmode, Some(SslMode::VerifyCa | SslMode::VerifyFull));
        if verifies && options.sslrootcert.is_none() {
            return problem("an sslmode that wants sslrootcert beside it");
        }
        Ok(options)
    }
}

impl Options {
    fn read_credentials(&mut self, credentials: &str) -> Result<(), UrlError> {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (credentials, None),
        };
        self.password = password;
        if !user.is_empty() {
            self.user = decode(user)?;
        }
        Ok(())
    }

    fn read_place(&mut self, place: &str) -> Result<(), UrlError> {
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let Some((host, port)) = rest.split_once(']') else {
                    return problem("an address without its closing bracket");
                };
                match port.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if port.is_empty() => (host, None),
                    None => return problem("something between the address and the port"),
                }
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if !host.is_empty() {
            self.host = decode(host)?;
        }
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            self.port = match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return problem(format!("port {port:?}")),
            };
        }
        Ok(())
    }

    fn read_parameter(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        let seconds = || match value.parse::<u32>() {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
            _ => problem(format!("{name} {value:?} (it is in seconds)")),
        };
        match name {
            "application" => self.application = value.to_owned(),
            "sslmode" => match SslMode::parse(value) {
                Some(mode) => self.sslmode = Some(mode),
                None => {
                    return problem(format!(
                        "sslmode {value:?} (it is disable, prefer, require, verify-ca or verify-full)"
                    ));
                }
            },
            "sslrootcert" => self.sslrootcert = Some(PathBuf::from(value)),
            "connect_timeout" => self.connect_timeout = seconds()?,
            "answer_timeout" => self.answer_timeout = Some(seconds()?),
            _ => return problem(format!("unknown parameter {name:?}")),
        }
        Ok(())
    }
}

/// Resolves percent escapes.
fn decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|d| char::from(*d).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return problem("an incomplete percent escape");
        };
        bytes.push((high * 16 + low) as u8);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).or_else(|_| problem("a percent escape that is not UTF-8"))
}

/// What the fuzz target runs: any text parses or is refused, without a panic, and what parses
/// has an address.
#[doc(hidden)]
pub fn fuzz_url(text: &str) {
    let Ok(options) = text.parse::<Options>() else { return };
    assert!(options.port > 0);
    assert!(options.at(&options.address()).is_some(), "{options} has an address");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_urls_are_refused_or_read() {
        let good = "phantom://a%40b:p%3A@[::1]:1/d%20?application=x&connect_timeout=3";
        for at in 0..good.len() {
            fuzz_url(&good[..at]);
            fuzz_url(&good[at..]);
            for inserted in ["%", ":", "@", "[", "]", "/", "?", "&", "=", "\u{e9}"] {
                fuzz_url(&format!("{}{inserted}{}", &good[..at], &good[at..]));
            }
        }
    }

    fn parse(url: &str) -> Result<Options, UrlError> {
        url.parse()
    }

    #[test]
    fn every_part_may_be_left_out() {
        assert_eq!(parse("phantom://").unwrap(), Options::default());
        let full = parse("phantom://a%40b:p%3A@h:1/d?application=x&connect_timeout=3").unwrap();
        assert_eq!((full.user.as_str(), full.password.as_deref()), ("a@b", Some("p:")));
        assert_eq!((full.address(), full.database.as_str()), ("h:1".to_owned(), "d"));
        assert_eq!((full.application.as_str(), full.connect_timeout.as_secs()), ("x", 3));
        assert_eq!(parse("phantom://[::1]/d").unwrap().address(), "[::1]:7430");
        assert_eq!(full.at("[::2]:9").unwrap().address(), "[::2]:9");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for url in [
            "postgres://h",
            "phantom://h:0",
            "phantom://h:70000",
            "phantom://[::1",
            "phantom://[::1]x",
            "phantom://h/%f",
            "phantom://h/%ff",
            "phantom://h/d?x=1",
            "phantom://h/d?connect_timeout=soon",
            "phantom://h/d?sslmode=maybe",
            "phantom://h/d?sslmode=verify-full",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn who_listens_in_decides_unless_it_is_said() {
        let mode = |url: &str| parse(url).unwrap().effective_sslmode();
        assert_eq!(mode("phantom://"), SslMode::Disable);
        assert_eq!(mode("phantom://localhost"), SslMode::Disable);
        assert_eq!(mode("phantom://[::ffff:127.0.0.1]"), SslMode::Disable);
        assert_eq!(mode("phantom://db.example"), SslMode::Prefer);
        assert_eq!(mode("phantom://127.0.0.1/d?sslmode=require"), SslMode::Require);
        let full = parse("phantom://h/d?sslmode=verify-full&sslrootcert=/a%20b.pem").unwrap();
        assert_eq!(full.sslrootcert.as_deref(), Some("/a b.pem".as_ref()));
        let door = full.at("10.0.0.1:7500").unwrap().at("10.0.0.1:7501").unwrap();
        assert_eq!(door.server_name.as_deref(), Some("h"), "its doors are the same server's");
    }

    #[test]
    fn the_password_is_not_shown() {
        let options = parse("phantom://u:secret@h/d").unwrap();
        assert!(!format!("{options} {options:?}").contains("secret"));
    }
}
