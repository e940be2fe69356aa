//! The server's side of a connection.
//!
//! ```text
//!   socket ── read ──> reader task ──> queue of requests ──> Requests::next_batch ──> session
//!                          │  credits, cancels, pings                                    │
//!                          v                                                             v
//!   socket <─ writev ── writer task <── outgoing frames <─────────────────────── Responder
//! ```
//!
//! A connection is one session on one core and never leaves it. Reading goes on in a task of its
//! own while a statement runs, so that credits and cancels are seen; it reads whatever has
//! arrived, and the session takes all requests decoded so far in one batch. Answers are encoded
//! straight into one buffer, and a flush wakes the writer task, which sends all there is with one
//! gathered write.
//!
//! Everything a client can make grow has a limit in [`Options`]: frames, requests in flight and
//! their bytes, the outgoing queue (the session takes no further request, and no further rows are
//! produced, while it is long), the time to say hello, to complete a frame, to take an answer, and
//! over all connections of a core the bytes held for requests. An idle connection holds three
//! suspended tasks and no buffer.
//!
//! What ends a connection, and how the other side learns of it: bytes that are no protocol
//! (a fatal error, then the end), a limit of time (the end), the client's goodbye or end of stream
//! (its requests are still answered), the session's own [`Responder::fatal`].

mod handshake;
pub(crate) mod outgoing;
mod outlet;
mod reader;
mod requests;
mod responder;
mod shared;
pub mod tls;
mod transport;
mod writer;

pub use handshake::{Arrival, Caller, Handshake, SessionInfo, Unproven};
pub use outlet::Outlet;
pub use requests::{Request, RequestKind, Requests};
pub use responder::{Interrupted, Responder, RowTooLong};
pub use transport::{ReadHalf, WriteHalf, split};

use crate::frame::{FrameError, PAYLOAD_MAX_DEFAULT};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tls::Acceptor;

/// Limits of the connections of a core. The defaults serve 10,000 clients a core.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest payload of a frame, either way, in bytes.
    pub frame_max: u32,
    /// Most requests of one connection in flight; further ones are answered with 53400.
    pub streams_max: u32,
    /// Most payload of one connection's requests in flight, in bytes; a single request may always
    /// be as long as a frame.
    pub request_bytes_max: u64,
    /// Most bytes that all connections of this core hold for requests and partial frames.
    /// Beyond it requests are answered with 53200.
    pub core_request_bytes_max: u64,
    /// From this many outgoing bytes on a session waits before it produces more.
    pub outgoing_bytes_high: usize,
    /// From connecting to the end of the handshake.
    pub handshake_timeout: Duration,
    /// For a frame that has begun to be complete, besides its length at [`Options::rate_min`].
    pub frame_timeout: Duration,
    /// Slowest a long frame may come in, in bytes a second.
    pub rate_min: u32,
    /// For the client to take one write (at most [`WRITE_BYTES_MAX`]).
    pub write_timeout: Duration,
}

/// Most bytes of one gathered write, so that a slow but living reader makes progress within
/// [`Options::write_timeout`].
pub const WRITE_BYTES_MAX: usize = 256 << 10;

/// Most requests one [`Requests::next_batch`] yields.
pub const REQUEST_BATCH_MAX: usize = 256;

/// What a partial frame may hold when the core is over its budget; longer ones are given up.
pub const PARTIAL_FRAME_ALWAYS: usize = 64 << 10;

impl Default for Options {
    fn default() -> Options {
        Options {
            frame_max: PAYLOAD_MAX_DEFAULT,
            streams_max: 4096,
            request_bytes_max: 64 << 20,
            core_request_bytes_max: 256 << 20,
            outgoing_bytes_high: 1 << 20,
            handshake_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(30),
            rate_min: 64 << 10,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// All native connections of a core: their limits and their sums. One per core, cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    options: Rc<Options>,
    meter: Rc<Meter>,
    tls: Option<Acceptor>,
}

/// What the connections of a core have done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections open now, those still shaking hands included.
    pub connections: u64,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Requests handed to sessions or refused.
    pub requests: u64,
    /// Requests refused at a limit.
    pub refused: u64,
    /// Connections ended for breaking the protocol or a limit of time.
    pub broken: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes held now for requests in flight and partial frames.
    pub request_bytes: u64,
}

#[derive(Debug, Default)]
struct Meter {
    connections: Cell<u64>,
    accepted: Cell<u64>,
    requests: Cell<u64>,
    refused: Cell<u64>,
    broken: Cell<u64>,
    bytes_read: Cell<u64>,
    bytes_written: Cell<u64>,
    request_bytes: Cell<u64>,
}

fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get() + amount);
}

fn subtract(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get().checked_sub(amount).expect("only what was added is taken away"));
}

impl Server {
    /// For the connections of this core, in clear.
    pub fn new(options: Options) -> Server {
        Server { options: Rc::new(options), meter: Rc::new(Meter::default()), tls: None }
    }

    /// The same, with TLS for the clients that begin with it.
    #[must_use]
    pub fn with_tls(self, tls: Option<Acceptor>) -> Server {
        Server { tls, ..self }
    }

    /// The limits in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The sums so far.
    pub fn stats(&self) -> Stats {
        let meter = &self.meter;
        Stats {
            connections: meter.connections.get(),
            accepted: meter.accepted.get(),
            requests: meter.requests.get(),
            refused: meter.refused.get(),
            broken: meter.broken.get(),
            bytes_read: meter.bytes_read.get(),
            bytes_written: meter.bytes_written.get(),
            request_bytes: meter.request_bytes.get(),
        }
    }
}

/// Why a connection takes no more requests.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Ended {
    /// The client said goodbye or closed its end between two frames.
    #[error("the client closed the connection")]
    Closed,
    /// The client vanished in the middle of a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// The bytes were not this protocol.
    #[error(transparent)]
    Protocol(#[from] FrameError),
    /// A message came where the protocol has no place for it.
    #[error("{0}")]
    OutOfPlace(&'static str),
    /// No version of the protocol is spoken by both.
    #[error("the client speaks protocol versions {min} to {max} only")]
    Version {
        /// Its oldest.
        min: u16,
        /// Its newest.
        max: u16,
    },
    /// The client was too slow.
    #[error("the client took longer than {limit:?} to {action}")]
    Timeout {
        /// What it was to do.
        action: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The core holds as many bytes of requests as it may.
    #[error("this core holds as many bytes of requests as it may ({max})")]
    OverBudget {
        /// The limit.
        max: u64,
    },
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(Rc<std::io::Error>),
    /// The session ended it.
    #[error("the server ended the connection")]
    ByServer,
}

impl Ended {
    fn is_broken(&self) -> bool {
        !matches!(self, Ended::Closed | Ended::Io(_) | Ended::ByServer)
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Ended {
        Ended::Io(Rc::new(error))
    }
}
