//! The engine of one core: log, storage, transactions, execution.
//!
//! A node is as many of these as it has cores, each on a thread of its own with its own partitions,
//! files and memory; nothing is shared between them. What a write goes through:
//!
//! ```text
//!  router ─► core      call(partition, Write): here, or by message on the partition's core
//!              exec    runs the fragment; locks rows, reads their newest versions
//!              txn     stages the new versions; at commit takes a timestamp, makes them pending
//!              log     gathers commands of all partitions while a write is in flight
//!              raft    an entry of the partition's group for all that has gathered
//!              wal     one synchronous frame for all groups of the core
//!              raft    durable, decided: applied in index order
//!              storage memtable; later table files, in the background
//!              txn     not pending any more: readers see it, locks go, the router is answered
//! ```
//!
//! Who knows whom: [`core`] joins all; [`txn`](core) drives `exec`, `storage` and `log`; `log` and
//! `raft` know `wal` and commands, no trees; `wal` knows bytes; `storage` knows no log (it is told what is
//! durable) and no transactions; `exec` sees a partition only as a `RowStore`.
//!
//! After a crash each core reads its log back: what table files do not hold yet is applied again,
//! prepared transactions and decisions are as they were, everything else is forgotten, because
//! nobody was told that it happened.

pub mod core;
pub mod exec;
pub mod log;
pub mod raft;
pub mod storage;
mod txn;
pub mod wal;
