//! Changes of the schema.
//!
//! One at a time in a node, in a task of its own that runs to its end whatever becomes of the
//! session:
//!
//! ```text
//! turn (core 0) ─► compute the change ─► close the gates of the tables it touches, on every core
//!   ─► fill new indexes, check rows ─► commit the catalog's rows ─► publish to every core
//!   ─► open the gates ─► give the turn back
//! ```
//!
//! Keys of an index, or of a table's new storage, that is not published yet are harmless: nothing
//! reads them, and its id is used up before the first of them is written.

mod conversion;
mod fill;
mod table_as;

pub use table_as::NewStorage;

use super::peers::{Answer, Call};
use super::presence::Presence;
use super::virtual_tables::Outlines;
use super::{Router, Statement};
use crate::catalog::change::{CatalogChange, DdlWork, apply_ddl, require_within, use_ids};
use crate::catalog::{Catalog, Relation, load, objects_table};
use crate::sql::ddl::DdlStatement;
use crate::sql::{NoVirtualTables, Planned, PlannedKind, SessionSettings, parse, plan};
use crate::txn::Transaction;
use conversion::Becoming;
use model::batch::Batch;
use model::command::{Fragment, Isolation, RequestBody};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{CoreId, ObjectId, PartitionId, TxnId};
use model::plan::{
    Access, Arbiter, Change, ConflictUpdate, KeyBounds, Modify, OnConflict, Plan, Scan, Values,
};
use model::schema::Table;
use model::types::DataType;
use model::value::Value;
use runtime::sync::oneshot;
use shards::exec::{ExecContext, open};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

/// Core that keeps the turn.
const TURN_CORE: CoreId = CoreId(0);

/// Whether a change that has failed may be there all the same.
fn is_in_doubt(error: &SqlError) -> bool {
    error.state() == SqlState::STATEMENT_COMPLETION_UNKNOWN
}

/// What the client is told and warned of.
fn told(notices: Vec<String>, warnings: Vec<SqlError>) -> Vec<SqlError> {
    let notice = |text| SqlError::new(SqlState::SUCCESSFUL_COMPLETION, text);
    notices.into_iter().map(notice).chain(warnings).collect()
}

impl Router {
    /// Changes the schema. Returns what the client is told besides the success. `presence` is of the
    /// session that asks for it.
    pub async fn change_schema(
        &self,
        ddl: &DdlStatement,
        settings: &SessionSettings,
        presence: &Presence,
    ) -> Result<Vec<SqlError>, SqlError> {
        let (router, ddl, settings) = (self.clone(), ddl.clone(), settings.clone());
        let id = self.begin().id;
        let _shown = presence.enter_change(id);
        self.in_turn(async move { router.change_in_turn(id, &ddl, &settings).await }).await
    }

