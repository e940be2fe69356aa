//! Queries that lock rows: `SELECT ... FOR UPDATE` and its kin.
//!
//! A query is read with its snapshot as any other, and its rows are locked in their partitions as
//! they come to the top of its plan (`LockRows`). There they may have changed since the snapshot. At
//! READ COMMITTED a query that meets such a row is run again with a new snapshot; it keeps its locks
//! meanwhile, so that what it has locked does not change again. That is why none of its rows goes to
//! the client before the last is locked. At REPEATABLE READ it fails with 40001.
//!
//! In a serializable transaction the query is then read once more, and locks all that it reads. With
//! `SKIP LOCKED` it does not: it has not read all there is, whatever it locks.

use super::write::Source;
use super::{Router, Statement, Unfinished};
use crate::txn::{Reader, Transaction};
use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture, join_all};
use model::command::{Isolation, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{Mark, PartitionId};
use model::key;
use model::plan::Plan;
use model::row_lock::{LockRows, LockWait, RowLock, RowLocked};
use model::schema::Placement;
use model::time::Timestamp;
use model::value::Value;
use shards::core::Engine;
use shards::exec::{Locking, RowLocker, keys};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often a query is run again because of rows that others have changed. Each time it has locked
/// one more of them.
const ATTEMPTS_MAX: u32 = 1_000;

/// Keys in one request.
const KEYS_MAX: usize = 1_024;

/// A row to lock, and where it stands among those that are asked for.
struct Key {
    at: usize,
    partition: PartitionId,
    key: Bytes,
}

/// Locks rows in their partitions for one run of one statement.
pub(super) struct PartitionLocker {
    engine: Engine,
    reader: Reader,
    mark: Option<Mark>,
    /// What the statement reads.
    snapshot: Timestamp,
    /// All statements of the transaction read it.
    one_snapshot: bool,
    lock_timeout: Option<Duration>,
    /// It has met a row that has changed since.
    lost_race: Cell<bool>,
}

impl Router {
    /// Reads a query that locks rows to its end, as a transaction of its own. What it reads is what
    /// was there at one moment, and what it has locked is so still when it has got the last lock.
    pub(super) async fn read_locking_alone(
        &self,
        plan: &Plan,
        statement: &Statement<'_>,
    ) -> Result<Source, SqlError> {
        let mut attempt = 1;
        loop {
            let transaction = self.begin();
            if let Some(presence) = &statement.presence {
                presence.enter(transaction.id, statement.now_micros);
            }
            let mut unfinished = Unfinished { router: self, transaction: Some(transaction) };
            let read = self.read_snapshot(plan, statement, unfinished.transaction()).await;
            if let Some(transaction) = unfinished.transaction.take() {
                // It has changed nothing: its locks go.
                self.rollback(transaction).await;
            }
            match read {
                Err(error) if error.state().is_retryable() && attempt < super::ATTEMPTS_MAX => {
                    self.note_retry(statement, &error);
                    attempt += 1;
                    self.pause_before(attempt).await;
                }
                result => return result,
            }
        }
    }

    /// Reads a query that locks rows to its end.
    pub(super) async fn read_locking(
        &self,
        plan: &Plan,
        statement: &Statement<'_>,
        transaction: &Transaction,
    ) -> Result<Source, SqlError> {
        let source = self.read_snapshot(plan, statement, transaction).await?;
        let skips = statement.planned.row_locks.is_some_and(|locks| locks.skips);
        if statement.isolation != Isolation::Serializable || skips {
            return Ok(source);
        }
        // Now that the rows are locked, what else there is to be read is locked with them: first, and
        // two that read the same would both have to wait for the other to lock its rows.
        drop(source);
        let locker = self.locker(statement, transaction, Timestamp::MAX);
        let (now, reader) = (self.engine().now(), Some(transaction.reader()));
        let mut context = self.context_with(statement, now, statement.isolation, reader, None);
        context.locker = Some(Rc::new(locker));
        Source::read(plan, &Rc::new(context)).await
    }

    /// Reads a query at one snapshot, and locks rows that are still as they were in it.
    async fn read_snapshot(
        &self,
        plan: &Plan,
        statement: &Statement<'_>,
        transaction: &Transaction,
    ) -> Result<Source, SqlError> {
        let isolation = match statement.isolation {
            Isolation::Serializable => Isolation::ReadCommitted,
            isolation => isolation,
        };
        let mut attempt = 1;
        loop {
            let snapshot = self.snapshot_of(statement);
            let locker = Rc::new(self.locker(statement, transaction, snapshot));
            let reader = Some(transaction.reader());
            let mut context = self.context_with(statement, snapshot, isolation, reader, None);
            context.locker = Some(locker.clone());
            match Source::read(plan, &Rc::new(context)).await {
                Err(error) if locker.lost_race.get() && attempt < ATTEMPTS_MAX => {
                    self.note_retry(statement, &error);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn locker(
        &self,
        statement: &Statement<'_>,
        transaction: &Transaction,
        snapshot: Timestamp,
    ) -> PartitionLocker {
        PartitionLocker {
            engine: self.engine().clone(),
            reader: transaction.reader(),
            mark: transaction.mark(),
            snapshot,
            one_snapshot: statement.snapshot.is_some(),
            lock_timeout: statement.lock_timeout,
            lost_race: Cell::new(false),
        }
    }
}

impl RowLocker for PartitionLocker {
    fn lock<'a>(
        &'a self,
        locking: Locking<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<RowLocked>, SqlError>> {
        async move {
            let locked = self.lock_in_turn(locking.lock, &locking).await?;
            self.check(&locking, &locked)?;
            Ok(locked)
        }
        .boxed_local()
    }
}

impl PartitionLocker {
    async fn lock_in_turn(
        &self,
        lock: &RowLock,
        locking: &Locking<'_>,
    ) -> Result<Vec<RowLocked>, SqlError> {
        let mut keys = self.keys(lock, &locking.keys);
        let (count, all) = (keys.len(), locking.rows_max >= keys.len());
        if lock.wait != LockWait::Wait && all {
            return self.lock_at_once(lock, keys).await;
        }
        if !locking.ordered && all {
            // The one order that all who want all of their rows have.
            keys.sort_by(|a, b| (a.partition, &a.key).cmp(&(b.partition, &b.key)));
        }
        let mut locked = vec![RowLocked::Skipped; count];
        let (mut looked_at, mut wanted) = (0, locking.rows_max);
        while looked_at < count && wanted > 0 {
            let rest = &keys[looked_at..];
            let run =
                rest.iter().take(KEYS_MAX).take_while(|key| key.partition == rest[0].partition);
            let run = &rest[..run.count()];
            let answers = self.ask(lock, run, wanted).await?;
            for (key, answer) in run.iter().zip(&answers) {
                locked[key.at] = *answer;
                let passes = matches!(answer, RowLocked::Unchanged | RowLocked::Changed);
                wanted -= usize::from(passes);
            }
            looked_at += answers.len();
        }
        locked.truncate(looked_at);
        Ok(locked)
    }

    /// Nobody waits: the order of the locks is of no account.
    async fn lock_at_once(
        &self,
        lock: &RowLock,
        keys: Vec<Key>,
    ) -> Result<Vec<RowLocked>, SqlError> {
        let mut locked = vec![RowLocked::Skipped; keys.len()];
        let mut by_partition: BTreeMap<PartitionId, Vec<Key>> = BTreeMap::new();
        for key in keys {
            by_partition.entry(key.partition).or_default().push(key);
        }
        let asked = by_partition.values().map(|keys| self.ask(lock, keys, keys.len()));
        // All answers are awaited, so that a rollback does not overtake a lock.
        let answers = join_all(asked).await;
        for (keys, answers) in by_partition.values().zip(answers) {
            for (key, answer) in keys.iter().zip(answers?) {
                locked[key.at] = answer;
            }
        }
        Ok(locked)
    }

    fn keys(&self, lock: &RowLock, rows: &[Vec<Value>]) -> Vec<Key> {
        let table = &*lock.table;
        let placement = self.engine.placement();
        let key = |(at, primary): (usize, &Vec<Value>)| {
            let partition = match table.placement {
                Placement::System => PartitionId::SYSTEM,
                Placement::Hashed => placement.partition_of(keys::primary_hash(table, primary)),
            };
            let key = Bytes::from(keys::row_key_of_primary(table, primary));
            Key { at, partition, key }
        };
        rows.iter().enumerate().map(key).collect()
    }

    /// Asks a partition for locks on some of its keys.
    async fn ask(
        &self,
        lock: &RowLock,
        keys: &[Key],
        rows_max: usize,
    ) -> Result<Vec<RowLocked>, SqlError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        self.reader.ask(first.partition);
        let body = RequestBody::Lock(LockRows {
            txn: self.reader.id,
            table: lock.table.clone(),
            keys: keys.iter().map(|key| key.key.clone()).collect(),
            mode: lock.mode,
            wait: lock.wait,
            snapshot: self.snapshot,
            rows_max,
            mark: self.mark,
            lock_timeout: self.lock_timeout,
        });
        match self.engine.call(first.partition, body).await? {
            Response::Locked(locked) if !locked.is_empty() => {
                self.reader.hear(first.partition);
                Ok(locked)
            }
            other => Err(SqlError::internal(format!("row locks were answered with {other:?}"))),
        }
    }

    /// Rows that others have changed since the snapshot.
    fn check(&self, locking: &Locking<'_>, locked: &[RowLocked]) -> Result<(), SqlError> {
        let first = |what| locked.iter().position(|locked| *locked == what);
        if let Some(at) = first(RowLocked::Changed) {
            self.lost_race.set(!self.one_snapshot);
            return Err(self.changed_meanwhile(locking, at, "update"));
        }
        // One that is gone is none of the query's any more.
        match first(RowLocked::Deleted).filter(|_| self.one_snapshot) {
            Some(at) => Err(self.changed_meanwhile(locking, at, "delete")),
            None => Ok(()),
        }
    }

    fn changed_meanwhile(&self, locking: &Locking<'_>, at: usize, change: &str) -> SqlError {
        let table = &locking.lock.table;
        let error = SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            format!("could not serialize access due to concurrent {change}"),
        )
        .hint("Run the transaction again.")
        .table(&table.schema, &table.name);
        let keys = self.keys(locking.lock, &locking.keys);
        match keys.iter().find(|key| key.at == at) {
            Some(key) => error.detail(format!(
                "Another transaction has changed {} after this one's snapshot was taken.",
                key::describe(table, &key.key)
            )),
            None => error,
        }
    }
}
