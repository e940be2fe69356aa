//! The catalog's rows in the system partition.

use super::scan;
use crate::catalog::change::StoredChange;
use crate::catalog::{Catalog, load, objects_table};
use crate::router::Router;
use crate::txn::Transaction;
use model::batch::Batch;
use model::command::{Fragment, Isolation, Modified, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{ObjectId, PartitionId};
use model::plan::{
    Access, Arbiter, Change, ConflictUpdate, KeyBounds, Modify, OnConflict, Plan, Scan, Values,
};
use model::schema::Table;
use model::types::DataType;
use model::value::Value;
use std::sync::Arc;

impl Router {
    /// Commits rows of the catalog, where that which is stored is still `base`.
    ///
    /// # Errors
    /// As [`Router::write_catalog`], and those of the commit.
    pub(super) async fn store(
        &self,
        stored: &StoredChange,
        base: &Catalog,
    ) -> Result<(), SqlError> {
        let stored = async |transaction: &mut Transaction| {
            self.write_catalog(transaction, stored, base).await
        };
        self.in_own_transaction(stored).await
    }

    /// Writes rows of the catalog in a transaction, where that which is stored is still `base`, and
    /// stays so until the transaction ends.
    ///
    /// # Errors
    /// 40001 where it is another one.
    pub(super) async fn write_catalog(
        &self,
        transaction: &mut Transaction,
        stored: &StoredChange,
        base: &Catalog,
    ) -> Result<(), SqlError> {
        self.lock_counters(transaction, base).await?;
        let table = objects_table();
        if !stored.upserts.is_empty() {
            let rows = upsert(table, object_rows(&stored.upserts));
            self.write_system(transaction, rows).await?;
        }
        if !stored.deletes.is_empty() {
            self.write_system(transaction, delete(table, &stored.deletes)).await?;
        }
        Ok(())
    }

    /// Locks the row of the counters, which every change of the catalog writes, and compares it.
    async fn lock_counters(
        &self,
        transaction: &mut Transaction,
        base: &Catalog,
    ) -> Result<(), SqlError> {
        let table = objects_table();
        let known = base.stored_counters()?;
        // The row stays as it is; where there is none it becomes what the base says.
        let mut modify = upsert(table, object_rows(std::slice::from_ref(&known)));
        if let Change::Insert { on_conflict: OnConflict::DoUpdate(_, update) } = &mut modify.change
        {
            let same = |(ordinal, _): &(usize, Expression)| {
                (*ordinal, Expression::column(*ordinal, table.columns[*ordinal].data_type))
            };
            update.assignments = update.assignments.iter().map(same).collect();
        }
        let definition = table.columns.len() - 1;
        modify.returning =
            Some(vec![Expression::column(definition, table.columns[definition].data_type)]);
        let found = self.write_system(transaction, modify).await?;
        let found = found.returning.first().filter(|batch| batch.rows() == 1);
        let found = found.map(|batch| batch.row(0));
        let Some([Value::Text(found)]) = found.as_deref() else { return Err(corrupted()) };
        if base.has_counters(found)? {
            return Ok(());
        }
        // Who has stored it may be gone before it was published, and nobody else would read it again where
        // only ids were used up.
        self.adopt_stored().await?;
        Err(SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "could not change the schema: it has been changed by another meanwhile",
        )
        .hint("Retry the transaction."))
    }

    async fn write_system(
        &self,
        transaction: &mut Transaction,
        modify: Modify,
    ) -> Result<Modified, SqlError> {
        transaction.touch(PartitionId::SYSTEM);
        let fragment = Fragment {
            plan: Arc::new(Plan::Modify(modify)),
            parameters: Arc::from([]),
            snapshot: self.engine().now(),
            txn: Some(transaction.id),
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros: 0,
            lock_timeout: None,
        };
        let body = RequestBody::Write { fragment, commit: false, mark: transaction.mark() };
        match self.engine().call(PartitionId::SYSTEM, body).await? {
            Response::Modified(modified) => Ok(modified),
            other => Err(SqlError::internal(format!("a change was answered with {other:?}"))),
        }
    }

    /// Reads the catalog from the system partition; every core does when it starts.
    pub async fn load_catalog(&self) -> Result<(), SqlError> {
        if let Some(catalog) = self.stored_catalog().await? {
            self.inner.catalog.replace(Arc::new(catalog));
        }
        self.inner.catalog_since.set(self.engine().now());
        Ok(())
    }

    /// The catalog as it is stored; `None` where nobody has changed the first one.
    pub(super) async fn stored_catalog(&self) -> Result<Option<Catalog>, SqlError> {
        let table = objects_table();
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let mut rows =
            self.engine().read(PartitionId::SYSTEM, self.fragment(scan(table, &columns), None));
        let mut objects: Vec<(ObjectId, String)> = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch: Batch = batch?;
            for row in 0..batch.rows() {
                match batch.row(row).as_slice() {
                    [Value::Int(id), Value::Text(_), Value::Text(definition)] => {
                        let id = u32::try_from(*id).map_err(|_large| corrupted())?;
                        objects.push((ObjectId(id), definition.to_string()));
                    }
                    _ => return Err(corrupted()),
                }
            }
        }
        if objects.is_empty() {
            return Ok(None);
        }
        let rows = objects.iter().map(|(id, definition)| (*id, definition.as_str()));
        load(rows).map(Some)
    }
}

fn object_rows(objects: &[(ObjectId, &'static str, String)]) -> Vec<Vec<Expression>> {
    let literal = |value: Value, data_type| Expression::Literal(value, data_type);
    let rows = objects.iter().map(|(id, kind, definition)| {
        vec![
            literal(Value::Int(i64::from(id.0)), DataType::Int8),
            literal(Value::text(*kind), DataType::Text),
            literal(Value::text(definition.as_str()), DataType::Text),
        ]
    });
    rows.collect()
}

/// Writes rows of a system table, whose key is its first column.
pub(in crate::router) fn upsert(table: &Arc<Table>, rows: Vec<Vec<Expression>>) -> Modify {
    let width = table.columns.len();
    let excluded = |ordinal: usize| {
        (ordinal, Expression::column(width + ordinal, table.columns[ordinal].data_type))
    };
    let update =
        ConflictUpdate { assignments: (1..width).map(excluded).collect(), condition: None };
    let on_conflict = OnConflict::DoUpdate(Arbiter::PrimaryKey, update);
    let input = Box::new(Plan::Values(Values { rows, types: table.types() }));
    let change = Change::Insert { on_conflict };
    Modify { table: Arc::clone(table), input, change, returning: None }
}

fn delete(table: &Arc<Table>, objects: &[ObjectId]) -> Modify {
    let point =
        |id: &ObjectId| vec![Expression::Literal(Value::Int(i64::from(id.0)), DataType::Int8)];
    let equal = objects.iter().map(point).collect();
    let scan = Scan {
        table: Arc::clone(table),
        access: Access::PrimaryKey(KeyBounds { equal, lower: None, upper: None }),
        columns: (0..table.columns.len()).collect(),
        filter: None,
        reverse: false,
        lock: true,
        limit: None,
    };
    let input = Box::new(Plan::Scan(scan));
    Modify { table: Arc::clone(table), input, change: Change::Delete, returning: None }
}

fn corrupted() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "the stored catalog has rows of an unknown form")
}
