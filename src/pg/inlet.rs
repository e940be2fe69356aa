//! The way in of a connection: a task reads ahead of the session, within bounds.

use super::wire::frontend::{self, Message};
use super::wire::{WireError, startup};
use super::{Limits, Meter};
use bytes::BytesMut;
use model::error::{SqlError, SqlState};
use net::server::ReadHalf;
use runtime::sync::Notify;
use runtime::time::{self, Instant};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// So many bytes are read ahead of the session.
const AHEAD_BYTES: usize = 64 << 10;

/// Why nothing more comes from a client.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Ended {
    /// The client closed its end.
    #[error("the client closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(Rc<io::Error>),
    /// What came is not the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message, or the start, took too long.
    #[error("the client took longer than {0:?} to complete a message")]
    Timeout(Duration),
    /// Bytes came behind a request for encryption, before there was any: they must not be taken for
    /// a part of what is encrypted (CVE-2021-23214).
    #[error("received unencrypted data after {0} request")]
    Unencrypted(&'static str),
    /// The core holds as many bytes of clients' messages as it may.
    #[error("this core holds as many bytes of requests as it may ({0})")]
    OverBudget(u64),
}

impl Ended {
    /// What the client is told, where it may still listen.
    pub(super) fn farewell(&self) -> Option<SqlError> {
        match self {
            Ended::Closed | Ended::Io(_) => None,
            Ended::Wire(error) => Some(error.to_error()),
            Ended::Timeout(_) => {
                Some(SqlError::new(SqlState::PROTOCOL_VIOLATION, self.to_string()))
            }
            Ended::Unencrypted(_) => {
                Some(SqlError::new(SqlState::PROTOCOL_VIOLATION, self.to_string()).detail(
                    "This could be either a client-software bug or evidence of an attempted \
                     man-in-the-middle attack.",
                ))
            }
            Ended::OverBudget(_) => Some(
                SqlError::new(SqlState::OUT_OF_MEMORY, self.to_string())
                    .hint("Connect again later, or send shorter messages."),
            ),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Io(Rc::new(error))
    }
}

/// Bytes that have arrived and are not taken yet. Holds no memory while there are none.
pub(super) struct Inlet {
    limits: Rc<Limits>,
    meter: Rc<Meter>,
    buffer: RefCell<BytesMut>,
    /// Longest message that is taken; it grows when the client is let in.
    message_bytes_max: Cell<usize>,
    /// The session waits for a message of so many bytes: more than is read ahead otherwise.
    wanted: Cell<usize>,
    ended: RefCell<Option<Ended>>,
    arrived: Notify,
    taken: Notify,
    /// When the message that is partly there began to arrive, as far as it was noticed.
    begun: Cell<Option<Instant>>,
}

impl Inlet {
    /// `begun` with what was read before.
    pub(super) fn new(limits: Rc<Limits>, meter: Rc<Meter>, read: BytesMut) -> Inlet {
        meter.add(read.len());
        Inlet {
            message_bytes_max: Cell::new(limits.proof_bytes_max),
            limits,
            meter,
            buffer: RefCell::new(read),
            wanted: Cell::new(0),
            ended: RefCell::new(None),
            arrived: Notify::new(),
            taken: Notify::new(),
            begun: Cell::new(None),
        }
    }

    /// Takes messages as long as the session's may be.
    pub(super) fn let_in(&self) {
        self.message_bytes_max.set(self.limits.message_bytes_max);
    }

    /// The reading task: ends with the connection.
    pub(super) async fn run(&self, mut half: ReadHalf) {
        let reason = loop {
            while self.buffer.borrow().len() >= AHEAD_BYTES.max(self.wanted.get()) {
                self.taken.notified().await;
            }
            let received = match half.read().await {
                Ok(received) if received.is_empty() => break Ended::Closed,
                Ok(received) => received,
                Err(error) => break error.into(),
            };
            let held = self.buffer.borrow().len() + received.len();
            if self.meter.held() + received.len() as u64 > self.limits.held_bytes_max
                && held > AHEAD_BYTES
            {
                break Ended::OverBudget(self.limits.held_bytes_max);
            }
            self.meter.add(received.len());
            self.buffer.borrow_mut().extend_from_slice(&received);
            self.arrived.notify_all();
        };
        *self.ended.borrow_mut() = Some(reason);
        self.arrived.notify_all();
    }

