//! Transactions as their coordinator sees them.
//!
//! A transaction lives on the core of its session. It has an id, and the sets of partitions that
//! hold something of it: staged writes and locks, or only locks on what it has read. Everything else (locks, staged and prepared
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
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A transaction in progress.
#[derive(Debug)]
pub struct Transaction {
    /// Who it is.
    pub id: TxnId,
    participants: BTreeSet<PartitionId>,
    read: Rc<RefCell<BTreeMap<PartitionId, Read>>>,
    /// The last mark that was set.
    last_mark: Mark,
    /// The last one that it may still go back to, or is read at.
    mark: Option<Mark>,
}

impl Transaction {
    /// A transaction that has touched nothing yet.
    pub fn new(id: TxnId) -> Transaction {
        let (participants, read) = (BTreeSet::new(), Rc::default());
        Transaction { id, participants, read, last_mark: Mark(0), mark: None }
    }

    /// Notes that a partition may hold locks or staged writes of it, before it is asked.
    pub fn touch(&mut self, partition: PartitionId) {
        self.participants.insert(partition);
    }

    /// Forgets a partition that is known to hold nothing of it any more.
    pub fn release(&mut self, partition: PartitionId) {
        self.participants.remove(&partition);
        self.read.borrow_mut().remove(&partition);
    }

    /// For who reads in it.
    pub fn reader(&self) -> Reader {
        Reader { id: self.id, read: self.read.clone() }
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

    /// The partitions that may hold writes of it, in order.
    pub fn participants(&self) -> Vec<PartitionId> {
        self.participants.iter().copied().collect()
    }

    /// The others that hold locks on what it has read, in order.
    pub fn readers(&self) -> Vec<PartitionId> {
        self.only_read(Read::Heard)
    }

    /// Those that were asked and not heard, in order: a reader had enough before. They may hold
    /// locks, or know nothing of it.
    pub fn unheard(&self) -> Vec<PartitionId> {
        self.only_read(Read::Asked)
    }

    /// Everyone who may hold something of it.
    pub(super) fn everyone(&self) -> impl Iterator<Item = PartitionId> {
        let readers = self.readers().into_iter().chain(self.unheard());
        self.participants().into_iter().chain(readers)
    }

    fn only_read(&self, wanted: Read) -> Vec<PartitionId> {
        let read = self.read.borrow();
        let wanted = read.iter().filter(|(_, read)| **read == wanted);
        let partitions = wanted.map(|(&partition, _)| partition);
        partitions.filter(|partition| !self.participants.contains(partition)).collect()
    }
}

/// How far the reading in a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Asked,
    Heard,
}

/// A transaction, as who reads in it knows it.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Who it is.
    pub id: TxnId,
    read: Rc<RefCell<BTreeMap<PartitionId, Read>>>,
}

impl Reader {
    /// Notes that a partition may hold locks on what is read there, before it is asked.
    pub fn ask(&self, partition: PartitionId) {
        self.read.borrow_mut().entry(partition).or_insert(Read::Asked);
    }

    /// Notes that something was heard of it: what was read there must stay as it is.
    pub fn hear(&self, partition: PartitionId) {
        if let Some(read) = self.read.borrow_mut().get_mut(&partition) {
            *read = Read::Heard;
        }
    }
}
