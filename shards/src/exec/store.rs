//! What execution asks of a partition's storage and locks.

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::error::SqlError;
use model::key::KeyRange;
use model::row::Row;
use model::schema::Table;
use std::sync::Arc;

/// A stored value: a row of a table, or the payload of an index entry (the row's primary key
/// columns, encoded as a row). Reference-counted; reading it copies nothing.
#[derive(Clone)]
pub struct StoredRow(Bytes);

impl StoredRow {
    /// Takes bytes that come from storage or from a transaction's staged writes.
    ///
    /// # Safety
    ///
    /// The bytes must be exactly what [`model::row::encode`] returned. Everything that is staged
    /// in a tree is made by it, and storage verifies checksums before it hands bytes out.
    pub unsafe fn from_verified(bytes: Bytes) -> StoredRow {
        StoredRow(bytes)
    }

    /// Encodes a row.
    pub fn encode<'a>(values: impl IntoIterator<Item = &'a model::value::Value>) -> StoredRow {
        StoredRow(Bytes::from(model::row::encode(values)))
    }

    /// The row, read in place.
    pub fn row(&self) -> Row<'_> {
        // SAFETY: both constructors take only what `row::encode` returned.
        unsafe { Row::from_bytes(&self.0) }
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// What a read is for.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// Whose keys, or whose index's: for errors.
    pub table: Arc<Table>,
    /// Whether what is read will be changed: where reads lock, it is locked alone at once.
    pub change: bool,
    /// After so many rows its reader may stop, where they are few: where reads lock, what lies behind
    /// those that are read is not locked before it is read.
    pub few: Option<usize>,
}

/// One partition at one snapshot for one transaction: reads see the snapshot's versions and the
/// transaction's own staged writes. Of a serializable transaction they lock what they read, whether
/// anything is there or not, and see the newest versions.
pub trait RowStore {
    /// Reads a range of keys in ascending or (`reverse`) descending order. Where reads lock, it is
    /// locked when it is first read from, or where few rows are wanted as far as they reach.
    fn scan(&self, purpose: &Purpose, range: KeyRange, reverse: bool) -> Box<dyn RowCursor>;

    /// Reads one key.
    fn get<'a>(
        &'a self,
        purpose: &'a Purpose,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>>;

    /// As [`RowStore::get`] where that needs no waiting: `None` where it does. The hot path.
    fn get_cached(&self, purpose: &Purpose, key: &[u8]) -> Option<Option<StoredRow>> {
        let _needs_waiting = (purpose, key);
        None
    }

    /// Locks a key exclusively until the transaction ends, then reads its newest version (the
    /// transaction's own staged write before any other). `table` names it in errors.
    fn lock<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>>;

    /// As [`RowStore::lock`], of a row that was read and is to be changed. 40001 where the snapshot
    /// is the whole transaction's and the row was changed behind it.
    fn lock_seen<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>>;

    /// As the check of [`RowStore::lock_seen`], of a key that is locked and is to be written; `None`
    /// where no snapshot is kept.
    fn check_seen<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> Option<LocalBoxFuture<'a, Result<(), SqlError>>> {
        let _no_snapshot = (table, key);
        None
    }

    /// Stages a write of a key that the transaction has locked; `None` deletes. 53200 where
    /// transactions may not stage more.
    fn stage(&self, key: Vec<u8>, value: Option<StoredRow>) -> Result<(), SqlError>;

    /// Locks a key exclusively, and stages a write of it. Of entries of indexes: who has read a range
    /// of them must not miss one.
    fn stage_entry<'a>(
        &'a self,
        table: &'a Table,
        key: Vec<u8>,
        value: Option<StoredRow>,
    ) -> LocalBoxFuture<'a, Result<(), SqlError>>;
}

/// A position in a scan.
pub trait RowCursor {
    /// Appends up to `rows_max` keys with their values to `out`; whether more may follow. An
    /// implementation may answer fewer rows at a time.
    fn next_batch<'a>(
        &'a mut self,
        out: &'a mut Vec<(Bytes, StoredRow)>,
        rows_max: usize,
    ) -> LocalBoxFuture<'a, Result<bool, SqlError>>;
}
