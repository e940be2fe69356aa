//! The hot path: one row by its whole key, straight from the partition on this core.

use super::{Router, RowSink, Statement};
use crate::sql::{Planned, PlannedKind, PointRead, QueryPlan};
use model::batch::{Batch, Column};
use model::command::{Fragment, Isolation};
use model::error::SqlError;
use model::id::PartitionId;
use model::key::{push_object, push_value};
use model::placement::hash_of;
use model::plan::Plan;
use model::row::Row;
use model::schema::Placement;
use model::value::Value;
use shards::core::{BatchStream, PointLookup};
use shards::exec::ExecContext;
use shards::exec::evaluate::{evaluate, evaluate_constant, select};
use shards::exec::memory::MemoryAccount;
use std::sync::Arc;
use std::time::Duration;

/// Memory for the expressions of one row.
const ROW_BYTES_MAX: u64 = 64 << 20;

/// Object id in front of a key.
const OBJECT_BYTES: usize = 4;

impl Router {
    /// Answers a lookup where that needs no waiting; `None` where it does, or where the row is on
    /// another core: the plan finds it then.
    pub(super) async fn point_read(
        &self,
        point: &PointRead,
        statement: &Statement<'_>,
        out: &mut dyn RowSink,
    ) -> Result<Option<u64>, SqlError> {
        let memory = MemoryAccount::new(ROW_BYTES_MAX);
        let mut context =
            ExecContext::new(statement.parameters.clone(), statement.now_micros, memory);
        context.identity = statement.identity.clone();
        let Some(key) = lookup_key(point, &context)? else { return Ok(Some(0)) };
        let partition = match point.table.placement {
            Placement::System => PartitionId::SYSTEM,
            Placement::Hashed => {
                let Some(hash) = placement_hash(point, &key, &context)? else {
                    return Ok(Some(0));
                };
                self.engine().placement().partition_of(hash)
            }
        };
        let engine = self.engine();
        let row = match engine.point_get(partition, &key, engine.now()) {
            PointLookup::LongWay => return Ok(None),
            PointLookup::Absent => return Ok(Some(0)),
            PointLookup::Found(row) => row,
        };
        // SAFETY: storage hands out only bytes that were staged as `row::encode` made them, after
        // it has verified their checksum.
        let batch = narrowed(point, unsafe { Row::from_bytes(&row) });
        drop(row);
        let batch = match &point.filter {
            Some(filter) if select(filter, &batch, &context)?.is_empty() => return Ok(Some(0)),
            _ => batch,
        };
        let batch = match &point.projection {
            None => batch,
            Some(expressions) => {
                let columns: Result<Vec<Column>, SqlError> =
                    expressions.iter().map(|e| evaluate(e, &batch, &context)).collect();
                Batch::new(1, columns?)
            }
        };
        out.rows(batch).await?;
        Ok(Some(1))
    }
}

impl Router {
    /// Sends a lookup out to another core; `None` where the row is on this one, or the plan is no
    /// lookup, or nothing can be found. [`Router::answer`] takes the result.
    pub fn look_up_elsewhere(
        &self,
        planned: &Planned,
        parameters: Arc<[Value]>,
        now_micros: i64,
        lock_timeout: Option<Duration>,
    ) -> Option<BatchStream> {
        let PlannedKind::Query(QueryPlan { plan, point: Some(point) }) = &planned.kind else {
            return None;
        };
        let Plan::Exchange(exchange) = plan.as_ref() else { return None };
        let memory = MemoryAccount::new(ROW_BYTES_MAX);
        let context = ExecContext::new(parameters.clone(), now_micros, memory);
        // What fails here fails again, and is told, when the request has its turn.
        let partition = match point.table.placement {
            Placement::System => PartitionId::SYSTEM,
            Placement::Hashed => {
                let key = lookup_key(point, &context).ok()??;
                let hash = placement_hash(point, &key, &context).ok()??;
                self.engine().placement().partition_of(hash)
            }
        };
        let engine = self.engine();
        let place = engine.placement().leader(partition)?;
        if (place.node, place.core) == (engine.node(), engine.core()) {
            return None;
        }
        let fragment = Fragment {
            plan: exchange.fragment.clone(),
            parameters,
            snapshot: engine.now(),
            txn: None,
            seen: None,
            isolation: Isolation::ReadCommitted,
            now_micros,
            lock_timeout,
        };
        Some(engine.read(partition, fragment))
    }

    /// Answers with the rows of a read that is on its way.
    pub async fn answer(
        &self,
        mut rows: BatchStream,
        out: &mut dyn RowSink,
    ) -> Result<u64, SqlError> {
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            count += batch.rows() as u64;
            out.rows(batch).await?;
        }
        Ok(count)
    }
}

/// The row's key; `None` where a value is `NULL`, which no key is equal to.
fn lookup_key(point: &PointRead, context: &ExecContext) -> Result<Option<Vec<u8>>, SqlError> {
    let mut key = Vec::with_capacity(OBJECT_BYTES + point.key.len() * 10);
    push_object(&mut key, point.table.storage);
    for expression in &point.key {
        let value = evaluate_constant(expression, context)?;
        if value.is_null() {
            return Ok(None);
        }
        push_value(&mut key, &value, false);
    }
    Ok(Some(key))
}

/// The hash that places the row: where the table is partitioned by its key, that of the key's own
/// bytes.
fn placement_hash(
    point: &PointRead,
    key: &[u8],
    context: &ExecContext,
) -> Result<Option<u64>, SqlError> {
    let table = &point.table;
    if table.partition_columns == table.primary_key {
        return Ok(Some(hash_of(&key[OBJECT_BYTES..])));
    }
    let mut encoded = Vec::new();
    for ordinal in &table.partition_columns {
        let Some(position) = table.primary_key.iter().position(|key| key == ordinal) else {
            return Err(SqlError::internal("a partition column outside of the primary key"));
        };
        let value = evaluate_constant(&point.key[position], context)?;
        if value.is_null() {
            return Ok(None);
        }
        push_value(&mut encoded, &value, false);
    }
    Ok(Some(hash_of(&encoded)))
}

/// The columns that the statement reads, as a batch of one row.
fn narrowed(point: &PointRead, row: Row<'_>) -> Batch {
    let columns = point.columns.iter().map(|&ordinal| {
        let column = &point.table.columns[ordinal];
        let value: Value = match row.get(ordinal) {
            Some(value) => value.to_value(),
            None => column.missing.clone(),
        };
        Column::from_values(column.data_type, vec![value])
    });
    Batch::new(1, columns.collect())
}
