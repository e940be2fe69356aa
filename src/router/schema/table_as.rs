//! A table that is made of the rows of a query.
//!
//! ```text
//! turn ─► check the new table, use an id up ─► turn back
//!   ─► the query's rows ─► written under that id, some at a time, each time a transaction
//!   ─► turn ─► the table is created over what lies there ─► turn back
//! ```
//!
//! The query runs without the turn, so that other changes of the schema do not wait for it, and may
//! be broken off like any other: rows under an id that no table has are never read.

use super::fill::Gathered;
use super::told;
use crate::catalog::change::apply_ddl;
use crate::router::virtual_tables::Outlines;
use crate::router::{OpenQuery, Router};
use crate::sql::SessionSettings;
use crate::sql::ddl::{DdlStatement, NewTable};
use model::command::Effect;
use model::error::SqlError;
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

impl Router {
    /// Checks that a table can be created, and finds a place for its rows.
    ///
    /// # Errors
    /// Those of creating it.
    pub async fn reserve_storage(
        &self,
        new: &NewTable,
        settings: &SessionSettings,
    ) -> Result<NewStorage, SqlError> {
        let (router, new, settings) = (self.clone(), new.clone(), settings.clone());
        self.in_turn(async move { router.reserve_in_turn(new, &settings).await }).await
    }

    async fn reserve_in_turn(
        &self,
        new: NewTable,
        settings: &SessionSettings,
    ) -> Result<NewStorage, SqlError> {
        let before = self.catalog();
        let change = apply_ddl(&before, &DdlStatement::CreateTable(new), settings, &Outlines)?;
        if change.catalog.version == before.version {
            return Ok(NewStorage::Skipped(told(change.notices, change.warnings)));
        }
        self.use_ids(&before, &change.catalog).await?;
        let made = change.upserts.iter().find_map(|(id, ..)| change.catalog.table(*id));
        let made = made.ok_or_else(|| SqlError::internal("a new table is not in its catalog"))?;
        Ok(NewStorage::Of(Arc::clone(made)))
    }

    /// Writes the rows of a query where a new table's rows will lie. How many they were.
    ///
    /// # Errors
    /// Those of the query and of writing.
    pub async fn fill_storage(
        &self,
        table: &Table,
        query: &mut OpenQuery,
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
                    self.stage_alone(std::mem::take(&mut gathered)).await?;
                }
            }
            count += batch.rows() as u64;
        }
        self.stage_alone(gathered).await?;
        Ok(count)
    }
}
