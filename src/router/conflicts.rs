//! `INSERT ... ON CONFLICT` by unique keys that may lie elsewhere than their rows.
//!
//! ```text
//! rows ─► Probe: locks their keys, says which are taken ─► free: inserted; their keys stay locked
//!                                                       └► taken: left out, or UpdateConflicting
//!                                                          of the existing row, where it lies
//! ```
//!
//! Keys are looked at one index after another, as whoever inserts the same row does. A key that is
//! taken is let go at once, but in a serializable transaction: whoever deletes its row locks the row
//! first and the key then. So the row may have another key when it comes to be updated, and the
//! proposed row is looked at again.

use super::write::{Changed, Writer};
use crate::sql::InsertPlan;
use bytes::Bytes;
use futures::future::join_all;
use model::command::{Isolation, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::PartitionId;
use model::key;
use model::plan::{Arbiter, Change, ConflictUpdate, Modify, OnConflict, Plan, Values};
use model::probe::{Probe, Probed};
use model::schema::{Index, Table};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use shards::exec::keys;
use shards::exec::modify::second_time;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How often rows are looked at again whose conflicts were gone when they were come to.
const ATTEMPTS_MAX: u32 = 1_000;

/// Unique keys of a row that are looked at together: they lie in one partition.
struct Stage<'t> {
    /// The row's own.
    row: bool,
    /// Those of indexes.
    indexes: Vec<&'t Index>,
}

impl Stage<'_> {
    /// The hash that places them.
    fn hash(&self, table: &Table, row: &[Value]) -> u64 {
        match self.indexes.as_slice() {
            [index] if index.global => keys::index_entry_hash(index, row),
            _ => keys::row_hash(table, row),
        }
    }

    /// Those that the row claims: a `NULL` is in conflict with nothing.
    fn keys(&self, table: &Table, row: &[Value]) -> Vec<Vec<u8>> {
        let own = self.row.then(|| keys::row_key(table, row));
        let claims = self.indexes.iter().filter(|index| keys::is_claim(index, row));
        own.into_iter()
            .chain(claims.map(|index| keys::index_entry_key(table, index, row)))
            .collect()
    }
}

/// The keys that must be looked at before any row is written. `None`: the rows' partitions do it.
fn stages<'t>(table: &'t Table, on_conflict: &OnConflict) -> Option<Vec<Stage<'t>>> {
    let one = |index: usize| vec![Stage { row: false, indexes: vec![&table.indexes[index]] }];
    match on_conflict {
        OnConflict::DoUpdate(Arbiter::Index(index), _) => Some(one(*index)),
        OnConflict::DoNothing(Some(Arbiter::Index(index))) if table.indexes[*index].global => {
            Some(one(*index))
        }
        OnConflict::DoNothing(None) => {
            let unique = table.indexes.iter().filter(|index| index.unique);
            let (elsewhere, here): (Vec<&Index>, Vec<&Index>) =
                unique.partition(|index| index.global);
            if elsewhere.is_empty() {
                return None;
            }
            let here = Stage { row: table.primary_key_name.is_some(), indexes: here };
            let elsewhere = elsewhere.into_iter();
            let elsewhere = elsewhere.map(|index| Stage { row: false, indexes: vec![index] });
            Some(std::iter::once(here).chain(elsewhere).collect())
        }
        _ => None,
    }
}

