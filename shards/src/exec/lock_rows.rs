//! Locks the rows of a query: `SELECT ... FOR UPDATE` and its kin.
//!
//! Rows are read as any query reads them, and locked when they have come as far as the query's
//! result: one that a join, an order or a `LIMIT` leaves out is not locked. Where all rows are
//! wanted, waited for, and come in no order, they are read first and then locked in the one order
//! that all such queries have, so that two of them do not wait for each other.

use super::context::{ExecContext, Operator};
use super::kept::KeptRows;
use super::limit::{row_limit, row_offset};
use super::shape::output_types;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch};
use model::error::SqlError;
use model::plan::LockRows;
use model::row_lock::{LockWait, RowLock, RowLocked};
use model::types::DataType;
use model::value::Value;
use std::rc::Rc;

/// Rows of one table to lock.
pub struct Locking<'a> {
    /// Which table, and how.
    pub lock: &'a RowLock,
    /// The rows' primary keys.
    pub keys: Vec<Vec<Value>>,
    /// No more rows than these are wanted.
    pub rows_max: usize,
    /// They are locked in this order.
    pub ordered: bool,
}

/// Locks rows for the statement's transaction.
pub trait RowLocker {
    /// Locks rows until the transaction ends. Answers what became of each: of all of them, or of the
    /// first ones where that are as many as are wanted.
    fn lock<'a>(
        &'a self,
        locking: Locking<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<RowLocked>, SqlError>>;
}

pub(super) struct LockRowsOperator {
    locks: Vec<RowLock>,
    ordered: bool,
    input: Box<dyn Operator>,
    types: Vec<DataType>,
    context: Rc<ExecContext>,
    locker: Rc<dyn RowLocker>,
    /// Rows that may still pass; `None`: all.
    remaining: Option<u64>,
    /// Rows that are read and not yet locked.
    waiting: Option<Batch>,
    /// All rows, where they are locked at once.
    all: Option<Locked>,
}

/// Rows that passed, and how many of them were given.
struct Locked {
    rows: KeptRows,
    passed: Vec<u32>,
    given: usize,
}

impl LockRowsOperator {
    pub(super) fn new(
        plan: &LockRows,
        input: Box<dyn Operator>,
        context: &Rc<ExecContext>,
    ) -> Result<LockRowsOperator, SqlError> {
        let locker = context.locker.clone();
        let locker =
            locker.ok_or_else(|| SqlError::internal("rows are locked outside of a transaction"))?;
        let skipped = row_offset(plan.offset.as_ref(), context)?;
        let limit = row_limit(plan.limit.as_ref(), context)?;
        Ok(LockRowsOperator {
            locks: plan.locks.clone(),
            ordered: plan.ordered,
            input,
            types: output_types(&plan.input),
            context: context.clone(),
            locker,
            remaining: limit.map(|limit| limit.saturating_add(skipped)),
            waiting: None,
            all: None,
        })
    }

    /// Whether the rows are locked in an order of their own, when all of them are known.
    fn takes_all(&self) -> bool {
        let waits = self.locks.iter().any(|lock| lock.wait == LockWait::Wait);
        self.remaining.is_none() && waits && !self.ordered
    }

    /// Locks the rows of a batch. Answers the numbers of those that pass, and how many rows were
    /// looked at.
    async fn lock(&self, batch: &Batch, rows_max: usize) -> Result<(Vec<u32>, usize), SqlError> {
        let mut passing: Vec<u32> = (0..batch.rows() as u32).collect();
        if self.locks.len() > 1 {
            // A row that one table leaves out is locked in those before it all the same: of no more
            // rows than may be wanted.
            passing.truncate(rows_max);
        }
        let mut looked_at = passing.len();
        for lock in &self.locks {
            let key = |row: &u32| {
                let value = |&column: &usize| batch.columns()[column].value(*row as usize);
                lock.key.iter().map(value).collect()
            };
            let keys = passing.iter().map(key).collect();
            let locking = Locking { lock, keys, rows_max, ordered: self.ordered };
            let locked = self.locker.lock(locking).await?;
            if locked.len() < passing.len() {
                looked_at = locked.len();
            }
            let kept = passing.iter().zip(&locked);
            let kept = kept.filter(|(_, locked)| **locked == RowLocked::Unchanged);
            passing = kept.map(|(row, _)| *row).collect();
        }
        Ok((passing, looked_at))
    }

    /// All rows, locked at once.
    async fn next_of_all(&mut self) -> Result<Option<Batch>, SqlError> {
        if self.all.is_none() {
            let rows = KeptRows::collect(self.input.as_mut(), &self.types, &self.context).await?;
            let (passed, _) = self.lock(rows.batch(), usize::MAX).await?;
            self.all = Some(Locked { rows, passed, given: 0 });
        }
        let Some(all) = &mut self.all else { return Ok(None) };
        let next = &all.passed[all.given..];
        let next = &next[..next.len().min(BATCH_ROWS)];
        if next.is_empty() {
            return Ok(None);
        }
        let batch = all.rows.batch().take(next);
        all.given += next.len();
        Ok(Some(batch))
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        if self.takes_all() {
            return self.next_of_all().await;
        }
        while self.remaining != Some(0) {
            let batch = match self.waiting.take() {
                Some(batch) => batch,
                None => match self.input.next().await? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
            };
            let wanted = self.remaining.unwrap_or(u64::MAX).min(batch.rows() as u64);
            let (passing, looked_at) = self.lock(&batch, wanted as usize).await?;
            if looked_at < batch.rows() {
                let rest: Vec<u32> = (looked_at as u32..batch.rows() as u32).collect();
                self.waiting = Some(batch.take(&rest));
            }
            if let Some(remaining) = &mut self.remaining {
                *remaining -= passing.len() as u64;
            }
            if !passing.is_empty() {
                return Ok(Some(batch.take(&passing)));
            }
            self.context.pause().await?;
        }
        Ok(None)
    }
}

impl Operator for LockRowsOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        self.next_batch().boxed_local()
    }
}
