//! Reading and staging single keys for a transaction.

use super::context::{CoreContext, TxnOptions};
use super::locks::LockMode;
use super::naming::Locked;
use super::partition::{Partition, dispose_marks, storage_error};
use super::snapshots::SnapshotGuard;
use super::state::Handed;
use crate::storage::{CacheLookup, Versioned};
use bytes::Bytes;
use model::command::Effect;
use model::error::{SqlError, SqlState};
use model::id::{Mark, TxnId};
use model::schema::Table;
use model::time::Timestamp;
use runtime::time;
use std::rc::Rc;
use std::time::Duration;

/// A point read that was tried without waiting.
#[derive(Debug, Clone)]
pub enum PointLookup {
    /// The row, in place. Keep it no longer than the request.
    Found(crate::storage::RowRef),
    /// There is no such row.
    Absent,
    /// It cannot be told without waiting: read it as any other plan.
    LongWay,
}

/// A request of a transaction in progress; several may run at once.
pub(super) struct Entered {
    partition: Rc<Partition>,
    txn: TxnId,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.partition.states.borrow_mut().leave(self.txn, time::now());
        self.partition.left(self.txn);
    }
}

impl Partition {
    /// Begins a request of a transaction that may stage writes. They belong to `mark`.
    pub(super) fn enter(
        self: &Rc<Self>,
        txn: TxnId,
        mark: Option<Mark>,
    ) -> Result<Entered, SqlError> {
        let entered = self.states.borrow_mut().enter(txn, time::now());
        entered.map_err(|refusal| self.refuse(txn, refusal))?;
        let locks = match mark {
            Some(_) => self.context.locks.borrow().held(self.id, txn).len(),
            None => 0,
        };
        let past = self.states.borrow_mut().begin_mark(txn, mark, locks);
        dispose_marks(past);
        Ok(self.entered(txn))
    }

    /// A request that the states have let in.
    pub(super) fn entered(self: &Rc<Self>, txn: TxnId) -> Entered {
        Entered { partition: self.clone(), txn }
    }

    /// Begins to read at a snapshot: no later write will have an earlier timestamp.
    pub(super) fn enter_snapshot(&self, at: Timestamp) -> Result<SnapshotGuard, SqlError> {
        self.context.enter_snapshot(at)
    }

    /// The row of a key at a snapshot, if it is in memory and nothing is in the way.
    pub(crate) fn point_get(&self, key: &[u8], at: Timestamp) -> PointLookup {
        self.context.follow(at);
        if !self.context.snapshots.allows(at) || self.states.borrow().pending_at(key, at).is_some()
        {
            return PointLookup::LongWay;
        }
        match self.tree.get_cached(key, at) {
            CacheLookup::Found(row) => PointLookup::Found(row.value),
            CacheLookup::Absent => PointLookup::Absent,
            CacheLookup::NeedsRead => PointLookup::LongWay,
        }
    }

    /// The row of a key at a snapshot. `table` names it in errors.
    pub(crate) async fn get(
        &self,
        key: &[u8],
        at: Timestamp,
        own: Option<TxnId>,
        table: Option<&Table>,
        lock_timeout: Option<Duration>,
    ) -> Result<Option<Versioned>, SqlError> {
        let read = table.map_or(Locked::Entry, Locked::In);
        self.wait_for_key(key, at, own, read, lock_timeout).await?;
        self.tree.get(key, at).await.map_err(storage_error)
    }

    /// Waits until no transaction is in the way of a snapshot of a key.
    pub(super) async fn wait_for_key(
        &self,
        key: &[u8],
        at: Timestamp,
        own: Option<TxnId>,
        read: Locked<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        let mut end = key.to_vec();
        end.push(0);
        self.wait_for_pending(key, Some(&end), at, own, read, lock_timeout).await
    }

    /// The newest version of a key that the transaction has locked: its own, or what others have
    /// committed.
    pub(super) async fn newest(&self, txn: TxnId, key: &[u8]) -> Result<Option<Bytes>, SqlError> {
        if let Some(staged) = self.states.borrow().staged(txn, key) {
            return Ok(staged);
        }
        Ok(self.committed(txn, key).await?.and_then(|(_, value)| value))
    }

    /// When a key that the transaction has locked was changed last by another one, and to what: one
    /// whose commit is durable, or on its way.
    pub(super) async fn committed(
        &self,
        txn: TxnId,
        key: &[u8],
    ) -> Result<Option<(Timestamp, Option<Bytes>)>, SqlError> {
        if let Some(handed) = self.handed(txn, key, Timestamp::MAX)? {
            return Ok(Some((handed.at, handed.value)));
        }
        let newest = self.tree.newest(key).await.map_err(storage_error)?;
        Ok(newest
            .map(|newest| (newest.ts, newest.value.map(|value| Bytes::copy_from_slice(&value)))))
    }

