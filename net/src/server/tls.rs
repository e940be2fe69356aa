//! TLS, for both doors: versions 1.2 and 1.3 by rustls, whose engine knows no sockets.
//!
//! ```text
//!   socket ── read ──► Session::receive ──► plain bytes ──► the door's reader
//!   socket ◄─ write ── Session::seal ◄───── a batch ◄────── the door's writer
//! ```
//!
//! Both halves of a connection share one [`Session`]. A batch of answers becomes one buffer of
//! records and one write. Between messages a session holds its keys and no buffer.
//!
//! **On the core**: the handshake runs on the connection's core, between its other work. Its one
//! long step is the signature of the server's key, a tenth of a millisecond with P-256 and less
//! than one with RSA of 2,048 bits. With a longer RSA key (5 ms at 4,096 bits) a thread of its own,
//! one a node, does the handshakes.
//!
//! **Bounds**: a client that is shaking hands, or is in the middle of a record, holds at most one
//! record here ([`session::INCOMING_BYTES_MAX`]); the time it has is the door's for the handshake,
//! and half a minute for a record.
//!
//! There are no session tickets and no early data: as with PostgreSQL, every connection shakes
//! hands in full.

mod identity;
mod session;
mod worker;

pub use identity::{Identity, IdentityError};
pub(super) use session::Session;

use super::transport::{ReadHalf, WriteHalf};
use identity::Current;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use worker::Worker;

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinimumVersion {
    /// 1.2 and 1.3.
    Tls12,
    /// 1.3 only.
    Tls13,
}

/// Encrypts connections in the name of one certificate. Cloned for every core; all clones present
/// the same certificate.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    worker: Worker,
}

impl Acceptor {
    /// In the name of `identity`.
    ///
    /// # Errors
    /// The cryptography that was built in does not speak any of the versions, or the host has no
    /// room for a thread.
    pub fn new(identity: Identity, minimum: MinimumVersion) -> Result<Acceptor, String> {
        let current = Arc::new(Current::new(identity));
        let versions: &[_] = match minimum {
            MinimumVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinimumVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(identity::provider());
        let builder =
            builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(current.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let worker = Worker::start().map_err(|error| format!("cannot be used: {error}"))?;
        Ok(Acceptor { config: Arc::new(config), current, worker })
    }

    /// Presents `identity` to every client that connects from now on.
    pub fn replace(&self, identity: Identity) {
        self.current.replace(identity);
    }

    /// Shakes hands, and turns both halves into encrypted ones. `received` is what was read of the
    /// handshake before. Waits for the client: the caller bounds the time.
    ///
    /// # Errors
    /// The client vanished, or speaks no TLS that both have in common; it has been told by an alert.
    /// Nothing more can be said on this connection.
    pub async fn accept(
        &self,
        read: &mut ReadHalf,
        write: &mut WriteHalf,
        mut received: Vec<u8>,
    ) -> io::Result<()> {
        let worker = self.current.is_slow().then_some(&self.worker);
        let mut session = Session::new(&self.config)?;
        loop {
            match worker {
                Some(worker) => session = worker.receive(session, received).await?,
                None => session.receive(received),
            }
            let answer = session.take_outgoing();
            if !answer.is_empty() {
                write.socket.write_all(&mut vec![answer.into()]).await?;
            }
            session.check()?;
            if session.is_open() {
                break;
            }
            received = read.socket.read().await?.into();
            if received.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let session = Rc::new(RefCell::new(session));
        read.tls = Some(session.clone());
        write.tls = Some(session);
        Ok(())
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

/// Whether a connection that begins with `bytes` begins with TLS; `None` while too little is there.
///
/// TLS begins with a handshake record: 22, then the version's major number 3 and a minor one above
/// 0. As the length of a frame of the binary protocol that were 66,326 or more, and a first frame
/// has at most 16 KiB.
pub fn is_client_hello(bytes: &[u8]) -> Option<bool> {
    match *bytes {
        [] | [22] | [22, 3] => None,
        [22, 3, minor, ..] => Some(minor > 0),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests;
