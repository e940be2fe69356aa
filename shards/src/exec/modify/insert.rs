//! `INSERT` and its `ON CONFLICT`.

use super::assigned;
use super::writer::Writer;
use crate::exec::context::ExecContext;
use crate::exec::evaluate::select;
use crate::exec::store::StoredRow;
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::OnConflict;
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
        // A key that is taken is taken, whether the snapshot shows by whom or not.
        if existing.is_none() || *on_conflict != OnConflict::Fail {
            writer.check_seen(&row).await?;
        }
        let updates = matches!(on_conflict, OnConflict::DoUpdate { .. });
        let first_time = !updates || writer.touch(&row)?;
        match (existing, on_conflict) {
            (None, _) => insert_new(row, on_conflict, writer).await?,
            (Some(_), OnConflict::DoNothing) => {}
            (Some(_), OnConflict::Fail) => return Err(writer.primary_key_conflict(&row)),
            (Some(_), OnConflict::DoUpdate { .. }) if !first_time => return Err(second_time()),
            (Some(existing), OnConflict::DoUpdate { assignments, condition }) => {
                let old = stored_values(writer.table(), &existing);
                update(old, &row, assignments, condition.as_ref(), writer, context).await?;
            }
        }
        context.pause().await?;
    }
    Ok(())
}

/// The row's key is free; its unique keys may not be.
async fn insert_new(
    row: Vec<Value>,
    on_conflict: &OnConflict,
    writer: &mut Writer,
) -> Result<(), SqlError> {
    match writer.conflicting_index(&row).await? {
        None => writer.add(row).await,
        Some(_) if *on_conflict == OnConflict::DoNothing => Ok(()),
        Some(index) => {
            let table = writer.table().clone();
            Err(writer.index_conflict(&table.indexes[index], &row))
        }
    }
}

/// `DO UPDATE`: expressions see the existing row's columns, then the proposed one's.
async fn update(
    old: Vec<Value>,
    proposed: &[Value],
    assignments: &[(usize, Expression)],
    condition: Option<&Expression>,
    writer: &mut Writer,
    context: &ExecContext,
) -> Result<(), SqlError> {
    let mut types = writer.table().types();
    types.extend_from_within(..);
    let mut both = old.clone();
    both.extend_from_slice(proposed);
    let batch = Batch::from_rows(&types, &[both]);
    if let Some(condition) = condition
        && select(condition, &batch, context)?.is_empty()
    {
        return Ok(());
    }
    let columns = old.len();
    let mut rows = assigned(assignments, &batch, context)?;
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

fn second_time() -> SqlError {
    SqlError::new(
        SqlState::CARDINALITY_VIOLATION,
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
    )
    .hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}