/// All keys of a row that are looked at.
fn all_keys(table: &Table, stages: &[Stage<'_>], row: &[Value]) -> impl Iterator<Item = Vec<u8>> {
    stages.iter().flat_map(|stage| stage.keys(table, row))
}

/// A row that is proposed, and the primary key of the row in its way.
struct Proposed {
    row: Vec<Value>,
    existing: Option<Vec<Value>>,
}

impl Writer<'_> {
    /// Inserts complete rows, or does what the statement says about those that are in conflict.
    pub(super) async fn insert_or_else(
        &mut self,
        insert: &InsertPlan,
        rows: Vec<Vec<Value>>,
    ) -> Result<Changed, SqlError> {
        let table = Arc::clone(&insert.table);
        let Some(stages) = stages(&table, &insert.on_conflict) else {
            return self.insert_rows(insert, rows).await;
        };
        let alone = std::mem::replace(&mut self.alone, false);
        let changed = self.insert_probed(insert, &stages, rows).await;
        self.alone = alone;
        changed
    }

    async fn insert_probed(
        &mut self,
        insert: &InsertPlan,
        stages: &[Stage<'_>],
        mut rows: Vec<Vec<Value>>,
    ) -> Result<Changed, SqlError> {
        let table = &insert.table;
        let (mut count, mut returned) = (0, Vec::new());
        let mut updated = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let probed = self.probe(table, stages, rows).await?;
            let (free, taken): (Vec<_>, Vec<_>) =
                probed.into_iter().partition(|proposed| proposed.existing.is_none());
            let free = self.first_of_each(insert, stages, free)?;
            if !free.is_empty() {
                let plain = InsertPlan { on_conflict: OnConflict::Fail, ..insert.clone() };
                let (more, batches) = self.insert_rows(&plain, free).await?;
                count += more;
                returned.extend(batches);
            }
            let OnConflict::DoUpdate(Arbiter::Index(index), update) = &insert.on_conflict else {
                return Ok((count, returned));
            };
            for key in taken.iter().flat_map(|proposed| all_keys(table, stages, &proposed.row)) {
                if self.written.contains(&key) {
                    return Err(second_time());
                }
                updated.push(key);
            }
            let ((more, batches), lost) =
                self.update_existing(insert, *index, update, taken).await?;
            count += more;
            returned.extend(batches);
            if lost.is_empty() {
                self.note_written(updated)?;
                return Ok((count, returned));
            }
            rows = lost;
        }
        let restless = rows.first().and_then(|row| all_keys(table, stages, row).next());
        let restless = restless.map_or_else(String::new, |entry| key::describe(table, &entry));
        Err(SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "could not serialize access due to concurrent update",
        )
        .detail(format!(
            "Whenever a row was to be updated it did not have its key any more: {restless}."
        ))
        .hint("Run the transaction again.")
        .table(&table.schema, &table.name))
    }

    /// Of rows whose keys are free, those that are the first to have them.
    fn first_of_each(
        &mut self,
        insert: &InsertPlan,
        stages: &[Stage<'_>],
        free: Vec<Proposed>,
    ) -> Result<Vec<Vec<Value>>, SqlError> {
        let mut claimed: HashSet<Vec<u8>> = HashSet::new();
        let mut first = Vec::with_capacity(free.len());
        for Proposed { row, .. } in free {
            let keys: Vec<Vec<u8>> = all_keys(&insert.table, stages, &row).collect();
            if !keys.iter().any(|key| claimed.contains(key)) {
                claimed.extend(keys);
                first.push(row);
            } else if matches!(insert.on_conflict, OnConflict::DoUpdate(..)) {
                return Err(second_time());
            }
        }
        if matches!(insert.on_conflict, OnConflict::DoUpdate(..)) {
            self.note_written(claimed)?;
        }
        Ok(first)
    }

    /// Notes keys of rows that the statement has inserted or updated.
    fn note_written(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), SqlError> {
        for key in keys {
            self.memory.grow(key.len())?;
            self.written.insert(key);
        }
        Ok(())
    }

    /// Looks at the rows' keys, one stage after another. A row that is found to be in conflict is
    /// looked at no further.
    async fn probe(
        &self,
        table: &Arc<Table>,
        stages: &[Stage<'_>],
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Proposed>, SqlError> {
        let mut all: Vec<Proposed> =
            rows.into_iter().map(|row| Proposed { row, existing: None }).collect();
        let snapshot = match self.statement.isolation {
            Isolation::RepeatableRead => self.statement.snapshot,
            Isolation::ReadCommitted | Isolation::Serializable => None,
        };
        for stage in stages {
            let mut asked: BTreeMap<PartitionId, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
            for (at, proposed) in all.iter().enumerate() {
                if proposed.existing.is_none() {
                    let hash = stage.hash(table, &proposed.row);
                    let partition = self.router.partition_at(table, hash);
                    let keys = stage.keys(table, &proposed.row).into_iter().map(|key| (at, key));
                    asked.entry(partition).or_default().extend(keys);
                }
            }
            for (at, primary) in self.probe_keys(table, asked, snapshot).await? {
                all[at].existing.get_or_insert(primary);
            }
        }
        if snapshot.is_some() {
            self.check_existing(table, &all, snapshot).await?;
        }
        Ok(all)
    }

    /// Asks partitions about keys. Answers those that are taken: what was given with the key, and the
    /// primary key of the row that has it.
    async fn probe_keys(
        &self,
        table: &Arc<Table>,
        asked: BTreeMap<PartitionId, Vec<(usize, Vec<u8>)>>,
        snapshot: Option<Timestamp>,
    ) -> Result<Vec<(usize, Vec<Value>)>, SqlError> {
        let (reader, mark) = (self.transaction.reader(), self.transaction.mark());
        let keep = self.statement.isolation == Isolation::Serializable;
        let lock_timeout = self.statement.lock_timeout;
        let asked = asked.into_iter().filter(|(_, keys)| !keys.is_empty());
        let asked = asked.map(async |(partition, keys)| {
            let (places, keys): (Vec<usize>, Vec<Bytes>) =
                keys.into_iter().map(|(at, key)| (at, Bytes::from(key))).unzip();
            let table = Arc::clone(table);
            let txn = reader.id;
            let probe = Probe { txn, table, keys, keep, snapshot, mark, lock_timeout };
            reader.ask(partition);
            match self.router.engine().call(partition, RequestBody::Probe(probe)).await? {
                Response::Probed(probed) => {
                    if keep || probed.contains(&Probed::Free) {
                        reader.hear(partition);
                    }
                    Ok((places, probed))
                }
                other => Err(SqlError::internal(format!("a probe was answered with {other:?}"))),
            }
        });
        // All answers are awaited, so that a rollback does not overtake a lock.
        let answers = join_all(asked).await;
        let mut taken = Vec::new();
        for answer in answers {
            let (places, probed) = answer?;
            taken.extend(places.into_iter().zip(probed).filter_map(|(at, probed)| match probed {
                Probed::Taken(primary) => Some((at, primary)),
                Probed::Free => None,
            }));
        }
        Ok(taken)
    }

    /// 40001 where a row in the way is younger than the snapshot, though it may have had its key
    /// before.
    async fn check_existing(
        &self,
        table: &Arc<Table>,
        all: &[Proposed],
        snapshot: Option<Timestamp>,
    ) -> Result<(), SqlError> {
        let mut asked: BTreeMap<PartitionId, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
        for (at, primary) in all.iter().map(|proposed| &proposed.existing).enumerate() {
            if let Some(primary) = primary {
                let partition = self.router.partition_at(table, keys::primary_hash(table, primary));
                let key = keys::row_key_of_primary(table, primary);
                asked.entry(partition).or_default().push((at, key));
            }
        }
        self.probe_keys(table, asked, snapshot).await.map(drop)
    }

    /// Updates the rows that are in the way of others. Answers, too, the rows whose conflict is gone.
    async fn update_existing(
        &mut self,
        insert: &InsertPlan,
        index: usize,
        update: &ConflictUpdate,
        taken: Vec<Proposed>,
    ) -> Result<(Changed, Vec<Vec<Value>>), SqlError> {
        let table = &insert.table;
        let mut types: Vec<DataType> =
            table.primary_key.iter().map(|&ordinal| table.columns[ordinal].data_type).collect();
        types.extend(table.types());
        let mut by_partition: BTreeMap<PartitionId, Vec<Vec<Value>>> = BTreeMap::new();
        for Proposed { row, existing } in taken {
            let Some(mut input) = existing else { continue };
            let partition = self.router.partition_at(table, keys::primary_hash(table, &input));
            input.extend(row);
            by_partition.entry(partition).or_default().push(input);
        }
        let literals = |row: &Vec<Value>| {
            let values = row.iter().cloned().zip(&types);
            values.map(|(value, data_type)| Expression::Literal(value, *data_type)).collect()
        };
        let writes = by_partition.iter().map(|(&partition, rows)| {
            let rows = rows.iter().map(literals).collect();
            let input = Box::new(Plan::Values(Values { rows, types: types.clone() }));
            let change = Change::UpdateConflicting { index, update: update.clone() };
            let returning = insert.returning.clone();
            (partition, Modify { table: Arc::clone(table), input, change, returning })
        });
        let writes = writes.collect();
        let (mut changed, mut lost) = ((0, Vec::new()), Vec::new());
        for (partition, modified) in self.write(writes, true).await? {
            changed.0 += modified.rows;
            changed.1.extend(modified.returning);
            let rows = &by_partition[&partition];
            let primary = table.primary_key.len();
            lost.extend(modified.lost.iter().map(|&at| rows[at][primary..].to_vec()));
        }
        Ok((changed, lost))
    }
}
