//! Changes of rows: by partition, with their effects elsewhere.

use super::gather::partitions;
use super::references::Removed;
use super::{Router, RowSink, Statement};
use crate::sql::{InsertPlan, InsertSource, PlannedKind, WriteTarget};
use crate::txn::Transaction;
use futures::future::join_all;
use model::batch::{Batch, Column};
use model::command::{Effect, Fragment, Isolation, Modified, RequestBody, Response, RoutedEffect};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression};
use model::id::PartitionId;
use model::key;
use model::plan::{Access, Change, KeyBounds, Modify, OnConflict, Plan, Scan, Values};
use model::schema::{Placement, Table};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use shards::exec::memory::Reservation;
use shards::exec::sequences::evaluate_rows;
use shards::exec::{ExecContext, evaluate, keys, open};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// Rows of a query that are turned into changes at once.
const CHUNK_ROWS: usize = 1_024;
/// Changes of single rows that are under way at once.
const CONCURRENT_ROWS: usize = 128;
/// Microseconds from 1970 to 2000, where hidden keys and SQL's timestamps count from.
pub(super) const EPOCH_2000_MICROS: u64 = 946_684_800_000_000;
/// Low bits of a hidden key, which tell cores apart.
const ROW_ID_CORE_BITS: u32 = 12;

/// A changed statement's result.
pub(super) type Changed = (u64, Vec<Batch>);

/// One statement that changes rows, in one transaction.
pub(super) struct Writer<'a> {
    pub(super) router: &'a Router,
    pub(super) statement: &'a Statement<'a>,
    pub(super) transaction: &'a mut Transaction,
    pub(super) context: Rc<ExecContext>,
    /// What it reads.
    snapshot: Timestamp,
    /// The statement is the whole transaction.
    pub(super) alone: bool,
    /// Unique keys that an `ON CONFLICT DO UPDATE` has inserted or updated so far, by which it is in
    /// conflict with nothing else.
    pub(super) written: HashSet<Vec<u8>>,
    /// Holds the memory they take.
    pub(super) memory: Reservation,
}

/// All rows of a query whose rows become changes.
pub(super) struct Source {
    pub(super) batches: Vec<Batch>,
    /// Holds the memory they take.
    memory: Reservation,
}

impl Source {
    /// Sends the rows; how many they are.
    pub(super) async fn answer(self, out: &mut dyn RowSink) -> Result<u64, SqlError> {
        let mut rows = 0;
        for batch in self.batches {
            rows += batch.rows() as u64;
            out.rows(batch).await?;
        }
        Ok(rows)
    }

    /// Reads a query to its end.
    pub(super) async fn read(plan: &Plan, context: &Rc<ExecContext>) -> Result<Source, SqlError> {
        let mut operator = open(plan, context)?;
        let mut source = Source { batches: Vec::new(), memory: context.memory.reserve() };
        while let Some(batch) = operator.next().await? {
            source.memory.grow(batch.memory_bytes())?;
            source.batches.push(batch);
        }
        Ok(source)
    }
}

impl Router {
    /// Runs a change. `alone`: it is the whole transaction, which it may commit on the way.
    pub(super) async fn change(
        &self,
        statement: &Statement<'_>,
        transaction: &mut Transaction,
        alone: bool,
    ) -> Result<Changed, SqlError> {
        let mut writer = Writer { alone, ..Writer::new(self, statement, transaction) };
        match &statement.planned.kind {
            PlannedKind::Insert(insert) => writer.insert(insert).await,
            PlannedKind::Update(update) => writer.update(&update.table, &update.target).await,
            PlannedKind::Delete(delete) => writer.delete(&delete.table, &delete.target).await,
            _ => Err(SqlError::internal("a statement that changes nothing")),
        }
    }

    /// A key for a row of a table without one: it grows on this core, and no other core of the
    /// cluster gives the same.
    pub(super) fn row_id(&self) -> i64 {
        let engine = self.engine();
        let micros = (engine.now().0 / 1_000).saturating_sub(EPOCH_2000_MICROS) as i64;
        let core = i64::from(engine.node().0) << 6 | i64::from(engine.core().0);
        let last = self.inner.last_row_id.get() >> ROW_ID_CORE_BITS;
        let id = micros.max(last + 1) << ROW_ID_CORE_BITS | core & ((1 << ROW_ID_CORE_BITS) - 1);
        self.inner.last_row_id.set(id);
        id
    }

