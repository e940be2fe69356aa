//! The engine of one core: the handle that routers use, and what joins log, storage, transactions
//! and execution behind it.
//!
//! ```text
//!  router ── call / read / point_get ──► Engine ──┬─ partition here: a direct call, no task
//!                                                 │
//!                                                 └─ elsewhere ── mesh ──► the other core's
//!                                                       ▲                  dispatcher, a handler
//!                                                       └── answers ◄────  a request
//! ```
//!
//! * **Here** a request is a future that its caller polls: no spawn, no copy, no queue. Dropping
//!   it ends what it waits for.
//! * **Elsewhere** it is a message. One task a core takes all messages that have arrived and polls
//!   the handlers of those it serves ([`dispatch`]); a read sends at most [`READ_WINDOW`] batches
//!   ahead of its reader. Dropping the caller's side cancels the handler.
//! * **At the limits**: the mesh pushes back on the sender of a request. A core that serves too
//!   many requests refuses further statements and goes on to take the ends of transactions, which
//!   is what frees it.
//! * **In the background** ([`background`]): old parts of the log are let go, trees flushed where
//!   they hold that up, versions collected, transactions whose coordinator has gone are resolved.
//!   Damaged files are replaced by those of another replica ([`mend`]), and of a damaged segment of the log
//!   nothing is needed soon ([`log_scrub`]).
//!
//! A node's data directory belongs to one process and one number of cores; [`DataDir`] sees to
//! both, and moves everything over when the number changes ([`reshape`]).
//!
//! What is not here: who decides where replicas belong, and links to other nodes, which are given to an engine
//! ([`crate::raft::Nodes`]).

mod background;
mod contents;
mod dispatch;
mod engine;
mod groups;
mod handover;
mod layout;
mod leaders;
mod log_scrub;
mod mend;
mod message;
mod options;
mod parts;
mod remote;
mod removal;
mod replicas;
mod reshape;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
pub mod wire;

pub use crate::log::LogStats;
pub use crate::raft::LogDamage;
pub use crate::txn::{
    LockMode, LockReport, Lookout, PointLookup, ReportedWait, TxnReport, TxnState, Wait, WaitNumber,
};
pub use contents::Contents;
pub use engine::{Engine, EngineStats, Gauge, HeldSnapshot, OpenError};
pub use layout::{Claimed, DataDir, DataDirOptions, Identity, founded};
pub use mend::MendReport;
pub use message::{CoreMessage, RequestId};
pub use options::EngineOptions;
pub use stream::BatchStream;
pub use trace::{Trace, Visit};
