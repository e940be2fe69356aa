//! Reads rows of this partition: by primary key, or by an index and then by primary key.
//!
//! Rows are read in place: only the columns that are asked for are looked at. A locking scan
//! finds its rows at the snapshot, locks each one that passes, reads its newest version and looks
//! whether that still passes (bounds and filter); rows that a concurrent transaction removed or
//! moved out of sight are left alone, as READ COMMITTED does in PostgreSQL. At REPEATABLE READ the
//! store refuses those that were changed, and at SERIALIZABLE there are none.

use super::bounds::{are_points, key_ranges};
use super::context::{ExecContext, Operator};
use super::evaluate::filter;
use super::keys;
use super::store::{Purpose, RowCursor, RowStore, StoredRow};
use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{BATCH_ROWS, Batch, Column};
use model::error::SqlError;
use model::key::{KeyRange, push_object, push_value};
use model::plan::{Access, Scan};
use std::collections::VecDeque;
use std::rc::Rc;

pub(super) struct ScanOperator {
    plan: Scan,
    context: Rc<ExecContext>,
    store: Rc<dyn RowStore>,
    purpose: Purpose,
    /// All ranges, for looking at a locked row again.
    ranges: Vec<KeyRange>,
    /// Those not read yet, in the order of reading.
    pending: VecDeque<KeyRange>,
    /// Whether every range is one key of a row, which is got and not scanned.
    points: bool,
    cursor: Option<Box<dyn RowCursor>>,
    /// Rows that may still pass the limit.
    remaining: u64,
    /// Rows that are read at once.
    rows_max: usize,
    found: Vec<(Bytes, StoredRow)>,
}

impl ScanOperator {
    /// `wanted`: after so many rows it may not be asked for more.
    pub(super) fn new(
        plan: &Scan,
        wanted: Option<u64>,
        context: &Rc<ExecContext>,
    ) -> Result<ScanOperator, SqlError> {
        let store = context
            .rows
            .clone()
            .ok_or_else(|| SqlError::internal("a scan outside of a partition"))?;
        let table = &plan.table;
        let (ranges, points) = match &plan.access {
            Access::PrimaryKey(bounds) => (
                key_ranges(table.storage, bounds, &[], context)?,
                are_points(bounds, table.primary_key.len()),
            ),
            Access::Index { index, bounds } => {
                let index = &table.indexes[*index];
                let descending: Vec<bool> = index.columns.iter().map(|c| c.descending).collect();
                (key_ranges(index.id, bounds, &descending, context)?, false)
            }
        };
        let mut pending: VecDeque<KeyRange> = ranges.iter().cloned().collect();
        if plan.reverse {
            pending.make_contiguous().reverse();
        }
        let remaining = plan.limit.unwrap_or(u64::MAX);
        let wanted = wanted.unwrap_or(u64::MAX).min(remaining);
        let few = usize::try_from(wanted).ok().filter(|few| (1..BATCH_ROWS).contains(few));
        // Nobody knows how many rows are looked at until so many pass the filter.
        let rows_max = few.filter(|_| plan.filter.is_none()).unwrap_or(BATCH_ROWS);
        Ok(ScanOperator {
            plan: plan.clone(),
            context: context.clone(),
            store,
            purpose: Purpose { table: plan.table.clone(), change: plan.lock, few },
            ranges,
            pending,
            points,
            cursor: None,
            remaining,
            rows_max,
            found: Vec::new(),
        })
    }

    /// Fills `found` with the next keys and values; whether there were any.
    async fn read(&mut self) -> Result<bool, SqlError> {
        self.found.clear();
        if self.points {
            return self.read_points().await;
        }
        loop {
            let Some(cursor) = &mut self.cursor else {
                let Some(range) = self.pending.pop_front() else { return Ok(false) };
                self.cursor = Some(self.store.scan(&self.purpose, range, self.plan.reverse));
                continue;
            };
            let more = cursor.next_batch(&mut self.found, self.rows_max).await?;
            if !more {
                self.cursor = None;
            }
            if !self.found.is_empty() {
                return Ok(true);
            }
            self.context.pause().await?;
        }
    }

    async fn read_points(&mut self) -> Result<bool, SqlError> {
        while self.found.len() < self.rows_max {
            let Some(point) = self.pending.pop_front() else { break };
            let key = point.start;
            let row = match self.store.get_cached(&self.purpose, &key) {
                Some(row) => row,
                None => self.store.get(&self.purpose, &key).await?,
            };
            if let Some(row) = row {
                self.found.push((Bytes::from(key), row));
            }
        }
        Ok(!self.found.is_empty())
    }