    /// The partition of a table's rows, or of an index's entries, with this hash.
    pub(super) fn partition_at(&self, table: &Table, hash: u64) -> PartitionId {
        match table.placement {
            Placement::System => PartitionId::SYSTEM,
            Placement::Hashed => self.engine().placement().partition_of(hash),
        }
    }
}

impl<'a> Writer<'a> {
    /// For a statement that shares its transaction with others.
    pub(super) fn new(
        router: &'a Router,
        statement: &'a Statement<'a>,
        transaction: &'a mut Transaction,
    ) -> Writer<'a> {
        let (reader, snapshot) = (Some(transaction.reader()), router.snapshot_of(statement));
        let context = router.context(statement, snapshot, statement.isolation, reader, None);
        let memory = context.memory.reserve();
        let written = HashSet::new();
        Writer { router, statement, transaction, context, snapshot, alone: false, written, memory }
    }
}

impl Writer<'_> {
    async fn insert(&mut self, insert: &InsertPlan) -> Result<Changed, SqlError> {
        match &insert.source {
            InsertSource::Values(rows) if rows.len() <= CHUNK_ROWS => {
                let rows = self.constants(rows.len(), |row| &rows[row]).await?;
                self.insert_or_else(insert, rows).await
            }
            // A piece at a time, so that nobody waits for all of them at once.
            InsertSource::Values(rows) => {
                let alone = std::mem::replace(&mut self.alone, false);
                let (mut count, mut returned) = (0, Vec::new());
                for piece in rows.chunks(CHUNK_ROWS) {
                    let piece = self.constants(piece.len(), |row| &piece[row]).await?;
                    let (more, batches) = self.insert_or_else(insert, piece).await?;
                    count += more;
                    returned.extend(batches);
                }
                self.alone = alone;
                Ok((count, returned))
            }
            InsertSource::Query(plan) => {
                let source = self.read_all(plan).await?;
                let alone = std::mem::replace(&mut self.alone, false);
                let (mut count, mut returned) = (0, Vec::new());
                let mut rows = Vec::new();
                for batch in &source.batches {
                    rows.extend((0..batch.rows()).map(|row| batch.row(row)));
                    if rows.len() >= CHUNK_ROWS {
                        let (more, batches) =
                            self.insert_or_else(insert, std::mem::take(&mut rows)).await?;
                        count += more;
                        returned.extend(batches);
                    }
                }
                let (more, batches) = self.insert_or_else(insert, rows).await?;
                self.alone = alone;
                returned.extend(batches);
                Ok((count + more, returned))
            }
        }
    }

    /// Reads a query to its end before anything is changed: what partitions are asked later would
    /// meet the statement's own writes. They are kept in memory all the same until the end.
    async fn read_all(&self, plan: &Plan) -> Result<Source, SqlError> {
        match &self.statement.planned.row_locks {
            None => Source::read(plan, &self.context).await,
            Some(_) => self.router.read_locking(plan, self.statement, self.transaction).await,
        }
    }

    /// The values of rows of expressions without columns.
    pub(super) async fn constants<'e, R: IntoIterator<Item = &'e Expression>>(
        &self,
        rows: usize,
        expressions: impl Fn(usize) -> R,
    ) -> Result<Vec<Vec<Value>>, SqlError> {
        let evaluate =
            |row| expressions(row).into_iter().map(|value| self.constant(value)).collect();
        match self.context.sequences {
            None => (0..rows).map(evaluate).collect(),
            Some(_) => evaluate_rows(&self.context, rows, evaluate).await,
        }
    }

    /// The value of an expression without columns.
    pub(super) fn constant(&self, value: &Expression) -> Result<Value, SqlError> {
        evaluate::evaluate_constant(value, &self.context)
    }

    /// Inserts complete rows.
    pub(super) async fn insert_rows(
        &mut self,
        insert: &InsertPlan,
        mut rows: Vec<Vec<Value>>,
    ) -> Result<Changed, SqlError> {
        let table = &insert.table;
        if let (None, [hidden]) = (&table.primary_key_name, table.primary_key.as_slice()) {
            for row in &mut rows {
                row[*hidden] = Value::Int(self.router.row_id());
            }
        }
        // Where each row went, so that RETURNING answers in the statement's order.
        let mut order: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
        let mut by_partition: BTreeMap<PartitionId, Vec<Vec<Expression>>> = BTreeMap::new();
        let types = table.types();
        for (position, row) in rows.into_iter().enumerate() {
            let partition = self.partition_of(table, &row);
            order.entry(partition).or_default().push(position);
            let literals = row.into_iter().zip(&types).map(|(v, t)| Expression::Literal(v, *t));
            by_partition.entry(partition).or_default().push(literals.collect());
        }
        let writes = by_partition.into_iter().map(|(partition, rows)| {
            let input = Box::new(Plan::Values(Values { rows, types: types.clone() }));
            let change = Change::Insert { on_conflict: insert.on_conflict.clone() };
            let returning = insert.returning.clone();
            (partition, Modify { table: Arc::clone(table), input, change, returning })
        });
        let modified = self.write(writes.collect(), true).await?;
        let rows = modified.iter().map(|(_, modified)| modified.rows).sum();
        let returned = in_order(modified, &order, insert.on_conflict == OnConflict::Fail);
        Ok((rows, returned))
    }

    fn partition_of(&self, table: &Table, row: &[Value]) -> PartitionId {
        self.router.partition_at(table, keys::row_hash(table, row))
    }

    async fn update(
        &mut self,
        table: &Arc<Table>,
        target: &WriteTarget,
    ) -> Result<Changed, SqlError> {
        match target {
            WriteTarget::InPlace { target, modify } => {
                let partitions = partitions(self.router.engine(), target, &self.context)?;
                let writes = partitions.into_iter().map(|p| (p, Arc::clone(modify)));
                let modified = self.write_plans(writes.collect(), true).await?;
                Ok(total(modified))
            }
            WriteTarget::ByQuery { source, returning } => {
                self.by_query(table, source, returning.as_deref(), true).await
            }
        }
    }

    async fn delete(
        &mut self,
        table: &Arc<Table>,
        target: &WriteTarget,
    ) -> Result<Changed, SqlError> {
        match target {
            WriteTarget::InPlace { target, modify } if table.referenced_by.is_empty() => {
                let partitions = partitions(self.router.engine(), target, &self.context)?;
                let writes = partitions.into_iter().map(|p| (p, Arc::clone(modify)));
                Ok(total(self.write_plans(writes.collect(), true).await?))
            }
            WriteTarget::InPlace { target, modify } => {
                let Plan::Modify(modify) = modify.as_ref() else {
                    return Err(SqlError::internal("a change without a Modify"));
                };
                let partitions = partitions(self.router.engine(), target, &self.context)?;
                self.delete_referenced(modify, partitions).await
            }
            WriteTarget::ByQuery { source, returning } => {
                self.by_query(table, source, returning.as_deref(), false).await
            }
        }
    }

    /// Deletes rows that others may reference: the old rows come back, so that the references can
    /// be looked for.
    pub(super) async fn delete_referenced(
        &mut self,
        modify: &Modify,
        partitions: Vec<PartitionId>,
    ) -> Result<Changed, SqlError> {
        let table = &modify.table;
        let user = modify.returning.clone().unwrap_or_default();
        let width = user.len();
        let all = table.types().into_iter().enumerate();
        let old = all.map(|(ordinal, data_type)| Expression::column(ordinal, data_type));
        let returning = Some(user.into_iter().chain(old).collect());
        let modify = Modify { returning, ..modify.clone() };
        let writes = partitions.into_iter().map(|partition| (partition, modify.clone()));
        let (rows, returned) = total(self.write(writes.collect(), false).await?);
        let mut removed = Removed::of(table);
        let mut answers = Vec::new();
        for batch in returned {
            let count = batch.rows();
            let mut columns = batch.into_columns();
            let old = Batch::new(count, columns.split_off(width));
            removed.note(&old);
            if modify.returning.is_some() && width > 0 {
                answers.push(Batch::new(count, columns));
            }
        }
        self.act_on_references(removed).await?;
        Ok((rows, answers))
    }

    /// Turns the rows of a query into changes: old rows and, of an update, new ones behind them.
    async fn by_query(
        &mut self,
        table: &Arc<Table>,
        source: &Plan,
        returning: Option<&[Expression]>,
        update: bool,
    ) -> Result<Changed, SqlError> {
        self.alone = false;
        let width = table.columns.len();
        let source = self.read_all(source).await?;
        let (mut count, mut returned) = (0, Vec::new());
        let mut removed = Removed::of(table);
        let mut seen = HashSet::new();
        for batch in &source.batches {
            let mut rows = Vec::with_capacity(batch.rows());
            for row in 0..batch.rows() {
                let mut old = batch.row(row);
                let new = update.then(|| old.split_off(width));
                // A row that a join finds several times is changed once, by the first match.
                if seen.insert(keys::row_key(table, &old)) {
                    rows.push((old, new));
                }
            }
            for chunk in rows.chunks(CONCURRENT_ROWS) {
                let batches = self.change_rows(table, chunk, returning, &mut removed).await?;
                count += chunk.len() as u64;
                returned.extend(batches);
            }
        }
        self.act_on_references(removed).await?;
        Ok((count, returned))
    }

    /// Changes single rows, each of which must still be what the query saw.
    async fn change_rows(
        &mut self,
        table: &Arc<Table>,
        rows: &[(Vec<Value>, Option<Vec<Value>>)],
        returning: Option<&[Expression]>,
        removed: &mut Removed,
    ) -> Result<Vec<Batch>, SqlError> {
        let (mut writes, mut inserts) = (Vec::new(), Vec::new());
        for (old, new) in rows {
            let moves = new
                .as_ref()
                .is_some_and(|new| table.primary_key.iter().any(|&key| !old[key].same(&new[key])));
            removed.note_change(old, new.as_deref());
            let change = match new {
                Some(new) if !moves => Change::Update { assignments: changed(table, old, new) },
                _ => Change::Delete,
            };
            if let (Some(new), true) = (new, moves) {
                inserts.push(new.clone());
            }
            let answers = returning.filter(|_| !moves).map(<[Expression]>::to_vec);
            let input = Box::new(Plan::Scan(exactly(table, old)));
            let modify = Modify { table: Arc::clone(table), input, change, returning: answers };
            writes.push((self.partition_of(table, old), modify));
        }
        let modified = self.write(writes, false).await?;
        // The answers have the order of the rows.
        if let Some(at) = modified.iter().position(|(_, modified)| modified.rows == 0) {
            return Err(changed_meanwhile(table, &rows[at].0));
        }
        let (_, mut returned) = total(modified);
        if !inserts.is_empty() {
            let insert = InsertPlan {
                table: Arc::clone(table),
                source: InsertSource::Values(Vec::new()),
                on_conflict: OnConflict::Fail,
                returning: returning.map(<[Expression]>::to_vec),
            };
            let (_, batches) = Box::pin(self.insert_rows(&insert, inserts)).await?;
            returned.extend(batches);
        }
        Ok(returned)
    }

    /// Sends changes to their partitions.
    pub(super) async fn write(
        &mut self,
        writes: Vec<(PartitionId, Modify)>,
        last: bool,
    ) -> Result<Vec<(PartitionId, Modified)>, SqlError> {
        let plans = writes.into_iter().map(|(p, modify)| (p, Arc::new(Plan::Modify(modify))));
        self.write_plans(plans.collect(), last).await
    }

    /// Sends changes to their partitions and carries their effects to others. `last`: nothing
    /// comes after it in the statement, which may commit with its only request.
    async fn write_plans(
        &mut self,
        writes: Vec<(PartitionId, Arc<Plan>)>,
        last: bool,
    ) -> Result<Vec<(PartitionId, Modified)>, SqlError> {
        for (partition, _) in &writes {
            self.transaction.touch(*partition);
        }
        // One that has read elsewhere, too, lets go of that when its commit is known.
        let only = writes.len() == 1 && self.transaction.readers().is_empty();
        let commit = last && self.alone && only;
        let (txn, mark) = (self.transaction.id, self.transaction.mark());
        let statement = self.statement;
        let engine = self.router.engine();
        let isolation = statement.isolation;
        let snapshot = match isolation {
            Isolation::RepeatableRead => self.snapshot,
            Isolation::ReadCommitted | Isolation::Serializable => engine.now(),
        };
        let requests = writes.into_iter().map(|(partition, plan)| async move {
            let fragment = Fragment {
                plan,
                parameters: statement.parameters.clone(),
                snapshot,
                txn: Some(txn),
                seen: None,
                isolation,
                now_micros: statement.now_micros,
                lock_timeout: statement.lock_timeout,
            };
            let body = RequestBody::Write { fragment, commit, mark };
            match engine.call(partition, body).await? {
                Response::Modified(modified) => Ok((partition, modified)),
                other => Err(SqlError::internal(format!("a change was answered with {other:?}"))),
            }
        });
        // All answers are awaited, so that a rollback does not overtake a change.
        let answers = join_all(requests).await;
        let mut modified: Vec<(PartitionId, Modified)> =
            answers.into_iter().collect::<Result<_, SqlError>>()?;
        let mut effects = Vec::new();
        for (partition, modified) in &mut modified {
            if modified.committed.is_some() {
                self.transaction.release(*partition);
            }
            effects.append(&mut modified.effects);
        }
        self.carry(effects).await?;
        Ok(modified)
    }

    /// Stages what changes mean in other partitions.
    async fn carry(&mut self, effects: Vec<RoutedEffect>) -> Result<(), SqlError> {
        if effects.is_empty() {
            return Ok(());
        }
        let engine = self.router.engine();
        let placement = engine.placement();
        let mut by_partition: BTreeMap<PartitionId, Vec<Effect>> = BTreeMap::new();
        for RoutedEffect { hash, effect } in effects {
            by_partition.entry(placement.partition_of(hash)).or_default().push(effect);
        }
        let (txn, mark) = (self.transaction.id, self.transaction.mark());
        for &partition in by_partition.keys() {
            self.transaction.touch(partition);
        }
        let lock_timeout = self.statement.lock_timeout;
        let stages = by_partition.into_iter().map(|(partition, effects)| async move {
            let body = RequestBody::Stage { txn, effects, mark, lock_timeout };
            engine.call(partition, body).await.map(drop)
        });
        let results: Vec<Result<(), SqlError>> = join_all(stages).await;
        results.into_iter().collect()
    }
}

