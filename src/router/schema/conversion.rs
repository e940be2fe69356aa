//! What the columns of rows become that are written anew.

use crate::catalog::Catalog;
use crate::router::Router;
use crate::router::sequences::{HeldSequences, StatementSequences};
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::Expression;
use model::schema::Table;
use model::types::DataType;
use model::value::Value;
use shards::exec::ExecContext;
use shards::exec::evaluate::evaluate;
use shards::exec::functions::{calls_sequences, clock_micros};
use shards::exec::sequences::{SequenceCalls, evaluate_rows};
use std::rc::Rc;
use std::sync::Arc;

/// What rows become.
pub(super) struct Becoming<'a> {
    /// The table that they will be in.
    pub(super) table: &'a Table,
    /// Columns that change, and what they become of the old row's columns.
    pub(super) conversions: &'a [(usize, Expression)],
    /// The catalog that will be; sequences that new columns bring are in it.
    pub(super) catalog: &'a Arc<Catalog>,
}

impl Router {
    /// What evaluating needs, sequences too where they are called.
    pub(super) fn conversion_context(&self, becoming: Option<&Becoming<'_>>) -> ExecContext {
        let memory = self.inner.memory.child(self.inner.options.statement_memory_bytes);
        let mut context = ExecContext::new(Arc::from([]), clock_micros(), memory);
        if let Some(becoming) = becoming
            && becoming.conversions.iter().any(|(_, value)| calls_sequences(value))
        {
            let held = Rc::new(HeldSequences::default());
            let catalog = Some(Arc::clone(becoming.catalog));
            let source = StatementSequences::new(self.clone(), held, catalog);
            context.sequences = Some(Rc::new(SequenceCalls::new(Rc::new(source))));
        }
        context
    }
}

/// The columns that change, of these rows. Where a sequence is called, each row has a value of its
/// own.
pub(super) async fn converted(
    conversions: &[(usize, Expression)],
    batch: &Batch,
    context: &ExecContext,
) -> Result<Vec<(usize, Column)>, SqlError> {
    let mut columns = Vec::with_capacity(conversions.len());
    let mut calling = Vec::new();
    for (ordinal, value) in conversions {
        match calls_sequences(value) {
            true => calling.push((*ordinal, value)),
            false => columns.push((*ordinal, evaluate(value, batch, context)?)),
        }
    }
    if calling.is_empty() {
        return Ok(columns);
    }
    let rows = evaluate_rows(context, batch.rows(), |row| {
        let one = batch.take(&[row as u32]);
        let value = |(_, e): &(usize, &Expression)| Ok(evaluate(e, &one, context)?.value(0));
        calling.iter().map(value).collect::<Result<Vec<Value>, SqlError>>()
    });
    let types: Vec<DataType> = calling.iter().map(|(_, value)| value.data_type()).collect();
    let called = Batch::from_rows(&types, &rows.await?).into_columns();
    columns.extend(calling.into_iter().map(|(ordinal, _)| ordinal).zip(called));
    Ok(columns)
}