    /// Index entries in `found` become rows.
    async fn look_up(&mut self) -> Result<(), SqlError> {
        let entries = std::mem::take(&mut self.found);
        for (_, entry) in entries {
            let primary = entry.row().to_values();
            let key = keys::row_key_of_primary(&self.plan.table, &primary);
            let row = match self.store.get_cached(&self.purpose, &key) {
                Some(row) => row,
                None => self.store.get(&self.purpose, &key).await?,
            };
            if let Some(row) = row {
                self.found.push((Bytes::from(key), row));
            }
            runtime::task::yield_if_due().await;
        }
        Ok(())
    }

    fn decode(&self, rows: &[(Bytes, StoredRow)]) -> Batch {
        let table = &self.plan.table;
        let mut columns: Vec<Column> = self
            .plan
            .columns
            .iter()
            .map(|&ordinal| Column::with_capacity(table.columns[ordinal].data_type, rows.len()))
            .collect();
        for (_, stored) in rows {
            let row = stored.row();
            for (column, &ordinal) in columns.iter_mut().zip(&self.plan.columns) {
                match row.get(ordinal) {
                    Some(value) => column.push_ref(&value),
                    None => column.push_ref(&table.columns[ordinal].missing.as_ref()),
                }
            }
        }
        Batch::new(rows.len(), columns)
    }

    /// The numbers of the rows in `batch` that pass the filter.
    fn passing(&self, batch: &Batch) -> Result<Vec<u32>, SqlError> {
        match &self.plan.filter {
            Some(condition) => super::evaluate::select(condition, batch, &self.context),
            None => Ok((0..batch.rows() as u32).collect()),
        }
    }

    /// Locks the rows in `found` that pass, as far as the limit goes, and answers the newest
    /// versions of those that still do.
    async fn lock(&mut self) -> Result<Option<Batch>, SqlError> {
        let found = std::mem::take(&mut self.found);
        let batch = self.decode(&found);
        let mut locked = Vec::new();
        for row in self.passing(&batch)? {
            if locked.len() as u64 >= self.remaining {
                break;
            }
            let (key, seen) = &found[row as usize];
            let Some(newest) = self.store.lock_seen(&self.plan.table, key).await? else { continue };
            let unchanged = newest.bytes() == seen.bytes();
            if unchanged || self.is_within_bounds(key, &newest) {
                let row = [(key.clone(), newest)];
                if unchanged || !self.passing(&self.decode(&row))?.is_empty() {
                    let [row] = row;
                    locked.push(row);
                }
            }
            self.context.pause().await?;
        }
        Ok((!locked.is_empty()).then(|| self.decode(&locked)))
    }

    /// Whether a row that has changed since the snapshot is still among those the scan looks at.
    /// Its primary key cannot have changed.
    fn is_within_bounds(&self, key: &[u8], newest: &StoredRow) -> bool {
        let table = &self.plan.table;
        let Access::Index { index, .. } = &self.plan.access else {
            return self.ranges.iter().any(|range| range.contains(key));
        };
        let index = &table.indexes[*index];
        let row = newest.row();
        let mut entry = Vec::new();
        push_object(&mut entry, index.id);
        for column in &index.columns {
            let value = row.get(column.ordinal).map_or_else(
                || table.columns[column.ordinal].missing.clone(),
                |value| value.to_value(),
            );
            push_value(&mut entry, &value, column.descending);
        }
        self.ranges.iter().any(|range| range.contains(&entry))
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        while self.remaining > 0 {
            self.context.pause().await?;
            if !self.read().await? {
                return Ok(None);
            }
            if matches!(self.plan.access, Access::Index { .. }) {
                self.look_up().await?;
            }
            if self.found.is_empty() {
                continue;
            }
            let passed = if self.plan.lock {
                self.lock().await?
            } else {
                let batch = self.decode(&self.found);
                match &self.plan.filter {
                    Some(condition) => filter(condition, batch, &self.context)?,
                    None => Some(batch),
                }
            };
            let Some(mut batch) = passed else { continue };
            if batch.rows() as u64 > self.remaining {
                let kept: Vec<u32> = (0..self.remaining as u32).collect();
                batch = batch.take(&kept);
            }
            self.remaining -= batch.rows() as u64;
            return Ok(Some(batch));
        }
        Ok(None)
    }
}

impl Operator for ScanOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        self.next_batch().boxed_local()
    }
}
