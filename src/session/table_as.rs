//! `CREATE TABLE ... AS`: a change of the schema with a query inside.
//!
//! The query is read as any other of its transaction is; what it returns goes to where the new table's
//! rows will lie, and the table is there when all of them are.

use super::run::{Done, Source};
use super::{Client, Session};
use crate::router::NewStorage;
use crate::sql::ddl::DdlStatement;
use crate::sql::{OutputColumn, Planned, PlannedKind, RowsOf, TableAsPlan};
use model::error::{SqlError, SqlState};
use model::schema::Table;
use model::value::Value;
use std::rc::Rc;
use std::sync::Arc;

/// The tag where no rows are counted.
const TAG: &str = "CREATE TABLE AS";

/// What makes the rows.
struct Rows<'a> {
    source: Source<'a>,
    planned: Rc<Planned>,
    parameters: Arc<[Value]>,
}

impl Session {
    /// Makes the table. `alone`: nothing else is in the transaction.
    ///
    /// # Errors
    /// Those of the query and of creating the table; the table is not there then.
    pub(super) async fn make_table(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        alone: bool,
        client: &mut dyn Client,
    ) -> Result<Done, SqlError> {
        let PlannedKind::TableAs(plan) = &planned.kind else {
            return Err(SqlError::internal("a table is made of another statement"));
        };
        let executed;
        let rows = match &plan.source {
            RowsOf::Query { .. } => Rows { source, planned: planned.clone(), parameters },
            RowsOf::Execute(execute) => {
                executed = self.executed(execute, &parameters)?;
                let (planned, parameters) = (executed.planned.clone(), executed.parameters.clone());
                Rows { source: Source::Prepared(&executed.text), planned, parameters }
            }
        };
        let columns = columns_of(&rows.planned)?.to_vec();
        let mut new = plan.table(&columns)?;
        let mut count = 0;
        if plan.with_data {
            let table = match self.reserve_storage(&new).await? {
                NewStorage::Of(table) => table,
                NewStorage::Skipped(told) => {
                    self.tell_all(told, client);
                    return Ok(Done::tagged(TAG));
                }
            };
            new.storage = Some(table.storage);
            // One that came to be meanwhile has other rows.
            new.if_not_exists = false;
            count = self.fill_table(rows, &columns, &table, alone).await?;
        }
        let told = self.change_schema(&DdlStatement::CreateTable(new)).await?;
        self.tell_all(told, client);
        Ok(Done { rows: count, tag: planned.tag(count) })
    }

    /// Reads the query into the place of the table's rows.
    async fn fill_table(
        &mut self,
        rows: Rows<'_>,
        columns: &[OutputColumn],
        table: &Table,
        alone: bool,
    ) -> Result<u64, SqlError> {
        let (planned, _pass) = self.admit(rows.source, rows.planned).await?;
        if columns_of(&planned)? != columns {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "the statement's columns changed while it waited for a schema change",
            )
            .hint("Run the statement again."));
        }
        let query = query_of(&planned)?;
        let (router, snapshot) = (self.host.router.clone(), self.snapshot());
        // What is all of its transaction need not lock what it reads.
        let set_aside = if alone { self.open.take() } else { None };
        let opened = self.open_rows(&query, rows.parameters, snapshot);
        self.open = set_aside.or_else(|| self.open.take());
        let (mut query, mark) = opened?;
        // What others have committed meanwhile a snapshot does not see.
        let into = match &mut self.open {
            Some(open) if snapshot.is_some() && !alone => {
                open.transaction.keep(mark);
                Some(&mut open.transaction)
            }
            _ => None,
        };
        router.fill_storage(table, &mut query, into).await
    }
}

/// The columns of the rows.
fn columns_of(planned: &Planned) -> Result<&[OutputColumn], SqlError> {
    match &planned.kind {
        PlannedKind::TableAs(plan) => match &**plan {
            TableAsPlan { source: RowsOf::Query { columns, .. }, .. } => Ok(columns),
            _ => Err(SqlError::internal("an EXECUTE that was not looked up")),
        },
        PlannedKind::Query(_) => Ok(&planned.columns),
        _ => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, "prepared statement is not a SELECT")),
    }
}

/// The query alone.
fn query_of(planned: &Planned) -> Result<Planned, SqlError> {
    let kind = match &planned.kind {
        PlannedKind::TableAs(plan) => match &plan.source {
            RowsOf::Query { query, .. } => PlannedKind::Query(query.clone()),
            RowsOf::Execute(_) => {
                return Err(SqlError::internal("an EXECUTE that was not looked up"));
            }
        },
        other => other.clone(),
    };
    let columns = columns_of(planned)?.to_vec();
    Ok(Planned { kind, columns, ..planned.clone() })
}
