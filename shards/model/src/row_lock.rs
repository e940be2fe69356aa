//! Locks on rows that a query asks for: `SELECT ... FOR UPDATE` and its kin.

use crate::archive::{Blob, Whole};
use crate::id::{Mark, TxnId};
use crate::schema::Table;
use crate::time::Timestamp;
use bytes::Bytes;
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum RowLockMode {
    /// With others that read: `FOR SHARE`, `FOR KEY SHARE`.
    Shared,
    /// Alone: `FOR UPDATE`, `FOR NO KEY UPDATE`.
    Exclusive,
}

/// What is done about a row that another transaction has locked. Of several that are asked for, the
/// greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum LockWait {
    /// It is waited for.
    Wait,
    /// It is left out: `SKIP LOCKED`.
    Skip,
    /// The statement fails with 55P03: `NOWAIT`.
    Refuse,
}

/// A table whose rows a query locks.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct RowLock {
    /// The table.
    pub table: Arc<Table>,
    /// Which of the query's columns hold the primary key, in its order.
    pub key: Vec<usize>,
    /// How.
    pub mode: RowLockMode,
    /// What is done about others' locks.
    pub wait: LockWait,
}

/// Keys of rows to lock in one partition.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct LockRows {
    /// For which transaction.
    pub txn: TxnId,
    /// The rows' table, for errors.
    pub table: Arc<Table>,
    /// Keys of rows, in the order in which they are locked.
    #[rkyv(with = Map<Blob>)]
    pub keys: Vec<Bytes>,
    /// How.
    pub mode: RowLockMode,
    /// What is done about others' locks.
    pub wait: LockWait,
    /// What the query has read: newer versions are told.
    pub snapshot: Timestamp,
    /// No more rows than these are wanted: keys behind them are left alone.
    #[rkyv(with = Whole)]
    pub rows_max: usize,
    /// The last place that the transaction may still go back to.
    pub mark: Option<Mark>,
    /// How long each lock is waited for; `None`: as long as the node allows.
    pub lock_timeout: Option<Duration>,
}

/// What became of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum RowLocked {
    /// It is locked, and its row is what the query has read.
    Unchanged,
    /// It is locked, and its row has changed since.
    Changed,
    /// It is locked, and its row has been deleted since.
    Deleted,
    /// Another transaction has it.
    Skipped,
}
