//! Tables of what the session itself keeps: `pg_prepared_statements`, `pg_cursors`, and what it has
//! asked the node's cores for: `pg_stat_activity`, `pg_locks`, `phantom.transactions`,
//! `phantom.statistics`, `pg_stat_database`.
//!
//! They are made when a statement names them, by a knower of virtual tables that asks the session
//! first and the node's after it.

use super::Session;
use super::backends::NodeView;
use super::run::now_micros;
use crate::catalog::Catalog;
use crate::sql::{CatalogFunction, NamedObject, SessionSettings, VirtualTable, VirtualTables};
use model::types::RegKind;
use model::value::Value;
use std::rc::Rc;
use std::sync::Arc;

/// Tables by name, with the columns of their rows that have values.
type Kept = &'static str;
/// A row: names of columns, and their values.
pub(super) type NamedRow = Vec<(&'static str, Value)>;

/// The tables that a session fills.
const KEPT: [Kept; 9] = [
    "nodes",
    "partitions",
    "pg_prepared_statements",
    "pg_cursors",
    "pg_stat_activity",
    "pg_locks",
    "transactions",
    "statistics",
    "pg_stat_database",
];

/// Those of the tables whose rows are on all cores: without a view of the node they are empty.
const OF_THE_NODE: [Kept; 5] =
    ["pg_stat_activity", "pg_locks", "transactions", "statistics", "pg_stat_database"];

/// Those that show the whole cluster: without a look at it they have the rows that the node knows.
const OF_THE_CLUSTER: [Kept; 2] = ["nodes", "partitions"];

/// The virtual tables as a session sees them.
pub(super) struct SessionTables<'a> {
    session: &'a Session,
}

/// The same, for planning on another thread: the rows are those of when it began.
pub(super) struct SessionTablesThen {
    node: Arc<dyn VirtualTables + Send + Sync>,
    kept: Vec<(Kept, Option<Vec<NamedRow>>)>,
}

impl Session {
    pub(super) fn tables(&self) -> SessionTables<'_> {
        SessionTables { session: self }
    }

    pub(super) fn tables_then(&self) -> SessionTablesThen {
        let kept = KEPT.iter().map(|&name| (name, self.kept_rows(name)));
        SessionTablesThen { node: self.host.tables.clone(), kept: kept.collect() }
    }

    /// `None`: the node's own.
    fn kept_rows(&self, table: Kept) -> Option<Vec<NamedRow>> {
        match table {
            "nodes" => self.cluster.as_ref().map(|cluster| cluster.node_rows()),
            "partitions" => self.cluster.as_ref().map(|cluster| cluster.partition_rows()),
            other => Some(self.own_rows(other)),
        }
    }

    fn own_rows(&self, table: Kept) -> Vec<NamedRow> {
        match table {
            "pg_prepared_statements" => self.prepared_rows(),
            "pg_cursors" => self.cursor_rows(),
            "pg_stat_activity" => self.view.as_ref().map_or_else(Vec::new, |view| view.activity()),
            "pg_locks" => self.view.as_ref().map_or_else(Vec::new, |view| view.lock_rows()),
            "statistics" => self.view.as_ref().map_or_else(Vec::new, |view| view.statistics_rows()),
            "pg_stat_database" => {
                self.view.as_ref().map_or_else(Vec::new, |view| view.database_rows())
            }
            "transactions" => {
                let rows = |view: &Rc<NodeView>| view.transaction_rows(now_micros());
                self.view.as_ref().map_or_else(Vec::new, rows)
            }
            _ => Vec::new(),
        }
    }
}

/// Puts rows into a table that the node knows, where it is one that sessions fill: its schema says
/// nothing, since no other has a virtual table of such a name.
fn fill(
    name: &str,
    table: Option<VirtualTable>,
    rows: impl FnOnce(Kept) -> Option<Vec<NamedRow>>,
) -> Option<VirtualTable> {
    let mut table = table?;
    let Some(kept) = KEPT.iter().find(|kept| **kept == name) else { return Some(table) };
    let columns = &table.columns;
    let row = |named: NamedRow| {
        let mut named = named;
        let mut value = |(column, _): &(String, _)| {
            let at = named.iter().position(|(name, _)| name == column);
            at.map_or(Value::Null, |at| named.swap_remove(at).1)
        };
        columns.iter().map(&mut value).collect()
    };
    table.of_the_node = OF_THE_NODE.contains(kept);
    table.of_the_cluster = OF_THE_CLUSTER.contains(kept);
    if let Some(rows) = rows(kept) {
        table.rows = rows.into_iter().map(row).collect();
    }
    Some(table)
}

impl VirtualTables for SessionTables<'_> {
    fn holds(&self, schema: &str, name: &str) -> bool {
        self.session.host.tables.holds(schema, name)
    }

    fn table(
        &self,
        schema: &str,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        let table = self.session.host.tables.table(schema, name, catalog, settings);
        fill(name, table, |kept| self.session.kept_rows(kept))
    }

    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        self.session.host.tables.objects(kind, catalog, settings)
    }

    fn function(
        &self,
        name: &str,
        arguments: usize,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        self.session.host.tables.function(name, arguments, catalog, settings)
    }
}

impl VirtualTables for SessionTablesThen {
    fn holds(&self, schema: &str, name: &str) -> bool {
        self.node.holds(schema, name)
    }

    fn table(
        &self,
        schema: &str,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        let table = self.node.table(schema, name, catalog, settings);
        fill(name, table, |kept| {
            let rows = self.kept.iter().find(|(known, _)| *known == kept);
            rows.and_then(|(_, rows)| rows.clone())
        })
    }

    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        self.node.objects(kind, catalog, settings)
    }

    fn function(
        &self,
        name: &str,
        arguments: usize,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        self.node.function(name, arguments, catalog, settings)
    }
}