    /// Does something while nobody else changes the schema, to its end whatever becomes of the
    /// session.
    async fn in_turn<T: 'static>(
        &self,
        work: impl Future<Output = Result<T, SqlError>> + 'static,
    ) -> Result<T, SqlError> {
        let (sender, receiver) = oneshot::channel();
        let router = self.clone();
        let change = async move {
            let result = router.take_turn(work).await;
            // A session that has gone does not want to know.
            let _gone = sender.send(result);
        };
        runtime::task::spawn("schema change", change).detach();
        receiver.await.map_err(|_closed| SqlError::internal("a schema change broke off"))?
    }

    async fn take_turn<T>(
        &self,
        work: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        let peers = self.peers();
        peers.call(TURN_CORE, Call::BeginChange).await?;
        let result = work.await;
        let in_doubt = result.as_ref().is_err_and(is_in_doubt);
        let ended = peers.call(TURN_CORE, Call::EndChange { in_doubt }).await;
        let done = result?;
        ended.map(|_| done)
    }

    async fn change_in_turn(
        &self,
        id: TxnId,
        ddl: &DdlStatement,
        settings: &SessionSettings,
    ) -> Result<Vec<SqlError>, SqlError> {
        let before = self.catalog();
        let change = apply_ddl(&before, ddl, settings, &Outlines)?;
        if change.catalog.version == before.version {
            return Ok(told(change.notices, change.warnings));
        }
        let touched: Arc<[ObjectId]> = touched(&before, &change.catalog).into();
        let closed = self.peers().call_all(Call::CloseGates(id, touched.clone())).await;
        let result = match closed {
            Ok(_) => self.make(&before, change, settings).await,
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(is_in_doubt) {
            // Nobody comes into the tables: what is written by the old schema, as rows without the
            // entries of an index that may be there, would not fit the new one.
            return result;
        }
        let opened = self.peers().call_all(Call::OpenGates(touched)).await;
        let notices = result?;
        opened.map(|_| notices)
    }

    /// Makes a change while nobody is in its tables.
    async fn make(
        &self,
        before: &Catalog,
        change: CatalogChange,
        settings: &SessionSettings,
    ) -> Result<Vec<SqlError>, SqlError> {
        let CatalogChange { upserts, deletes, catalog, work, notices, warnings } = change;
        let catalog = Arc::new(catalog);
        if work.iter().any(DdlWork::fills) {
            self.use_ids(before, &catalog).await?;
        }
        for item in &work {
            self.work(item, &catalog, settings).await?;
        }
        self.store(&upserts, &deletes).await?;
        self.peers().call_all(Call::Publish(catalog)).await?;
        Ok(told(notices, warnings))
    }

    /// Uses up the ids under which keys will be written.
    async fn use_ids(&self, before: &Catalog, next: &Catalog) -> Result<(), SqlError> {
        let used = use_ids(before, next)?;
        self.store(&used.upserts, &used.deletes).await?;
        self.peers().call_all(Call::Publish(Arc::new(used.catalog))).await.map(drop)
    }

    async fn work(
        &self,
        item: &DdlWork,
        catalog: &Arc<Catalog>,
        settings: &SessionSettings,
    ) -> Result<(), SqlError> {
        let table_of = |id: ObjectId| {
            catalog.table(id).ok_or_else(|| SqlError::internal("work on a table that is not there"))
        };
        match item {
            DdlWork::BackfillIndex { table, index } => {
                let table = table_of(*table)?;
                let index = table.indexes.iter().find(|known| known.id == *index);
                let index = index.ok_or_else(|| SqlError::internal("no such index to fill"))?;
                self.backfill(table, index).await
            }
            DdlWork::Rewrite { table, from, conversions, indexes } => {
                let becoming = Becoming { table: table_of(*table)?, conversions, catalog };
                self.rewrite(becoming, from, indexes).await
            }
            DdlWork::ValidateForeignKey { table, name } => {
                self.validate_foreign_key(table_of(*table)?, name, catalog, settings).await
            }
            DdlWork::ValidateCheck { table, name } => {
                self.validate_check(table_of(*table)?, name, catalog, settings).await
            }
            DdlWork::ValidateNotNull { table, column } => {
                self.validate_not_null(table_of(*table)?, *column, catalog, settings).await
            }
            DdlWork::CheckSequence { sequence } => {
                let sequence = catalog.sequence(*sequence);
                let sequence =
                    sequence.ok_or_else(|| SqlError::internal("no such sequence to check"))?;
                let at = self.sequence_state(sequence).await?.last_value;
                require_within("RESTART", at, sequence.min_value, sequence.max_value)
            }
            // Nothing refers to dropped keys any more, and their ids are never used again.
            DdlWork::DropData { .. } => Ok(()),
        }
    }

    /// Looks for a row whose reference finds nothing.
    async fn validate_foreign_key(
        &self,
        child: &Table,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Result<(), SqlError> {
        let reference = child.foreign_keys.iter().find(|known| known.name == *name);
        let reference =
            reference.ok_or_else(|| SqlError::internal("no such reference to check"))?;
        let parent = catalog.table(reference.parent);
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
        let found = self.first_row(&text, catalog, settings).await?;
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
    async fn validate_check(
        &self,
        table: &Table,
        name: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Result<(), SqlError> {
        let check = table.checks.iter().find(|known| known.name == *name);
        let check = check.ok_or_else(|| SqlError::internal("no such check"))?;
        let text = format!("SELECT 1 FROM {} WHERE NOT ({}) LIMIT 1", qualified(table), check.text);
        match self.first_row(&text, catalog, settings).await? {
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
    async fn validate_not_null(
        &self,
        table: &Table,
        column: usize,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Result<(), SqlError> {
        let name = quoted(&table.columns[column].name);
        let text = format!("SELECT 1 FROM {} WHERE {name} IS NULL LIMIT 1", qualified(table));
        match self.first_row(&text, catalog, settings).await? {
            None => Ok(()),
            Some(_) => Err(fill::contains_nulls(table, column)),
        }
    }

    /// The first row of a query of our own.
    async fn first_row(
        &self,
        text: &str,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Result<Option<Vec<Value>>, SqlError> {
        let statements = parse(text)?;
        let [statement] = statements.as_slice() else {
            return Err(SqlError::internal("a check that is not one statement"));
        };
        let planned = plan(statement, catalog, settings, &NoVirtualTables, &[])?;
        let PlannedKind::Query(query) = &planned.kind else {
            return Err(SqlError::internal("a check that is no query"));
        };
        let mut operator = open(&query.plan, &self.schema_context(&planned))?;
        Ok(operator.next().await?.map(|batch| batch.row(0)))
    }

    fn schema_context(&self, planned: &Planned) -> Rc<ExecContext> {
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
        };
        self.context(&statement, self.engine().now(), statement.isolation, None, None)
    }

    /// A read of our own, now.
    fn fragment(&self, scan: Scan) -> Fragment {
        Fragment {
            plan: Arc::new(Plan::Scan(scan)),
            parameters: Arc::from([]),
            snapshot: self.engine().now(),
            txn: None,
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros: 0,
            lock_timeout: None,
        }
    }

    /// Commits the catalog's rows.
    async fn store(
        &self,
        upserts: &[(ObjectId, &'static str, String)],
        deletes: &[ObjectId],
    ) -> Result<(), SqlError> {
        let table = objects_table();
        let mut transaction = self.begin();
        let mut changes = Vec::new();
        if !upserts.is_empty() {
            changes.push(upsert(table, object_rows(upserts)));
        }
        if !deletes.is_empty() {
            changes.push(delete(table, deletes));
        }
        for modify in changes {
            if let Err(error) = self.write_system(&mut transaction, modify).await {
                // What cannot be told is rolled back by the partition itself after a while.
                let _told = self.rollback(transaction).await;
                return Err(error);
            }
        }
        self.commit(transaction).await
    }

    async fn write_system(
        &self,
        transaction: &mut Transaction,
        modify: Modify,
    ) -> Result<(), SqlError> {
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
        let body = RequestBody::Write { fragment, commit: false, mark: None };
        self.engine().call(PartitionId::SYSTEM, body).await.map(drop)
    }

    /// Reads the catalog from the system partition; every core does when it starts.
    pub async fn load_catalog(&self) -> Result<(), SqlError> {
        let table = objects_table();
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let mut rows =
            self.engine().read(PartitionId::SYSTEM, self.fragment(scan(table, &columns)));
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
        if !objects.is_empty() {
            let rows = objects.iter().map(|(id, definition)| (*id, definition.as_str()));
            self.inner.catalog.replace(Arc::new(load(rows)?));
        }
        self.inner.catalog_since.set(self.engine().now());
        Ok(())
    }

    pub(super) async fn handle_schema_call(&self, call: Call) -> Result<Answer, SqlError> {
        let inner = &*self.inner;
        match call {
            Call::BeginChange => {
                let permit = inner.schema_turn.acquire(1).await;
                let permit = permit.map_err(|_closed| SqlError::internal("no schema turn"))?;
                if inner.schema_in_doubt.get() {
                    return Err(SqlError::new(
                        SqlState::CANNOT_CONNECT_NOW,
                        "it is not known what has become of an earlier change of the schema",
                    )
                    .hint("The node knows when it has been restarted."));
                }
                inner.schema_permit.replace(Some(permit));
            }
            Call::EndChange { in_doubt } => {
                if in_doubt {
                    inner.schema_in_doubt.set(true);
                    log::error!(
                        "it is not known what has become of a change of the schema: there is none,                          and nobody comes into its tables, until the node is restarted"
                    );
                }
                drop(inner.schema_permit.take());
            }
            Call::CloseGates(change, tables) => {
                let limit = inner.options.schema_lock_timeout;
                let closing = inner.gates.close(change, &tables);
                let Ok(closed) = runtime::time::timeout(limit, closing).await else {
                    return Err(SqlError::new(
                        SqlState::LOCK_NOT_AVAILABLE,
                        "canceling statement due to lock timeout",
                    )
                    .detail(format!(
                        "Transactions on the tables concerned did not end within {limit:?}."
                    ))
                    .hint("End the open transactions, then try again."));
                };
                closed?;
            }
            Call::OpenGates(tables) => inner.gates.open(&tables),
            Call::Publish(catalog) => {
                inner.counters.keep_those_of(&catalog);
                drop(inner.catalog.replace(catalog));
                inner.catalog_since.set(inner.engine.now());
            }
            Call::CancelByKey(_)
            | Call::Signal(..)
            | Call::Backends
            | Call::Locks
            | Call::GateWaits
            | Call::Transactions
            | Call::Waits
            | Call::SearchDeadlocks
            | Call::SessionsOf(_)
            | Call::Sacrifice(..)
            | Call::HoldSnapshot(..)
            | Call::ReleaseSnapshot(_)
            | Call::CountSessions
            | Call::Statistics
            | Call::Saga(_)
            | Call::Sequence(_) => {
                return Err(SqlError::internal("no call about the schema"));
            }
        }
        Ok(Answer::Done)
    }
}

/// These columns of all rows of a table.
fn scan(table: &Arc<Table>, columns: &[usize]) -> Scan {
    Scan {
        table: Arc::clone(table),
        access: Access::PrimaryKey(KeyBounds::default()),
        columns: columns.to_vec(),
        filter: None,
        reverse: false,
        lock: false,
        limit: None,
    }
}

/// The tables that exist before a change and are different, or gone, after it.
fn touched(before: &Catalog, after: &Catalog) -> Vec<ObjectId> {
    let mut touched = BTreeSet::new();
    for (_, _, relation) in before.all_relations() {
        let same = match relation {
            Relation::Table(table) => after.table(table.id).is_some_and(|next| next == table),
            Relation::View(view) => after
                .all_relations()
                .any(|(_, _, next)| matches!(next, Relation::View(next) if next == view)),
            Relation::Sequence(sequence) => {
                after.sequence(sequence.id).is_some_and(|next| next == sequence)
            }
        };
        if !same {
            touched.insert(relation.id());
        }
    }
    touched.into_iter().collect()
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
pub(super) fn upsert(table: &Arc<Table>, rows: Vec<Vec<Expression>>) -> Modify {
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

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(table: &Table) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

fn corrupted() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "the stored catalog has rows of an unknown form")
}
