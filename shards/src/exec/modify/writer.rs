//! Stages rows with their index entries, and gathers what other partitions must do.

use super::constraints;
use crate::exec::context::ExecContext;
use crate::exec::evaluate::evaluate;
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::store::{RowStore, StoredRow};
use model::batch::{BATCH_ROWS, Batch};
use model::command::{Effect, KeyConflict, Modified, RoutedEffect};
use model::error::SqlError;
use model::expression::Expression;
use model::key::{push_object, push_value};
use model::plan::Modify;
use model::schema::{ForeignKey, Index, Table};
use model::types::DataType;
use model::value::{Value, ValueRef};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Writer {
    table: Arc<Table>,
    types: Vec<DataType>,
    store: Rc<dyn RowStore>,
    context: Rc<ExecContext>,
    returning: Option<Vec<Expression>>,
    /// Rows to evaluate `RETURNING` over.
    returned: Vec<Vec<Value>>,
    modified: Modified,
    /// Keys that an `ON CONFLICT DO UPDATE` has inserted or updated: it may not update them again.
    touched: HashSet<Vec<u8>>,
    /// Rows of the input before the batch at hand.
    passed: usize,
    memory: Reservation,
}

impl Writer {
    pub(super) fn new(plan: &Modify, context: &Rc<ExecContext>) -> Result<Writer, SqlError> {
        let store = context
            .rows
            .clone()
            .ok_or_else(|| SqlError::internal("a change of rows outside of a partition"))?;
        Ok(Writer {
            table: plan.table.clone(),
            types: plan.table.types(),
            store,
            context: context.clone(),
            returning: plan.returning.clone(),
            returned: Vec::new(),
            modified: Modified::default(),
            touched: HashSet::new(),
            passed: 0,
            memory: context.memory.reserve(),
        })
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Notes that the statement writes this row.
    pub(super) fn touch(&mut self, row: &[Value]) -> Result<(), SqlError> {
        let key = keys::row_key(&self.table, row);
        self.memory.grow(key.len())?;
        self.touched.insert(key);
        Ok(())
    }

    /// Whether the statement has written this row.
    pub(super) fn has_touched(&self, row: &[Value]) -> bool {
        self.touched.contains(&keys::row_key(&self.table, row))
    }

    /// A row of the batch at hand that was to be updated is another one now.
    pub(super) fn lost(&mut self, row: usize) {
        self.modified.lost.push(self.passed + row);
    }

    /// A batch is done with.
    pub(super) fn passed(&mut self, rows: usize) {
        self.passed += rows;
    }

    /// Checks `NOT NULL` and `CHECK` of rows that are about to be written.
    pub(super) fn check(&self, rows: &[Vec<Value>]) -> Result<(), SqlError> {
        let table = &self.table;
        for row in rows {
            let is_missing = |&at: &usize| {
                row[at].is_null()
                    && (!table.columns[at].nullable || table.primary_key.contains(&at))
            };
            if let Some(ordinal) = (0..table.columns.len()).find(is_missing) {
                return Err(constraints::not_null(table, ordinal, row));
            }
        }
        if table.checks.is_empty() || rows.is_empty() {
            return Ok(());
        }
        let batch = Batch::from_rows(&self.types, rows);
        for check in &table.checks {
            let truths = evaluate(&check.condition, &batch, &self.context)?;
            let violated =
                (0..rows.len()).find(|&at| matches!(truths.get(at), ValueRef::Bool(false)));
            if let Some(at) = violated {
                return Err(constraints::check(table, &check.name, &rows[at]));
            }
        }
        Ok(())
    }

    /// Locks the row's key and reads what is there.
    pub(super) async fn lock_row(&self, row: &[Value]) -> Result<Option<StoredRow>, SqlError> {
        self.store.lock(&self.table, &keys::row_key(&self.table, row)).await
    }

    /// 40001 where the transaction has a snapshot, and what is at the row's key is younger.
    pub(super) async fn check_seen(&self, row: &[Value]) -> Result<(), SqlError> {
        match self.store.check_seen(&self.table, &keys::row_key(&self.table, row)) {
            Some(check) => check.await,
            None => Ok(()),
        }
    }

    /// Locks the row with a primary key and reads what is there.
    pub(super) async fn lock_primary(
        &self,
        primary: &[Value],
    ) -> Result<Option<StoredRow>, SqlError> {
        self.store.lock(&self.table, &keys::row_key_of_primary(&self.table, primary)).await
    }

    /// The first unique index of this partition whose key another row has, with that row's entry.
    pub(super) async fn conflicting_index(
        &self,
        row: &[Value],
    ) -> Result<Option<(usize, StoredRow)>, SqlError> {
        for index in 0..self.table.indexes.len() {
            if let Some(entry) = self.claimant(index, row).await? {
                return Ok(Some((index, entry)));
            }
        }
        Ok(None)
    }

    /// The entry of the row that has the key of this one in an index, if the key lies here and is
    /// taken. It is locked.
    pub(super) async fn claimant(
        &self,
        index: usize,
        row: &[Value],
    ) -> Result<Option<StoredRow>, SqlError> {
        let index = &self.table.indexes[index];
        if index.global || !keys::is_claim(index, row) {
            return Ok(None);
        }
        let key = keys::index_entry_key(&self.table, index, row);
        self.store.lock(&self.table, &key).await
    }

    /// 40001 where the transaction has a snapshot, and the row of an entry is younger.
    pub(super) async fn check_claimant_seen(&self, entry: &StoredRow) -> Result<(), SqlError> {
        let entry = entry.row();
        let primary = 0..self.table.primary_key.len();
        let primary: Vec<Value> =
            primary.map(|at| entry.get(at).map_or(Value::Null, |value| value.to_value())).collect();
        let key = keys::row_key_of_primary(&self.table, &primary);
        match self.store.check_seen(&self.table, &key) {
            Some(check) => check.await,
            None => Ok(()),
        }
    }

    /// 23505 of the primary key.
    pub(super) fn primary_key_conflict(&self, row: &[Value]) -> SqlError {
        let name = self.table.primary_key_name.as_deref().unwrap_or("primary key");
        constraints::unique(&self.table, name, self.table.primary_key.iter().copied(), row)
    }

    /// 23505 of an index.
    pub(super) fn index_conflict(&self, index: &Index, row: &[Value]) -> SqlError {
        let columns = index.columns.iter().map(|column| column.ordinal);
        constraints::unique(&self.table, &index.name, columns, row)
    }

    /// Stages a new row, whose key is locked and free and whose local unique keys are free.
    pub(super) async fn add(&mut self, row: Vec<Value>) -> Result<(), SqlError> {
        let table = self.table.clone();
        self.store.stage(keys::row_key(&table, &row), Some(StoredRow::encode(&row)))?;
        for index in &table.indexes {
            self.put_entry(index, &row).await?;
        }
        for key in &table.foreign_keys {
            self.require(key, &row)?;
        }
        self.changed(row)
    }

    /// Stages a row in place of its older version, which is locked.
    pub(super) async fn replace(&mut self, old: &[Value], new: Vec<Value>) -> Result<(), SqlError> {
        let table = self.table.clone();
        self.store.stage(keys::row_key(&table, &new), Some(StoredRow::encode(&new)))?;
        for (at, index) in table.indexes.iter().enumerate() {
            let (before, after) = (
                keys::index_entry_key(&table, index, old),
                keys::index_entry_key(&table, index, &new),
            );
            if before == after {
                continue;
            }
            if self.claimant(at, &new).await?.is_some() {
                return Err(self.index_conflict(index, &new));
            }
            self.free_entry(index, old).await?;
            self.put_entry(index, &new).await?;
        }
        for key in &table.foreign_keys {
            if key.child_columns.iter().any(|&at| !old[at].same(&new[at])) {
                self.require(key, &new)?;
            }
        }
        self.changed(new)
    }

    /// Stages the end of a row, which is locked.
    pub(super) async fn remove(&mut self, row: Vec<Value>) -> Result<(), SqlError> {
        let table = self.table.clone();
        self.store.stage(keys::row_key(&table, &row), None)?;
        for index in &table.indexes {
            self.free_entry(index, &row).await?;
        }
        self.changed(row)
    }

    async fn put_entry(&mut self, index: &Index, row: &[Value]) -> Result<(), SqlError> {
        let key = keys::index_entry_key(&self.table, index, row);
        let value = keys::index_entry_value(&self.table, row);
        if !index.global {
            return self.store.stage_entry(&self.table, key, Some(value)).await;
        }
        let error = self.index_conflict(index, row);
        let effect = Effect::ClaimKey {
            key,
            value: value.bytes().to_vec(),
            conflict: Arc::new(KeyConflict { error }),
        };
        self.effect(keys::index_entry_hash(index, row), effect)
    }

    async fn free_entry(&mut self, index: &Index, row: &[Value]) -> Result<(), SqlError> {
        let key = keys::index_entry_key(&self.table, index, row);
        if !index.global {
            return self.store.stage_entry(&self.table, key, None).await;
        }
        self.effect(keys::index_entry_hash(index, row), Effect::FreeKey { key })
    }

    /// A reference with a `NULL` in it refers to nothing (`MATCH SIMPLE`).
    fn require(&mut self, foreign: &ForeignKey, row: &[Value]) -> Result<(), SqlError> {
        if foreign.child_columns.iter().any(|&at| row[at].is_null()) {
            return Ok(());
        }
        let referenced = &foreign.parent_key;
        let mut key = Vec::new();
        push_object(&mut key, referenced.object);
        for column in &referenced.columns {
            push_value(&mut key, &row[column.ordinal], column.descending);
        }
        let hash = keys::placement_hash(referenced.placed_by.iter().map(|&at| &row[at]));
        let error = constraints::foreign_key(&self.table, foreign, row);
        self.effect(hash, Effect::RequireKey { key, conflict: Arc::new(KeyConflict { error }) })
    }

    fn effect(&mut self, hash: u64, effect: Effect) -> Result<(), SqlError> {
        /// About what an effect takes, with its error.
        const EFFECT_BYTES: usize = 512;
        self.memory.grow(EFFECT_BYTES)?;
        self.modified.effects.push(RoutedEffect { hash, effect });
        Ok(())
    }

    fn changed(&mut self, row: Vec<Value>) -> Result<(), SqlError> {
        self.modified.rows += 1;
        if self.returning.is_some() {
            self.memory.grow(row.iter().map(Value::memory_bytes).sum())?;
            self.returned.push(row);
            if self.returned.len() == BATCH_ROWS {
                self.evaluate_returning()?;
            }
        }
        Ok(())
    }

    fn evaluate_returning(&mut self) -> Result<(), SqlError> {
        let rows = std::mem::take(&mut self.returned);
        let Some(expressions) = self.returning.as_ref().filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let batch = Batch::from_rows(&self.types, &rows);
        let columns = expressions
            .iter()
            .map(|expression| evaluate(expression, &batch, &self.context))
            .collect::<Result<_, _>>()?;
        self.modified.returning.push(Batch::new(rows.len(), columns));
        Ok(())
    }

    /// The result, with the rest of `RETURNING`.
    pub(super) fn finish(mut self) -> Result<Modified, SqlError> {
        self.evaluate_returning()?;
        Ok(self.modified)
    }
}
