//! Writing what a schema change needs of a table's rows: the entries of a new index, or all rows by
//! a new primary key. Nobody else is in the table meanwhile, and nothing reads what is written but the
//! transaction that changes the schema, until that is committed.

use super::conversion::{Becoming, converted};
use super::scan;
use crate::router::Router;
use crate::txn::{Reader, Transaction};
use futures::future::join_all;
use model::command::{Effect, KeyConflict, RequestBody};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::{ObjectId, PartitionId};
use model::plan::Scan;
use model::schema::{Index, Table};
use model::value::Value;
use shards::exec::{StoredRow, keys};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows and index entries written in one transaction.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of them, beyond which it is committed before it has so many.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Rows and entries by partition, until they are enough for a transaction.
#[derive(Default)]
pub(super) struct Gathered {
    effects: BTreeMap<PartitionId, Vec<Effect>>,
    count: usize,
    bytes: usize,
}

impl Gathered {
    pub(super) fn push(&mut self, partition: PartitionId, effect: Effect) {
        self.bytes += match &effect {
            Effect::ClaimKey { key, value, .. } | Effect::PutKey { key, value } => {
                key.len() + value.len()
            }
            Effect::FreeKey { key } | Effect::RequireKey { key, .. } => key.len(),
        };
        self.effects.entry(partition).or_default().push(effect);
        self.count += 1;
    }

    pub(super) fn is_enough(&self) -> bool {
        self.count >= ENTRIES_MAX || self.bytes >= ENTRY_BYTES_MAX
    }
}

impl Router {
    /// Writes the entries of a new index for all rows.
    pub(super) async fn backfill(
        &self,
        table: &Arc<Table>,
        index: &Index,
        reader: Option<&Reader>,
    ) -> Result<(), SqlError> {
        let make = |partition: PartitionId, values: Vec<Value>, out: &mut Gathered| {
            self.push_entry((table, index), partition, &values, out);
            Ok(())
        };
        self.for_each_row(table, None, reader, make).await
    }

    /// Writes all rows of `from` as what they become, by its primary key, with their entries in
    /// these indexes. 23502 where a key, or a column that must not, gets a `NULL`, 23505 where two
    /// rows have the same key.
    pub(super) async fn rewrite(
        &self,
        becoming: Becoming<'_>,
        from: &Arc<Table>,
        indexes: &[ObjectId],
        reader: Option<&Reader>,
    ) -> Result<(), SqlError> {
        let Becoming { table, conversions, .. } = becoming;
        let filled: Vec<&Index> =
            table.indexes.iter().filter(|index| indexes.contains(&index.id)).collect();
        self.require_keys(table, from, reader).await?;
        let make = |_, mut values: Vec<Value>, out: &mut Gathered| {
            for &(ordinal, _) in conversions {
                if values[ordinal].is_null() && !table.columns[ordinal].nullable {
                    return Err(contains_nulls(table, ordinal));
                }
            }
            for (ordinal, column) in table.columns.iter().enumerate() {
                if column.hidden && !table.primary_key.contains(&ordinal) {
                    values[ordinal] = Value::Null;
                }
            }
            let place = self.engine().placement().partition_of(keys::row_hash(table, &values));
            out.push(place, row(table, &values));
            for index in &filled {
                self.push_entry((table, index), place, &values, out);
            }
            Ok(())
        };
        self.for_each_row(from, Some(&becoming), reader, make).await
    }

    /// Looks for a row of `from` whose primary key in `table` has a `NULL`.
    async fn require_keys(
        &self,
        table: &Table,
        from: &Arc<Table>,
        reader: Option<&Reader>,
    ) -> Result<(), SqlError> {
        for &ordinal in &table.primary_key {
            let Some(column) = from.columns.get(ordinal).filter(|column| column.nullable) else {
                continue;
            };
            let value = Expression::column(0, column.data_type);
            let filter = Some(Expression::IsNull { operand: Box::new(value), negated: false });
            for partition in self.engine().placement().data_partitions() {
                let scan =
                    Scan { limit: Some(1), filter: filter.clone(), ..scan(from, &[ordinal]) };
                let mut rows = self.engine().read(partition, self.fragment(scan, reader));
                while let Some(batch) = rows.next().await {
                    if batch?.rows() > 0 {
                        return Err(contains_nulls(from, ordinal));
                    }
                }
            }
        }
        Ok(())
    }

