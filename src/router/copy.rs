//! Rows that a client copies in: an insert that is planned once.

use super::write::Writer;
use super::{Router, Statement};
use crate::sql::{CopyIn, InsertSource};
use crate::txn::Transaction;
use model::error::SqlError;
use model::value::Value;

impl Router {
    /// Inserts rows of the columns that the client gives, with the defaults of all others. The
    /// caller bounds how many they are. Returns how many were inserted.
    ///
    /// # Errors
    /// Those of an insert.
    pub async fn copy_in(
        &self,
        copy: &CopyIn,
        statement: &Statement<'_>,
        transaction: &mut Transaction,
        rows: Vec<Vec<Value>>,
    ) -> Result<u64, SqlError> {
        self.serve().await?;
        let InsertSource::Values(defaults) = &copy.insert.source else {
            return Err(SqlError::internal("COPY reads from a query"));
        };
        let Some(defaults) = defaults.first() else {
            return Err(SqlError::internal("COPY without defaults"));
        };
        // A column that the client gives has no use for its default, which may cost something.
        let position = |ordinal: usize| copy.targets.iter().position(|&target| target == ordinal);
        let positions: Vec<Option<usize>> = (0..defaults.len()).map(position).collect();
        let mut writer = Writer::new(self, statement, transaction);
        let mut left_out: Vec<Vec<Value>> = writer
            .constants(rows.len(), |_| {
                let left_out = positions.iter().zip(defaults).filter(|(at, _)| at.is_none());
                left_out.map(|(_, default)| default)
            })
            .await?;
        let complete = |(mut given, left_out): (Vec<Value>, &mut Vec<Value>)| {
            let mut left_out = left_out.drain(..);
            let value = |position: &Option<usize>| match position {
                Some(position) => Some(std::mem::replace(&mut given[*position], Value::Null)),
                None => left_out.next(),
            };
            positions.iter().map_while(value).collect::<Vec<Value>>()
        };
        let rows = rows.into_iter().zip(&mut left_out).map(complete).collect();
        let (inserted, _nothing) = writer.insert_rows(&copy.insert, rows).await?;
        Ok(inserted)
    }
}
