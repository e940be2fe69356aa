//! A socket's halves, in clear or encrypted: what both doors read from and write to.
//!
//! A connection begins in clear. [`super::tls::Acceptor::accept`] turns both halves into encrypted
//! ones. In clear they cost one look at an option more than the socket's own.

use super::tls::Session;
use bytes::Bytes;
use runtime::net::Stream;
use runtime::time::{self, Instant};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A TLS record that has begun must be complete within this.
const RECORD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the goodbye of TLS may wait for a client that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What both halves of an encrypted connection work on.
pub(super) type SharedSession = Rc<RefCell<Session>>;

/// The half that reads.
pub struct ReadHalf {
    pub(super) socket: runtime::net::ReadHalf,
    pub(super) tls: Option<SharedSession>,
    /// When the record that is partly there began to arrive.
    begun: Option<Instant>,
}

/// The half that writes.
pub struct WriteHalf {
    pub(super) socket: runtime::net::WriteHalf,
    pub(super) tls: Option<SharedSession>,
}

/// The halves of a connection, in clear.
pub fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.split();
    (ReadHalf { socket: read, tls: None, begun: None }, WriteHalf { socket: write, tls: None })
}

impl ReadHalf {
    /// Whether what is read was encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Waits for bytes and returns all that have arrived; none means that the peer has ended its
    /// stream. If the future is dropped, no byte is lost.
    ///
    /// # Errors
    /// The kernel's; what is no TLS on an encrypted connection, and a record that takes longer than
    /// half a minute to arrive. The stream is at its end then.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        if self.tls.is_none() {
            return Ok(self.socket.read().await?.into());
        }
        self.read_encrypted().await
    }

    async fn read_encrypted(&mut self) -> io::Result<Vec<u8>> {
        let Some(tls) = &self.tls else { return Err(io::ErrorKind::NotConnected.into()) };
        loop {
            let partial = {
                let mut session = tls.borrow_mut();
                let plain = session.take_plain();
                if !plain.is_empty() {
                    // A record was complete: the one behind it has its own time.
                    self.begun = None;
                    return Ok(plain);
                }
                if session.has_ended() {
                    return Ok(plain);
                }
                session.check()?;
                session.holds_partial_record()
            };
            let received = if partial {
                let begun = *self.begun.get_or_insert_with(time::now);
                let left = RECORD_TIMEOUT.saturating_sub(begun.elapsed());
                let read = time::timeout(left, self.socket.read()).await;
                read.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??
            } else {
                self.begun = None;
                self.socket.read().await?
            };
            if received.is_empty() {
                return Ok(Vec::new());
            }
            // What is wrong with it is found by the next turn, after what was good before it.
            tls.borrow_mut().receive(received.into());
        }
    }
}

impl WriteHalf {
    /// Whether what is written is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// As [`runtime::net::WriteHalf::write_all`]: gives the kernel all of `bufs` and leaves it
    /// empty. Encrypted, they become one buffer of records.
    ///
    /// # Errors
    /// The kernel's, and what is wrong with the encrypted connection.
    pub async fn write_all(&mut self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let sealed = tls.borrow_mut().seal(bufs)?;
            bufs.clear();
            bufs.push(sealed.into());
        }
        self.socket.write_all(bufs).await
    }

    /// Tells the peer that nothing more comes. It can still send; what it sent can still be read.
    pub async fn shutdown(&mut self) {
        if let Some(tls) = &self.tls {
            let mut goodbye = vec![tls.borrow_mut().close().into()];
            // Who is gone, or does not read, learns it from the end of the stream.
            let _sent = time::timeout(CLOSE_TIMEOUT, self.socket.write_all(&mut goodbye)).await;
        }
        self.socket.shutdown().await;
    }
}
