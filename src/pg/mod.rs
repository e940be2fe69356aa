//! The PostgreSQL wire protocol, version 3: a second door to the same sessions.
//!
//! ```text
//!   socket ── read ──► inlet (a task; bounded) ── messages ──► conversation ──► Session
//!                                                                   │              │
//!   socket ◄─ writev ── outlet (a task; net's) ◄── backend ◄────────┴── answer ◄───┘
//! ```
//!
//! [`wire`] turns bytes into messages and back and knows nothing else; [`greeting`] takes a
//! connection from its first packet to a session; [`conversation`] carries out messages, of the
//! simple and the extended protocol; [`answer`] encodes what the session answers. Values travel
//! as text or in [`binary`] form. A client that must prove who it is does so in
//! [`authentication`].
//!
//! **Requests and transactions**: what a client sends up to a `Sync` is one transaction, as in
//! PostgreSQL. Where an `Execute` is directly followed by its `Sync`, which is what nearly every
//! client does, the statement commits by itself, in one phase where one partition is concerned.
//! After an error everything up to the `Sync` is skipped.
//!
//! **Bounds**: a message, the start-up packet, what is read ahead of the session and what is
//! queued for the client have limits, and so have the bytes that all connections of a core hold
//! and the time a message may take ([`Limits`]). An idle connection holds three suspended tasks
//! and no buffer.
//!
//! What it does not know: SQL, plans, how a statement is carried out.

mod answer;
mod authentication;
pub mod binary;
mod conversation;
mod greeting;
mod inlet;
pub mod wire;

use crate::session::Host;
use net::server::tls::Acceptor;
use runtime::net::Stream;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Limits of the PostgreSQL connections of a core.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest message behind its length, in bytes.
    pub message_bytes_max: usize,
    /// The same, of a client that is not let in yet.
    pub proof_bytes_max: usize,
    /// Most bytes that all connections of the core hold of messages that are not taken yet. A
    /// connection that goes beyond with more than it always may is ended with 53200.
    pub held_bytes_max: u64,
    /// From this many outgoing bytes on a session waits before it produces more.
    pub outgoing_bytes_high: usize,
    /// From connecting to being let in.
    pub startup_timeout: Duration,
    /// For a message that has begun to be complete, besides its length at [`Limits::rate_min`].
    pub message_timeout: Duration,
    /// Slowest a long message may come in, in bytes a second.
    pub rate_min: u64,
    /// For the client to take one write.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 64 << 20,
            proof_bytes_max: 4 << 10,
            held_bytes_max: 256 << 20,
            outgoing_bytes_high: 1 << 20,
            startup_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(30),
            rate_min: 64 << 10,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// Bytes that the connections of a core hold.
#[derive(Debug, Default)]
struct Meter {
    held: Cell<u64>,
}

impl Meter {
    fn held(&self) -> u64 {
        self.held.get()
    }

    fn add(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes as u64);
    }

    fn subtract(&self, bytes: usize) {
        let left = self.held.get().checked_sub(bytes as u64);
        self.held.set(left.expect("only what was added is taken away"));
    }
}

/// What the PostgreSQL connections of a core have in common. One per core.
pub struct Door {
    host: Rc<Host>,
    limits: Rc<Limits>,
    meter: Rc<Meter>,
    tls: Option<Acceptor>,
    encrypted_only: bool,
}

impl Door {
    /// A door to the sessions of `host`'s core.
    pub fn new(host: Rc<Host>, limits: Limits) -> Door {
        Door {
            host,
            limits: Rc::new(limits),
            meter: Rc::default(),
            tls: None,
            encrypted_only: false,
        }
    }

    /// The same, with TLS for the clients that ask for it; with `encrypted_only` no other is let in.
    #[must_use]
    pub fn with_tls(self, tls: Option<Acceptor>, encrypted_only: bool) -> Door {
        Door { tls, encrypted_only, ..self }
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Rc<Door>, stream: Stream) {
        if let Some(greeted) = greeting::greet(&self, stream, None).await {
            conversation::run(&self, greeted).await;
        }
    }

    /// Tells a client that there are too many.
    pub async fn turn_away(self: Rc<Door>, stream: Stream, connections_max: u32) {
        let turned_away = greeting::greet(&self, stream, Some(connections_max)).await;
        assert!(turned_away.is_none(), "nobody is let in beyond the limit");
    }
}
