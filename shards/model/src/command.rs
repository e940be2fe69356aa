//! What a router asks of a partition, what it hears back, and what a partition's log holds.

use crate::archive::Unshared;
use crate::batch::Batch;
use crate::error::SqlError;
use crate::id::{Mark, NodeId, PartitionId, TxnId};
use crate::plan::Plan;
use crate::probe::{Probe, Probed};
use crate::row_lock::{LockRows, RowLocked};
use crate::time::Timestamp;
use crate::value::Value;
use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A request to the leader of one partition.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct Request {
    /// For whom.
    pub partition: PartitionId,
    /// The sender's clock; the receiver's moves past it.
    pub sent: Timestamp,
    /// What is asked.
    pub body: RequestBody,
}

/// What is asked of a partition.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub enum RequestBody {
    /// Runs a fragment that only reads and streams its batches.
    Read(Fragment),
    /// Runs a [`Plan::Modify`]: locks rows and stages their new versions in the transaction.
    /// Answered by [`Response::Modified`].
    Write {
        /// The fragment.
        fragment: Fragment,
        /// Commit at once if the change has no effects elsewhere: a statement of its own that
        /// touches one partition. The answer says whether that happened.
        commit: bool,
        /// The last place that the transaction may still go back to, or is read at.
        mark: Option<Mark>,
    },
    /// Stages what another partition's change means here. Answered by [`Response::Done`].
    Stage {
        /// The transaction.
        txn: TxnId,
        /// In order.
        effects: Vec<Effect>,
        /// As of a write.
        mark: Option<Mark>,
        /// As of a fragment.
        lock_timeout: Option<Duration>,
    },
    /// Locks rows that a query has read, until the transaction ends. Answered by
    /// [`Response::Locked`].
    Lock(LockRows),
    /// Locks unique keys that rows are about to claim, and says which are taken. Answered by
    /// [`Response::Probed`].
    Probe(Probe),
    /// Takes back what a transaction has staged and locked since a mark. Answered by
    /// [`Response::Returned`].
    RollbackTo {
        /// The transaction.
        txn: TxnId,
        /// The mark.
        mark: Mark,
    },
    /// Ends a transaction that has written in this partition only.
    /// Answered by [`Response::Committed`].
    CommitOnePhase {
        /// The transaction.
        txn: TxnId,
        /// It must not commit later than this: what it has read elsewhere may be changed afterwards.
        not_after: Timestamp,
    },
    /// First phase, of a partition that was only read: it keeps the locks until it is told of the
    /// outcome, and takes no more. Answered by [`Response::Aside`].
    StandAside {
        /// The transaction.
        txn: TxnId,
    },
    /// First phase: makes the staged writes durable and promises to commit them.
    /// Answered by [`Response::Prepared`], or [`Response::Aside`] where nothing was written or required.
    Prepare {
        /// The transaction.
        txn: TxnId,
        /// Whose log will hold the decision.
        anchor: PartitionId,
    },
    /// To the anchor: logs the decision to commit, unless the transaction was already decided
    /// otherwise. Answered by [`Response::Decided`].
    Decide {
        /// The transaction.
        txn: TxnId,
        /// At least every participant's prepare timestamp.
        commit: Timestamp,
        /// All participants.
        participants: Vec<PartitionId>,
    },
    /// Second phase: carries the decision out. Repeats do no harm. Answered by [`Response::Done`].
    Finish {
        /// The transaction.
        txn: TxnId,
        /// What was decided.
        outcome: Outcome,
    },
    /// Drops a transaction's staged writes and locks; undecided prepared ones are aborted.
    /// Answered by [`Response::Done`].
    Rollback {
        /// The transaction.
        txn: TxnId,
    },
    /// To the anchor, from anyone who holds a prepared transaction: what was decided? Deciding
    /// nothing yet, the anchor decides to abort. Answered by [`Response::Decided`].
    Resolve {
        /// The transaction.
        txn: TxnId,
    },
    /// To the anchor, once every participant has finished: the decision may be forgotten.
    /// Answered by [`Response::Done`].
    Forget {
        /// The transaction.
        txn: TxnId,
    },
}

/// A plan with all it needs to run in a partition.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct Fragment {
    /// The operators; shared with the statement's plan.
    #[rkyv(with = Unshared)]
    pub plan: Arc<Plan>,
    /// Values of the statement's parameters.
    #[rkyv(with = Unshared)]
    pub parameters: Arc<[Value]>,
    /// Versions up to it are seen, and the transaction's own.
    pub snapshot: Timestamp,
    /// The transaction on whose behalf it runs; `None` reads outside of any.
    pub txn: Option<TxnId>,
    /// Of the transaction's own versions only those before this mark are seen; `None`: all.
    pub seen: Option<Mark>,
    /// How the transaction is kept from others; of no meaning outside of any.
    pub isolation: Isolation,
    /// The statement's own wall-clock time, the same everywhere (`now()`): microseconds since
    /// 2000-01-01 00:00 UTC.
    pub now_micros: i64,
    /// How long it waits for each lock, and for the outcome of each transaction in its way; `None`:
    /// as long as the node allows.
    pub lock_timeout: Option<Duration>,
}

/// How a transaction is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub enum Isolation {
    /// A statement reads its snapshot, and the newest version of a row that it changes.
    ReadCommitted,
    /// All statements read one snapshot. A row that was changed behind it cannot be changed: 40001.
    RepeatableRead,
    /// What is read is locked until the transaction ends, and read as it is then. `snapshot` is of
    /// no meaning but that versions from there on are kept.
    #[default]
    Serializable,
}

