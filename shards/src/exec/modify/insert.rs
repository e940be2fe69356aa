//! `INSERT` and its `ON CONFLICT`.
//!
//! Of the keys that an `ON CONFLICT` is about, those of this partition are looked at here. About
//! others, and before a row is updated that is found by another key than its own, the router asks
//! first (`RequestBody::Probe`); what it sends then has no conflict by them, or is an
//! `UpdateConflicting`.

use super::assigned;
use super::writer::Writer;
use crate::exec::context::ExecContext;
use crate::exec::evaluate::select;
use crate::exec::keys;
use crate::exec::store::StoredRow;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::plan::{Arbiter, ConflictUpdate, OnConflict};
use model::schema::Table;
use model::value::Value;

pub(super) async fn insert(
    batch: &Batch,
    on_conflict: &OnConflict,
    writer: &mut Writer,
    context: &ExecContext,
) -> Result<(), SqlError> {
    let rows: Vec<Vec<Value>> = (0..batch.rows()).map(|row| batch.row(row)).collect();
    writer.check(&rows)?;
    for row in rows {
        let existing = writer.lock_row(&row).await?;
        match (existing, on_conflict) {
            (Some(existing), OnConflict::DoUpdate(Arbiter::PrimaryKey, change)) => {
                writer.check_seen(&row).await?;
                let old = stored_values(writer.table(), &existing);
                update(old, &row, change, writer, context).await?;
            }
            (Some(_), OnConflict::DoNothing(None | Some(Arbiter::PrimaryKey))) => {
                writer.check_seen(&row).await?;
            }
            (existing, _) => insert_new(row, existing.is_some(), on_conflict, writer).await?,
        }
        context.pause().await?;
    }
    Ok(())
}

/// The row's own key is none that the statement asks about, or free. `is_taken`: it is not free.
async fn insert_new(
    row: Vec<Value>,
    is_taken: bool,
    on_conflict: &OnConflict,
    writer: &mut Writer,
) -> Result<(), SqlError> {
    if let OnConflict::DoNothing(Some(Arbiter::Index(index))) = on_conflict
        && let Some(entry) = writer.claimant(*index, &row).await?
    {
        return writer.check_claimant_seen(&entry).await;
    }
    if is_taken {
        return Err(writer.primary_key_conflict(&row));
    }
    writer.check_seen(&row).await?;
    if let Some((index, entry)) = writer.conflicting_index(&row).await? {
        if *on_conflict == OnConflict::DoNothing(None) {
            return writer.check_claimant_seen(&entry).await;
        }
        let table = writer.table().clone();
        return Err(writer.index_conflict(&table.indexes[index], &row));
    }
    if matches!(on_conflict, OnConflict::DoUpdate(..)) {
        writer.touch(&row)?;
    }
    writer.add(row).await
}

/// Updates rows that were found by an index: `batch` has their primary keys, then the proposed rows.
pub(super) async fn update_conflicting(
    batch: &Batch,
    index: usize,
    change: &ConflictUpdate,
    writer: &mut Writer,
    context: &ExecContext,
) -> Result<(), SqlError> {
    let table = writer.table().clone();
    for row in 0..batch.rows() {
        let mut primary = batch.row(row);
        let proposed = primary.split_off(table.primary_key.len());
        let existing = writer.lock_primary(&primary).await?;
        let old = existing.map(|existing| stored_values(&table, &existing));
        let entry = |row: &[Value]| keys::index_entry_key(&table, &table.indexes[index], row);
        match old.filter(|old| entry(old) == entry(&proposed)) {
            Some(old) => {
                writer.check_seen(&old).await?;
                update(old, &proposed, change, writer, context).await?;
            }
            None => writer.lost(row),
        }
        context.pause().await?;
    }
    writer.passed(batch.rows());
    Ok(())
}

/// `DO UPDATE`: expressions see the existing row's columns, then the proposed one's.
async fn update(
    old: Vec<Value>,
    proposed: &[Value],
    change: &ConflictUpdate,
    writer: &mut Writer,
    context: &ExecContext,
) -> Result<(), SqlError> {
    if writer.has_touched(&old) {
        return Err(second_time());
    }
    let mut types = writer.table().types();
    types.extend_from_within(..);
    let mut both = old.clone();
    both.extend_from_slice(proposed);
    let batch = Batch::from_rows(&types, &[both]);
    if let Some(condition) = &change.condition
        && select(condition, &batch, context)?.is_empty()
    {
        return Ok(());
    }
    writer.touch(&old)?;
    let columns = old.len();
    let mut rows = assigned(&change.assignments, &batch, context)?;
    rows.iter_mut().for_each(|row| row.truncate(columns));
    writer.check(&rows)?;
    for new in rows {
        writer.replace(&old, new).await?;
    }
    Ok(())
}

/// A stored row with the columns it was written without.
fn stored_values(table: &Table, stored: &StoredRow) -> Vec<Value> {
    let row = stored.row();
    let value = |(ordinal, column): (usize, &model::schema::Column)| {
        row.get(ordinal).map_or_else(|| column.missing.clone(), |value| value.to_value())
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// 21000
pub fn second_time() -> SqlError {
    SqlError::new(
        SqlState::CARDINALITY_VIOLATION,
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
    )
    .hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}
