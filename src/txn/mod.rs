//! Transactions as their coordinator sees them.
//!
//! A transaction lives on the core of its session. It has an id, and the set of partitions that
//! hold something of it: staged writes and locks. Everything else (locks, staged and prepared
//! writes, versions) lives in those partitions (`shards/src/txn`).
//!
//! ```text
//! statement ──► Write to each partition (locks rows, stages versions)
//!           ──► Stage: effects on other partitions (unique keys, references)
//! COMMIT    ──► one partition: one phase; several: two-phase commit (coordinator.rs)
//! ```
//!
//! The client is answered when the outcome is decided and durable. Carrying a decision out in the
//! participants is left to the core's [`finisher`]: a reader that comes first waits for it.

mod commit;
pub mod coordinator;
mod finisher;

pub use commit::{commit, rollback};
pub use finisher::Finisher;

use model::id::{PartitionId, TxnId};
use std::collections::BTreeSet;

/// A transaction in progress.
#[derive(Debug)]
pub struct Transaction {
    /// Who it is.
    pub id: TxnId,
    participants: BTreeSet<PartitionId>,
}

impl Transaction {
    /// A transaction that has touched nothing yet.
    pub fn new(id: TxnId) -> Transaction {
        Transaction { id, participants: BTreeSet::new() }
    }

    /// Notes that a partition may hold locks or staged writes of it, before it is asked.
    pub fn touch(&mut self, partition: PartitionId) {
        self.participants.insert(partition);
    }

    /// Forgets a partition that is known to hold nothing of it any more.
    pub fn release(&mut self, partition: PartitionId) {
        self.participants.remove(&partition);
    }

    /// The partitions that may hold something of it, in order.
    pub fn participants(&self) -> Vec<PartitionId> {
        self.participants.iter().copied().collect()
    }
}
