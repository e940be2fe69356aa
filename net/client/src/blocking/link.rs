//! A socket and the protocol that runs over it.

use crate::Error;
use crate::protocol::{Protocol, ServerInfo};
use crate::tls::Tls;
use crate::url::{Options, SslMode};
use bytes::{Bytes, BytesMut};
use net::frame::{CONNECTION, StreamId};
use net::message::ClientMessage;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes a read takes at most.
const READ_BYTES: usize = 32 << 10;

/// A connection that was quiet for this long is looked at before it is used.
const QUIET: Duration = Duration::from_millis(100);

/// A connection, being used by one thread; only cancels come from others.
pub(super) struct Link {
    protocol: Protocol,
    info: ServerInfo,
    writer: Arc<Writer>,
    buffer: Box<[u8]>,
    used: Instant,
    /// What the socket's read timeout is set to.
    patience: Option<Duration>,
}

/// The end of the socket that several threads may write to.
struct Writer {
    socket: TcpStream,
    /// Held for each write, so that a cancel never lands inside a frame, nor a record before one
    /// that was sealed earlier.
    turn: Mutex<()>,
    tls: Option<Mutex<Tls>>,
    /// The stream being waited for; 0: none.
    watched: AtomicU32,
}

/// Cancels what a [`super::Client`] waits for. Outlives the client harmlessly.
#[derive(Clone)]
pub struct CancelHandle {
    writer: Arc<Writer>,
}

impl CancelHandle {
    /// Asks the server to give up the request its client waits for, if it does. The request then
    /// fails with 57014, unless it was quicker.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn cancel(&self) -> Result<(), Error> {
        let watched = StreamId(self.writer.watched.load(Ordering::Acquire));
        if watched == CONNECTION {
            return Ok(());
        }
        let mut frame = BytesMut::new();
        ClientMessage::Cancel.write(&mut frame, watched);
        self.writer.write(&frame).map_err(Error::lost)
    }
}

impl Writer {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tls) = &self.tls else { return (&self.socket).write_all(bytes) };
        let mut records = BytesMut::new();
        tls.lock().unwrap_or_else(PoisonError::into_inner).seal(bytes, &mut records)?;
        (&self.socket).write_all(&records)
    }

    /// Takes what has arrived, once something has.
    fn receive(&self, buffer: &mut [u8], protocol: &mut Protocol) -> io::Result<()> {
        let read = loop {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        // Nobody sleeps on wakers here: this thread looks for itself.
        let woken = &mut Vec::new();
        if read == 0 {
            protocol.receive_end(woken);
            return Ok(());
        }
        let Some(tls) = &self.tls else {
            protocol.receive(Bytes::copy_from_slice(&buffer[..read]), woken);
            return Ok(());
        };
        let mut plain = BytesMut::new();
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        tls.open(&buffer[..read], &mut plain)?;
        let answers = tls.has_outgoing();
        drop(tls);
        if !plain.is_empty() {
            protocol.receive(plain.freeze(), woken);
        }
        // The next part of the handshake.
        if answers { self.write(&[]) } else { Ok(()) }
    }
}

impl Link {
    /// Connects and shakes hands.
    pub(super) fn open(options: &Options) -> Result<Link, Error> {
        let deadline = Instant::now() + options.connect_timeout;
        let mode = options.effective_sslmode();
        if mode == SslMode::Disable {
            return Link::open_with(options, None, deadline);
        }
        let opened =
            Tls::new(options, mode).and_then(|tls| Link::open_with(options, Some(tls), deadline));
        match opened {
            Err(error) if mode == SslMode::Prefer && error.is_without_tls() => {
                Link::open_with(options, None, deadline)
            }
            opened => opened,
        }
    }

