//! Transactions of a core's partitions: locks, staged writes, votes and outcomes.
//!
//! # The idea
//!
//! A transaction stages its writes in memory on the core that owns the rows and holds exclusive
//! locks on them. It ends in one of two ways:
//!
//! ```text
//!  one partition:     stage ─► Commit ─► unlocked ─► durable ─► visible
//!
//!  several:           stage ─► Prepare (a vote, in each participant's log, in parallel)
//!                           ─► Decide  (in the anchor's log: this is the commit)
//!                           ─► Finish  (in each participant: visible, unlocked)
//!                           ─► Forget  (in the anchor's log)
//! ```
//!
//! **Presumed abort.** The anchor is one of the participants. What is prepared there and has no
//! decision in its log may be aborted at any time, by anyone who asks ([`Partition::resolve`]); the
//! log's order decides who was first. So nothing needs to be remembered of a transaction that was
//! aborted, and whoever finds a prepared transaction can finish it by asking its anchor.
//!
//! **Snapshots.** A read at `T` first moves the core's clock past `T`. Timestamps of commits and
//! votes are taken from that clock afterwards, so no write can slip under a snapshot that was
//! served. What is in flight is *pending*: a read that meets a pending key with a timestamp up to
//! `T` waits for the outcome, and only such a read. A vote's timestamp is a lower bound of the
//! commit's, so a vote after `T` need not be waited for.
//!
//! **Handing over.** A transaction that wrote in one partition lets go of its locks when its commit
//! has its place in the log. Whoever locks a row of it next to change it finds its value among the
//! pending ones (`state/pending.rs`), builds on it and *leans* on its writer: what it writes comes behind
//! it in the same log. It tells nothing of what it has seen but how many rows it has changed before that
//! is durable ([`Partition::wait_for_seen`]): not to its client, and not to other partitions, whose logs
//! are not behind this one. Queries and row locks see what is durable. If the log refuses the commit,
//! it refuses what waits behind it, too, and who leans on it goes with it. So many changes of one row
//! share a write of the log.
//!
//! **Locks** are of keys and of ranges of keys, shared or exclusive, first come first served, one
//! table a core ([`locks`]). Transactions that wait for each other in a circle cost the youngest of
//! them (40P01): the routers find circles, on one core as on several, and ask all cores who waits for
//! whom when a lock has been waited for a moment ([`long_waits`]). What is in the way and no lock (an
//! outcome, a schema change) ends by the lock timeout (55P03).
//!
//! **Going back.** A transaction that may go back to a savepoint, or has a cursor open, names a
//! *mark* with each change. What the first change of a key after a mark replaces is kept with it
//! (`state/marks.rs`), until the transaction ends or goes back. The locks since then go with it, but
//! those of a serializable transaction: what it has read was seen.
//!
//! # What holds
//!
//! - State that the log knows changes only when the log applies it: a replay arrives at the same.
//! - A command that is on its way is carried out even if nobody waits for it any more, and one
//!   that was refused is cleaned up by the log's answer, not by whoever proposed it.
//! - A transaction that was rolled back without being asked (idle, or failed to get into the log)
//!   is remembered, so that its next statement fails rather than beginning it anew.
//! - A vote or a decision keeps the part of the log that holds it; where that would hold up the
//!   log's end, it is written again ([`Partition::carry`]).
//!
//! **Isolation.** A serializable transaction's reads lock keys and ranges before they look
//! ([`store`]), and see what is committed by then; those of the others read a snapshot. A partition
//! that was only read keeps the locks until it hears of the commit's timestamp, and follows it before
//! they go: who changes what was read commits later than who read it, in every snapshot.
//!
//! # What is not here
//!
//! Coordinators live in the router (`src/txn`).

mod access;
mod context;
mod fragment;
mod locks;
mod long_waits;
mod naming;
mod partition;
mod parts;
mod probe;
mod report;
mod requests;
mod row_locks;
mod snapshots;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use access::PointLookup;
pub(crate) use context::{CoreContext, TxnOptions};
pub(crate) use fragment::FragmentRead;
pub use locks::{LockMode, LockReport, ReportedWait, Wait, WaitNumber};
pub use long_waits::Lookout;
pub(crate) use partition::{Needed, Partition};
pub use report::TxnReport;
pub(crate) use report::transactions;
pub(crate) use requests::Ballot;
pub(crate) use snapshots::SnapshotGuard;
pub use state::TxnState;
