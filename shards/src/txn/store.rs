//! A partition as execution sees it: one snapshot, one transaction.

use super::locks::LockMode;
use super::naming::Locked;
use super::partition::{Partition, storage_error};
use crate::exec::{Purpose, RowCursor, RowStore, StoredRow};
use crate::storage::{CacheLookup, Scan, ScanBatch};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::id::{Mark, ObjectId, TxnId};
use model::key::KeyRange;
use model::schema::Table;
use model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// A range of which few rows are wanted is locked bit by bit, up to so many rows at a time: then all
/// that is left is.
const STRETCH_ROWS_MAX: usize = 1_024;

/// A scan reads at most so many bytes at a time.
const BATCH_BYTES: usize = 128 << 10;

/// Reads and writes of one fragment in one partition.
pub(crate) struct TxnStore {
    pub(super) partition: Rc<Partition>,
    pub(super) snapshot: Timestamp,
    pub(super) txn: Option<TxnId>,
    /// Of its own writes only those before this are seen.
    pub(super) seen: Option<Mark>,
    pub(super) isolation: Isolation,
    /// It changes rows: what is read to be changed need not be durable yet.
    pub(super) builds: bool,
    /// How long it waits for locks and outcomes; `None`: as long as the node allows.
    pub(super) lock_timeout: Option<Duration>,
}

impl TxnStore {
    /// The transaction whose reads lock what they read. Of the tables that the node itself works
    /// with nothing is locked: who looks at them is not to hold it up.
    fn locking(&self, purpose: &Purpose) -> Option<TxnId> {
        let locks =
            self.isolation == Isolation::Serializable && purpose.table.id >= ObjectId::FIRST_USER;
        self.txn.filter(|_| locks)
    }

    fn txn(&self) -> Result<TxnId, SqlError> {
        self.txn.ok_or_else(|| SqlError::internal("a fragment writes outside of any transaction"))
    }
}

fn mode(purpose: &Purpose) -> LockMode {
    match purpose.change {
        true => LockMode::Exclusive,
        false => LockMode::Shared,
    }
}

/// Storage and staged writes hand out only what was staged, and only `row::encode` makes that.
pub(super) fn stored(bytes: Bytes) -> StoredRow {
    // SAFETY: values come from `RowStore::stage`, whose rows are encoded, or from effects, whose
    // payloads execution encoded the same way; storage and log verify checksums on the way back.
    unsafe { StoredRow::from_verified(bytes) }
}

impl RowStore for TxnStore {
    fn scan(&self, purpose: &Purpose, range: KeyRange, reverse: bool) -> Box<dyn RowCursor> {
        let staged = match self.txn {
            Some(txn) => {
                let states = self.partition.states.borrow();
                states.staged_range_at(txn, &range.start, range.end.as_deref(), self.seen)
            }
            None => Vec::new(),
        };
        Box::new(Cursor {
            partition: self.partition.clone(),
            snapshot: self.snapshot,
            txn: self.txn,
            lock_timeout: self.lock_timeout,
            locking: self.locking(purpose),
            purpose: purpose.clone(),
            reverse,
            scan: self.partition.tree.scan(range.clone(), self.snapshot, reverse),
            rest: Some(range),
            stretch: purpose.few,
            batch: ScanBatch::new(),
            more: false,
            staged: Staged::new(staged, reverse),
        })
    }

