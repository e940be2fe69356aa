//! Changes of rows in this partition.
//!
//! Each row's key is locked and its newest version read before anything is decided, so that no
//! concurrent change is lost. Constraints that this partition can see are checked here: `NOT
//! NULL`, `CHECK`, the primary key and unique indexes that lie here. What another partition must
//! see to (keys of global unique indexes, referenced rows) is answered as effects, which the
//! router sends on before the transaction commits. Writes are only staged: they take effect when
//! the transaction commits.

mod constraints;
mod insert;
mod writer;

pub use insert::second_time;

use super::context::ExecContext;
use super::evaluate::evaluate;
use super::open;
use model::batch::{BATCH_ROWS, Batch, Column};
use model::command::Modified;
use model::error::SqlError;
use model::expression::Expression;
use model::plan::{Access, Change, Modify, Plan};
use model::value::Value;
use std::rc::Rc;
use writer::Writer;

/// Runs a change to its end. After an error the transaction must be rolled back: part of the
/// change may be staged.
pub async fn modify(plan: &Modify, context: &Rc<ExecContext>) -> Result<Modified, SqlError> {
    let mut writer = Writer::new(plan, context)?;
    let mut input = open(&plan.input, context)?;
    if is_unchanged_by_writes(&plan.input) {
        while let Some(batch) = input.next().await? {
            change(plan, &batch, &mut writer, context).await?;
        }
    } else {
        // An index scan would meet rows again that the change has moved ahead of it.
        let mut batches = Vec::new();
        let mut memory = context.memory.reserve();
        while let Some(batch) = input.next().await? {
            memory.grow(batch.memory_bytes())?;
            batches.push(batch);
        }
        for batch in &batches {
            change(plan, batch, &mut writer, context).await?;
        }
    }
    writer.finish()
}

/// Whether the input reads nothing that the change itself can put in its way: each row is met
/// once by its primary key, which an update never changes.
fn is_unchanged_by_writes(input: &Plan) -> bool {
    match input {
        Plan::Values(_) => true,
        Plan::Scan(scan) => matches!(scan.access, Access::PrimaryKey(_)),
        _ => false,
    }
}

async fn change(
    plan: &Modify,
    batch: &Batch,
    writer: &mut Writer,
    context: &ExecContext,
) -> Result<(), SqlError> {
    match &plan.change {
        Change::Insert { on_conflict } => insert::insert(batch, on_conflict, writer, context).await,
        Change::UpdateConflicting { index, update } => {
            insert::update_conflicting(batch, *index, update, writer, context).await
        }
        Change::Update { assignments } => {
            let rows = assigned(assignments, batch, context)?;
            writer.check(&rows)?;
            for (row, new) in rows.into_iter().enumerate() {
                writer.replace(&batch.row(row), new).await?;
                context.pause().await?;
            }
            Ok(())
        }
        Change::Delete => {
            for row in 0..batch.rows() {
                writer.remove(batch.row(row)).await?;
                if row % BATCH_ROWS == 0 {
                    context.pause().await?;
                }
            }
            Ok(())
        }
    }
}

/// The rows of `batch` (of which the table's columns come first) with their assignments made.
fn assigned(
    assignments: &[(usize, Expression)],
    batch: &Batch,
    context: &ExecContext,
) -> Result<Vec<Vec<Value>>, SqlError> {
    let columns: Vec<(usize, Column)> = assignments
        .iter()
        .map(|(ordinal, expression)| Ok((*ordinal, evaluate(expression, batch, context)?)))
        .collect::<Result<_, SqlError>>()?;
    Ok((0..batch.rows())
        .map(|row| {
            let mut values = batch.row(row);
            for (ordinal, column) in &columns {
                values[*ordinal] = column.value(row);
            }
            values
        })
        .collect())
}