/// What a change of one row asks of another partition. It is always staged in the same
/// transaction as the change, so that both happen or neither.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Effect {
    /// Claims a key of a unique index that is placed by its own hash; 23505 where it is taken.
    ClaimKey {
        /// The entry's key.
        key: Vec<u8>,
        /// The entry: the row's primary key, encoded.
        value: Vec<u8>,
        /// For the error.
        #[rkyv(with = Unshared)]
        conflict: Arc<KeyConflict>,
    },
    /// Frees a claimed key.
    FreeKey {
        /// The entry's key.
        key: Vec<u8>,
    },
    /// Writes an entry of an index that is being built, whatever is there.
    PutKey {
        /// The entry's key.
        key: Vec<u8>,
        /// The entry.
        value: Vec<u8>,
    },
    /// Requires that a row or unique entry exists, and keeps it until the transaction ends.
    RequireKey {
        /// The key.
        key: Vec<u8>,
        /// For the error.
        #[rkyv(with = Unshared)]
        conflict: Arc<KeyConflict>,
    },
}

/// Names for an error about a key.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct KeyConflict {
    /// The complete error to raise.
    pub error: SqlError,
}

/// An effect and where it must happen.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct RoutedEffect {
    /// Hash of the key's partition columns.
    pub hash: u64,
    /// What must happen there.
    pub effect: Effect,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Outcome {
    /// Its writes are visible from this timestamp on.
    Committed(Timestamp),
    /// Nothing of it remains.
    Aborted,
}

/// A partition's answer.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub enum Response {
    /// A batch of a read; more may follow.
    Rows(Batch),
    /// The end of a read.
    End,
    /// Rows were changed.
    Modified(Modified),
    /// What became of the first keys of a [`RequestBody::Lock`]: those behind them are more than
    /// was wanted.
    Locked(Vec<RowLocked>),
    /// What is there, key by key, of a [`RequestBody::Probe`].
    Probed(Vec<Probed>),
    /// Staged, finished or rolled back.
    Done,
    /// Rolled back to a mark; whether the transaction still has something here.
    Returned(bool),
    /// Durable and visible from this timestamp on.
    Committed(Timestamp),
    /// Ready to commit at any timestamp from this one on.
    Prepared(Timestamp),
    /// Nothing was written here, and the partition stands aside: what was read here stays as it is for
    /// whoever commits no later than this.
    Aside(Timestamp),
    /// What the anchor's log says.
    Decided(Outcome),
    /// Refused or failed; a write's transaction must be rolled back.
    Failed(SqlError),
    /// Nothing was done: this replica does not lead the partition, or may not serve at the moment. Who
    /// leads, if that is known.
    Elsewhere(Option<NodeId>),
}

/// The result of a change.
#[derive(Debug, Clone, Default, Archive, Serialize, Deserialize)]
pub struct Modified {
    /// Rows inserted, updated or deleted.
    pub rows: u64,
    /// What `RETURNING` computed.
    pub returning: Vec<Batch>,
    /// What other partitions must do before the transaction commits.
    pub effects: Vec<RoutedEffect>,
    /// Of a [`crate::plan::Change::UpdateConflicting`]: places of the input's rows whose existing row
    /// does not have the key any more.
    pub lost: Vec<usize>,
    /// The transaction has already committed at this timestamp.
    pub committed: Option<Timestamp>,
}

/// One version of one key. `None` deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// Encoded by [`crate::key`].
    pub key: Bytes,
    /// Encoded by [`crate::row`], or an index entry's payload.
    pub value: Option<Bytes>,
}

/// What an entry of a partition's log says. It holds the rows to write, never SQL, so that
/// applying it is deterministic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A part of what a transaction that is too large for one command will commit or vote on.
    /// Until that command comes it means nothing.
    Stage {
        /// The transaction.
        txn: TxnId,
        /// Whether this is the first part: whatever came before belongs to an attempt that failed.
        first: bool,
        /// Some of its writes here, in the order of their keys.
        writes: Vec<KeyWrite>,
        /// Some of the keys it read or required.
        locks: Vec<Bytes>,
    },
    /// A transaction that wrote here only.
    Commit {
        /// The transaction.
        txn: TxnId,
        /// Its writes are visible from here on.
        at: Timestamp,
        /// Its writes; none where it was staged.
        writes: Vec<KeyWrite>,
        /// Whether its writes are in the parts before.
        staged: bool,
    },
    /// A vote to commit.
    Prepare {
        /// The transaction.
        txn: TxnId,
        /// Commits no earlier.
        at: Timestamp,
        /// Whose log holds the decision.
        anchor: PartitionId,
        /// Its writes here; none where they were staged.
        writes: Vec<KeyWrite>,
        /// Keys it read or required, which stay locked; none where they were staged.
        locks: Vec<Bytes>,
        /// Whether its writes and locks are in the parts before.
        staged: bool,
    },
    /// The decision, in the anchor's log.
    Decide {
        /// The transaction.
        txn: TxnId,
        /// What was decided.
        outcome: Outcome,
        /// All participants.
        participants: Vec<PartitionId>,
        /// Whether it was decided before and is only written again, so that the log may forget
        /// where it stood. A new decision counts only where the transaction is prepared.
        again: bool,
    },
    /// The decision carried out in a participant.
    Finish {
        /// The transaction.
        txn: TxnId,
        /// What was decided.
        outcome: Outcome,
    },
    /// Every participant has finished: the anchor may forget the decision.
    Forget {
        /// The transaction.
        txn: TxnId,
    },
}