    fn get<'a>(
        &'a self,
        purpose: &'a Purpose,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        Box::pin(async move {
            let snapshot = match self.locking(purpose) {
                Some(txn) => {
                    let key = Bytes::copy_from_slice(key);
                    let (locked, lock_timeout) = (Locked::In(&purpose.table), self.lock_timeout);
                    self.partition.lock(txn, &key, mode(purpose), locked, lock_timeout).await?;
                    Timestamp::MAX
                }
                None => self.snapshot,
            };
            if let Some(txn) = self.txn
                && let Some(staged) = self.partition.states.borrow().staged_at(txn, key, self.seen)
            {
                return Ok(staged.map(stored));
            }
            if let Some(txn) = self.txn.filter(|_| self.builds && purpose.change)
                && let Some(handed) = self.partition.handed(txn, key, snapshot)?
            {
                return Ok(handed.value.map(stored));
            }
            let table = Some(&*purpose.table);
            let row = self.partition.get(key, snapshot, self.txn, table, self.lock_timeout).await?;
            Ok(row.map(|row| stored(Bytes::copy_from_slice(&row.value))))
        })
    }

    fn get_cached(&self, purpose: &Purpose, key: &[u8]) -> Option<Option<StoredRow>> {
        if self.locking(purpose).is_some() {
            return None;
        }
        let states = self.partition.states.borrow();
        if let Some(txn) = self.txn
            && let Some(staged) = states.staged_at(txn, key, self.seen)
        {
            return Some(staged.map(stored));
        }
        if states.pending_at(key, self.snapshot).is_some() {
            return None;
        }
        match self.partition.tree.get_cached(key, self.snapshot) {
            CacheLookup::Found(row) => Some(Some(stored(Bytes::copy_from_slice(&row.value)))),
            CacheLookup::Absent => Some(None),
            CacheLookup::NeedsRead => None,
        }
    }

    fn lock<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        Box::pin(async move {
            let txn = self.txn()?;
            let key = Bytes::copy_from_slice(key);
            let (locked, lock_timeout) = (Locked::In(table), self.lock_timeout);
            self.partition.lock(txn, &key, LockMode::Exclusive, locked, lock_timeout).await?;
            Ok(self.partition.newest(txn, &key).await?.map(stored))
        })
    }

    fn lock_seen<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Option<StoredRow>, SqlError>> {
        Box::pin(async move {
            let newest = self.lock(table, key).await?;
            if let Some(check) = self.check_seen(table, key) {
                check.await?;
            }
            Ok(newest)
        })
    }

    fn check_seen<'a>(
        &'a self,
        table: &'a Table,
        key: &'a [u8],
    ) -> Option<LocalBoxFuture<'a, Result<(), SqlError>>> {
        (self.isolation == Isolation::RepeatableRead).then(|| {
            let check = async move {
                self.partition.check_unchanged(self.txn()?, table, key, self.snapshot).await
            };
            Box::pin(check) as LocalBoxFuture<'a, _>
        })
    }

    fn stage(&self, key: Vec<u8>, value: Option<StoredRow>) -> Result<(), SqlError> {
        let value = value.map(|row| row.bytes().clone());
        self.partition.stage(self.txn()?, key.into(), value)
    }

    fn stage_entry<'a>(
        &'a self,
        table: &'a Table,
        key: Vec<u8>,
        value: Option<StoredRow>,
    ) -> LocalBoxFuture<'a, Result<(), SqlError>> {
        Box::pin(async move {
            let (txn, key) = (self.txn()?, Bytes::from(key));
            let (locked, lock_timeout) = (Locked::In(table), self.lock_timeout);
            self.partition.lock(txn, &key, LockMode::Exclusive, locked, lock_timeout).await?;
            self.partition.stage(txn, key, value.map(|row| row.bytes().clone()))
        })
    }
}

/// What the transaction had staged in the range when the scan began, in the scan's order. A
/// statement does not see what it stages itself.
struct Staged {
    /// Next one last.
    rows: Vec<(Bytes, Option<Bytes>)>,
    reverse: bool,
}

impl Staged {
    fn new(mut rows: Vec<(Bytes, Option<Bytes>)>, reverse: bool) -> Staged {
        if !reverse {
            rows.reverse();
        }
        Staged { rows, reverse }
    }

    fn is_before(&self, key: &[u8]) -> bool {
        let staged = self.rows.last();
        staged.is_some_and(|(own, _)| if self.reverse { own[..] > *key } else { own[..] < *key })
    }

    /// Moves the rows before `key` to `out`, all of them without one.
    fn merge_before(&mut self, key: Option<&[u8]>, out: &mut Vec<(Bytes, StoredRow)>) {
        while key.is_none_or(|key| self.is_before(key)) {
            let Some((own, value)) = self.rows.pop() else { return };
            out.extend(value.map(|value| (own, stored(value))));
        }
    }

    /// Moves the rows before `key` to `out`. Then, whether the transaction has written `key` itself;
    /// that row is moved, too.
    fn merge(&mut self, key: &[u8], out: &mut Vec<(Bytes, StoredRow)>) -> bool {
        self.merge_before(Some(key), out);
        let replaced = self.rows.last().is_some_and(|(own, _)| key == &own[..]);
        if replaced && let Some((own, value)) = self.rows.pop() {
            out.extend(value.map(|value| (own, stored(value))));
        }
        replaced
    }
}

struct Cursor {
    partition: Rc<Partition>,
    snapshot: Timestamp,
    txn: Option<TxnId>,
    lock_timeout: Option<Duration>,
    /// Whose reads lock what they read.
    locking: Option<TxnId>,
    purpose: Purpose,
    reverse: bool,
    /// What is not locked yet where reads lock, or of which it is not known yet that nothing pending
    /// is in the way of the snapshot. What becomes pending later has a later timestamp.
    rest: Option<KeyRange>,
    /// Rows of what is locked next, where that is not all.
    stretch: Option<usize>,
    /// Of what is not in `rest`.
    scan: Scan,
    batch: ScanBatch,
    /// There may be more in the scan.
    more: bool,
    staged: Staged,
}