/// Rows changed and returned in all.
fn total(modified: Vec<(PartitionId, Modified)>) -> Changed {
    let mut all = (0, Vec::new());
    for (_, modified) in modified {
        all.0 += modified.rows;
        all.1.extend(modified.returning);
    }
    all
}

/// What `RETURNING` answers, in the order of the statement's rows where every row answers.
fn in_order(
    modified: Vec<(PartitionId, Modified)>,
    order: &BTreeMap<PartitionId, Vec<usize>>,
    every_row: bool,
) -> Vec<Batch> {
    let answers = modified.iter().any(|(_, modified)| !modified.returning.is_empty());
    if !answers || !every_row || modified.len() == 1 {
        return modified.into_iter().flat_map(|(_, modified)| modified.returning).collect();
    }
    let mut rows: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for (partition, modified) in modified {
        let batches = modified.returning.iter();
        let values = batches.flat_map(|batch| (0..batch.rows()).map(|row| batch.row(row)));
        rows.extend(order[&partition].iter().copied().zip(values));
    }
    let count = rows.len();
    let width = rows.values().next().map_or(0, Vec::len);
    let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(count); width];
    for row in rows.into_values() {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let columns = columns.into_iter().map(|c| Column::from_values(DataType::Unknown, c)).collect();
    vec![Batch::new(count, columns)]
}