    /// The next message, if all of it has arrived.
    ///
    /// # Errors
    /// The bytes are none.
    pub(super) fn try_next(&self) -> Result<Option<Message>, Ended> {
        let mut buffer = self.buffer.borrow_mut();
        let before = buffer.len();
        let message = frontend::cut(&mut buffer, self.message_bytes_max.get())?;
        self.meter.subtract(before - buffer.len());
        if buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        if message.is_some() {
            self.wanted.set(0);
            self.begun.set(None);
            self.taken.notify_one();
        }
        Ok(message)
    }

    /// Waits for the next message. May be dropped while it waits.
    ///
    /// # Errors
    /// Why none comes any more.
    pub(super) async fn next(&self) -> Result<Message, Ended> {
        loop {
            if let Some(message) = self.try_next()? {
                return Ok(message);
            }
            if let Some(reason) = &*self.ended.borrow() {
                return Err(reason.clone());
            }
            let arrived = self.arrived.notified();
            let Some(patience) = self.expect()? else {
                arrived.await;
                continue;
            };
            let left = patience.limit.saturating_sub(patience.begun.elapsed());
            if time::timeout(left, arrived).await.is_err() {
                return Err(Ended::Timeout(patience.limit));
            }
        }
    }

    /// Has the rest of a message that is partly there read, and says how long that may take; for
    /// ever between messages.
    fn expect(&self) -> Result<Option<Patience>, Ended> {
        let buffer = self.buffer.borrow();
        if buffer.is_empty() {
            return Ok(None);
        }
        let length = frontend::length(&buffer, self.message_bytes_max.get())?;
        let length = length.unwrap_or(frontend::HEADER_BYTES);
        self.wanted.set(length);
        self.taken.notify_one();
        let begun = self.begun.get().unwrap_or_else(time::now);
        self.begun.set(Some(begun));
        let limit = self.limits.message_timeout
            + Duration::from_secs(length as u64 / self.limits.rate_min.max(1));
        Ok(Some(Patience { begun, limit }))
    }

    /// Whether the next message is the one that ends a request.
    pub(super) fn at_sync(&self) -> bool {
        self.buffer.borrow().first() == Some(&b'S')
    }

    /// Waits until the client has vanished: what runs for it now is in vain. One that has said
    /// goodbye behind its request wants it carried out.
    pub(super) async fn left(&self) {
        while self.ended.borrow().is_none() || !self.buffer.borrow().is_empty() {
            self.arrived.notified().await;
        }
    }
}

/// How long a message may take, since when.
struct Patience {
    begun: Instant,
    limit: Duration,
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.meter.subtract(self.buffer.borrow().len());
    }
}

/// Reads the packet that begins a connection, within `deadline`. What arrived behind it stays in
/// `buffer`.
///
/// # Errors
/// Why there is none.
pub(super) async fn read_packet(
    half: &mut ReadHalf,
    buffer: &mut BytesMut,
    began: Instant,
    limits: &Limits,
) -> Result<startup::Packet, Ended> {
    loop {
        if let Some(packet) = startup::cut(buffer)? {
            return Ok(packet);
        }
        let limit = limits.startup_timeout;
        let left = limit.saturating_sub(began.elapsed());
        let read = time::timeout(left, half.read()).await;
        let received = read.map_err(|_elapsed| Ended::Timeout(limit))??;
        if received.is_empty() {
            return Err(Ended::Closed);
        }
        buffer.extend_from_slice(&received);
    }
}