impl Cursor {
    /// Goes on with the rest of the range: with all of it, or where rows are locked as they are read
    /// with as much as holds the next few. Behind those others may insert.
    async fn go_on(&mut self, rest: KeyRange) -> Result<(), SqlError> {
        let table = &*self.purpose.table;
        let mut range = rest;
        if let Some(txn) = self.locking {
            if let Some(rows) = self.stretch {
                (range, self.rest) = self.first_of(range, rows).await?;
                self.stretch = Some(rows * 2).filter(|rows| *rows <= STRETCH_ROWS_MAX);
            }
            // What is committed in the range by now is what is there until the end.
            let (mode, patience) = (mode(&self.purpose), self.lock_timeout);
            self.snapshot = self.partition.lock_range(txn, &range, mode, table, patience).await?;
            self.scan = self.partition.tree.scan(range.clone(), self.snapshot, self.reverse);
        }
        let (start, end, at) = (&range.start, range.end.as_deref(), self.snapshot);
        let (txn, read, patience) = (self.txn, Locked::RangeIn(table), self.lock_timeout);
        self.partition.wait_for_pending(start, end, at, txn, read, patience).await?;
        self.more = true;
        Ok(())
    }

    /// As much of a range as holds so many rows that are there now, and the rest. What is read in the
    /// end is what is there when it is locked.
    async fn first_of(
        &self,
        range: KeyRange,
        rows: usize,
    ) -> Result<(KeyRange, Option<KeyRange>), SqlError> {
        let now = self.partition.context.now();
        if let Some(last) = self.key_after(&range, rows, now).await? {
            return Ok(cut(range, &last, self.reverse));
        }
        // There are not so many, or some have been committed just now.
        let (start, end, read) =
            (&range.start, range.end.as_deref(), Locked::RangeIn(&self.purpose.table));
        let (txn, patience) = (self.txn, self.lock_timeout);
        if self.partition.states.borrow().pending_in(start, end, now, txn).is_none() {
            return Ok((range, None));
        }
        self.partition.wait_for_pending(start, end, now, txn, read, patience).await?;
        Ok(match self.key_after(&range, rows, now).await? {
            Some(last) => cut(range, &last, self.reverse),
            None => (range, None),
        })
    }

    /// The key of the last of so many rows at the beginning of a range, if there are so many.
    async fn key_after(
        &self,
        range: &KeyRange,
        rows: usize,
        at: Timestamp,
    ) -> Result<Option<Vec<u8>>, SqlError> {
        let mut scan = self.partition.tree.scan(range.clone(), at, self.reverse);
        let (mut batch, mut seen) = (ScanBatch::new(), 0);
        loop {
            let more = scan.next_batch(&mut batch, rows - seen, BATCH_BYTES).await;
            let more = more.map_err(storage_error)?;
            seen += batch.len();
            if seen >= rows {
                return Ok(batch.iter().last().map(|last| last.key.to_vec()));
            }
            if !more {
                return Ok(None);
            }
        }
    }
}

/// A range up to a key and with it, and the rest.
fn cut(range: KeyRange, key: &[u8], reverse: bool) -> (KeyRange, Option<KeyRange>) {
    let at = match reverse {
        true => key.to_vec(),
        false => [key, &[0]].concat(),
    };
    let (before, behind) = (
        KeyRange { start: range.start, end: Some(at.clone()) },
        KeyRange { start: at, end: range.end },
    );
    let (first, rest) = if reverse { (behind, before) } else { (before, behind) };
    let is_empty = rest.end.as_ref().is_some_and(|end| *end <= rest.start);
    (first, (!is_empty).then_some(rest))
}

impl RowCursor for Cursor {
    fn next_batch<'a>(
        &'a mut self,
        out: &'a mut Vec<(Bytes, StoredRow)>,
        rows_max: usize,
    ) -> LocalBoxFuture<'a, Result<bool, SqlError>> {
        Box::pin(async move {
            if !self.more {
                let Some(rest) = self.rest.take() else { return Ok(false) };
                self.go_on(rest).await?;
            }
            let next = self.scan.next_batch(&mut self.batch, rows_max, BATCH_BYTES).await;
            self.more = next.map_err(storage_error)?;
            let rows = self.batch.len();
            if rows == 0 && self.more {
                return Err(SqlError::new(SqlState::INTERNAL_ERROR, "a scan does not advance"));
            }
            // Side by side in one allocation: a row is a slice of it.
            let mut bytes = Vec::with_capacity(self.batch.bytes());
            for row in self.batch.iter() {
                bytes.extend_from_slice(row.key);
                bytes.extend_from_slice(row.value);
            }
            let mut bytes = Bytes::from(bytes);
            for row in self.batch.iter() {
                let key = bytes.split_to(row.key.len());
                let value = bytes.split_to(row.value.len());
                if !self.staged.merge(row.key, out) {
                    out.push((key, stored(value)));
                }
            }
            if !self.more {
                // Up to where it goes on.
                let next = self.rest.as_ref().map(|rest| match self.reverse {
                    true => rest.end.as_deref().unwrap_or_default(),
                    false => &rest.start[..],
                });
                self.staged.merge_before(next, out);
            }
            Ok(self.more || self.rest.is_some())
        })
    }
}
