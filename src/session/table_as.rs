//! `CREATE TABLE ... AS`: a change of the schema with a query inside.
//!
//! Like any change of the schema it is a transaction of its own, outside of a block that it stands
//! in. The query is read as any other is; what it returns goes to where the new table's rows will
//! lie, and the table is there when all of them are.

use super::run::{Done, Source, guarded, now_micros};
use super::{Client, Interrupts, Session};
use crate::router::{NewStorage, Statement};
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
    /// Makes the table.
    ///
    /// # Errors
    /// Those of the query and of creating the table; the table is not there then.
    pub(super) async fn make_table(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Done, SqlError> {
        // The block's new transaction has done nothing yet: it has no part in this.
        let open = self.open.take();
        let made = self.make_outside(source, planned, parameters, client, interrupts).await;
        self.open = open;
        made
    }

    async fn make_outside(
        &mut self,
        source: Source<'_>,
        planned: Rc<Planned>,
        parameters: Arc<[Value]>,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
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
        let router = self.host.router.clone();
        let mut new = plan.table(&columns)?;
        let mut count = 0;
        if plan.with_data {
            let table = match router.reserve_storage(&new, &self.scope).await? {
                NewStorage::Of(table) => table,
                NewStorage::Skipped(told) => {
                    self.tell_all(told, client);
                    return Ok(Done::tagged(TAG));
                }
            };
            new.storage = Some(table.storage);
            // One that came to be meanwhile has other rows.
            new.if_not_exists = false;
            let timeout = self.settings.statement_timeout();
            let presence = self.presence.clone();
            let filled = self.fill_table(rows, &columns, &table);
            count = guarded(filled, interrupts, &presence, timeout).await?;
        }
        let create = DdlStatement::CreateTable(new);
        let told = router.change_schema(&create, &self.scope, &self.presence).await?;
        self.tell_all(told, client);
        Ok(Done { rows: count, tag: planned.tag(count) })
    }

    /// Reads the query into the place of the table's rows. The gates of what it reads are left when
    /// it has ended: a change that waits for them may hold the turn.
    async fn fill_table(
        &mut self,
        rows: Rows<'_>,
        columns: &[OutputColumn],
        table: &Table,
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
        let statement = Statement {
            planned: &query,
            parameters: rows.parameters,
            now_micros: now_micros(),
            snapshot: self.snapshot(),
            isolation: self.isolation(),
            lock_timeout: self.settings.lock_timeout(),
            identity: self.identity.clone(),
            sequences: self.sequences.clone(),
            presence: Some(self.presence.clone()),
            backends: self.take_backends(),
        };
        let router = self.host.router.clone();
        let mut query = router.open_query(&statement, None)?;
        router.fill_storage(table, &mut query).await
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