    fn open_with(options: &Options, tls: Option<Tls>, deadline: Instant) -> Result<Link, Error> {
        let socket = connect(options, deadline)?;
        let writer = Writer {
            socket,
            turn: Mutex::new(()),
            tls: tls.map(Mutex::new),
            watched: AtomicU32::new(0),
        };
        let mut protocol = Protocol::new(options);
        let mut buffer = vec![0; READ_BYTES].into_boxed_slice();
        let failed = |cause: io::Error| Error::Connect {
            address: options.address(),
            cause: Arc::new(cause),
        };
        while !protocol.is_welcomed() {
            let hello = protocol.output().split();
            if !hello.is_empty() {
                writer.write(&hello).map_err(failed)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            writer.socket.set_read_timeout(Some(left)).map_err(failed)?;
            writer.receive(&mut buffer, &mut protocol).map_err(failed)?;
            if let Some(failure) = protocol.failure() {
                return Err(match failure {
                    Error::Lost { cause, .. } => {
                        Error::Connect { address: options.address(), cause: Arc::clone(cause) }
                    }
                    other => other.clone(),
                });
            }
        }
        writer.socket.set_read_timeout(None).map_err(failed)?;
        let info = protocol.info().cloned().ok_or(Error::OutOfPlace("no welcome"))?;
        Ok(Link {
            protocol,
            info,
            writer: Arc::new(writer),
            buffer,
            used: Instant::now(),
            patience: None,
        })
    }

    pub(super) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(super) fn protocol_mut(&mut self) -> &mut Protocol {
        &mut self.protocol
    }

    pub(super) fn info(&self) -> &ServerInfo {
        &self.info
    }

    pub(super) fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { writer: Arc::clone(&self.writer) }
    }

    /// The stream that a cancel is for.
    pub(super) fn watch(&self, stream: StreamId) {
        self.writer.watched.store(stream.0, Ordering::Release);
    }

    /// Sends all that is queued.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if let Some(failure) = self.protocol.failure() {
            return Err(failure.clone());
        }
        if self.protocol.output().is_empty() {
            return Ok(());
        }
        let sent = self.writer.write(self.protocol.output());
        self.protocol.output().clear();
        sent.map_err(|cause| self.fail(Error::lost(cause)))
    }

    /// Sends all that is queued, then waits for something to arrive.
    pub(super) fn advance(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        self.flush()?;
        if self.patience != patience {
            self.writer.socket.set_read_timeout(patience).map_err(|e| self.fail(Error::lost(e)))?;
            self.patience = patience;
        }
        match self.writer.receive(&mut self.buffer, &mut self.protocol) {
            Ok(()) => {}
            Err(cause) if is_timeout(&cause) => {
                let limit = patience.unwrap_or_default();
                return Err(self.fail(Error::Timeout { limit, may_have_executed: false }));
            }
            Err(cause) => return Err(self.fail(Error::lost(cause))),
        }
        self.used = Instant::now();
        self.protocol.failure().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Looks whether a connection that has been quiet is still there.
    pub(super) fn notice_loss(&mut self) {
        let quiet = self.protocol.open_streams() == 0 && self.protocol.failure().is_none();
        if !quiet || self.used.elapsed() < QUIET {
            return;
        }
        self.used = Instant::now();
        let socket = &self.writer.socket;
        let looked = socket
            .set_nonblocking(true)
            .and_then(|()| self.writer.receive(&mut self.buffer, &mut self.protocol));
        let restored = self.writer.socket.set_nonblocking(false);
        match looked.and(restored) {
            Err(cause) if !is_timeout(&cause) => {
                self.fail(Error::lost(cause));
            }
            _ => {}
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.protocol.fail(error.clone(), &mut Vec::new());
        error
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.protocol.failure().is_none() {
            let mut goodbye = self.protocol.output().split();
            ClientMessage::Goodbye.write(&mut goodbye, CONNECTION);
            // A goodbye that does not arrive is no loss: the end of the stream says the same.
            self.writer.write(&goodbye).ok();
        }
        self.writer.socket.shutdown(std::net::Shutdown::Both).ok();
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn connect(options: &Options, deadline: Instant) -> Result<TcpStream, Error> {
    let failed =
        |cause: io::Error| Error::Connect { address: options.address(), cause: Arc::new(cause) };
    let addresses = (options.host.as_str(), options.port).to_socket_addrs().map_err(failed)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            last = io::ErrorKind::TimedOut.into();
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(failed)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}