    /// Has `make` say what is to be written for each row of a table, and writes it. With a table
    /// that the rows become, it gets a value for each of its columns: what the row has, what
    /// earlier rows of a column that is new are taken to have, or what the conversions make.
    async fn for_each_row(
        &self,
        table: &Arc<Table>,
        becomes: Option<&Becoming<'_>>,
        reader: Option<&Reader>,
        make: impl Fn(PartitionId, Vec<Value>, &mut Gathered) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let partitions: Vec<PartitionId> = self.engine().placement().data_partitions().collect();
        let (new_columns, conversions) = match becomes {
            Some(becomes) => (&becomes.table.columns[columns.len()..], becomes.conversions),
            None => (&[][..], &[][..]),
        };
        let mut gathered = Gathered::default();
        let context = self.conversion_context(becomes);
        for partition in partitions {
            let mut rows =
                self.engine().read(partition, self.fragment(scan(table, &columns), reader));
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let converted = converted(conversions, &batch, &context).await?;
                for row in 0..batch.rows() {
                    let mut values = batch.row(row);
                    values.extend(new_columns.iter().map(|column| column.missing.clone()));
                    for (ordinal, column) in &converted {
                        values[*ordinal] = column.value(row);
                    }
                    make(partition, values, &mut gathered)?;
                    runtime::task::yield_if_due().await;
                    if gathered.is_enough() {
                        self.stage_alone(std::mem::take(&mut gathered)).await?;
                    }
                }
            }
        }
        self.stage_alone(gathered).await
    }

    /// The entry of a row that lies in `partition`.
    fn push_entry(
        &self,
        (table, index): (&Table, &Index),
        partition: PartitionId,
        values: &[Value],
        out: &mut Gathered,
    ) {
        let place = match index.global {
            true => self.engine().placement().partition_of(keys::index_entry_hash(index, values)),
            false => partition,
        };
        out.push(place, entry(table, index, values));
    }

    /// Stages effects in a transaction of their own and commits it.
    pub(super) async fn stage_alone(&self, gathered: Gathered) -> Result<(), SqlError> {
        if gathered.effects.is_empty() {
            return Ok(());
        }
        let staged = async |transaction: &mut Transaction| self.stage(transaction, gathered).await;
        self.in_own_transaction(staged).await
    }

    /// Stages effects in a transaction.
    pub(super) async fn stage(
        &self,
        transaction: &mut Transaction,
        gathered: Gathered,
    ) -> Result<(), SqlError> {
        let (txn, mark) = (transaction.id, transaction.mark());
        let staged = gathered.effects.into_iter().map(|(partition, effects)| {
            transaction.touch(partition);
            self.engine()
                .call(partition, RequestBody::Stage { txn, effects, mark, lock_timeout: None })
        });
        let staged: Vec<_> = staged.collect();
        join_all(staged).await.into_iter().try_for_each(|staged| staged.map(drop))
    }
}

/// 23502, of a column that rows have left empty.
pub(super) fn contains_nulls(table: &Table, ordinal: usize) -> SqlError {
    let column = &table.columns[ordinal].name;
    SqlError::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("column \"{column}\" of relation \"{}\" contains null values", table.name),
    )
    .table(&table.schema, &table.name)
    .column(column)
}

/// A row that no other may have the primary key of.
fn row(table: &Table, values: &[Value]) -> Effect {
    let name = table.primary_key_name.as_deref().unwrap_or_default();
    let error = duplicated(table, name, &table.primary_key, values);
    Effect::ClaimKey {
        key: keys::row_key(table, values),
        value: StoredRow::encode(values).bytes().to_vec(),
        conflict: Arc::new(KeyConflict { error }),
    }
}

/// A row's entry in an index that is being filled.
fn entry(table: &Table, index: &Index, values: &[Value]) -> Effect {
    let key = keys::index_entry_key(table, index, values);
    let value = keys::index_entry_value(table, values).bytes().to_vec();
    if !keys::is_claim(index, values) {
        return Effect::PutKey { key, value };
    }
    let columns: Vec<usize> = index.columns.iter().map(|column| column.ordinal).collect();
    let error = duplicated(table, &index.name, &columns, values);
    Effect::ClaimKey { key, value, conflict: Arc::new(KeyConflict { error }) }
}

/// 23505, as PostgreSQL says it of an index that is being built.
fn duplicated(table: &Table, index: &str, columns: &[usize], values: &[Value]) -> SqlError {
    let names: Vec<&str> = columns.iter().map(|&o| table.columns[o].name.as_str()).collect();
    let shown = columns.iter().map(|&o| values[o].to_text(table.columns[o].data_type));
    let shown: Vec<String> = shown.collect();
    SqlError::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{index}\""))
        .detail(format!("Key ({})=({}) is duplicated.", names.join(", "), shown.join(", ")))
        .table(&table.schema, &table.name)
        .constraint(index)
}
