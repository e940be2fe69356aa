//! Computes columns.

use super::context::{ExecContext, Operator};
use super::evaluate::evaluate;
use super::functions::calls_sequences;
use super::sequences::evaluate_rows;
use futures::future::{FutureExt, LocalBoxFuture};
use model::batch::{Batch, Column};
use model::error::SqlError;
use model::expression::Expression;
use model::types::DataType;
use model::value::Value;
use std::rc::Rc;

pub(super) struct ProjectOperator {
    pub(super) input: Box<dyn Operator>,
    pub(super) expressions: Vec<Expression>,
    pub(super) context: Rc<ExecContext>,
    /// Whether an expression calls sequences.
    pub(super) calls_sequences: bool,
}

impl ProjectOperator {
    /// As [`evaluate`] of every expression, where some call sequences: those are evaluated row by
    /// row.
    async fn with_sequences(&self, batch: &Batch) -> Result<Vec<Column>, SqlError> {
        let mut columns: Vec<Option<Column>> = vec![None; self.expressions.len()];
        let mut calling = Vec::new();
        for (column, expression) in columns.iter_mut().zip(&self.expressions) {
            match calls_sequences(expression) {
                true => calling.push(expression),
                false => *column = Some(evaluate(expression, batch, &self.context)?),
            }
        }
        let rows = evaluate_rows(&self.context, batch.rows(), |row| {
            let one = batch.take(&[row as u32]);
            let value = |e: &&Expression| Ok(evaluate(e, &one, &self.context)?.value(0));
            calling.iter().map(value).collect::<Result<Vec<Value>, SqlError>>()
        });
        let types: Vec<DataType> = calling.iter().map(|e| e.data_type()).collect();
        let mut called = Batch::from_rows(&types, &rows.await?).into_columns().into_iter();
        let merged = columns.into_iter().map(|column| column.or_else(|| called.next()));
        Ok(merged.flatten().collect())
    }
}

impl Operator for ProjectOperator {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Batch>, SqlError>> {
        async move {
            let Some(batch) = self.input.next().await? else { return Ok(None) };
            let columns = if self.calls_sequences {
                self.with_sequences(&batch).await?
            } else {
                let evaluated = self.expressions.iter();
                evaluated.map(|e| evaluate(e, &batch, &self.context)).collect::<Result<_, _>>()?
            };
            Ok(Some(Batch::new(batch.rows(), columns)))
        }
        .boxed_local()
    }
}
