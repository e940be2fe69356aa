//! A table that is made of the rows of a query.
//!
//! ```text
//! check the new table, use an id up (with the turn, which goes back at once)
//!   ─► the query's rows ─► written under that id, some at a time, each time a transaction
//!   ─► the table is created over what lies there, as any other change of the schema
//! ```
//!
//! The query runs without the turn, so that other changes of the schema do not wait for it, and may
//! be broken off like any other: rows under an id that no table has are never read. A transaction that
//! has the turn already keeps it; one that reads a snapshot writes the rows itself, since it would not
//! see those of another one.

use super::changes::{SchemaChanges, told};
use super::fill::Gathered;
use crate::catalog::change::apply_ddl;
use crate::router::virtual_tables::Outlines;
use crate::router::{OpenQuery, Router};
use crate::sql::SessionSettings;
use crate::sql::ddl::{DdlStatement, NewTable};
use crate::txn::Transaction;
use model::command::Effect;
use model::error::SqlError;
use model::id::ObjectId;
use model::schema::Table;
use model::value::Value;
use shards::exec::{StoredRow, keys};
use std::sync::Arc;

/// Where a new table's rows will lie.
pub enum NewStorage {
    /// The table as it will be, but for its own id.
    Of(Arc<Table>),
    /// There is a table of that name, which is left alone; what the client is told of it.
    Skipped(Vec<SqlError>),
}

impl SchemaChanges {
    /// Checks that a table can be created, and finds a place for its rows.
    ///
    /// # Errors
    /// Those of creating it.
    pub async fn reserve_storage(
        &mut self,
        new: &NewTable,
        settings: &SessionSettings,
    ) -> Result<NewStorage, SqlError> {
        let before = self.next();
        let create = DdlStatement::CreateTable(new.clone());
        let change = apply_ddl(&before, &create, settings, &Outlines)?;
        if change.catalog.version == before.version {
            return Ok(NewStorage::Skipped(told(change.notices, change.warnings)));
        }
        self.take_ids(&change.catalog);
        self.use_ids().await?;
        let ids = before.next_object.0..change.catalog.next_object.0;
        let mut made = ids.filter_map(|id| change.catalog.table(ObjectId(id)));
        let made = made.next();
        let made = made.ok_or_else(|| SqlError::internal("a new table is not in its catalog"))?;
        Ok(NewStorage::Of(Arc::clone(made)))
    }
}

impl Router {
    /// Writes the rows of a query where a new table's rows will lie: in a transaction, or in many of
    /// their own. How many they were.
    ///
    /// # Errors
    /// Those of the query and of writing.
    pub async fn fill_storage(
        &self,
        table: &Table,
        query: &mut OpenQuery,
        mut transaction: Option<&mut Transaction>,
    ) -> Result<u64, SqlError> {
        let placement = self.engine().placement();
        let mut gathered = Gathered::default();
        let mut count = 0;
        while let Some(batch) = query.next().await? {
            for row in 0..batch.rows() {
                let mut values = batch.row(row);
                // Behind the query's columns is the hidden key.
                values.push(Value::Int(self.row_id()));
                debug_assert_eq!(values.len(), table.columns.len(), "the rows fit the table");
                let partition = placement.partition_of(keys::row_hash(table, &values));
                let key = keys::row_key(table, &values);
                let value = StoredRow::encode(&values).bytes().to_vec();
                gathered.push(partition, Effect::PutKey { key, value });
                runtime::task::yield_if_due().await;
                if gathered.is_enough() {
                    let enough = std::mem::take(&mut gathered);
                    self.stage_in(transaction.as_deref_mut(), enough).await?;
                }
            }
            count += batch.rows() as u64;
        }
        self.stage_in(transaction, gathered).await?;
        Ok(count)
    }

    async fn stage_in(
        &self,
        transaction: Option<&mut Transaction>,
        gathered: Gathered,
    ) -> Result<(), SqlError> {
        match transaction {
            Some(transaction) => self.stage(transaction, gathered).await,
            None => self.stage_alone(gathered).await,
        }
    }
}