/// The columns that an update changes.
fn changed(table: &Table, old: &[Value], new: &[Value]) -> Vec<(usize, Expression)> {
    let types = table.types();
    let assign =
        |ordinal: usize| (ordinal, Expression::Literal(new[ordinal].clone(), types[ordinal]));
    // An equal value may still be another representation (1.0 and 1.00).
    let differs = |&ordinal: &usize| {
        !table.primary_key.contains(&ordinal)
            && (!old[ordinal].is_null() || !new[ordinal].is_null())
    };
    (0..new.len()).filter(differs).map(assign).collect()
}

/// A locking scan of one row that must be what it was.
fn exactly(table: &Arc<Table>, old: &[Value]) -> Scan {
    let types = table.types();
    let literal = |ordinal: usize| Expression::Literal(old[ordinal].clone(), types[ordinal]);
    let key = table.primary_key.iter().map(|&ordinal| literal(ordinal)).collect();
    let unchanged = (0..types.len()).map(|ordinal| Expression::Binary {
        operator: BinaryOperator::IsNotDistinctFrom,
        left: Box::new(Expression::column(ordinal, types[ordinal])),
        right: Box::new(literal(ordinal)),
        data_type: DataType::Bool,
    });
    Scan {
        table: Arc::clone(table),
        access: Access::PrimaryKey(KeyBounds { equal: vec![key], lower: None, upper: None }),
        columns: (0..types.len()).collect(),
        filter: crate::sql::logical::conjunction(unchanged),
        reverse: false,
        lock: true,
        limit: None,
    }
}

fn changed_meanwhile(table: &Table, old: &[Value]) -> SqlError {
    SqlError::new(
        SqlState::SERIALIZATION_FAILURE,
        "could not serialize access due to concurrent update",
    )
    .detail(format!(
        "Another transaction has changed {} after the statement had read it.",
        key::describe(table, &keys::row_key(table, old))
    ))
    .hint("Run the transaction again.")
    .table(&table.schema, &table.name)
}