    /// The last version of a key not after `at`, if its commit is on its way and has handed the key
    /// over. Only a change builds on it; what is told of it waits ([`Partition::wait_for_seen`]).
    pub(super) fn handed(
        &self,
        txn: TxnId,
        key: &[u8],
        at: Timestamp,
    ) -> Result<Option<Handed>, SqlError> {
        let handed = self.states.borrow_mut().take_handed(txn, key, at);
        handed.map_err(|refusal| self.refuse(txn, refusal))
    }

    /// Refuses the change of a row that was changed behind the snapshot of a transaction. The row is
    /// locked.
    pub(super) async fn check_unchanged(
        &self,
        txn: TxnId,
        table: &Table,
        key: &[u8],
        snapshot: Timestamp,
    ) -> Result<(), SqlError> {
        if self.states.borrow().staged(txn, key).is_some() {
            return Ok(());
        }
        let newest = self.committed(txn, key).await?;
        let Some((_, value)) = newest.filter(|(at, _)| *at > snapshot) else { return Ok(()) };
        let what = if value.is_some() { "update" } else { "delete" };
        Err(SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            format!("could not serialize access due to concurrent {what}"),
        )
        .detail(format!(
            "Another transaction has changed {} after this one's snapshot was taken.",
            model::key::describe(table, key)
        ))
        .hint("Run the transaction again.")
        .table(&table.schema, &table.name))
    }

    /// Stages a write.
    pub(super) fn stage(
        &self,
        txn: TxnId,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), SqlError> {
        self.check_room()?;
        if !self.states.borrow_mut().stage(txn, key, value) {
            return Err(self.refuse(txn, super::state::Refusal::Ending));
        }
        Ok(())
    }

    /// Refuses what would be more than all transactions of the core together may stage.
    pub(super) fn check_room(&self) -> Result<(), SqlError> {
        let (all, max) = (self.context.staged_and_locked(), self.context.options.staged_bytes_max);
        if all < max {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::OUT_OF_MEMORY,
            "open transactions have staged as many changes as memory allows",
        )
        .detail(format!("{all} bytes on one core, of {max}."))
        .hint("Split large transactions, or give the node more memory."))
    }

    /// Stages what another partition's change means here.
    pub(super) async fn stage_effect(
        &self,
        txn: TxnId,
        effect: Effect,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        match effect {
            Effect::ClaimKey { key, value, conflict } => {
                let key = Bytes::from(key);
                self.lock(txn, &key, LockMode::Exclusive, Locked::For(&conflict), lock_timeout)
                    .await?;
                match self.newest(txn, &key).await? {
                    Some(_) => Err(conflict.error.clone()),
                    None => self.stage(txn, key, Some(value.into())),
                }
            }
            Effect::FreeKey { key } => {
                let key = Bytes::from(key);
                self.lock(txn, &key, LockMode::Exclusive, Locked::Entry, lock_timeout).await?;
                self.stage(txn, key, None)
            }
            Effect::PutKey { key, value } => {
                let key = Bytes::from(key);
                self.lock(txn, &key, LockMode::Exclusive, Locked::Entry, lock_timeout).await?;
                self.stage(txn, key, Some(value.into()))
            }
            Effect::RequireKey { key, conflict } => {
                let key = Bytes::from(key);
                self.lock(txn, &key, LockMode::Shared, Locked::For(&conflict), lock_timeout)
                    .await?;
                self.check_room()?;
                match self.newest(txn, &key).await? {
                    Some(_) => {
                        self.states.borrow_mut().require(txn);
                        Ok(())
                    }
                    None => Err(conflict.error.clone()),
                }
            }
        }
    }
}

impl CoreContext {
    /// Begins to read at a snapshot in any partition of the core, or keeps it for later.
    pub(crate) fn enter_snapshot(&self, at: Timestamp) -> Result<SnapshotGuard, SqlError> {
        self.follow(at);
        self.snapshots.enter(at).ok_or_else(|| self.snapshot_too_old(at))
    }

    /// Whether a snapshot can still be read.
    pub(super) fn check_snapshot(&self, at: Timestamp) -> Result<(), SqlError> {
        match self.snapshots.allows(at) {
            true => Ok(()),
            false => Err(self.snapshot_too_old(at)),
        }
    }

    /// 72000: a snapshot whose versions may be gone.
    fn snapshot_too_old(&self, at: Timestamp) -> SqlError {
        let TxnOptions { retention, snapshot_age_max, .. } = &self.options;
        SqlError::new(SqlState::SNAPSHOT_TOO_OLD, "snapshot too old")
            .detail(format!(
                "It was taken {} ms ago. Versions of rows are kept for {retention:?} after they were \
                 replaced (retention), and for a snapshot in use for {snapshot_age_max:?} \
                 (snapshot-age-max).",
                self.now().0.saturating_sub(at.0) / 1_000_000
            ))
            .hint("Run the transaction again, or have the node keep versions for longer.")
    }
}
