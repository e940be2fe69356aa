//! Locks on rows that a query has read.

use super::locks::LockMode;
use super::naming::{Locked, name_of};
use super::partition::{Partition, storage_error};
use bytes::Bytes;
use model::error::{SqlError, SqlState};
use model::row_lock::{LockRows, LockWait, RowLockMode, RowLocked};
use model::time::Timestamp;
use std::rc::Rc;

impl From<RowLockMode> for LockMode {
    fn from(mode: RowLockMode) -> LockMode {
        match mode {
            RowLockMode::Shared => LockMode::Shared,
            RowLockMode::Exclusive => LockMode::Exclusive,
        }
    }
}

impl Partition {
    /// Locks rows until the transaction ends. Answers what became of each, up to the last that was
    /// wanted.
    pub(crate) async fn lock_rows(
        self: &Rc<Self>,
        rows: LockRows,
    ) -> Result<Vec<RowLocked>, SqlError> {
        let _entered = self.enter(rows.txn, rows.mark)?;
        let mut locked = Vec::with_capacity(rows.keys.len().min(rows.rows_max));
        let mut wanted = rows.rows_max;
        for key in &rows.keys {
            if wanted == 0 {
                break;
            }
            let outcome = match self.lock_row(&rows, key).await? {
                true => self.compare(&rows, key).await?,
                false => RowLocked::Skipped,
            };
            if matches!(outcome, RowLocked::Unchanged | RowLocked::Changed) {
                wanted -= 1;
            }
            locked.push(outcome);
            runtime::task::yield_if_due().await;
        }
        Ok(locked)
    }

    /// Whether the row is locked now.
    async fn lock_row(&self, rows: &LockRows, key: &Bytes) -> Result<bool, SqlError> {
        let (txn, mode) = (rows.txn, rows.mode.into());
        let locked = Locked::In(&rows.table);
        self.check_room()?;
        if rows.wait == LockWait::Wait {
            self.lock(txn, key, mode, locked, rows.lock_timeout).await?;
            return Ok(true);
        }
        let Err(blocker) = self.context.try_lock(self.id, txn, key, mode) else {
            return Ok(true);
        };
        match rows.wait {
            LockWait::Refuse => Err(SqlError::new(
                SqlState::LOCK_NOT_AVAILABLE,
                format!("could not obtain lock on row in relation \"{}\"", rows.table.name),
            )
            .detail(format!(
                "{} is in the way of a lock on {}.",
                name_of(blocker),
                locked.name(key)
            ))
            .table(&rows.table.schema, &rows.table.name)),
            LockWait::Wait | LockWait::Skip => Ok(false),
        }
    }

    /// Whether the row of a key that is locked is still the one that the query has seen. The client
    /// is told: whatever has changed it is durable.
    async fn compare(&self, rows: &LockRows, key: &[u8]) -> Result<RowLocked, SqlError> {
        if self.states.borrow().staged(rows.txn, key).is_some() {
            // Its own change, which the query has seen.
            return Ok(RowLocked::Unchanged);
        }
        let (own, read) = (Some(rows.txn), Locked::In(&rows.table));
        self.wait_for_key(key, Timestamp::MAX, own, read, rows.lock_timeout).await?;
        let newest = self.tree.newest(key).await.map_err(storage_error)?;
        Ok(match newest {
            Some(version) if version.value.is_some() => match version.ts <= rows.snapshot {
                true => RowLocked::Unchanged,
                false => RowLocked::Changed,
            },
            _ => RowLocked::Deleted,
        })
    }
}
