//! Transactions as their coordinator sees them.
//!
//! A transaction lives on the core of its session. It has an id, and the set of partitions that
//! hold something of it: staged writes and locks. Everything else (locks, staged and prepared
//! writes, versions) lives in those partitions (`shards/src/txn`).
//!
//! ```text
//! statement ──► Write to each partition (locks rows, stages versions)
//!           ──► Stage: effects on other partitions (unique keys, references)
//! ROLLBACK TO ──► RollbackTo to each: what it has staged and locked since the mark goes
//! COMMIT    ──► one partition: one phase; several: two-phase commit (coordinator.rs)
//! ```
//!
//! The client is answered when the outcome is decided and durable. Carrying a decision out in the
//! participants is left to the core's [`finisher`]: a reader that comes first waits for it.

mod commit;
pub mod coordinator;
mod finisher;
pub mod saga;

pub use commit::{commit, roll_back_to, rollback};
pub use finisher::Finisher;

use model::id::{Mark, PartitionId, TxnId};
use std::collections::BTreeSet;

/// A transaction in progress.
#[derive(Debug)]
pub struct Transaction {
    /// Who it is.
    pub id: TxnId,
    participants: BTreeSet<PartitionId>,
    /// The last mark that was set.
    last_mark: Mark,
    /// The last one that it may still go back to, or is read at.
    mark: Option<Mark>,
}

impl Transaction {
    /// A transaction that has touched nothing yet.
    pub fn new(id: TxnId) -> Transaction {
        Transaction { id, participants: BTreeSet::new(), last_mark: Mark(0), mark: None }
    }

    /// Notes that a partition may hold locks or staged writes of it, before it is asked.
    pub fn touch(&mut self, partition: PartitionId) {
        self.participants.insert(partition);
    }

    /// Forgets a partition that is known to hold nothing of it any more.
    pub fn release(&mut self, partition: PartitionId) {
        self.participants.remove(&partition);
    }

    /// Sets a mark here: a place to go back to, or to be read at. Changes are told of it only when
    /// it is [kept](Transaction::keep).
    pub fn set_mark(&mut self) -> Mark {
        self.last_mark = Mark(self.last_mark.0 + 1);
        self.last_mark
    }

    /// The last mark that was set; of none, one before all.
    pub fn last_mark(&self) -> Mark {
        self.last_mark
    }

    /// Says which is the last mark that is still of use.
    pub fn keep(&mut self, mark: Option<Mark>) {
        self.mark = mark;
    }

    /// The mark that changes belong to.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// The partitions that may hold something of it, in order.
    pub fn participants(&self) -> Vec<PartitionId> {
        self.participants.iter().copied().collect()
    }
}
