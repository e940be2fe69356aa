//! The messages: what a frame's payload says. `docs/formats/wire.md` has their layouts.
//!
//! [`ClientMessage`] and [`ServerMessage`] are what each side may receive, [`NodeMessage`] what nodes
//! say to each other; a frame of another's kinds is refused like any other malformed one. Rows have a module of their own
//! ([`crate::rows`]), since they are written and read in place.

mod client;
mod node;
mod placement;
mod report;
mod server;

pub use client::{
    ClientMessage, Execute, Hello, MAGIC, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, Prepare,
};
pub use node::{
    BUILD_BYTES_MAX, NODE_MAGIC, NodeChallenge, NodeHello, NodeMessage, NodePairing, NodePong,
    NodeProof, NodeRefused, NodeRelay, NodeRoutesOver, NodeWelcome, PROOF_BYTES,
};
pub use placement::{PlaceEntry, Placement};
pub use report::{Report, Severity, TransactionStatus};
pub use server::{Authenticate, Column, Complete, Prepared, ServerMessage, Welcome};
