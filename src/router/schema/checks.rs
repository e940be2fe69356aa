//! Looking whether a table's rows are what a change of the schema says of them.

use super::fill;
use crate::catalog::Catalog;
use crate::router::{Router, Statement};
use crate::sql::{NoVirtualTables, Planned, PlannedKind, SessionSettings, parse, plan};
use crate::txn::Reader;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::schema::Table;
use model::value::Value;
use shards::exec::{ExecContext, open};
use std::rc::Rc;
use std::sync::Arc;

/// How rows are looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// The catalog that will be.
    pub(super) catalog: &'a Arc<Catalog>,
    /// Of the session.
    pub(super) settings: &'a SessionSettings,
    /// The transaction whose changes are seen, where it has made any.
    pub(super) reader: Option<&'a Reader>,
}

impl Router {
    /// Looks for a row whose reference finds nothing.
    pub(super) async fn validate_foreign_key(
        &self,
        child: &Table,
        name: &str,
        look: Look<'_>,
    ) -> Result<(), SqlError> {
        let reference = child.foreign_keys.iter().find(|known| known.name == *name);
        let reference =
            reference.ok_or_else(|| SqlError::internal("no such reference to check"))?;
        let parent = look.catalog.table(reference.parent);
        let parent = parent.ok_or_else(|| SqlError::internal("no such table to check"))?;
        let pairs = reference.child_columns.iter().zip(&reference.parent_columns);
        let same = pairs.map(|(&c, &p)| {
            format!("p.{} = c.{}", quoted(&parent.columns[p].name), quoted(&child.columns[c].name))
        });
        let same: Vec<String> = same.collect();
        let present = reference
            .child_columns
            .iter()
            .map(|&c| format!("c.{} IS NOT NULL", quoted(&child.columns[c].name)));
        let present: Vec<String> = present.collect();
        let columns = reference.child_columns.iter();
        let columns: Vec<String> =
            columns.map(|&c| format!("c.{}", quoted(&child.columns[c].name))).collect();
        let text = format!(
            "SELECT {} FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {}) LIMIT 1",
            columns.join(", "),
            qualified(child),
            present.join(" AND "),
            qualified(parent),
            same.join(" AND ")
        );
        let found = self.first_row(&text, look).await?;
        let Some(row) = found else { return Ok(()) };
        let names = |table: &Table, ordinals: &[usize]| {
            let names = ordinals.iter().map(|&o| table.columns[o].name.clone());
            names.collect::<Vec<_>>().join(", ")
        };
        let types = reference.child_columns.iter().map(|&c| child.columns[c].data_type);
        let values: Vec<String> =
            row.iter().zip(types).map(|(value, t)| value.to_text(t)).collect();
        Err(SqlError::new(
            SqlState::FOREIGN_KEY_VIOLATION,
            format!(
                "insert or update on table \"{}\" violates foreign key constraint \"{name}\"",
                child.name
            ),
        )
        .detail(format!(
            "Key ({})=({}) is not present in table \"{}\".",
            names(child, &reference.child_columns),
            values.join(", "),
            parent.name
        ))
        .table(&child.schema, &child.name)
        .constraint(name))
    }

    /// Looks for a row for which a check is false.
    pub(super) async fn validate_check(
        &self,
        table: &Table,
        name: &str,
        look: Look<'_>,
    ) -> Result<(), SqlError> {
        let check = table.checks.iter().find(|known| known.name == *name);
        let check = check.ok_or_else(|| SqlError::internal("no such check"))?;
        let text = format!("SELECT 1 FROM {} WHERE NOT ({}) LIMIT 1", qualified(table), check.text);
        match self.first_row(&text, look).await? {
            None => Ok(()),
            Some(_) => Err(SqlError::new(
                SqlState::CHECK_VIOLATION,
                format!(
                    "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                    table.name
                ),
            )
            .table(&table.schema, &table.name)
            .constraint(name)),
        }
    }

    /// Looks for a row with a `NULL` in a column.
    pub(super) async fn validate_not_null(
        &self,
        table: &Table,
        column: usize,
        look: Look<'_>,
    ) -> Result<(), SqlError> {
        let name = quoted(&table.columns[column].name);
        let text = format!("SELECT 1 FROM {} WHERE {name} IS NULL LIMIT 1", qualified(table));
        match self.first_row(&text, look).await? {
            None => Ok(()),
            Some(_) => Err(fill::contains_nulls(table, column)),
        }
    }

    /// The first row of a query of our own.
    async fn first_row(&self, text: &str, look: Look<'_>) -> Result<Option<Vec<Value>>, SqlError> {
        let statements = parse(text)?;
        let [statement] = statements.as_slice() else {
            return Err(SqlError::internal("a check that is not one statement"));
        };
        let planned = plan(statement, look.catalog, look.settings, &NoVirtualTables, &[])?;
        let PlannedKind::Query(query) = &planned.kind else {
            return Err(SqlError::internal("a check that is no query"));
        };
        let mut operator = open(&query.plan, &self.schema_context(&planned, look))?;
        Ok(operator.next().await?.map(|batch| batch.row(0)))
    }

    fn schema_context(&self, planned: &Planned, look: Look<'_>) -> Rc<ExecContext> {
        let statement = Statement {
            planned,
            parameters: Arc::from([]),
            now_micros: 0,
            snapshot: None,
            isolation: Isolation::ReadCommitted,
            lock_timeout: None,
            identity: shards::exec::SessionIdentity::default(),
            sequences: Rc::default(),
            presence: None,
            backends: None,
            catalog: Some(Arc::clone(look.catalog)),
        };
        let reader = look.reader.cloned();
        self.context(&statement, self.engine().now(), statement.isolation, reader, None)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(table: &Table) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}
